//! The store as others use it.

use std::sync::Arc;

use cupola_telemetry::{Batch, TenantId};
use object_store::ObjectStore;
use tokio::sync::broadcast;

use crate::config::StoreConfig;
use crate::doctor;
use crate::engine::{self, Background, Engine};
use crate::error::{AppendError, StoreError};
use crate::report::{CompactionReport, DeletionReport, DoctorReport, FlushReport, RecoveryReport};
use crate::segment::RowFilter;
use crate::snapshot::Snapshot;
use crate::status::StoreStatus;

/// A store on one data directory. Clones share it; background work ends with [`Store::shutdown`] or the last clone.
#[derive(Debug, Clone)]
pub struct Store {
    opened: Arc<Opened>,
}

#[derive(Debug)]
struct Opened {
    engine: Arc<Engine>,
    background: Background,
}

impl Drop for Opened {
    fn drop(&mut self) {
        // The tasks end as well; they hold the engine until they have.
        self.engine.close();
    }
}

/// What to delete. Everything acknowledged before the call is covered, nothing after.
#[derive(Debug, Clone, PartialEq)]
pub struct DeleteRequest {
    pub tenant: TenantId,
    /// `None`: everything of the tenant.
    pub filter: Option<RowFilter>,
}

impl Store {
    /// Opens the data directory, making it if it is not there, and replays the write-ahead log. Needs a Tokio runtime.
    pub async fn open(config: StoreConfig) -> Result<(Store, RecoveryReport), StoreError> {
        let (engine, background, report) = engine::open(config).await?;
        let opened = Arc::new(Opened { engine, background });
        Ok((Store { opened }, report))
    }

    /// Checks a data directory nobody has open: orphaned, missing and unreadable files, damage in the log.
    pub async fn check(config: StoreConfig, repair: bool) -> Result<DoctorReport, StoreError> {
        doctor::check(config, repair).await
    }

    /// Returns when the batch is durable and the next snapshot has it. A batch without items is taken and forgotten.
    pub async fn append(&self, batch: Batch) -> Result<(), AppendError> {
        if self.config().read_only {
            return Err(AppendError::Closed);
        }
        self.engine().append(batch).await
    }

    /// All tables of a tenant at one moment; empty for a tenant nothing is known of.
    pub async fn snapshot(&self, tenant: &TenantId) -> Result<Snapshot, StoreError> {
        self.engine().snapshot(tenant).await
    }

    /// Tenants with rows, sorted.
    pub fn tenants(&self) -> Vec<TenantId> {
        self.engine().tenant_ids()
    }

    /// Every batch from now on, after it is durable. A slow receiver is told how many it lost.
    pub fn subscribe(&self) -> broadcast::Receiver<Batch> {
        self.engine().memtable.batches.subscribe()
    }

    /// Where the segments of snapshots are.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        self.engine().objects.clone()
    }

    pub fn config(&self) -> &StoreConfig {
        &self.engine().config
    }

    /// Writes everything appended before to segments.
    pub async fn flush(&self) -> Result<FlushReport, StoreError> {
        let engine = self.writable()?.clone();
        self.engine().complete(async move { engine.flush().await }).await
    }

    /// Merges segments until there is nothing left that is worth it.
    pub async fn compact(&self) -> Result<CompactionReport, StoreError> {
        let engine = self.writable()?.clone();
        self.engine()
            .complete(async move { engine.compact().await })
            .await
    }

    /// Drops what the rules of the configuration name at this time. Rows that are in memory wait for the next run.
    pub async fn apply_retention(&self, now_unix_nano: i64) -> Result<DeletionReport, StoreError> {
        let engine = self.writable()?.clone();
        let work = async move { engine.apply_retention(now_unix_nano).await };
        self.engine().complete(work).await
    }

    /// Deletes durably: returns when no later snapshot has the rows, before and after a restart. Snapshots taken before
    /// keep them, and their files, until they are dropped.
    pub async fn delete(&self, request: DeleteRequest) -> Result<DeletionReport, StoreError> {
        let engine = self.writable()?.clone();
        self.engine()
            .complete(async move { engine.delete(request).await })
            .await
    }

    /// Whether the log can be written. If the last batch could not be, this is tried, and the log called sound again if it
    /// is: for whoever gives it no more batches until then.
    pub async fn probe_journal(&self) -> Result<(), StoreError> {
        self.writable()?.probe_journal().await
    }

    /// Numbers for `/metrics` and the status page.
    pub fn status(&self) -> StoreStatus {
        self.engine().status()
    }

    /// Refuses new batches, stops background work, flushes unless reading only, releases the data directory. Snapshots stay
    /// readable.
    pub async fn shutdown(&self) -> Result<(), StoreError> {
        let (opened, runtime) = (self.opened.clone(), self.engine().runtime.clone());
        // To its end, whatever becomes of the caller: a second call finds it done.
        let closed = runtime.spawn(async move { opened.engine.shutdown(&opened.background).await });
        closed.await.map_err(|_| StoreError::Background)?
    }

    fn writable(&self) -> Result<&Arc<Engine>, StoreError> {
        match self.config().read_only {
            true => Err(StoreError::ReadOnly),
            false => Ok(self.engine()),
        }
    }

    fn engine(&self) -> &Arc<Engine> {
        &self.opened.engine
    }
}
