//! Watching resident memory: the last line of defence behind the budgets. Above the ceiling ingest is refused until the
//! process has shrunk; freed memory is given back to the system.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cupola_telemetry::memory::{MemoryBudget, Reservation};
use tokio_util::sync::CancellationToken;

use crate::allocator::collect;
use crate::config::memory::resident;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Ingest is let in again when this share of the ceiling is reached from above, in percent.
const RESUME_PERCENT: u64 = 92;
/// Below it the allocator is told so less often: what it gives back, the next generation of the memtable needs again.
const LOOKS_PER_COLLECT: u32 = 100;
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

/// Watches until `stop`. While memory is above `ceiling`, all of `ingest` is held, so that receivers refuse before
/// they read a body.
pub(crate) async fn watch(
    ceiling: u64,
    ingest: MemoryBudget,
    state: Arc<MemoryState>,
    stop: CancellationToken,
) {
    let mut held: Option<Reservation> = None;
    let mut looked = 0;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        let now = resident();
        state.resident.store(now, Ordering::Relaxed);
        looked = (looked + 1) % LOOKS_PER_COLLECT;
        if looked == 0 || now > ceiling / 100 * COLLECT_PERCENT {
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
