//! Where records wait between their end and their export: encoded, one behind the other, apart by thread. Owns the bound on
//! the memory that they take, and what is dropped beyond it.
//!
//! A thread adds to a shard of its own, so that its lock is free unless the exporting side is just taking what is there. The
//! record is written before, and without any lock. Shards are in a list that only grows at its front, and are used again when
//! their thread has ended: there is no lock over all of them that a `fork()` could leave shut. The child of a fork has shards of
//! its own and leaves those of its parent, which the parent will export, untouched.

mod scope;
mod shards;

use std::sync::Arc;

use bytes::Bytes;
use cupola_telemetry::wire;
use cupola_telemetry::{Batch, Signal, TenantId};

pub use scope::Scope;
use shards::Shards;

use crate::fork::{self, ProcessCount};

/// Bounds of a recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecorderLimits {
    /// Of records that wait, all threads together; in steps, so that it may be missed by some kilobytes a thread.
    pub bytes_max: usize,
    /// Of one batch: it is closed when it has reached it.
    pub batch_bytes: usize,
    /// Most records in one batch.
    pub batch_items_max: usize,
}

impl Default for RecorderLimits {
    fn default() -> Self {
        RecorderLimits {
            bytes_max: 32 << 20,
            batch_bytes: 1 << 20,
            batch_items_max: 8192,
        }
    }
}

/// Told that there is something to export: by the first record of each thread after its records were taken, and when a thread
/// has recorded much. Called by threads of the application, so it may not wait.
pub type Wake = dyn Fn() + Send + Sync;

/// Records of one signal that wait.
pub struct Recorder {
    signal: Signal,
    limits: RecorderLimits,
    shards: Shards,
    dropped: ProcessCount,
    taken: ProcessCount,
    wake: Box<Wake>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("signal", &self.signal)
            .finish_non_exhaustive()
    }
}

impl Recorder {
    pub fn new(signal: Signal, limits: RecorderLimits, wake: Box<Wake>) -> Arc<Recorder> {
        fork::watch();
        Arc::new(Recorder {
            signal,
            limits,
            shards: Shards::new(limits.bytes_max),
            dropped: ProcessCount::new(),
            taken: ProcessCount::new(),
            wake,
        })
    }

    /// Records what `write` writes, a message of OTLP, under a scope. Whether there was room.
    #[inline]
    pub fn record(&self, scope: Scope, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let recorded = self.shards.add(scope, write);
        match recorded {
            Some(added) => {
                if added.is_first || added.is_much {
                    (self.wake)();
                }
                true
            }
            None => {
                self.dropped.add(1);
                false
            }
        }
    }

    /// Records of this process that were dropped: because those that waited took as much memory as they may, or because they
    /// were made while another was being written.
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// Records of this process that were taken for export so far.
    pub fn taken(&self) -> u64 {
        self.taken.get()
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.shards.bytes()
    }

    /// Takes all that waits, as batches of this resource, which is an encoded message. Of a thread the order is kept.
    pub fn take(&self, resource: &[u8], tenant: &TenantId) -> Vec<Batch> {
        let mut batches = Vec::new();
        let mut open = Open::new(self.signal, self.limits, resource, tenant);
        self.shards.take_all(|records| {
            for (scope, record) in records.iter() {
                batches.extend(open.add(scope, record));
            }
        });
        batches.extend(open.finish());
        let items: usize = batches.iter().map(Batch::items).sum();
        self.taken.add(items as u64);
        batches
    }
}

/// A batch that is being put together: records by scope, in the order in which the scopes came first.
struct Open<'r> {
    signal: Signal,
    limits: RecorderLimits,
    resource: &'r [u8],
    tenant: &'r TenantId,
    scopes: Vec<(Scope, Vec<u8>)>,
    bytes: usize,
    items: usize,
}

impl<'r> Open<'r> {
    fn new(signal: Signal, limits: RecorderLimits, resource: &'r [u8], tenant: &'r TenantId) -> Open<'r> {
        Open {
            signal,
            limits,
            resource,
            tenant,
            scopes: Vec::new(),
            bytes: 0,
            items: 0,
        }
    }

    /// Adds a record; the batch, if it is full.
    fn add(&mut self, scope: Scope, record: &[u8]) -> Option<Batch> {
        let at = self.scopes.iter().position(|(known, _)| *known == scope);
        let at = at.unwrap_or_else(|| {
            self.scopes.push((scope, Vec::new()));
            self.scopes.len() - 1
        });
        wire::write_bytes(&mut self.scopes[at].1, 2, record);
        self.bytes += record.len();
        self.items += 1;
        (self.bytes >= self.limits.batch_bytes || self.items >= self.limits.batch_items_max)
            .then(|| self.finish())
            .flatten()
    }

    fn finish(&mut self) -> Option<Batch> {
        if self.items == 0 {
            return None;
        }
        let mut payload = Vec::with_capacity(self.bytes + self.resource.len() + 256);
        let of_resource = wire::open(&mut payload, 1);
        wire::write_bytes(&mut payload, 1, self.resource);
        for (scope, records) in self.scopes.drain(..) {
            let of_scope = wire::open(&mut payload, 2);
            wire::write_bytes(&mut payload, 1, scope.message());
            payload.extend_from_slice(&records);
            if !scope.schema_url().is_empty() {
                wire::write_bytes(&mut payload, 3, scope.schema_url().as_bytes());
            }
            wire::close(&mut payload, of_scope);
        }
        wire::close(&mut payload, of_resource);
        let items = std::mem::take(&mut self.items);
        self.bytes = 0;
        let payload = Bytes::from(payload);
        Some(Batch::from_canonical(
            self.signal,
            self.tenant.clone(),
            payload,
            items,
        ))
    }
}
