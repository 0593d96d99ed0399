//! What the engine counts about itself. Every limit and bound has a number here that shows when it is hit.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::QueryError;

/// Counted since the engine was made; each only grows.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) statements: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) cancelled: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) time_limit: AtomicU64,
    pub(super) row_limit: AtomicU64,
    pub(super) byte_limit: AtomicU64,
    pub(super) memory_limit: AtomicU64,
    pub(super) slow: AtomicU64,
    pub(super) spills: AtomicU64,
    pub(super) spilled_bytes: AtomicU64,
    pub(super) rows_scanned: AtomicU64,
    pub(super) bytes_scanned: AtomicU64,
}

/// Counted since the engine was made; each only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueryCounters {
    /// Statements begun, however they ended.
    pub statements: u64,
    /// Those that failed for a reason that is none of the following.
    pub failed: u64,
    /// Those stopped by whoever asked, or by whoever asked going away.
    pub cancelled: u64,
    /// Those refused because too many were waiting.
    pub refused: u64,
    /// Those that ran into a limit: of time, of rows, of bytes of the answer, of memory.
    pub time_limit: u64,
    pub row_limit: u64,
    pub byte_limit: u64,
    pub memory_limit: u64,
    /// Those that took longer than [`crate::QueryConfig::slow_query`].
    pub slow: u64,
    /// How often an operator put rows on the disk, and how many bytes. Counted when the statement has ended.
    pub spills: u64,
    pub spilled_bytes: u64,
    /// Rows that left scans, and bytes read from segments. Counted when the statement has ended.
    pub rows_scanned: u64,
    pub bytes_scanned: u64,
}

/// The engine at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueryStatus {
    /// Statements that have a slot, and the most that may.
    pub running: u64,
    pub running_max: u64,
    /// Statements that wait for a slot, or for a thread that plans, and the most that may.
    pub waiting: u64,
    pub waiting_max: u64,
    /// Bytes of spilled rows on the disk, and the most there may be.
    pub spill_bytes: u64,
    pub spill_bytes_max: u64,
    /// Parsed file metadata held, and the most that is.
    pub metadata_cache_bytes: u64,
    pub metadata_cache_bytes_max: u64,
    pub counters: QueryCounters,
}

impl Counters {
    /// Counts how a statement, or the planning of one, ended.
    pub(super) fn ended(&self, error: &QueryError) {
        let counter = match error {
            QueryError::Cancelled => &self.cancelled,
            QueryError::Overloaded { .. } => &self.refused,
            QueryError::TimeLimit { .. } => &self.time_limit,
            QueryError::RowLimit { .. } => &self.row_limit,
            QueryError::ByteLimit { .. } => &self.byte_limit,
            QueryError::Memory { .. } => &self.memory_limit,
            _ => &self.failed,
        };
        add(counter, 1);
    }

    pub(super) fn read(&self) -> QueryCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        QueryCounters {
            statements: read(&self.statements),
            failed: read(&self.failed),
            cancelled: read(&self.cancelled),
            refused: read(&self.refused),
            time_limit: read(&self.time_limit),
            row_limit: read(&self.row_limit),
            byte_limit: read(&self.byte_limit),
            memory_limit: read(&self.memory_limit),
            slow: read(&self.slow),
            spills: read(&self.spills),
            spilled_bytes: read(&self.spilled_bytes),
            rows_scanned: read(&self.rows_scanned),
            bytes_scanned: read(&self.bytes_scanned),
        }
    }
}

pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}
