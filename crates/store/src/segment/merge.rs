//! Merges sorted segments into fewer, streaming: memory is some pages and rows of each input and the encoded output.

use std::cmp::Ordering;
use std::fs::File;

use arrow::array::{
    Array, BooleanArray, RecordBatch, StringViewArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::compute::filter_record_batch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::gather::gather;
use super::layout::Layout;
use super::sort::{series_ids, services, timestamps};
use super::write::{SegmentWriter, WRITE_ROWS};
use super::{EncodedSegment, RowFilter, SegmentError, SegmentMeta, SegmentOptions};
use crate::schema::{FORMAT_KEY, FORMAT_VERSION, KeyStatistics, PromotionProfile, Table, column};

/// Rows decoded at a time from all inputs together, and at least and at most from each: many inputs must not take many
/// times the memory of one.
const READ_ROWS: usize = 32_768;
const READ_ROWS_MIN: usize = 1024;
const READ_ROWS_MAX: usize = 8192;

/// Rows decoded at a time from each of so many inputs.
pub(super) fn read_rows_max(inputs: usize) -> usize {
    (READ_ROWS / inputs.max(1)).clamp(READ_ROWS_MIN, READ_ROWS_MAX)
}

/// The bytes of a segment to read.
#[derive(Debug)]
pub enum SegmentSource {
    Memory(Bytes),
    File(File),
}

/// Merges segments of one tenant and table; rows that `drop` names are left out. Gives nothing when no row is left.
pub fn merge(
    table: Table,
    inputs: Vec<(SegmentSource, &SegmentMeta)>,
    drop: Option<&RowFilter>,
    options: &SegmentOptions,
) -> Result<Vec<EncodedSegment>, SegmentError> {
    let mut statistics = KeyStatistics::default();
    for (_, meta) in &inputs {
        statistics.merge(&meta.key_statistics());
    }
    let layout = Layout::new(table, &PromotionProfile::decide(table, &statistics));
    let mut cursors = Vec::with_capacity(inputs.len());
    let rows_max = read_rows_max(inputs.len());
    for (source, _) in inputs {
        if let Some(cursor) = Cursor::open(source, &layout, drop, rows_max)? {
            cursors.push(cursor);
        }
    }
    let mut output = Output::new(&layout, options);
    while !cursors.is_empty() {
        let (next, until) = lowest(&cursors);
        let cursor = &mut cursors[next];
        output.take(cursor, until.as_ref())?;
        if cursor.row == cursor.batch.num_rows() && !cursor.advance(&layout, drop)? {
            // In order: of equal rows those of the earlier input stay first.
            cursors.remove(next);
        }
    }
    output.finish()
}

/// Reads all rows of a segment, in the layout it was written in.
pub fn read(table: Table, source: SegmentSource) -> Result<Vec<RecordBatch>, SegmentError> {
    open(table, source, READ_ROWS_MAX)?
        .map(|batch| batch.map_err(|source| SegmentError::Arrow { table, source }))
        .collect()
}

fn open(
    table: Table,
    source: SegmentSource,
    rows_max: usize,
) -> Result<ParquetRecordBatchReader, SegmentError> {
    match source {
        SegmentSource::Memory(bytes) => {
            build(table, ParquetRecordBatchReaderBuilder::try_new(bytes), rows_max)
        }
        SegmentSource::File(file) => build(table, ParquetRecordBatchReaderBuilder::try_new(file), rows_max),
    }
}

fn build<R: parquet::file::reader::ChunkReader + 'static>(
    table: Table,
    builder: parquet::errors::Result<ParquetRecordBatchReaderBuilder<R>>,
    rows_max: usize,
) -> Result<ParquetRecordBatchReader, SegmentError> {
    let builder = builder.map_err(|source| SegmentError::Parquet { table, source })?;
    let metadata = builder.metadata().file_metadata().key_value_metadata();
    let found = metadata
        .and_then(|entries| entries.iter().find(|entry| entry.key == FORMAT_KEY))
        .and_then(|entry| entry.value.clone());
    if found.as_deref() != Some(FORMAT_VERSION) {
        return Err(SegmentError::Format {
            table,
            found,
            expected: FORMAT_VERSION,
        });
    }
    builder
        .with_batch_size(rows_max)
        .build()
        .map_err(|source| SegmentError::Parquet { table, source })
}

/// What orders a row, kept apart from its batch.
#[derive(Debug, Clone)]
struct Position {
    major: Major,
    timestamp: i64,
}

#[derive(Debug, Clone)]
enum Major {
    Service(Option<String>),
    Series(u64),
}

/// The first ordering column of a batch.
enum MajorColumn {
    Service(StringViewArray),
    Series(UInt64Array),
}

/// One input: the batch at hand and the row in it.
struct Cursor {
    reader: ParquetRecordBatchReader,
    batch: RecordBatch,
    major: MajorColumn,
    timestamps: TimestampNanosecondArray,
    row: usize,
    /// Where `batch` is among the batches of the output, and since which of its writes.
    slot: Option<(u64, usize)>,
}

impl Cursor {
    fn open(
        source: SegmentSource,
        layout: &Layout,
        drop: Option<&RowFilter>,
        rows_max: usize,
    ) -> Result<Option<Cursor>, SegmentError> {
        let reader = open(layout.table, source, rows_max)?;
        let batch = RecordBatch::new_empty(layout.schema.clone());
        let (major, timestamps) = ordering(layout.table, &batch)?;
        let mut cursor = Cursor {
            reader,
            batch,
            major,
            timestamps,
            row: 0,
            slot: None,
        };
        Ok(cursor.advance(layout, drop)?.then_some(cursor))
    }

    /// Goes to the next batch with rows that stay; `false` at the end.
    fn advance(&mut self, layout: &Layout, drop: Option<&RowFilter>) -> Result<bool, SegmentError> {
        let table = layout.table;
        let arrow = |source| SegmentError::Arrow { table, source };
        for batch in self.reader.by_ref() {
            let mut batch = batch.map_err(arrow)?;
            if let Some(filter) = drop {
                let keep = !&filter.evaluate(&batch);
                if keep.count_set_bits() < batch.num_rows() {
                    batch = filter_record_batch(&batch, &BooleanArray::new(keep, None)).map_err(arrow)?;
                }
            }
            if batch.num_rows() > 0 {
                self.batch = layout.conform(&batch)?;
                (self.major, self.timestamps) = ordering(table, &self.batch)?;
                self.row = 0;
                self.slot = None;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn timestamp(&self, row: usize) -> i64 {
        self.timestamps.values()[row]
    }

    fn compare_to(&self, other: &Cursor) -> Ordering {
        let major = match (&self.major, &other.major) {
            (MajorColumn::Service(names), MajorColumn::Service(others)) => {
                text_at(names, self.row).cmp(&text_at(others, other.row))
            }
            (MajorColumn::Series(ids), MajorColumn::Series(others)) => {
                ids.values()[self.row].cmp(&others.values()[other.row])
            }
            // Both are of one table.
            _ => Ordering::Equal,
        };
        major.then_with(|| self.timestamp(self.row).cmp(&other.timestamp(other.row)))
    }

    fn position(&self) -> Position {
        let major = match &self.major {
            MajorColumn::Service(names) => Major::Service(text_at(names, self.row).map(str::to_owned)),
            MajorColumn::Series(ids) => Major::Series(ids.values()[self.row]),
        };
        Position {
            major,
            timestamp: self.timestamp(self.row),
        }
    }

    fn is_within(&self, row: usize, until: &Position) -> bool {
        let major = match (&self.major, &until.major) {
            (MajorColumn::Service(names), Major::Service(other)) => {
                text_at(names, row).cmp(&other.as_deref())
            }
            (MajorColumn::Series(ids), Major::Series(other)) => ids.values()[row].cmp(other),
            _ => Ordering::Equal,
        };
        major
            .then_with(|| self.timestamp(row).cmp(&until.timestamp))
            .is_le()
    }

    /// The first row after the current one that comes after `until`: doubling steps, then halving ones.
    fn run_end(&self, until: Option<&Position>) -> usize {
        let rows = self.batch.num_rows();
        let Some(until) = until else { return rows };
        let (mut low, mut step) = (self.row, 1);
        while low + step < rows && self.is_within(low + step, until) {
            low += step;
            step *= 2;
        }
        let mut high = (low + step).min(rows);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.is_within(middle, until) {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }
}

fn text_at(array: &StringViewArray, row: usize) -> Option<&str> {
    array.is_valid(row).then(|| array.value(row))
}

fn ordering(
    table: Table,
    batch: &RecordBatch,
) -> Result<(MajorColumn, TimestampNanosecondArray), SegmentError> {
    let major = match table.sort_column() {
        column::SERVICE_NAME => MajorColumn::Service(services(table, batch)?.clone()),
        _ => MajorColumn::Series(series_ids(table, batch)?.clone()),
    };
    Ok((major, timestamps(table, batch)?.clone()))
}

/// The cursor with the lowest row, the first of equal ones, and the lowest row of the others.
fn lowest(cursors: &[Cursor]) -> (usize, Option<Position>) {
    let (mut first, mut second): (usize, Option<usize>) = (0, None);
    for index in 1..cursors.len() {
        if cursors[index].compare_to(&cursors[first]).is_lt() {
            second = Some(first);
            first = index;
        } else if second.is_none_or(|second| cursors[index].compare_to(&cursors[second]).is_lt()) {
            second = Some(index);
        }
    }
    (first, second.map(|second| cursors[second].position()))
}

/// Rows on their way to the output files.
struct Output<'a> {
    layout: &'a Layout,
    options: &'a SegmentOptions,
    /// Batches the pending rows are in.
    batches: Vec<RecordBatch>,
    rows: Vec<(usize, usize)>,
    /// How often pending rows were written.
    writes: u64,
    writer: Option<SegmentWriter>,
    finished: Vec<EncodedSegment>,
}

impl<'a> Output<'a> {
    fn new(layout: &'a Layout, options: &'a SegmentOptions) -> Output<'a> {
        let (batches, rows, finished) = (Vec::new(), Vec::new(), Vec::new());
        Output {
            layout,
            options,
            batches,
            rows,
            writes: 0,
            writer: None,
            finished,
        }
    }

    /// Takes the rows of the cursor up to and including those equal to `until`.
    fn take(&mut self, cursor: &mut Cursor, until: Option<&Position>) -> Result<(), SegmentError> {
        let end = cursor.run_end(until);
        let slot = match cursor.slot {
            Some((writes, slot)) if writes == self.writes => slot,
            _ => {
                self.batches.push(cursor.batch.clone());
                self.batches.len() - 1
            }
        };
        cursor.slot = Some((self.writes, slot));
        self.rows.extend((cursor.row..end).map(|row| (slot, row)));
        cursor.row = end;
        if self.rows.len() >= WRITE_ROWS {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), SegmentError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let batch = gather(&self.batches, &self.rows).map_err(|source| SegmentError::Arrow {
            table: self.layout.table,
            source,
        })?;
        self.batches.clear();
        self.rows.clear();
        self.writes += 1;
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => SegmentWriter::new(self.layout, &batch, self.options)?.with_words(),
        };
        writer.write(&batch)?;
        if writer.bytes_estimate() >= self.options.segment_bytes_max {
            self.finished.push(writer.finish()?);
        } else {
            self.writer = Some(writer);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<EncodedSegment>, SegmentError> {
        self.write()?;
        if let Some(writer) = self.writer.take() {
            self.finished.push(writer.finish()?);
        }
        Ok(self.finished)
    }
}
