//! The store: write-ahead log, memtable, segments, catalog, compaction, retention, recovery.
//!
//! [`Store::append`] returns when a batch is durable (its log record is synced) and visible (the next [`Snapshot`] has
//! it). A memtable generation that is large or old enough becomes sorted Parquet segments, in one commit of the
//! [`catalog`] that also says up to where the log is in segments. Readers hold snapshots: nothing they see changes or
//! disappears while they hold it.
//!
//! Refuses: SQL (the query crate), receiving (the pipeline crate), reading the environment (the binary).

pub mod catalog;
mod clock;
pub mod columns;
mod config;
mod doctor;
mod engine;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod io;
mod journal;
mod memtable;
pub mod readback;
mod report;
pub mod schema;
pub mod segment;
pub mod series;
mod snapshot;
mod status;
mod store;
mod version;

pub use clock::{Clock, SystemClock};
pub use config::{CompactionConfig, MEMORY_BYTES_DEFAULT, RetainedSignal, RetentionRule, StoreConfig};
pub use engine::HeldDirectory;
pub use error::{AppendError, StoreError};
pub use journal::{JOURNAL_DIRECTORY, JOURNAL_FORMAT};
pub use report::{
    CompactionReport, DamagedRecord, DeletionReport, DoctorReport, FlushReport, Problem, ProblemKind,
    RecoveryReport,
};
pub use schema::{AttributeSet, Table};
pub use segment::{Comparison, Literal, RowFilter, SegmentMeta};
pub use snapshot::{AttributeKey, Snapshot, TableSnapshot};
pub use status::{StoreCounters, StoreStatus};
pub use store::{DeleteRequest, Store};
pub use version::{InvalidSegment, Segment};
