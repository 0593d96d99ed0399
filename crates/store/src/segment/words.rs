//! The word index of a segment: for every few thousand rows a filter that says which words their bodies cannot hold.
//!
//! It lies in the segment's file, between the last row group and the footer, where readers of Parquet do not look.
//! Merges write it and flushes do not: fresh rows are few and are searched one by one. A word is a run of letters,
//! digits and `_`, in lower case: what the SQL function `match` searches for.
//!
//! Each filter is a split block Bloom filter as Parquet defines it (blocks of 32 bytes, one bit in each of their eight
//! words), with XXH3 as hash and any number of blocks. Refuses: reading files, and saying that a word *is* there.

use std::borrow::Cow;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int8Type;
use cupola_telemetry::json::plain_of_stored;
use hashbrown::HashSet;
use rustc_hash::FxBuildHasher;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::schema::ValueType;

const BODY: &str = "body";
const BODY_TYPE: &str = "body_type";
/// Rows that share a filter.
pub(crate) const WORD_ROWS: usize = 8192;
/// Bytes of a block of a filter.
pub const WORD_BLOCK_BYTES: usize = 32;
/// Bits of a filter for each word: about one wrong "maybe" in a hundred.
const BITS_PER_WORD: usize = 10;
/// Odd numbers that spread a hash over the eight words of a block; fixed by the Parquet format.
const SALT: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// Where the word index of a segment is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordIndex {
    /// In the file.
    pub offset: u64,
    pub bytes: u64,
    /// Rows that share a filter, the last of them fewer.
    pub rows: u32,
}

impl WordIndex {
    /// Number of filters for this many rows.
    pub fn filters(&self, rows: u64) -> usize {
        rows.div_ceil(u64::from(self.rows.max(1))) as usize
    }

    /// The bytes in the file that hold the number of blocks of each filter.
    pub fn directory_range(&self, rows: u64) -> std::ops::Range<u64> {
        self.offset..self.offset + 4 * self.filters(rows) as u64
    }
}

/// The hash of a word in lower case.
pub fn word_hash(lower: &str) -> u64 {
    xxh3_64(lower.as_bytes())
}

/// Which block of a filter of `blocks` blocks a word is in.
pub fn word_block(hash: u64, blocks: u32) -> u32 {
    // The product is below 2^64, its upper half below `blocks`.
    (((hash >> 32) * u64::from(blocks)) >> 32) as u32
}

/// Whether a word may be in the rows whose block for it this is.
pub fn may_have_word(block: &[u8], hash: u64) -> bool {
    let mut words = block.chunks_exact(4);
    SALT.iter().all(|salt| {
        let bit = bit_of(hash, *salt);
        match words.next() {
            Some(&[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]) & bit != 0,
            _ => true,
        }
    })
}

fn bit_of(hash: u64, salt: u32) -> u32 {
    1 << ((hash as u32).wrapping_mul(salt) >> 27)
}

/// Calls `found` with every word of a text, in lower case.
pub fn for_each_word(text: &str, mut found: impl FnMut(&str)) {
    let mut lower = String::new();
    if text.is_ascii() {
        let words = text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
        for word in words.filter(|word| !word.is_empty()) {
            lower.clear();
            lower.push_str(word);
            lower.make_ascii_lowercase();
            found(&lower);
        }
        return;
    }
    let words = text.split(|character: char| !(character.is_alphanumeric() || character == '_'));
    for word in words.filter(|word| !word.is_empty()) {
        found(&word.to_lowercase());
    }
}

/// Collects the words of the rows being written.
#[derive(Debug, Default)]
pub(super) struct WordIndexBuilder {
    words: HashSet<u64, FxBuildHasher>,
    rows: usize,
    /// The bodies of these rows could not be read: their words are not known.
    unknown: bool,
    blocks: Vec<u32>,
    filters: Vec<u8>,
}

impl WordIndexBuilder {
    pub(super) fn observe(&mut self, batch: &RecordBatch) {
        let bodies = batch
            .column_by_name(BODY)
            .and_then(|array| array.as_string_view_opt());
        let types = batch
            .column_by_name(BODY_TYPE)
            .and_then(|array| array.as_primitive_opt::<Int8Type>());
        for row in 0..batch.num_rows() {
            match (bodies, types) {
                (Some(bodies), Some(types)) if bodies.is_valid(row) => {
                    self.add(bodies.value(row), types.value(row));
                }
                (Some(_), Some(_)) => {}
                _ => self.unknown = true,
            }
            self.rows += 1;
            if self.rows == WORD_ROWS {
                self.finish_filter();
            }
        }
    }

    /// Adds the words of a body as it is searched: of a structured one, those of its plain JSON.
    fn add(&mut self, body: &str, tag: i8) {
        let is_structured = tag == ValueType::Array.tag() || tag == ValueType::List.tag();
        let searched = match is_structured {
            true => Cow::from(plain_of_stored(body)),
            false => Cow::from(body),
        };
        for_each_word(&searched, |word| {
            self.words.insert(word_hash(word));
        });
    }

    fn finish_filter(&mut self) {
        let bits = self.words.len().max(1) * BITS_PER_WORD;
        let blocks = match self.unknown {
            // No filter: everything may be there.
            true => 0,
            false => bits.div_ceil(8 * WORD_BLOCK_BYTES) as u32,
        };
        let start = self.filters.len();
        self.filters.resize(start + blocks as usize * WORD_BLOCK_BYTES, 0);
        if blocks > 0 {
            for hash in &self.words {
                let block = start + word_block(*hash, blocks) as usize * WORD_BLOCK_BYTES;
                insert(&mut self.filters[block..block + WORD_BLOCK_BYTES], *hash);
            }
        }
        self.blocks.push(blocks);
        self.words.clear();
        self.rows = 0;
        self.unknown = false;
    }

    /// The bytes to put into the file: the number of blocks of each filter, then the filters.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.rows > 0 {
            self.finish_filter();
        }
        let mut bytes = Vec::with_capacity(4 * self.blocks.len() + self.filters.len());
        for blocks in &self.blocks {
            bytes.extend_from_slice(&blocks.to_le_bytes());
        }
        bytes.extend_from_slice(&self.filters);
        bytes
    }
}

fn insert(block: &mut [u8], hash: u64) {
    for (word, salt) in block.chunks_exact_mut(4).zip(SALT) {
        let bit = bit_of(hash, salt).to_le_bytes();
        for (byte, bit) in word.iter_mut().zip(bit) {
            *byte |= bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for_each_word(text, |word| found.push(word.to_owned()));
        found
    }

    #[test]
    fn words_are_runs_of_letters_digits_and_underscores() {
        assert_eq!(
            words("GET /cart/42: Time_Out!"),
            ["get", "cart", "42", "time_out"]
        );
        assert_eq!(words("“Größe” → ÜBER 5"), ["größe", "über", "5"]);
        assert!(words(" -- ").is_empty());
    }

    #[test]
    fn a_filter_has_every_word_and_few_others() {
        let mut builder = WordIndexBuilder::default();
        for number in 0..20_000 {
            builder.words.insert(word_hash(&format!("word{number}")));
        }
        builder.rows = 1;
        let bytes = builder.finish();
        let blocks = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let may_have = |word: &str| {
            let hash = word_hash(word);
            let at = 4 + word_block(hash, blocks) as usize * WORD_BLOCK_BYTES;
            may_have_word(&bytes[at..at + WORD_BLOCK_BYTES], hash)
        };
        assert!((0..20_000).all(|number| may_have(&format!("word{number}"))));
        let wrong = (0..20_000)
            .filter(|number| may_have(&format!("other{number}")))
            .count();
        assert!(wrong < 600, "{wrong} of 20,000 words that are not there");
    }
}
