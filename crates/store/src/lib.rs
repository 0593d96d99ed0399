//! The store: write-ahead log, memtable, segments, catalog, compaction, retention, recovery.

pub mod schema;
pub mod segment;
pub mod series;
