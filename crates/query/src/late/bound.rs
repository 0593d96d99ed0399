//! The time that the newest rows are certainly not older than, from the page indexes that are in memory: a page whose
//! oldest row is from noon has all its rows since noon. Pages without a newer row are then not read at all.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, DynamicFilterPhysicalExpr, Literal};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, split_conjunction};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;

use crate::scan::SnapshotSource;
use crate::tables::ColumnSource;

const TIMESTAMP: &str = "timestamp";

/// A condition that the first `fetch` rows in this order pass; `None` where nothing is known before.
pub(super) fn newest_rows(
    source: &SnapshotSource,
    order: &LexOrdering,
    fetch: usize,
) -> Option<Arc<dyn PhysicalExpr>> {
    let first = order.first();
    let column = first.expr.downcast_ref::<Column>()?;
    if !first.options.descending || column.name() != TIMESTAMP || !passes_everything(source) {
        return None;
    }
    let mut pages = Vec::new();
    for files in &source.files {
        if files.part.columns.get(TIMESTAMP) != Some(&ColumnSource::Column(TIMESTAMP)) {
            return None;
        }
        for segment in files.segments.values() {
            let metadata = source.metadata.get(&segment.path)?;
            add_pages(&metadata, &mut pages)?;
        }
    }
    let oldest = oldest_of_newest(pages, fetch as u64)?;
    let (index, field) = source.output.column_with_name(TIMESTAMP)?;
    let value = ScalarValue::TimestampNanosecond(Some(oldest), None)
        .cast_to(field.data_type())
        .ok()?;
    Some(Arc::new(BinaryExpr::new(
        Arc::new(Column::new(TIMESTAMP, index)),
        Operator::GtEq,
        Arc::new(Literal::new(value)),
    )))
}

/// Whether the scan gives every row, but for what the sort itself knows better.
fn passes_everything(source: &SnapshotSource) -> bool {
    let own = |term: &Arc<dyn PhysicalExpr>| term.downcast_ref::<DynamicFilterPhysicalExpr>().is_some();
    let predicate = source.predicate.iter();
    source.fetch.is_none() && predicate.flat_map(split_conjunction).all(own)
}

/// The oldest time and the number of rows of each page of timestamps.
fn add_pages(metadata: &ParquetMetaData, pages: &mut Vec<(i64, u64)>) -> Option<()> {
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
    Some(())
}

/// The oldest time of the pages that certainly have the `wanted` newest rows, or newer ones.
fn oldest_of_newest(mut pages: Vec<(i64, u64)>, wanted: u64) -> Option<i64> {
    pages.sort_unstable_by_key(|(oldest, _)| std::cmp::Reverse(*oldest));
    let mut rows = 0;
    for (oldest, more) in pages {
        rows += more;
        if rows >= wanted {
            return Some(oldest);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::oldest_of_newest;

    #[test]
    fn enough_rows_are_at_least_as_new() {
        let pages = vec![(10, 5), (30, 2), (20, 4), (5, 100)];
        assert_eq!(oldest_of_newest(pages.clone(), 2), Some(30));
        assert_eq!(oldest_of_newest(pages.clone(), 3), Some(20));
        assert_eq!(oldest_of_newest(pages.clone(), 7), Some(10));
        assert_eq!(oldest_of_newest(pages.clone(), 111), Some(5));
        assert_eq!(oldest_of_newest(pages, 112), None);
    }
}
