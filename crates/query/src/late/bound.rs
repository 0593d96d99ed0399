//! The time that the newest rows are certainly not older than, from the page indexes that are in memory: a page whose
//! oldest row is from noon has all its rows since noon. Pages without a newer row are then not read at all.
//!
//! Under a filter nobody knows how many of the newest rows pass. So a share of them is tried first, and more only when
//! too few were found.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, DynamicFilterPhysicalExpr, Literal};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, split_conjunction};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;

use crate::scan::SnapshotSource;
use crate::tables::ColumnSource;

pub(super) const TIMESTAMP: &str = "timestamp";
/// Attempts look through one part in so many of the rows…
const ATTEMPT_SHARES: [u64; 2] = [128, 8];
/// …but so many at least for each wanted one.
const ATTEMPT_FACTOR: u64 = 256;
/// More than one part in so many is not worth an attempt.
const ATTEMPT_SHARE_MAX: u64 = 4;

/// A lower bound of the times that are looked through.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    /// Nanoseconds since 1970.
    pub(super) oldest: i64,
    /// `timestamp >= oldest`, over the output of the source.
    pub(super) condition: Arc<dyn PhysicalExpr>,
}

/// The pages of timestamps in all files of a scan, newest first, where it is known what is in them.
pub(super) struct Pages<'a> {
    source: &'a SnapshotSource,
    /// The oldest time and the number of rows of each.
    pages: Vec<(i64, u64)>,
}

impl Pages<'_> {
    /// `None` unless the newest rows come first in this order.
    pub(super) fn of<'a>(source: &'a SnapshotSource, order: &LexOrdering) -> Option<Pages<'a>> {
        let first = order.first();
        let column = first.expr.downcast_ref::<Column>()?;
        if !first.options.descending || column.name() != TIMESTAMP {
            return None;
        }
        let mut pages = Vec::new();
        for files in &source.files {
            if files.part.columns.get(TIMESTAMP) != Some(&ColumnSource::Column(TIMESTAMP)) {
                return None;
            }
            for segment in files.segments.values() {
                let metadata = source.metadata.get(&segment.path);
                match metadata.as_deref().and_then(pages_of) {
                    Some(known) => pages.extend(known),
                    // Not read so far, perhaps as it is too old to matter: one page, as far as is known.
                    None => pages.push((segment.min_timestamp, segment.rows)),
                }
            }
        }
        pages.sort_unstable_by_key(|(oldest, _)| std::cmp::Reverse(*oldest));
        Some(Pages { source, pages })
    }

    /// What the first `fetch` rows in the order certainly pass; `None` where something else leaves rows out.
    pub(super) fn of_first(&self, fetch: usize) -> Option<Bound> {
        match passes_everything(self.source) {
            true => self.bound(fetch as u64),
            false => None,
        }
    }

    /// Bounds of ever more of the newest rows, in which `fetch` rows that pass a filter may be found without looking
    /// through all.
    pub(super) fn attempts(&self, fetch: usize) -> Vec<Bound> {
        let total: u64 = self.pages.iter().map(|(_, rows)| rows).sum();
        let rows = ATTEMPT_SHARES.map(|share| (total / share).max(ATTEMPT_FACTOR * fetch as u64));
        let worth = rows.into_iter().filter(|rows| *rows <= total / ATTEMPT_SHARE_MAX);
        worth.filter_map(|rows| self.bound(rows)).collect()
    }

    /// A bound that at least so many rows are not older than.
    fn bound(&self, rows: u64) -> Option<Bound> {
        let oldest = oldest_of_newest(&self.pages, rows)?;
        let (index, field) = self.source.output.column_with_name(TIMESTAMP)?;
        let value = ScalarValue::TimestampNanosecond(Some(oldest), None)
            .cast_to(field.data_type())
            .ok()?;
        let condition = Arc::new(BinaryExpr::new(
            Arc::new(Column::new(TIMESTAMP, index)),
            Operator::GtEq,
            Arc::new(Literal::new(value)),
        ));
        Some(Bound { oldest, condition })
    }
}

/// Whether the scan gives every row, but for what the sort itself knows better.
fn passes_everything(source: &SnapshotSource) -> bool {
    let own = |term: &Arc<dyn PhysicalExpr>| term.downcast_ref::<DynamicFilterPhysicalExpr>().is_some();
    let predicate = source.predicate.iter();
    source.fetch.is_none() && predicate.flat_map(split_conjunction).all(own)
}

/// The oldest time and the number of rows of each page of timestamps.
fn pages_of(metadata: &ParquetMetaData) -> Option<Vec<(i64, u64)>> {
    let mut pages = Vec::new();
    let columns = metadata.file_metadata().schema_descr().columns();
    let column = columns
        .iter()
        .position(|column| column.path().string() == TIMESTAMP)?;
    let (indexes, offsets) = (metadata.column_index()?, metadata.offset_index()?);
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let ColumnIndexMetaData::INT64(index) = indexes.get(number)?.get(column)? else {
            return None;
        };
        let starts = offsets.get(number)?.get(column)?.page_locations();
        let rows = group.num_rows();
        for (page, oldest) in index.min_values_iter().enumerate() {
            let start = starts.get(page)?.first_row_index;
            let end = starts.get(page + 1).map_or(rows, |next| next.first_row_index);
            pages.push((*oldest?, u64::try_from(end - start).ok()?));
        }
    }
    Some(pages)
}

/// The oldest time of the pages that certainly have the `wanted` newest rows, or newer ones.
fn oldest_of_newest(newest_first: &[(i64, u64)], wanted: u64) -> Option<i64> {
    let mut rows = 0;
    for (oldest, more) in newest_first {
        rows += more;
        if rows >= wanted {
            return Some(*oldest);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::oldest_of_newest;

    #[test]
    fn enough_rows_are_at_least_as_new() {
        let pages = [(30, 2), (20, 4), (10, 5), (5, 100)];
        assert_eq!(oldest_of_newest(&pages, 2), Some(30));
        assert_eq!(oldest_of_newest(&pages, 3), Some(20));
        assert_eq!(oldest_of_newest(&pages, 7), Some(10));
        assert_eq!(oldest_of_newest(&pages, 111), Some(5));
        assert_eq!(oldest_of_newest(&pages, 112), None);
    }
}
