//! Memory of one query, drawn from the budget that ingest draws on too.

use std::fmt;

use cupola_telemetry::memory::{MemoryBudget, Reservation};
use datafusion::common::Result;
use datafusion::common::resources_datafusion_err;
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool, MemoryReservation};
use parking_lot::Mutex;

/// A pool with the ceiling of one query inside the shared budget. What does not fit makes operators spill.
pub(crate) struct QueryMemory {
    budget: MemoryBudget,
    held: Mutex<Reservation>,
}

impl QueryMemory {
    pub(crate) fn new(shared: &MemoryBudget, bytes_max: Option<usize>) -> QueryMemory {
        let budget = shared.child(bytes_max.unwrap_or_else(|| shared.ceiling()));
        let held = Mutex::new(budget.reservation());
        QueryMemory { budget, held }
    }
}

impl MemoryPool for QueryMemory {
    fn name(&self) -> &str {
        "query"
    }

    fn grow(&self, _reservation: &MemoryReservation, additional: usize) {
        self.held.lock().grow(additional);
    }

    fn shrink(&self, _reservation: &MemoryReservation, shrink: usize) {
        self.held.lock().shrink(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        if self.held.lock().try_grow(additional) {
            return Ok(());
        }
        Err(resources_datafusion_err!(
            "{} asked for {additional} bytes, {} are left of {}",
            reservation.consumer().name(),
            self.budget.available(),
            self.budget.ceiling()
        ))
    }

    fn reserved(&self) -> usize {
        self.held.lock().bytes()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.budget.ceiling())
    }
}

impl fmt::Debug for QueryMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryMemory")
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for QueryMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "query(used: {}, ceiling: {})",
            self.budget.used(),
            self.budget.ceiling()
        )
    }
}
