//! Counters of the store and what they read now. Every bound of the configuration has a number here that shows when it
//! is reached.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counted since the store was opened; each only grows.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: AtomicU64),* }

        /// Counted since the store was opened; each only grows.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct StoreCounters { $($(#[$doc])* pub $name: u64),* }

        impl Counters {
            pub(crate) fn read(&self) -> StoreCounters {
                StoreCounters { $($name: self.$name.load(Ordering::Relaxed)),* }
            }
        }
    };
}

counters! {
    /// Batches acknowledged, their items, and their bytes of OTLP.
    appended_batches,
    appended_items,
    appended_bytes,
    /// Batches refused because the memory budget was full.
    refused_overloaded,
    /// Batches refused because the disk was full.
    refused_storage_full,
    /// Batches refused because the log could not be written.
    refused_failed,
    /// Batches refused as larger than `batch_bytes_max`, or than memory can hold as columns.
    refused_too_large,
    /// Syncs of the log; each acknowledges a group of batches.
    journal_syncs,
    /// Nanoseconds spent in them.
    journal_sync_nanos,
    /// Bytes written to the log, compressed.
    journal_bytes,
    /// Log files given up after a failed write or sync.
    journal_poisoned,
    sealed_rows,
    seal_nanos,
    /// Batches that could not be turned into columns, and tables of a flush that could not be written as segments:
    /// kept in `quarantine/`.
    seal_failures,
    segment_failures,
    flushes,
    flush_failures,
    flushed_rows,
    flushed_bytes,
    flush_nanos,
    compactions,
    compaction_failures,
    compacted_bytes_read,
    compacted_bytes_written,
    retention_runs,
    retention_failures,
    retention_rows,
    deleted_rows,
    catalog_commits,
    catalog_conflicts,
    /// Segment files removed after nothing referred to them any more.
    segments_removed,
    segment_removal_failures,
    /// Live-tail batches, counted once per batch whatever the number of subscribers.
    tailed_batches,
}

pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// The state of the store at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    pub tenants: u64,
    pub segments: u64,
    pub segment_bytes: u64,
    pub segment_rows: u64,
    pub manifest_version: u64,
    /// Bytes of OTLP in the generation being written, and in those waiting to be flushed.
    pub active_bytes: u64,
    pub frozen_bytes: u64,
    pub frozen_generations: u64,
    pub memory_used: u64,
    pub memory_ceiling: u64,
    pub journal_files: u64,
    /// Batches that wait for the writer of the log, and the most that may before their senders wait.
    pub journal_queued_batches: u64,
    pub journal_queued_batches_max: u64,
    /// The last sequence number acknowledged, and the last one that is in segments.
    pub journal_sequence: u64,
    pub flushed_sequence: u64,
    pub series_registry_bytes: u64,
    pub subscribers: u64,
    /// Whether the last attempt to write the log failed.
    pub journal_failing: bool,
    pub counters: StoreCounters,
}
