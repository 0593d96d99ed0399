//! The order of rows in a segment: by service (or series), then time; and their partition by hour.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch, StringViewArray, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::{TimestampNanosecondType, UInt64Type};
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::{SegmentError, hour_of};
use crate::schema::{Table, column};

/// Most segments of one table that a flush writes for one tenant.
const HOURS_MAX: usize = 48;

/// One row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SortKey {
    /// Rank of the service, or the series id.
    major: u64,
    timestamp: i64,
    pub(crate) batch: u32,
    pub(crate) row: u32,
}

impl SortKey {
    /// Both fields as one number, which compares in two steps without a branch between.
    fn order(&self) -> u128 {
        u128::from(self.major) << 64 | u128::from(self.timestamp as u64 ^ 1 << 63)
    }
}

/// The rows of the batches by hour, each hour sorted; at most [`HOURS_MAX`], the last of them for all other hours. Rows that compare equal stay in the order they came.
pub(crate) fn sort(
    table: Table,
    batches: &[RecordBatch],
) -> Result<BTreeMap<i64, Vec<SortKey>>, SegmentError> {
    let ranks = match table.sort_column() {
        column::SERVICE_NAME => Some(ServiceRanks::of(table, batches)?),
        _ => None,
    };
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    let mut hours: BTreeMap<i64, Vec<SortKey>> = BTreeMap::new();
    let mut current: (i64, Vec<SortKey>) = (i64::MIN, Vec::with_capacity(rows));
    for (index, batch) in batches.iter().enumerate() {
        let timestamps = timestamps(table, batch)?;
        let majors = match &ranks {
            Some(ranks) => ranks.rows(services(table, batch)?),
            None => series_ids(table, batch)?.values().to_vec(),
        };
        for (row, (major, timestamp)) in majors.into_iter().zip(timestamps.values()).enumerate() {
            let hour = hour_of(*timestamp);
            if hour != current.0 {
                let next = hours.remove(&hour).unwrap_or_default();
                let previous = std::mem::replace(&mut current, (hour, next));
                if !previous.1.is_empty() {
                    hours.insert(previous.0, previous.1);
                }
            }
            let (batch, row) = (index as u32, row as u32);
            current.1.push(SortKey {
                major,
                timestamp: *timestamp,
                batch,
                row,
            });
        }
    }
    if !current.1.is_empty() {
        hours.insert(current.0, current.1);
    }
    bound(&mut hours);
    for keys in hours.values_mut() {
        // Stable: rows that compare equal stay in the order they came.
        keys.sort_by_key(SortKey::order);
    }
    Ok(hours)
}

/// Puts the hours with the fewest rows together where there are too many: senders choose timestamps, and must not
/// choose how many files there are.
fn bound(hours: &mut BTreeMap<i64, Vec<SortKey>>) {
    if hours.len() <= HOURS_MAX {
        return;
    }
    let mut by_rows: Vec<(usize, i64)> = hours.iter().map(|(hour, keys)| (keys.len(), *hour)).collect();
    by_rows.sort_unstable_by(|a, b| b.cmp(a));
    let mut first = i64::MAX;
    let mut together = Vec::new();
    for (_, hour) in by_rows.split_off(HOURS_MAX - 1) {
        first = first.min(hour);
        together.extend(hours.remove(&hour).unwrap_or_default());
    }
    hours.insert(first, together);
}

pub(crate) fn timestamps(
    table: Table,
    batch: &RecordBatch,
) -> Result<&TimestampNanosecondArray, SegmentError> {
    let found = batch.column_by_name(column::TIMESTAMP);
    match found.and_then(|array| array.as_primitive_opt::<TimestampNanosecondType>()) {
        Some(array) => Ok(array),
        None => Err(wrong_column(table, column::TIMESTAMP, found.map(AsRef::as_ref))),
    }
}

pub(crate) fn series_ids(table: Table, batch: &RecordBatch) -> Result<&UInt64Array, SegmentError> {
    let found = batch.column_by_name(column::SERIES_ID);
    match found.and_then(|array| array.as_primitive_opt::<UInt64Type>()) {
        Some(array) => Ok(array),
        None => Err(wrong_column(table, column::SERIES_ID, found.map(AsRef::as_ref))),
    }
}

pub(crate) fn services(table: Table, batch: &RecordBatch) -> Result<&StringViewArray, SegmentError> {
    let found = batch.column_by_name(column::SERVICE_NAME);
    match found.and_then(|array| array.as_string_view_opt()) {
        Some(array) => Ok(array),
        None => Err(wrong_column(
            table,
            column::SERVICE_NAME,
            found.map(AsRef::as_ref),
        )),
    }
}

fn wrong_column(table: Table, column: &str, found: Option<&dyn Array>) -> SegmentError {
    let found = found.map_or_else(|| "nothing".to_owned(), |array| array.data_type().to_string());
    SegmentError::Column {
        table,
        column: column.to_owned(),
        found,
    }
}

/// Service names as numbers in the order of the names; rows without one come first.
struct ServiceRanks<'a> {
    ranks: HashMap<&'a str, u64, FxBuildHasher>,
}

impl<'a> ServiceRanks<'a> {
    fn of(table: Table, batches: &'a [RecordBatch]) -> Result<ServiceRanks<'a>, SegmentError> {
        let mut names: HashMap<&str, u64, FxBuildHasher> = HashMap::default();
        for batch in batches {
            let array = services(table, batch)?;
            let mut last = None;
            for row in 0..array.len() {
                let view = array.views()[row];
                if last != Some(view) && array.is_valid(row) {
                    last = Some(view);
                    names.insert(array.value(row), 0);
                }
            }
        }
        let mut sorted: Vec<&str> = names.keys().copied().collect();
        sorted.sort_unstable();
        for (rank, name) in sorted.into_iter().enumerate() {
            names.insert(name, rank as u64 + 1);
        }
        Ok(ServiceRanks { ranks: names })
    }

    fn rows(&self, array: &StringViewArray) -> Vec<u64> {
        let mut last: Option<(u128, u64)> = None;
        (0..array.len())
            .map(|row| {
                if array.is_null(row) {
                    return 0;
                }
                let view = array.views()[row];
                match last {
                    Some((seen, rank)) if seen == view => rank,
                    _ => {
                        let rank = self.ranks.get(array.value(row)).copied().unwrap_or(0);
                        last = Some((view, rank));
                        rank
                    }
                }
            })
            .collect()
    }
}
