//! One generation: what was appended between two freezes, of all tenants and signals.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use cupola_telemetry::{Signal, TenantId};
use hashbrown::HashMap;
use parking_lot::Mutex;

use super::{Buffer, RawBatch};

#[derive(Debug)]
pub(crate) struct Generation {
    /// Grows from one to the next.
    pub(crate) id: u64,
    buffers: Mutex<HashMap<(TenantId, Signal), Arc<Buffer>>>,
    bytes: AtomicUsize,
    /// Memory that raw batches and columns hold.
    held: Arc<AtomicUsize>,
    last_sequence: AtomicU64,
    /// When the first batch was received; zero while there is none.
    first_received: AtomicI64,
}

impl Generation {
    pub(crate) fn new(id: u64) -> Generation {
        Generation {
            id,
            buffers: Mutex::default(),
            bytes: AtomicUsize::new(0),
            held: Arc::default(),
            last_sequence: AtomicU64::new(0),
            first_received: AtomicI64::new(0),
        }
    }

    /// Adds a batch; `true` when its buffer should be sealed. Called in the order of the log.
    pub(crate) fn push(&self, raw: RawBatch, seal_bytes_max: usize) -> bool {
        let key = (raw.batch.tenant().clone(), raw.batch.signal());
        let new = || Arc::new(Buffer::new(self.held.clone()));
        let buffer = self.buffers.lock().entry(key).or_insert_with(new).clone();
        self.bytes.fetch_add(raw.batch.payload().len(), Ordering::Relaxed);
        self.last_sequence.store(raw.sequence, Ordering::Release);
        let _ = self.first_received.compare_exchange(
            0,
            raw.received_unix_nano,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        buffer.push(raw, seal_bytes_max)
    }

    pub(crate) fn buffer(&self, tenant: &TenantId, signal: Signal) -> Option<Arc<Buffer>> {
        self.buffers.lock().get(&(tenant.clone(), signal)).cloned()
    }

    /// All buffers, in a fixed order.
    pub(crate) fn buffers(&self) -> Vec<((TenantId, Signal), Arc<Buffer>)> {
        let buffers = self.buffers.lock();
        let mut all: Vec<_> = buffers
            .iter()
            .map(|(key, buffer)| (key.clone(), buffer.clone()))
            .collect();
        all.sort_by(|a, b| (&a.0.0, a.0.1.as_str()).cmp(&(&b.0.0, b.0.1.as_str())));
        all
    }

    pub(crate) fn tenants(&self) -> Vec<TenantId> {
        self.buffers
            .lock()
            .keys()
            .map(|(tenant, _)| tenant.clone())
            .collect()
    }

    /// Bytes of OTLP.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Memory held, in bytes.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buffers.lock().is_empty()
    }

    /// Of its records in the log.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.last_sequence.load(Ordering::Acquire)
    }

    /// Nanoseconds since 1970 of the oldest batch, `None` when empty.
    pub(crate) fn first_received(&self) -> Option<i64> {
        (!self.is_empty()).then(|| self.first_received.load(Ordering::Relaxed))
    }
}
