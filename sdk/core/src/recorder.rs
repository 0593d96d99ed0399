//! Where records wait between their end and their export: encoded, one behind the other, apart by thread. Owns the bound on
//! the memory that they take, and what is dropped beyond it.
//!
//! A thread adds to a shard of its own, so that its lock is free unless the exporting side is just taking what is there. The
//! record is written before, and without any lock. The child of a fork has shards of its own and leaves those of its parent, which
//! the parent will export, untouched (`per_thread`).

mod batcher;
mod scope;
mod shards;

use std::sync::Arc;

use cupola_telemetry::{Batch, Signal, TenantId};

pub(crate) use batcher::Batcher;
pub use scope::Scope;
use shards::Shards;

use crate::fork::{self, ProcessCount};
use crate::resource::Resource;
use crate::spool::{Segment, Spool};

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

/// Told that there is something to export. Called by threads of the application, so it may not wait.
pub type Wake = dyn Fn(Wanted) + Send + Sync;

/// Why there is something to export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A thread has recorded something for the first time since its records were taken.
    First,
    /// A thread has recorded much.
    Much,
}

/// What was taken for export, beside the records themselves.
#[derive(Debug)]
pub(crate) struct Taken {
    /// In which the records survive a crash until they are given back.
    pub(crate) segments: Vec<Segment>,
}

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
        Recorder::kept(signal, limits, wake, None)
    }

    /// One whose records are also in a spool until their segments are given back.
    pub(crate) fn kept(
        signal: Signal,
        limits: RecorderLimits,
        wake: Box<Wake>,
        spool: Option<Arc<Spool>>,
    ) -> Arc<Recorder> {
        fork::watch();
        Arc::new(Recorder {
            signal,
            limits,
            shards: Shards::new(limits.bytes_max, spool.map(|spool| (spool, signal))),
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
                if added.is_much {
                    (self.wake)(Wanted::Much);
                } else if added.is_first {
                    (self.wake)(Wanted::First);
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

    /// Takes all that waits, as batches of this resource. Of a thread the order is kept.
    pub fn take(&self, resource: &Resource, tenant: &TenantId) -> Vec<Batch> {
        let mut batcher = Batcher::new(self.signal, self.limits, self.bytes());
        let mut batches = Vec::new();
        let taken = self.take_each(|scope, record| {
            if batcher.add(scope, record) {
                batches.extend(batcher.finish(resource, tenant));
            }
        });
        batches.extend(batcher.finish(resource, tenant));
        self.shards.release(taken.segments);
        batches
    }

    /// Takes all that waits and hands each record to `with`.
    pub(crate) fn take_each(&self, mut with: impl FnMut(Scope, &[u8])) -> Taken {
        let mut items = 0;
        let segments = self.shards.take_all(|records| {
            for (scope, record) in records.iter() {
                items += 1;
                with(scope, record);
            }
        });
        self.taken.add(items);
        Taken { segments }
    }

    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }

    pub(crate) fn limits(&self) -> RecorderLimits {
        self.limits
    }
}
