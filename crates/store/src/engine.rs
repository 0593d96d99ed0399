//! The engine: everything an open store shares, and the one way its parts are changed.
//!
//! Locks are taken in this order, each possibly alone: `closing` (one shutdown), `maintenance` (one of compaction, retention, deletion at a time),
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
mod orphans;
mod quarantine;
mod read;
mod remove;
mod retain;
mod seal;
mod spans;
mod tenant;
mod unreadable;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cupola_telemetry::memory::Reservation;
use cupola_telemetry::{Batch, TenantId};
use hashbrown::HashSet;
use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub(crate) use background::Background;
pub use directory::HeldDirectory;
pub(crate) use directory::{DataDirectory, require_format};
pub(crate) use open::{open, open_objects};
pub(crate) use orphans::{Orphan, find_orphans};
pub(crate) use quarantine::QUARANTINE_DIRECTORY;
pub(crate) use read::count_rows;

use crate::catalog::Catalog;
use crate::columns::{self, Projection};
use crate::config::StoreConfig;
use crate::error::{AppendError, StoreError};
use crate::journal::{Journal, Payload, Pending, QUEUE_BATCHES_MAX};
use crate::memtable::Memtable;
use crate::status::{Counters, StoreStatus, add};
use commit::Committed;
use flush::PreparedFlush;
use tenant::Tenants;

/// Memory reserved for a byte of OTLP: the payload, and its copy that columns point into.
const MEMORY_PER_BYTE: usize = 2;
/// Memory reserved for a batch besides.
const MEMORY_PER_BATCH: usize = 1024;
/// A batch takes at most one part in so many of the memory budget.
const MEMORY_SHARE: usize = 2;
/// Most bytes of text that rows of a batch may have from their resources and scopes, each its own copy: a quarter of what
/// columns can hold.
const COPIED_BYTES_MAX: usize = 256 << 20;
/// Payloads up to this size are compressed where they arrive.
const PREPARE_INLINE_BYTES_MAX: usize = 64 << 10;

/// Memory to reserve for a batch until it is in a segment.
fn memory_of(batch: &Batch, projection: &Projection) -> usize {
    let payload = batch.payload().len().saturating_mul(MEMORY_PER_BYTE);
    payload
        .saturating_add(projection.bytes)
        .saturating_add(MEMORY_PER_BATCH)
}

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) config: StoreConfig,
    pub(crate) objects: Arc<dyn ObjectStore>,
    catalog: Box<dyn Catalog>,
    committed: tokio::sync::Mutex<Committed>,
    pub(crate) memtable: Arc<Memtable>,
    journal: Journal,
    journal_id: Uuid,
    tenants: Mutex<Tenants>,
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
    /// Segments that could not be read, and are left alone until the next start.
    unreadable: Mutex<HashSet<Path>>,
    /// Work that goes on although whoever asked for it is gone.
    tasks: TaskTracker,
    /// Where the store was opened: it outlives the runtimes of those who ask.
    pub(crate) runtime: Handle,
    closed: AtomicBool,
    /// Held while the store closes.
    closing: tokio::sync::Mutex<()>,
    /// Held until the last part of the store is gone.
    lock: Mutex<Option<Arc<dyn crate::io::Lock>>>,
}

impl Engine {
    pub(crate) async fn append(self: &Arc<Engine>, batch: Batch) -> Result<(), AppendError> {
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
        let prepared = if bytes <= PREPARE_INLINE_BYTES_MAX {
            self.prepare(&batch)
        } else {
            let (engine, batch) = (self.clone(), batch.clone());
            let prepared = tokio::task::spawn_blocking(move || engine.prepare(&batch)).await;
            prepared.map_err(|_| AppendError::Closed)?
        };
        let (payload, reservation) = prepared?;
        let pending = Pending {
            payload,
            batch,
            received_unix_nano: self.config.clock.now_unix_nano(),
            reservation,
        };
        self.journal.append(pending).await
    }

    /// Reserves memory for a batch and makes of it what the log keeps. Takes a while for a large one.
    fn prepare(&self, batch: &Batch) -> Result<(Payload, Reservation), AppendError> {
        let projection = columns::project(batch);
        let needed = memory_of(batch, &projection);
        let memory_max = self.config.memory.ceiling() / MEMORY_SHARE;
        for (bytes, bytes_max) in [(needed, memory_max), (projection.nested_bytes, COPIED_BYTES_MAX)] {
            if bytes > bytes_max {
                add(&self.counters.refused_too_large, 1);
                return Err(AppendError::TooWide { bytes, bytes_max });
            }
        }
        let Some(reservation) = self.config.memory.try_reserve(needed) else {
            add(&self.counters.refused_overloaded, 1);
            self.flush_requested.notify_one();
            return Err(AppendError::Overloaded {
                retry_after: self.config.retry_after,
            });
        };
        let payload = Payload::encode(batch).ok_or(AppendError::TooLarge {
            bytes: batch.payload().len(),
            bytes_max: self.config.batch_bytes_max,
        })?;
        Ok((payload, reservation))
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
        let series_registry_bytes = self.tenants.lock().series_bytes() as u64;
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
            journal_queued_batches: self.journal.queued(),
            journal_queued_batches_max: QUEUE_BATCHES_MAX as u64,
            journal_sequence: self.journal.sequence(),
            flushed_sequence: view.version.flushed_sequence,
            series_registry_bytes,
            subscribers: self.memtable.batches.receiver_count() as u64,
            journal_failing: self.journal.is_failing(),
            counters: self.counters.read(),
        }
    }

    pub(crate) async fn probe_journal(self: &Arc<Engine>) -> Result<(), StoreError> {
        if !self.journal.is_failing() {
            return Ok(());
        }
        let engine = self.clone();
        let probed = tokio::task::spawn_blocking(move || engine.journal.probe());
        let probed = probed.await.map_err(|_| StoreError::Background)?;
        probed.map_err(|(path, source)| StoreError::Io {
            action: "write",
            path,
            source,
        })
    }

    /// Nothing new is taken, and long work ends at the next place where it may.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(super) fn refuse_closed(&self) -> Result<(), StoreError> {
        match self.is_closed() {
            true => Err(StoreError::Closed),
            false => Ok(()),
        }
    }

    /// Runs work to its end, whatever becomes of the caller: cut off between two of its steps it would leave what it
    /// has changed and what it has written down at odds.
    pub(crate) async fn complete<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let done = self.tasks.spawn_on(work, &self.runtime).await;
        done.map_err(|_| StoreError::Background)?
    }

    /// Refuses new batches, ends background work, writes the rest to segments, ends the journal thread, and lets go of
    /// the directory when nobody works in it any more.
    pub(crate) async fn shutdown(self: &Arc<Engine>, background: &Background) -> Result<(), StoreError> {
        let _closing = self.closing.lock().await;
        if self.lock.lock().is_none() {
            return Ok(());
        }
        self.close();
        background.stop().await;
        let flushed = match self.config.read_only {
            true => Ok(()),
            false => self.flush().await.map(|_| ()),
        };
        self.tasks.close();
        self.tasks.wait().await;
        background.clear_garbage().await;
        let engine = self.clone();
        let closed = tokio::task::spawn_blocking(move || engine.journal.close()).await;
        self.lock.lock().take();
        flushed?;
        closed.map_err(|_| StoreError::Background)
    }
}
