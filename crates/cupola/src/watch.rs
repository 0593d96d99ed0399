//! Watching resident memory: the last line of defence behind the budgets. Above the ceiling ingest is refused until the
//! process has shrunk; freed memory is given back to the system.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cupola_telemetry::memory::{MemoryBudget, Reservation};
use tokio_util::sync::CancellationToken;

use crate::config::memory::resident;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Freed pages go back to the system after this long, in milliseconds: longer than a generation of the memtable lives
/// under load, whose pages the next one needs. Getting them from the system again, cleared, was most of the processor
/// time of ingest with 250.
const PURGE_DELAY_MILLIS: std::ffi::c_long = 10_000;
/// The same above `COLLECT_PERCENT` of the ceiling.
const PURGE_DELAY_PRESSED_MILLIS: std::ffi::c_long = 10;
/// `mi_option_purge_delay` of mimalloc's enumeration of options, which the bindings do not name.
const OPTION_PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// Ingest is let in again when this share of the ceiling is reached from above, in percent.
const RESUME_PERCENT: u64 = 92;
/// Above this share of the ceiling the allocator is told to give back what it keeps, in percent.
const COLLECT_PERCENT: u64 = 60;

/// What the watch sees, for metrics.
#[derive(Debug, Default)]
pub(crate) struct MemoryState {
    pub(crate) resident: AtomicU64,
    pub(crate) refusing: AtomicBool,
    /// How often ingest was closed.
    pub(crate) closed: AtomicU64,
}

/// Options of the allocator that must be set before it is used much.
pub(crate) fn configure_allocator() {
    set_purge_delay(PURGE_DELAY_MILLIS);
}

fn set_purge_delay(millis: std::ffi::c_long) {
    // SAFETY: sets an integer option of the allocator; any value is allowed at any time.
    unsafe { libmimalloc_sys::mi_option_set(OPTION_PURGE_DELAY, millis) };
}

/// Watches until `stop`. While memory is above `ceiling`, all of `ingest` is held, so that receivers refuse before
/// they read a body.
pub(crate) async fn watch(
    ceiling: u64,
    ingest: MemoryBudget,
    state: Arc<MemoryState>,
    stop: CancellationToken,
) {
    let mut held: Option<Reservation> = None;
    let mut pressed = false;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        let now = resident();
        state.resident.store(now, Ordering::Relaxed);
        let above = now > ceiling / 100 * COLLECT_PERCENT;
        if above != pressed {
            pressed = above;
            set_purge_delay(if above {
                PURGE_DELAY_PRESSED_MILLIS
            } else {
                PURGE_DELAY_MILLIS
            });
        }
        if above {
            collect();
        }
        match &mut held {
            None if now > ceiling => {
                tracing::warn!(
                    resident_bytes = now,
                    ceiling_bytes = ceiling,
                    "memory ceiling reached, refusing ingest"
                );
                state.closed.fetch_add(1, Ordering::Relaxed);
                state.refusing.store(true, Ordering::Relaxed);
                held = Some(ingest.reservation());
                hold_all(&ingest, &mut held);
            }
            Some(_) if now <= ceiling / 100 * RESUME_PERCENT => {
                tracing::info!(
                    resident_bytes = now,
                    "memory is below the ceiling, taking ingest again"
                );
                state.refusing.store(false, Ordering::Relaxed);
                held = None;
            }
            // Requests that ended have given back budget: it is held too.
            Some(_) => hold_all(&ingest, &mut held),
            None => {}
        }
    }
}

fn hold_all(ingest: &MemoryBudget, held: &mut Option<Reservation>) {
    if let Some(reservation) = held {
        // Refused when a request took something in between; the next look holds that too.
        let _ = reservation.try_grow(ingest.available());
    }
}

fn collect() {
    // SAFETY: asks the allocator to give back unused memory, at once; it takes no pointers.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
