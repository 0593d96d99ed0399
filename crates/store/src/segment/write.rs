//! Sealed chunks of one tenant and table to sorted Parquet files, one per hour.

use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;

use super::gather::gather;
use super::layout::Layout;
use super::meta::MetaBuilder;
use super::properties::properties;
use super::sort::{SortKey, sort};
use super::words::{WORD_ROWS, WordIndex, WordIndexBuilder};
use super::{EncodedSegment, SegmentError, SegmentOptions, hour_of};
use crate::schema::{KeyStatistics, PromotionProfile, Table};

/// Rows gathered and encoded at a time.
pub(crate) const WRITE_ROWS: usize = 16_384;

/// Sorts, partitions by hour and encodes rows. The chunks may differ in promoted columns.
pub fn write(
    table: Table,
    chunks: &[RecordBatch],
    options: &SegmentOptions,
) -> Result<Vec<EncodedSegment>, SegmentError> {
    let chunks: Vec<RecordBatch> = chunks
        .iter()
        .filter(|chunk| chunk.num_rows() > 0)
        .cloned()
        .collect();
    if chunks.is_empty() {
        return Ok(Vec::new());
    }
    let profile = PromotionProfile::decide(table, &KeyStatistics::of(&chunks));
    let layout = Layout::new(table, &profile);
    let chunks = chunks
        .iter()
        .map(|chunk| layout.conform(chunk))
        .collect::<Result<Vec<_>, _>>()?;
    let hours = sort(table, &chunks)?;
    hours
        .into_values()
        .map(|keys| write_hour(&layout, &chunks, &keys, options))
        .collect()
}

fn write_hour(
    layout: &Layout,
    chunks: &[RecordBatch],
    keys: &[SortKey],
    options: &SegmentOptions,
) -> Result<EncodedSegment, SegmentError> {
    let mut writer: Option<SegmentWriter> = None;
    let mut rows = Vec::with_capacity(WRITE_ROWS);
    for slice in keys.chunks(WRITE_ROWS) {
        rows.clear();
        rows.extend(slice.iter().map(|key| (key.batch as usize, key.row as usize)));
        let batch = gather(chunks, &rows).map_err(|source| SegmentError::Arrow {
            table: layout.table,
            source,
        })?;
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(SegmentWriter::new(layout, &batch, options)?),
        };
        writer.write(&batch)?;
    }
    match writer {
        Some(writer) => writer.finish(),
        None => SegmentWriter::new(layout, &RecordBatch::new_empty(layout.schema.clone()), options)?.finish(),
    }
}

/// One Parquet file being written to memory.
pub(crate) struct SegmentWriter {
    table: Table,
    writer: ArrowWriter<Vec<u8>>,
    meta: MetaBuilder,
    words: Option<WordIndexBuilder>,
}

impl SegmentWriter {
    /// `sample` are the first rows, from which encodings are chosen.
    pub(crate) fn new(
        layout: &Layout,
        sample: &RecordBatch,
        options: &SegmentOptions,
    ) -> Result<SegmentWriter, SegmentError> {
        let table = layout.table;
        let properties = properties(table, &layout.schema, sample, options)?;
        let writer = ArrowWriter::try_new(Vec::new(), layout.schema.clone(), Some(properties))
            .map_err(|source| SegmentError::Parquet { table, source })?;
        Ok(SegmentWriter {
            table,
            writer,
            meta: MetaBuilder::default(),
            words: None,
        })
    }

    /// With an index of the words of bodies, where the table has bodies.
    pub(crate) fn with_words(mut self) -> SegmentWriter {
        self.words = (self.table == Table::Logs).then(WordIndexBuilder::default);
        self
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), SegmentError> {
        self.meta.observe(batch);
        if let Some(words) = &mut self.words {
            words.observe(batch);
        }
        self.writer.write(batch).map_err(|source| SegmentError::Parquet {
            table: self.table,
            source,
        })
    }

    /// Bytes written and about to be written.
    pub(crate) fn bytes_estimate(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    pub(crate) fn finish(mut self) -> Result<EncodedSegment, SegmentError> {
        let table = self.table;
        let failed = |source| SegmentError::Parquet { table, source };
        let mut word_index = None;
        if let Some(words) = self.words.take() {
            let section = words.finish();
            self.writer.flush().map_err(failed)?;
            word_index = Some(WordIndex {
                offset: self.writer.bytes_written() as u64,
                bytes: section.len() as u64,
                rows: WORD_ROWS as u32,
            });
            self.writer
                .write_all(&section)
                .map_err(|error| failed(error.into()))?;
        }
        let bytes = self.writer.into_inner().map_err(failed)?;
        let mut meta = self.meta.finish(table.attribute_sets(), bytes.len() as u64);
        meta.words = word_index;
        let hour = hour_of(meta.min_timestamp);
        Ok(EncodedSegment {
            hour,
            bytes: Bytes::from(bytes),
            meta,
        })
    }
}
