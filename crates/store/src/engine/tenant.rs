//! What the engine remembers of tenants between seals. All of it can be made again: those idle longest are forgotten
//! when there are many, for names of tenants come from senders.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use cupola_telemetry::memory::{MemoryBudget, Reservation};
use cupola_telemetry::{Signal, TenantId};
use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::schema::PromotionProfiles;
use crate::series::SeriesRegistry;

use super::Engine;

/// Tenants remembered while others are idle; each is some ten kilobytes.
const TENANTS_KEPT_MAX: usize = 256;
/// The series of all tenants take at most one part in so many of the memory budget.
const SERIES_SHARE: usize = 3;

#[derive(Debug, Default)]
pub(super) struct Tenants {
    states: HashMap<TenantId, Arc<TenantState>>,
    /// Counts uses.
    clock: u64,
}

impl Tenants {
    fn get(&mut self, tenant: &TenantId) -> Arc<TenantState> {
        self.clock += 1;
        if !self.states.contains_key(tenant) && self.states.len() >= TENANTS_KEPT_MAX {
            self.forget_idle();
        }
        let state = self.states.entry(tenant.clone()).or_default();
        state.used.store(self.clock, Ordering::Relaxed);
        state.clone()
    }

    /// Forgets half of those that nobody is using.
    fn forget_idle(&mut self) {
        let idle = self.states.iter().filter(|(_, state)| is_idle(state));
        let mut idle: Vec<(u64, TenantId)> = idle
            .map(|(tenant, state)| (state.used.load(Ordering::Relaxed), tenant.clone()))
            .collect();
        idle.sort_unstable_by_key(|(used, _)| *used);
        for (_, tenant) in idle.iter().take(TENANTS_KEPT_MAX / 2) {
            self.states.remove(tenant);
        }
    }

    /// Bytes that the series of all tenants take.
    pub(super) fn series_bytes(&self) -> usize {
        let bytes = |state: &Arc<TenantState>| state.series_bytes.load(Ordering::Relaxed);
        self.states.values().map(bytes).sum()
    }

    /// All but one, those used longest ago first.
    fn others(&self, than: &TenantState) -> Vec<Arc<TenantState>> {
        let states = self.states.values();
        let others = states.filter(|state| !std::ptr::eq(Arc::as_ptr(state), than));
        let mut others: Vec<Arc<TenantState>> = others.cloned().collect();
        others.sort_by_key(|state| state.used.load(Ordering::Relaxed));
        others
    }
}

/// Whoever uses a state got it from the table, which is locked.
fn is_idle(state: &Arc<TenantState>) -> bool {
    Arc::strong_count(state) == 1
}

#[derive(Debug, Default)]
pub(super) struct TenantState {
    pub(super) profiles: Arc<PromotionProfiles>,
    series: Mutex<Arc<SeriesRegistry>>,
    /// What the registry counts in the memory budget, and how much that is.
    series_memory: Mutex<Option<Reservation>>,
    series_bytes: AtomicUsize,
    used: AtomicU64,
    gates: [tokio::sync::Mutex<()>; 3],
}

impl TenantState {
    /// Held by whoever turns batches of this signal into columns, so that they become columns in the order of the log:
    /// the row of a metric series is always in an older or the same generation as the first point that refers to it.
    pub(super) fn gate(&self, signal: Signal) -> &tokio::sync::Mutex<()> {
        &self.gates[match signal {
            Signal::Logs => 0,
            Signal::Metrics => 1,
            Signal::Traces => 2,
        }]
    }

    pub(super) fn series(&self) -> Arc<SeriesRegistry> {
        self.series.lock().clone()
    }

    /// Counts what the registry holds. It is held already: the next append pays.
    fn count_series(&self, budget: &MemoryBudget) {
        let needed = self.series().memory_bytes();
        let mut slot = self.series_memory.lock();
        let memory = slot.get_or_insert_with(|| budget.reservation());
        let held = memory.bytes();
        memory.shrink(held.saturating_sub(needed));
        memory.grow(needed.saturating_sub(held));
        self.series_bytes.store(needed, Ordering::Relaxed);
    }

    /// Forgets all series: they are loaded again, day by day, when they are needed. Only while the gate of metrics is held.
    fn forget_series(&self) {
        *self.series.lock() = Arc::default();
        self.series_memory.lock().take();
        self.series_bytes.store(0, Ordering::Relaxed);
    }

    /// Forgets all series at the end of what may remove their rows, however that ends. Only while the gate of metrics is
    /// held, and for less long.
    pub(super) fn forget_series_afterwards(&self) -> ForgetSeries<'_> {
        ForgetSeries(self)
    }
}

#[must_use = "dropping it forgets the series"]
pub(super) struct ForgetSeries<'a>(&'a TenantState);

impl Drop for ForgetSeries<'_> {
    fn drop(&mut self) {
        self.0.forget_series();
    }
}

impl Engine {
    pub(super) fn tenant(&self, tenant: &TenantId) -> Arc<TenantState> {
        self.tenants.lock().get(tenant)
    }

    /// Counts the series of a tenant and forgets others, and in the end its own, beyond the share of all. Only while its
    /// gate of metrics is held.
    pub(super) fn bound_series(&self, state: &TenantState) {
        let budget = &self.config.memory;
        state.count_series(budget);
        let share = budget.ceiling() / SERIES_SHARE;
        let mut held = self.tenants.lock().series_bytes();
        if held <= share {
            return;
        }
        let others = self.tenants.lock().others(state);
        for other in others {
            // Between loading a day and giving ids of it nobody may take it away.
            let Ok(_gate) = other.gate(Signal::Metrics).try_lock() else {
                continue;
            };
            held -= other.series_bytes.load(Ordering::Relaxed).min(held);
            other.forget_series();
            if held <= share {
                return;
            }
        }
        let own = state.series_bytes.load(Ordering::Relaxed);
        let rest = held.saturating_sub(own);
        state.series().shrink(share.saturating_sub(rest));
        state.count_series(budget);
    }
}
