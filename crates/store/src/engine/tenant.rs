//! What the engine remembers of a tenant between seals.

use std::sync::Arc;

use cupola_telemetry::Signal;
use cupola_telemetry::memory::{MemoryBudget, Reservation};
use parking_lot::Mutex;

use crate::schema::PromotionProfiles;
use crate::series::SeriesRegistry;

#[derive(Debug, Default)]
pub(super) struct TenantState {
    pub(super) profiles: Arc<PromotionProfiles>,
    series: Mutex<Arc<SeriesRegistry>>,
    /// What the registry counts in the memory budget.
    series_memory: Mutex<Option<Reservation>>,
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
    pub(super) fn count_series(&self, budget: &MemoryBudget) {
        let needed = self.series().memory_bytes();
        let mut slot = self.series_memory.lock();
        let memory = slot.get_or_insert_with(|| budget.reservation());
        let held = memory.bytes();
        memory.shrink(held.saturating_sub(needed));
        memory.grow(needed.saturating_sub(held));
    }

    /// Forgets all series: they are loaded again, day by day, when they are needed. Only while the gate of metrics is held.
    pub(super) fn forget_series(&self) {
        *self.series.lock() = Arc::default();
        self.series_memory.lock().take();
    }
}
