//! Rows by their place: which file or chunk, and which row of it.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::common::{Result, exec_err};
use parquet::arrow::arrow_reader::RowSelection;

use super::rule::{FILE_COLUMN, ROW_COLUMN};

/// Row numbers by file or chunk, ascending.
pub(super) type Places = BTreeMap<String, Vec<u64>>;

pub(super) fn places(batches: &[RecordBatch]) -> Result<Places> {
    let mut places = Places::new();
    for batch in batches {
        let files = batch
            .column_by_name(FILE_COLUMN)
            .and_then(|column| column.as_string_opt::<i32>());
        let rows = batch
            .column_by_name(ROW_COLUMN)
            .and_then(|column| column.as_primitive_opt::<Int64Type>());
        let (Some(files), Some(rows)) = (files, rows) else {
            return exec_err!("the places of rows are missing");
        };
        for row in 0..batch.num_rows() {
            let Ok(number) = u64::try_from(rows.value(row)) else {
                return exec_err!("{} is no row number", rows.value(row));
            };
            if files.is_null(row) || rows.is_null(row) {
                return exec_err!("a row has no place");
            }
            match places.get_mut(files.value(row)) {
                Some(known) => known.push(number),
                None => {
                    places.insert(files.value(row).to_owned(), vec![number]);
                }
            }
        }
    }
    places.values_mut().for_each(|rows| rows.sort_unstable());
    Ok(places)
}

/// A selection of these rows out of `total`.
pub(super) fn selection(rows: &[u64], total: u64) -> RowSelection {
    let ranges = rows.iter().map(|row| *row as usize..*row as usize + 1);
    RowSelection::from_consecutive_ranges(ranges, total as usize)
}
