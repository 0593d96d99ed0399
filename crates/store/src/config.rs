//! What the store can be told: where data lives, how much memory, when to flush, compact and forget.
//!
//! Refuses: reading files or the environment. The binary fills these values in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Signal, TenantId};
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, SystemClock};
use crate::io::{Disk, FileSystem};
use crate::segment::{RowFilter, SegmentOptions};

/// How the URL of an object store that is a directory begins.
const LOCAL_SCHEME: &str = "file:";
/// Memory the store may take when nothing else is said.
pub const MEMORY_BYTES_DEFAULT: usize = 1 << 30;

/// Settings of a [`crate::Store`]. [`StoreConfig::new`] gives the defaults.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The data directory: write-ahead log always, segments and manifests unless `object_store_url` is set.
    pub directory: PathBuf,
    /// `s3://bucket/prefix`, `gs://…`, `az://…` or `file:///…`: where segments and manifests go instead.
    pub object_store_url: Option<String>,
    /// Options of the object store by the names `object_store` knows (`aws_access_key_id`, `aws_endpoint`, …).
    pub object_store_options: Vec<(String, String)>,
    /// Names in the data directory that are of whoever opens the store: one that holds nothing else is as good as empty.
    pub other_entries: Vec<String>,
    /// For asking a directory that a server will open again: nothing is taken, flushed, merged or removed, and the log stays
    /// as it is.
    pub read_only: bool,
    /// What memtables and background work may hold. Above it appends are refused as [`crate::AppendError::Overloaded`].
    pub memory: MemoryBudget,
    /// The active memtable generation is frozen and flushed when it has taken this many bytes of OTLP, or an eighth of
    /// the memory budget if that is less.
    pub flush_bytes_max: usize,
    /// …or when its oldest batch is this old.
    pub flush_interval: Duration,
    /// Raw batches of one tenant and signal are turned into columns beyond this many bytes.
    pub seal_bytes_max: usize,
    /// A log file is closed and the next one begun beyond this size.
    pub wal_segment_bytes_max: u64,
    /// Most bytes the log writes before it syncs; a larger single batch goes alone.
    pub wal_group_bytes_max: usize,
    /// Largest batch accepted, in bytes of OTLP.
    pub batch_bytes_max: usize,
    /// How long a sender is told to wait after a retryable refusal.
    pub retry_after: Duration,
    /// Batches a live-tail subscriber may lag behind before it loses some.
    pub subscription_batches_max: usize,
    pub segment: SegmentOptions,
    pub compaction: CompactionConfig,
    /// The first rule that names a row decides how long it is kept; a row no rule names is kept for ever.
    pub retention: Vec<RetentionRule>,
    /// Pause between background retention runs.
    pub retention_interval: Duration,
    /// A full copy of the catalog is written after this many commits.
    pub manifest_checkpoint_every: u64,
    /// Whether flushing by age, compaction and retention run by themselves.
    pub background: bool,
    pub file_system: Arc<dyn FileSystem>,
    pub clock: Arc<dyn Clock>,
}

impl StoreConfig {
    /// Defaults for a store in this directory.
    pub fn new(directory: impl Into<PathBuf>) -> StoreConfig {
        StoreConfig {
            directory: directory.into(),
            object_store_url: None,
            object_store_options: Vec::new(),
            other_entries: Vec::new(),
            read_only: false,
            memory: MemoryBudget::new(MEMORY_BYTES_DEFAULT),
            flush_bytes_max: 128 << 20,
            flush_interval: Duration::from_secs(30),
            seal_bytes_max: 4 << 20,
            wal_segment_bytes_max: 128 << 20,
            wal_group_bytes_max: 8 << 20,
            batch_bytes_max: 64 << 20,
            retry_after: Duration::from_secs(1),
            subscription_batches_max: 256,
            segment: SegmentOptions::default(),
            compaction: CompactionConfig::default(),
            retention: Vec::new(),
            retention_interval: Duration::from_secs(600),
            manifest_checkpoint_every: 64,
            background: true,
            file_system: Arc::new(Disk),
            clock: Arc::new(SystemClock),
        }
    }
}

impl StoreConfig {
    /// Whether segments are files of this machine.
    pub(crate) fn is_local(&self) -> bool {
        let url = self.object_store_url.as_deref();
        url.is_none_or(|url| url.starts_with(LOCAL_SCHEME))
    }
}

/// When segments are merged.
#[derive(Debug, Clone)]
pub struct CompactionConfig {
    /// Pause between background runs.
    pub interval: Duration,
    /// Files of similar size in one window that make a merge worth it.
    pub files_min: usize,
    /// Most files of one merge.
    pub files_max: usize,
    /// Files of this size, or of an eighth of the memory budget if that is less, are not merged again.
    pub segment_bytes_target: u64,
    /// A window is merged completely this long after it ended; late data waits for the next time.
    pub settle: Duration,
}

impl Default for CompactionConfig {
    fn default() -> CompactionConfig {
        CompactionConfig {
            interval: Duration::from_secs(15),
            files_min: 4,
            files_max: 32,
            segment_bytes_target: 128 << 20,
            settle: Duration::from_secs(2 * 3600),
        }
    }
}

/// How long rows are kept. Absent parts name everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetentionRule {
    pub signal: Option<RetainedSignal>,
    pub tenant: Option<String>,
    /// For metrics: evaluated on series, and names all points of a matching series.
    pub filter: Option<RowFilter>,
    /// Rows whose `timestamp` is older are dropped.
    pub keep: Duration,
}

/// A signal as written in a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetainedSignal {
    Logs,
    Metrics,
    Traces,
}

impl From<Signal> for RetainedSignal {
    fn from(signal: Signal) -> RetainedSignal {
        match signal {
            Signal::Logs => RetainedSignal::Logs,
            Signal::Metrics => RetainedSignal::Metrics,
            Signal::Traces => RetainedSignal::Traces,
        }
    }
}

impl RetentionRule {
    /// Everything of one signal, in all tenants.
    pub fn signal(signal: Signal, keep: Duration) -> RetentionRule {
        RetentionRule {
            signal: Some(signal.into()),
            tenant: None,
            filter: None,
            keep,
        }
    }

    pub(crate) fn names(&self, tenant: &TenantId, signal: Signal) -> bool {
        self.signal.is_none_or(|named| named == signal.into())
            && self
                .tenant
                .as_deref()
                .is_none_or(|named| named == tenant.as_str())
    }
}
