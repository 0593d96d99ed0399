//! What fuzz targets need to see of private decoders; not part of any other build.
//!
//! Checksums are not compared while fuzzing: a fuzzer cannot guess them, and what is behind them must not panic either.

use cupola_telemetry::Batch;

use crate::catalog::check_manifest;
use crate::journal::scan_bytes;

/// What was found in the bytes of a log file.
pub struct JournalContents {
    /// Sequence numbers and batches, in order.
    pub records: Vec<(u64, Batch)>,
    /// Offset and length of each damaged place.
    pub damaged: Vec<(u64, u64)>,
    pub torn_bytes: u64,
}

/// Reads bytes as one log file: its header is looked for, records up to `after` are only checked.
pub fn journal_file(data: &[u8], after: u64, void_from: Option<u64>) -> JournalContents {
    let scan = scan_bytes(data, after, void_from);
    JournalContents {
        records: scan
            .records
            .into_iter()
            .map(|record| (record.sequence, record.batch))
            .collect(),
        damaged: scan
            .damaged
            .into_iter()
            .map(|damage| (damage.offset, damage.bytes))
            .collect(),
        torn_bytes: scan.torn_bytes,
    }
}

/// Reads bytes as a manifest and as a checkpoint; what can be read is written and read again, and must be equal.
pub fn manifest(data: &[u8]) {
    check_manifest(data);
}
