//! What the indexes in segments say about a filter before rows are read: the Bloom filters of `trace_id` leave out row
//! groups, the word index leaves out runs of rows.
//!
//! Of each filter only the blocks that matter are read, 32 bytes for a value, so that a search through hundreds of row
//! groups costs hundreds of small reads and not megabytes. Indexes only ever leave out; the filter itself is evaluated
//! on what is left. Whatever is missing or unreadable leaves nothing out.

use std::ops::Range;
use std::sync::Arc;

use cupola_store::Segment;
use cupola_store::segment::{WORD_BLOCK_BYTES, for_each_word, may_have_word, word_block, word_hash};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, InListExpr, LikeExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr, split_conjunction};
use futures::StreamExt;
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::RowSelection;
use parquet::bloom_filter::Sbbf;
use parquet::file::metadata::ParquetMetaData;
use xxhash_rust::xxh64::xxh64;

use super::reader::SegmentReaderFactory;
use crate::functions::support::literal_text;
use crate::functions::text::MatchWords;
use crate::tables::{ColumnSource, Part};

/// The column with Bloom filters.
const INDEXED_ID: &str = "trace_id";
/// Segments asked at the same time.
const SEGMENTS_AT_ONCE: usize = 8;
/// More ids than this are not looked up one by one.
const IDS_MAX: usize = 64;

type Expression = Arc<dyn PhysicalExpr>;

/// What every row that passes a filter must have.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// For each condition on `trace_id`: one of these.
    ids: Vec<Vec<Vec<u8>>>,
    /// Words in the body, by their hashes.
    words: Vec<u64>,
}

/// A segment and its rows that may pass; `None` is all of them.
pub(super) type Candidate = (Arc<Segment>, Option<RowSelection>);

impl Wanted {
    /// From a filter over the logical schema, for the rows of one part.
    pub(super) fn of(predicate: Option<&Expression>, part: &Part) -> Wanted {
        let mut wanted = Wanted::default();
        for term in predicate.into_iter().flat_map(split_conjunction) {
            wanted.add(term, part);
        }
        wanted
    }

    fn add(&mut self, term: &Expression, part: &Part) {
        if let Some(binary) = term.downcast_ref::<BinaryExpr>() {
            if *binary.op() != Operator::Eq {
                return;
            }
            let sides = [(binary.left(), binary.right()), (binary.right(), binary.left())];
            for (column, value) in sides {
                let (Some(source), Some(text)) = (source_of(column, part), text_of(value)) else {
                    continue;
                };
                match source {
                    ColumnSource::Id(INDEXED_ID, _) => self.add_ids([text]),
                    ColumnSource::Body => for_each_word(text, |word| self.words.push(word_hash(word))),
                    _ => {}
                }
            }
        } else if let Some(list) = term.downcast_ref::<InListExpr>() {
            let texts: Option<Vec<&str>> = list.list().iter().map(text_of).collect();
            if let (false, Some(ColumnSource::Id(INDEXED_ID, _)), Some(texts)) =
                (list.negated(), source_of(list.expr(), part), texts)
            {
                self.add_ids(texts);
            }
        } else if let Some(like) = term.downcast_ref::<LikeExpr>() {
            let exact = !like.negated() && !like.case_insensitive();
            if let (true, Some(ColumnSource::Body), Some(pattern)) =
                (exact, source_of(like.expr(), part), text_of(like.pattern()))
            {
                self.words.extend(words_of_pattern(pattern));
            }
        } else if let Some(call) = ScalarFunctionExpr::try_downcast_func::<MatchWords>(term.as_ref())
            && let [column, words] = call.args()
            && let (Some(ColumnSource::Body), Some(words)) = (source_of(column, part), text_of(words))
        {
            for_each_word(words, |word| self.words.push(word_hash(word)));
        }
    }

    fn add_ids<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) {
        // Text that is no id is equal to none.
        let ids: Vec<Vec<u8>> = texts
            .into_iter()
            .filter_map(|text| hex::decode(text).ok())
            .collect();
        if ids.len() <= IDS_MAX {
            self.ids.push(ids);
        }
    }

    /// Whether Bloom filters have been asked for all there is to ask them.
    pub(super) fn asks_ids(&self) -> bool {
        !self.ids.is_empty()
    }

    /// Leaves out segments and rows.
    pub(super) async fn candidates(
        &self,
        segments: Vec<Arc<Segment>>,
        readers: &SegmentReaderFactory,
    ) -> Vec<Candidate> {
        if self.ids.is_empty() && self.words.is_empty() {
            return segments.into_iter().map(|segment| (segment, None)).collect();
        }
        futures::stream::iter(segments)
            .map(|segment| async move {
                let selection = self.select(&segment, readers).await;
                (segment, selection)
            })
            .buffered(SEGMENTS_AT_ONCE)
            .filter(|(_, selection)| {
                let any = selection.as_ref().is_none_or(RowSelection::selects_any);
                std::future::ready(any)
            })
            .collect()
            .await
    }

    async fn select(&self, segment: &Segment, readers: &SegmentReaderFactory) -> Option<RowSelection> {
        let by_words = self.select_by_words(segment, readers).await;
        let by_ids = match self.ids.is_empty() {
            true => None,
            false => self.select_by_ids(segment, readers).await,
        };
        match (by_words, by_ids) {
            (Some(words), Some(ids)) => Some(words.intersection(&ids)),
            (words, ids) => words.or(ids),
        }
    }

    /// Rows whose filters have all of the words.
    async fn select_by_words(
        &self,
        segment: &Segment,
        readers: &SegmentReaderFactory,
    ) -> Option<RowSelection> {
        let index = segment.meta.words.as_ref().filter(|_| !self.words.is_empty())?;
        let range = index.directory_range(segment.rows);
        let directory = readers.store.get_range(&segment.path, range.clone()).await.ok()?;
        let (entries, _) = directory.as_chunks::<4>();
        let sizes: Vec<u32> = entries.iter().map(|entry| u32::from_le_bytes(*entry)).collect();
        let mut ranges = Vec::with_capacity(sizes.len() * self.words.len());
        let mut start = range.end;
        for blocks in &sizes {
            for hash in self.words.iter().filter(|_| *blocks > 0) {
                let at = start + u64::from(word_block(*hash, *blocks)) * WORD_BLOCK_BYTES as u64;
                ranges.push(at..at + WORD_BLOCK_BYTES as u64);
            }
            start += u64::from(*blocks) * WORD_BLOCK_BYTES as u64;
        }
        let mut found = readers
            .store
            .get_ranges(&segment.path, &ranges)
            .await
            .ok()?
            .into_iter();
        let (rows, each) = (segment.rows as usize, index.rows as usize);
        let mut kept: Vec<Range<usize>> = Vec::new();
        for (number, blocks) in sizes.iter().enumerate() {
            let mut may = true;
            for hash in self.words.iter().filter(|_| *blocks > 0) {
                may &= may_have_word(&found.next()?, *hash);
            }
            if may {
                kept.push(number * each..((number + 1) * each).min(rows));
            }
        }
        (kept.len() < sizes.len()).then(|| RowSelection::from_consecutive_ranges(kept.into_iter(), rows))
    }

    /// Rows of the row groups whose Bloom filters have one of the ids of every condition.
    async fn select_by_ids(&self, segment: &Segment, readers: &SegmentReaderFactory) -> Option<RowSelection> {
        let metadata = readers.metadata(&segment.path, segment.bytes).await.ok()?;
        let filters = id_filters(&metadata)?;
        let mut ranges = Vec::new();
        for filter in &filters {
            ranges.extend(self.ids.iter().flatten().map(|id| filter.block_of(id)));
        }
        let mut found = readers
            .store
            .get_ranges(&segment.path, &ranges)
            .await
            .ok()?
            .into_iter();
        let (mut kept, mut before) = (Vec::new(), 0);
        for group in metadata.row_groups() {
            let mut may = true;
            for ids in &self.ids {
                let mut any = false;
                for id in ids {
                    any |= Sbbf::new(&found.next()?).check(id.as_slice());
                }
                may &= any;
            }
            let rows = usize::try_from(group.num_rows()).ok()?;
            if may {
                kept.push(before..before + rows);
            }
            before += rows;
        }
        Some(RowSelection::from_consecutive_ranges(kept.into_iter(), before))
    }
}

fn source_of<'a>(expression: &Expression, part: &'a Part) -> Option<&'a ColumnSource> {
    part.columns.get(expression.downcast_ref::<Column>()?.name())
}

fn text_of(expression: &Expression) -> Option<&str> {
    literal_text(expression.downcast_ref::<Literal>()?.value())
}

/// Words that a text must have whole to be like the pattern: those with something that is no word on both sides.
fn words_of_pattern(pattern: &str) -> Vec<u64> {
    let mut hashes = Vec::new();
    if pattern.contains('\\') {
        // Escaped wildcards are rare; nothing is left out for them.
        return hashes;
    }
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let pieces: Vec<&str> = pattern.split(['%', '_']).collect();
    for (number, piece) in pieces.iter().enumerate() {
        // At a wildcard a word may go on.
        let start = match number {
            0 => 0,
            _ => piece.find(|c| !is_word(c)).unwrap_or(piece.len()),
        };
        let end = match number + 1 == pieces.len() {
            true => piece.len(),
            false => piece.rfind(|c| !is_word(c)).unwrap_or(0),
        };
        if let Some(whole) = piece.get(start..end) {
            for_each_word(whole, |word| hashes.push(word_hash(word)));
        }
    }
    hashes
}

/// Where the bits of a Bloom filter are in the file.
struct IdFilter {
    start: u64,
    blocks: u64,
}

impl IdFilter {
    fn block_of(&self, id: &[u8]) -> Range<u64> {
        let block = ((xxh64(id, 0) >> 32) * self.blocks) >> 32;
        let at = self.start + block * WORD_BLOCK_BYTES as u64;
        at..at + WORD_BLOCK_BYTES as u64
    }
}

/// The filter of each row group; `None` unless all have one.
fn id_filters(metadata: &ParquetMetaData) -> Option<Vec<IdFilter>> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let column = columns
        .iter()
        .position(|column| column.path().string() == INDEXED_ID)?;
    let filter = |group: &parquet::file::metadata::RowGroupMetaData| {
        let chunk = group.columns().get(column)?;
        let offset = u64::try_from(chunk.bloom_filter_offset()?).ok()?;
        let length = u64::try_from(chunk.bloom_filter_length()?)
            .ok()
            .filter(|length| *length > 0)?;
        // A header of a few bytes, then the bits: always a power of two of bytes, and more than the header.
        let bits = 1 << length.ilog2();
        Some(IdFilter {
            start: offset + length - bits,
            blocks: bits / WORD_BLOCK_BYTES as u64,
        })
    };
    metadata.row_groups().iter().map(filter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_of_a_pattern_count() {
        let hashes = |words: &[&str]| words.iter().map(|word| word_hash(word)).collect::<Vec<_>>();
        for (pattern, words) in [
            ("%rownou%", &[][..]),
            ("%a brown fox%", &["brown"]),
            ("start of %", &["start", "of"]),
            ("% the End", &["the", "end"]),
            ("exactly this", &["exactly", "this"]),
            ("%one_two three%", &[]),
            ("%one_two three four%", &["three"]),
            ("%50\\% off now%", &[]),
            ("", &[]),
        ] {
            assert_eq!(words_of_pattern(pattern), hashes(words), "{pattern}");
        }
    }
}
