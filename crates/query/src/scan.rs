//! Scanning a table of a snapshot: Parquet segments and memtable chunks as one leaf of the plan.

mod chunks;
mod files;
mod provider;
mod pruning;
mod pushdown;
mod reader;
mod source;
mod statistics;

pub(crate) use provider::SnapshotTable;
pub(crate) use reader::MetadataCache;
pub(crate) use source::SnapshotSource;
