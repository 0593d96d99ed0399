//! What operations of the store have done, as numbers.

use serde::{Deserialize, Serialize};

/// What [`crate::Store::open`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryReport {
    /// The data directory was made by this call.
    pub created: bool,
    pub segments: u64,
    pub manifest_version: u64,
    /// Log files read, and batches and items taken from them because no segment had them yet.
    pub journal_files: u64,
    pub replayed_batches: u64,
    pub replayed_items: u64,
    /// Bytes cut from the end of log files: writes that were never acknowledged.
    pub torn_bytes: u64,
    /// Places in the log whose checksum was wrong. Data was lost there.
    pub damaged: Vec<DamagedRecord>,
    /// Old files that no manifest names, removed.
    pub orphans_removed: u64,
}

/// A damaged place of the write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedRecord {
    pub file: String,
    pub offset: u64,
    /// Bytes skipped.
    pub bytes: u64,
    /// What was wrong.
    pub reason: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlushReport {
    pub generations: u64,
    pub segments: u64,
    pub rows: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactionReport {
    pub merges: u64,
    pub segments_removed: u64,
    pub segments_added: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
}

/// What retention or a deletion did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionReport {
    pub rows: u64,
    pub segments_dropped: u64,
    pub segments_rewritten: u64,
    /// Of a deletion: files in `quarantine/` that went with their tenant, and those that are left and may hold such rows.
    pub quarantine_files_removed: u64,
    pub quarantine_files_left: u64,
}

/// What [`crate::Store::check`] found, and repaired when asked to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorReport {
    pub manifest_version: u64,
    pub segments: u64,
    pub rows: u64,
    pub journal_files: u64,
    pub journal_records: u64,
    pub problems: Vec<Problem>,
}

impl DoctorReport {
    pub fn is_healthy(&self) -> bool {
        self.problems.is_empty()
    }
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub kind: ProblemKind,
    /// The file, relative to the data directory or the object store's prefix.
    pub path: String,
    pub detail: String,
    pub repaired: bool,
    /// Rows that the catalog has of this file and that no statement finds any more once it is repaired.
    pub rows: u64,
    /// Where repair has moved the file, relative as `path` is.
    pub moved_to: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// A segment file that no manifest names. Harmless; repair removes it when it is a day old.
    Orphan,
    /// A manifest names a segment that is not there. Repair takes it from the catalog.
    Missing,
    /// A segment that is not readable Parquet of the right size. Repair takes it from the catalog and moves it to `quarantine/`.
    Unreadable,
    /// A damaged place in the write-ahead log. Reading skips it.
    DamagedLog,
    /// An unfinished write at the end of a log file. Harmless; reading cuts it.
    TornLog,
}
