//! Segments: sorted, immutable Parquet files of one tenant, table and hour. Writing them from sealed chunks, merging
//! several into one, and deciding which rows a filter names.
//!
//! Refuses: knowing where files live or which of them count. That is the catalog's.

mod filter;
mod gather;
mod layout;
mod memory;
mod merge;
mod meta;
mod properties;
mod sort;
mod words;
mod write;

use bytes::Bytes;

pub use filter::{Comparison, Literal, RowFilter};
pub(crate) use layout::write_value;
pub use memory::{merge_memory, write_memory};
pub use merge::{SegmentSource, merge, read};
pub use meta::{AttributeKeys, PromotedKey, RestKey, SegmentMeta};
pub use words::{WORD_BLOCK_BYTES, WordIndex, for_each_word, may_have_word, word_block, word_hash};
pub use write::write;

use crate::schema::Table;

/// Nanoseconds of the hour segments are partitioned by.
pub const HOUR_NANOS: i64 = 3_600_000_000_000;

/// The partition of a time: hours since 1970, rounded down.
pub fn hour_of(timestamp: i64) -> i64 {
    timestamp.div_euclid(HOUR_NANOS)
}

/// How segments are written.
#[derive(Debug, Clone)]
pub struct SegmentOptions {
    /// Most rows of a row group.
    pub row_group_rows_max: usize,
    pub zstd_level: i32,
    /// A merge starts the next file when the one at hand has reached this size.
    pub segment_bytes_max: usize,
}

impl Default for SegmentOptions {
    fn default() -> SegmentOptions {
        SegmentOptions {
            row_group_rows_max: 131_072,
            zstd_level: 1,
            segment_bytes_max: 512 << 20,
        }
    }
}

/// A finished Parquet file and what the catalog keeps about it.
#[derive(Debug, Clone)]
pub struct EncodedSegment {
    /// Hours since 1970: of every row (a flush), or of the earliest row (a merge over several hours).
    pub hour: i64,
    pub bytes: Bytes,
    pub meta: SegmentMeta,
}

/// Why a segment could not be written, read or filtered.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    #[error("could not build columns of table {table}")]
    Arrow {
        table: Table,
        source: arrow::error::ArrowError,
    },
    #[error("could not read or write Parquet of table {table}")]
    Parquet {
        table: Table,
        source: parquet::errors::ParquetError,
    },
    #[error("column {column} of table {table} is missing or has an unexpected type: {found}")]
    Column {
        table: Table,
        column: String,
        found: String,
    },
    #[error("the file holds format {found:?} of table {table}, expected {expected}")]
    Format {
        table: Table,
        found: Option<String>,
        expected: &'static str,
    },
}
