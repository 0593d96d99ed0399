//! Why the store could not do what it was asked. Each message says what was not done; `source` keeps the cause.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::catalog::CatalogError;
use crate::columns::SealError;
use crate::schema::Table;
use crate::segment::SegmentError;
use crate::series::SeriesError;

/// Why a batch was not taken. Nothing of a refused batch is kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    #[error("the store's memory is full until a flush ends; send again after {retry_after:?}")]
    Overloaded { retry_after: Duration },
    #[error("the disk of the write-ahead log is full; send again after {retry_after:?}")]
    StorageFull { retry_after: Duration },
    #[error("the write-ahead log could not be written; send again after {retry_after:?}")]
    Failed {
        retry_after: Duration,
        source: Arc<std::io::Error>,
    },
    #[error("the store is shutting down")]
    Closed,
    #[error("the batch has {bytes} bytes, at most {bytes_max} are accepted")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error(
        "the batch would take {bytes} bytes of memory in columns, at most {bytes_max} are accepted; send fewer items at a time"
    )]
    TooWide { bytes: usize, bytes_max: usize },
}

impl AppendError {
    /// Whether sending the same batch again may succeed.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, AppendError::TooLarge { .. } | AppendError::TooWide { .. })
    }

    /// How long the sender should wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            AppendError::Overloaded { retry_after }
            | AppendError::StorageFull { retry_after }
            | AppendError::Failed { retry_after, .. } => Some(*retry_after),
            AppendError::Closed | AppendError::TooLarge { .. } | AppendError::TooWide { .. } => None,
        }
    }
}

/// Why an operation of the store failed. What was acknowledged before stays safe in every case.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("could not {action} {path:?}")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "the data directory {directory:?} is in use by another process{holder}; stop it, or choose another directory"
    )]
    Locked { directory: PathBuf, holder: String },
    #[error(
        "the data directory {directory:?} has format {found}, this version reads up to {supported}; use a newer Cupola"
    )]
    NewerFormat {
        directory: PathBuf,
        found: u64,
        supported: u64,
    },
    /// Nothing was changed in it.
    #[error("{directory:?} is not a Cupola data directory and is not empty; name an empty or a new one")]
    Foreign { directory: PathBuf },
    /// Whoever only looks does not make one.
    #[error("{directory:?} is not a Cupola data directory: there is no file FORMAT in it")]
    NotAStore { directory: PathBuf },
    #[error("{directory:?} is a file, not a directory")]
    NotADirectory { directory: PathBuf },
    #[error("this user may not use the data directory {directory:?}; run as its owner, or name another one")]
    Denied {
        directory: PathBuf,
        source: std::io::Error,
    },
    #[error("the data directory {directory:?} cannot be used; name one where there can be one")]
    Unusable {
        directory: PathBuf,
        source: std::io::Error,
    },
    #[error("the file {path:?} cannot be understood: {reason}")]
    Corrupt { path: PathBuf, reason: String },
    /// Parts of the directory cannot be of one store: going on could take data for flushed, or for nobody's.
    #[error("{path:?} does not go with the rest of the store: {reason}")]
    Inconsistent { path: PathBuf, reason: String },
    #[error("the object store URL {url:?} cannot be used")]
    ObjectStoreUrl {
        url: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "the segments of the data directory {directory:?} are in {recorded}, but they are looked for in {given}"
    )]
    OtherObjects {
        directory: PathBuf,
        recorded: String,
        given: String,
    },
    #[error("could not {action} {path} of the object store")]
    ObjectStore {
        action: &'static str,
        path: String,
        source: object_store::Error,
    },
    #[error("the catalog could not be read or changed")]
    Catalog(#[from] CatalogError),
    #[error("batches could not be turned into columns")]
    Seal(#[from] SealError),
    #[error("a segment of table {table} could not be written or merged")]
    Segment { table: Table, source: SegmentError },
    #[error("the series of a day could not be loaded")]
    Series(#[from] SeriesError),
    #[error(
        "the segment {path} cannot be read, and it is not known which series it has; take it out with the doctor"
    )]
    UnreadableSeries { path: String },
    #[error("the write-ahead log could not be rotated")]
    Journal(#[from] AppendError),
    #[error("the store is shutting down")]
    Closed,
    #[error("the store was opened for reading only")]
    ReadOnly,
    #[error("background work ended without a result")]
    Background,
}
