//! The store as others use it.

use std::sync::Arc;

use cupola_telemetry::{Batch, TenantId};
use object_store::ObjectStore;
use tokio::sync::broadcast;

use crate::config::StoreConfig;
use crate::error::{AppendError, StoreError};
use crate::report::{CompactionReport, DeletionReport, DoctorReport, FlushReport, RecoveryReport};
use crate::segment::RowFilter;
use crate::snapshot::Snapshot;
use crate::status::StoreStatus;

/// A store on one data directory. Clones share it; background work ends with [`Store::shutdown`] or the last clone.
#[derive(Debug, Clone)]
pub struct Store {
    config: Arc<StoreConfig>,
}

/// What to delete. Everything acknowledged before the call is covered, nothing after.
#[derive(Debug, Clone, PartialEq)]
pub struct DeleteRequest {
    pub tenant: TenantId,
    /// `None`: everything of the tenant.
    pub filter: Option<RowFilter>,
}

impl Store {
    /// Opens the data directory, making it if it is not there, and replays the write-ahead log.
    pub async fn open(config: StoreConfig) -> Result<(Store, RecoveryReport), StoreError> {
        let config = Arc::new(config);
        Ok((Store { config }, RecoveryReport::default()))
    }

    /// Checks a data directory nobody has open: orphaned, missing and unreadable files, damage in the log.
    pub async fn check(config: StoreConfig, repair: bool) -> Result<DoctorReport, StoreError> {
        let _ = (config, repair);
        Err(StoreError::Closed)
    }

    /// Returns when the batch is durable and the next snapshot has it. A batch without items is taken and forgotten.
    pub async fn append(&self, batch: Batch) -> Result<(), AppendError> {
        let _ = batch;
        Err(AppendError::Closed)
    }

    /// All tables of a tenant at one moment; empty for a tenant nothing is known of.
    pub async fn snapshot(&self, tenant: &TenantId) -> Result<Snapshot, StoreError> {
        let _ = tenant;
        Err(StoreError::Closed)
    }

    /// Tenants with rows, sorted.
    pub fn tenants(&self) -> Vec<TenantId> {
        Vec::new()
    }

    /// Every batch from now on, after it was acknowledged. A slow receiver is told how many it lost.
    pub fn subscribe(&self) -> broadcast::Receiver<Batch> {
        broadcast::channel(self.config.subscription_batches_max).1
    }

    /// Where the segments of snapshots are.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(object_store::memory::InMemory::new())
    }

    pub fn config(&self) -> &StoreConfig {
        &self.config
    }

    /// Writes everything appended before to segments.
    pub async fn flush(&self) -> Result<FlushReport, StoreError> {
        Err(StoreError::Closed)
    }

    /// Merges segments until there is nothing left that is worth it.
    pub async fn compact(&self) -> Result<CompactionReport, StoreError> {
        Err(StoreError::Closed)
    }

    /// Drops what the rules of the configuration name at this time.
    pub async fn apply_retention(&self, now_unix_nano: i64) -> Result<DeletionReport, StoreError> {
        let _ = now_unix_nano;
        Err(StoreError::Closed)
    }

    /// Deletes durably: returns when no later snapshot has the rows, before and after a restart.
    pub async fn delete(&self, request: DeleteRequest) -> Result<DeletionReport, StoreError> {
        let _ = request;
        Err(StoreError::Closed)
    }

    /// Numbers for `/metrics` and the status page.
    pub fn status(&self) -> StoreStatus {
        StoreStatus::default()
    }

    /// Refuses new batches, flushes, stops background work, releases the data directory.
    pub async fn shutdown(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
