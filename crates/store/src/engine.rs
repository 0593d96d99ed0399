//! The engine: everything an open store shares, and the one way its parts are changed.
//!
//! Locks are taken in this order, each possibly alone: `maintenance` (one of compaction, retention, deletion at a time),
//! `flushing` (one flush at a time), the gate of a tenant and signal (one seal at a time), `committed` (one commit at a
//! time).
//!
//! Refuses: deciding what is durable (the journal) and what counts (the catalog).

mod background;
mod commit;
mod compact;
mod directory;
mod flush;
mod open;
mod quarantine;
mod read;
mod remove;
mod retain;
mod seal;
mod tenant;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cupola_telemetry::{Batch, TenantId};
use hashbrown::HashMap;
use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

pub(crate) use background::Background;
pub(crate) use directory::{DataDirectory, has_format};
pub(crate) use open::{find_orphans, open, open_objects};
pub(crate) use quarantine::QUARANTINE_DIRECTORY;
pub(crate) use read::{count_rows, read_segment};

use crate::catalog::{Catalog, CatalogState};
use crate::config::StoreConfig;
use crate::error::{AppendError, StoreError};
use crate::journal::{Journal, Payload, Pending};
use crate::memtable::Memtable;
use crate::status::{Counters, StoreStatus, add};
use flush::PreparedFlush;
use tenant::TenantState;

/// Memory reserved for a byte of OTLP: the payload, and columns that may be made of it.
const MEMORY_PER_BYTE: usize = 2;
/// Memory reserved for a batch besides.
const MEMORY_PER_BATCH: usize = 1024;
/// Payloads up to this size are compressed where they arrive.
const COMPRESS_INLINE_BYTES_MAX: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) config: StoreConfig,
    pub(crate) objects: Arc<dyn ObjectStore>,
    catalog: Box<dyn Catalog>,
    committed: tokio::sync::Mutex<CatalogState>,
    pub(crate) memtable: Arc<Memtable>,
    journal: Journal,
    journal_id: Uuid,
    tenants: Mutex<HashMap<TenantId, Arc<TenantState>>>,
    counters: Arc<Counters>,
    garbage: UnboundedSender<Path>,
    flushing: tokio::sync::Mutex<Option<PreparedFlush>>,
    maintenance: tokio::sync::Mutex<()>,
    /// Bounds making columns: readers wait for it.
    seals: Arc<Semaphore>,
    /// Bounds encoding segments, to half of the cores. Merges need no bound: `maintenance` lets one be at a time.
    encodings: Arc<Semaphore>,
    /// Memory is short: freeze what there is.
    flush_requested: Notify,
    closed: AtomicBool,
    /// Held until the last part of the store is gone.
    lock: Mutex<Option<Arc<dyn crate::io::Lock>>>,
}

impl Engine {
    pub(crate) async fn append(&self, batch: Batch) -> Result<(), AppendError> {
        if self.is_closed() {
            return Err(AppendError::Closed);
        }
        if batch.items() == 0 {
            return Ok(());
        }
        let bytes = batch.payload().len();
        let bytes_max = self.config.batch_bytes_max;
        if bytes > bytes_max {
            add(&self.counters.refused_too_large, 1);
            return Err(AppendError::TooLarge { bytes, bytes_max });
        }
        let needed = bytes.saturating_mul(MEMORY_PER_BYTE) + MEMORY_PER_BATCH;
        let Some(reservation) = self.config.memory.try_reserve(needed) else {
            add(&self.counters.refused_overloaded, 1);
            self.flush_requested.notify_one();
            return Err(AppendError::Overloaded {
                retry_after: self.config.retry_after,
            });
        };
        let encoded = if bytes <= COMPRESS_INLINE_BYTES_MAX {
            Payload::encode(&batch)
        } else {
            let batch = batch.clone();
            let encoded = tokio::task::spawn_blocking(move || Payload::encode(&batch)).await;
            encoded.map_err(|_| AppendError::Closed)?
        };
        let pending = Pending {
            payload: encoded.ok_or(AppendError::TooLarge { bytes, bytes_max })?,
            batch,
            received_unix_nano: self.config.clock.now_unix_nano(),
            reservation,
        };
        self.journal.append(pending).await
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Runs work that takes a whole core, a bounded number at a time.
    async fn compute<T: Send + 'static>(
        &self,
        bound: &Arc<Semaphore>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = bound.clone().acquire_owned().await;
        let permit = permit.map_err(|_| StoreError::Closed)?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.map_err(|_| StoreError::Background)
    }

    fn tenant(&self, tenant: &TenantId) -> Arc<TenantState> {
        self.tenants.lock().entry(tenant.clone()).or_default().clone()
    }

    pub(crate) fn tenant_ids(&self) -> Vec<TenantId> {
        let view = self.memtable.view();
        let mut tenants: Vec<TenantId> = view.version.tenants.keys().cloned().collect();
        for generation in view.generations() {
            tenants.extend(generation.tenants());
        }
        tenants.sort();
        tenants.dedup();
        tenants
    }

    pub(crate) fn status(&self) -> StoreStatus {
        let view = self.memtable.view();
        let registries = self.tenants.lock();
        let series_registry_bytes = registries
            .values()
            .map(|tenant| tenant.series().memory_bytes() as u64)
            .sum();
        drop(registries);
        let segments = || view.version.segments();
        StoreStatus {
            tenants: self.tenant_ids().len() as u64,
            segments: segments().count() as u64,
            segment_bytes: segments().map(|segment| segment.bytes).sum(),
            segment_rows: segments().map(|segment| segment.rows).sum(),
            manifest_version: view.version.number,
            active_bytes: view.active.bytes() as u64,
            frozen_bytes: view.frozen.iter().map(|frozen| frozen.bytes() as u64).sum(),
            frozen_generations: view.frozen.len() as u64,
            memory_used: self.config.memory.used() as u64,
            memory_ceiling: self.config.memory.ceiling() as u64,
            journal_files: self.journal.files(),
            journal_sequence: self.journal.sequence(),
            flushed_sequence: view.version.flushed_sequence,
            series_registry_bytes,
            subscribers: self.memtable.batches.receiver_count() as u64,
            journal_failing: self.journal.is_failing(),
            counters: self.counters.read(),
        }
    }

    /// Refuses new batches, writes the rest to segments, ends the journal thread.
    pub(crate) async fn shutdown(self: &Arc<Engine>) -> Result<(), StoreError> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let flushed = self.flush().await;
        let engine = self.clone();
        let closed = tokio::task::spawn_blocking(move || engine.journal.close()).await;
        self.lock.lock().take();
        flushed?;
        closed.map_err(|_| StoreError::Background)
    }
}
