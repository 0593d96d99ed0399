//! How much memory writing and merging take besides their input, so that it can be reserved. Estimates on the safe side
//! of what `examples/working_memory.rs` counts.

use arrow::array::RecordBatch;

use super::merge::read_rows_max;
use super::write::WRITE_ROWS;
use super::{SegmentMeta, SegmentOptions};
use crate::schema::{Table, base_fields};

/// A cell: a view or a number, its validity, and its share of the text.
const CELL_BYTES: usize = 24;
/// Encoders of a file's columns: dictionaries, and pages begun.
const ENCODERS_BYTES: usize = 8 << 20;
/// A row's place in the order, in a vector that has grown by doubling, and the row in the file.
const WRITTEN_ROW_BYTES: usize = 140;
/// Rows of a page, which is unpacked as a whole, and how much smaller they are in it than as rows.
const PAGE_ROWS: usize = 16_384;
const PAGE_SHARE: usize = 5;

/// For [`super::write`] of these rows.
pub fn write_memory(table: Table, chunks: &[RecordBatch]) -> usize {
    let rows: usize = chunks.iter().map(RecordBatch::num_rows).sum();
    let columns = chunks.iter().map(RecordBatch::num_columns).max().unwrap_or(0);
    output_memory(row_bytes(table, columns), rows) + rows * WRITTEN_ROW_BYTES
}

/// For [`super::merge`] of these segments from files.
pub fn merge_memory(table: Table, inputs: &[&SegmentMeta], options: &SegmentOptions) -> usize {
    let columns = inputs
        .iter()
        .map(|input| columns(table, input))
        .max()
        .unwrap_or(0);
    let row_bytes = row_bytes(table, columns);
    let read_rows = read_rows_max(inputs.len());
    let (mut read, mut rows_total, mut bytes) = (0, 0, 0);
    for input in inputs {
        let rows = usize::try_from(input.rows).unwrap_or(usize::MAX);
        read += rows.min(read_rows) * row_bytes + rows.min(PAGE_ROWS) * row_bytes / PAGE_SHARE;
        rows_total = rows.saturating_add(rows_total);
        bytes = usize::try_from(input.bytes)
            .unwrap_or(usize::MAX)
            .saturating_add(bytes);
    }
    let written = bytes.min(options.segment_bytes_max.saturating_mul(2));
    read + output_memory(row_bytes, rows_total) + written
}

/// Rows gathered at a time, and the encoders.
fn output_memory(row_bytes: usize, rows: usize) -> usize {
    rows.min(WRITE_ROWS) * row_bytes + ENCODERS_BYTES
}

/// A row in memory. Lists and maps are as wide as what is in them, which is not known here.
fn row_bytes(table: Table, columns: usize) -> usize {
    let nested = match table {
        Table::Logs | Table::Spans | Table::Samples => 0,
        Table::Summaries | Table::Exemplars => 256,
        Table::Series => 512,
        Table::Histograms | Table::ExponentialHistograms => 1024,
    };
    columns * CELL_BYTES + nested
}

fn columns(table: Table, meta: &SegmentMeta) -> usize {
    let promoted: usize = meta.attributes.iter().map(|keys| keys.promoted.len()).sum();
    base_fields(table).len() + promoted
}
