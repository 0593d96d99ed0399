//! Memory of one query, drawn from the budget that ingest draws on too.

use std::fmt;

use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait, RecordBatch};
use arrow::datatypes::DataType;
use cupola_telemetry::memory::{MemoryBudget, Reservation};
use datafusion::common::{Result, resources_datafusion_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use parking_lot::Mutex;

/// A pool with the ceiling of one query inside the shared budget.
///
/// Operators that can spill share fairly what the others leave: each is told to spill when it has its share, so that
/// one that came first does not leave nothing to merge with.
pub(crate) struct QueryMemory {
    budget: MemoryBudget,
    held: Mutex<Held>,
}

struct Held {
    reservation: Reservation,
    /// Operators that can spill.
    spilling: usize,
    /// Bytes of operators that cannot.
    unspillable: usize,
}

impl QueryMemory {
    pub(crate) fn new(shared: &MemoryBudget, bytes_max: Option<usize>) -> QueryMemory {
        let budget = shared.child(bytes_max.unwrap_or_else(|| shared.ceiling()));
        let held = Held {
            reservation: budget.reservation(),
            spilling: 0,
            unspillable: 0,
        };
        QueryMemory {
            budget,
            held: Mutex::new(held),
        }
    }

    fn refuse(&self, reservation: &MemoryReservation, additional: usize, left: usize) -> Result<()> {
        Err(resources_datafusion_err!(
            "{} asked for {additional} bytes, {left} are left of {}",
            reservation.consumer().name(),
            self.budget.ceiling()
        ))
    }
}

impl MemoryPool for QueryMemory {
    fn name(&self) -> &str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            self.held.lock().spilling += 1;
        }
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            let mut held = self.held.lock();
            held.spilling = held.spilling.saturating_sub(1);
        }
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        let mut held = self.held.lock();
        held.reservation.grow(additional);
        if !reservation.consumer().can_spill() {
            held.unspillable += additional;
        }
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let mut held = self.held.lock();
        held.reservation.shrink(shrink);
        if !reservation.consumer().can_spill() {
            held.unspillable = held.unspillable.saturating_sub(shrink);
        }
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let mut held = self.held.lock();
        let can_spill = reservation.consumer().can_spill();
        if can_spill {
            let share = self.budget.ceiling().saturating_sub(held.unspillable) / held.spilling.max(1);
            if reservation.size() + additional > share {
                return self.refuse(reservation, additional, share.saturating_sub(reservation.size()));
            }
        }
        if !held.reservation.try_grow(additional) {
            return self.refuse(reservation, additional, self.budget.available());
        }
        if !can_spill {
            held.unspillable += additional;
        }
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.held.lock().reservation.bytes()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.budget.ceiling())
    }
}

/// Bytes of the values of a batch. What it refers to may be more by far: a text column of rows in memory refers to all
/// the payloads they came in.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(array_bytes).sum()
}

pub(crate) fn array_bytes(array: &ArrayRef) -> usize {
    /// Of a view, which holds short values itself.
    const VIEW_BYTES: usize = 16;
    match array.data_type() {
        DataType::Utf8View => array.len() * VIEW_BYTES + array.as_string_view().total_buffer_bytes_used(),
        DataType::BinaryView => array.len() * VIEW_BYTES + array.as_binary_view().total_buffer_bytes_used(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            items_bytes(list.value_offsets(), list.values())
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            items_bytes(list.value_offsets(), list.values())
        }
        DataType::Map(_, _) => {
            let map = array.as_map();
            let entries: ArrayRef = std::sync::Arc::new(map.entries().clone());
            items_bytes(map.value_offsets(), &entries)
        }
        DataType::Struct(_) => array.as_struct().columns().iter().map(array_bytes).sum(),
        _ => {
            let data = array.to_data();
            data.get_slice_memory_size()
                .unwrap_or_else(|_| array.get_array_memory_size())
        }
    }
}

fn items_bytes<O: OffsetSizeTrait>(offsets: &[O], items: &ArrayRef) -> usize {
    let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else {
        return 0;
    };
    let (first, last) = (first.as_usize(), last.as_usize());
    std::mem::size_of_val(offsets) + array_bytes(&items.slice(first, last - first))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringViewArray};

    use super::*;

    #[test]
    fn a_slice_counts_as_what_it_shows() {
        let long = "x".repeat(1000);
        let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(vec![long.as_str(); 100]));
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
        let batch = RecordBatch::try_from_iter([("text", texts), ("number", numbers)]).unwrap();
        assert!(batch_bytes(&batch) >= 100 * 1016);
        assert_eq!(batch_bytes(&batch.slice(7, 1)), 1000 + 16 + 8);
        assert_eq!(batch_bytes(&batch.slice(7, 0)), 0);
    }
}
