//! What readers see now, swapped as a whole: the segments of one version and the generations not in it.
//!
//! A row is in a generation of the view or in its segments, never in both and never in neither.

use std::sync::Arc;

use arc_swap::ArcSwap;
use cupola_telemetry::Batch;
use cupola_telemetry::{Signal, TenantId};
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, mpsc};

use super::{Generation, RawBatch};
use crate::journal::{Accepted, Visible};
use crate::status::{Counters, add};
use crate::version::Version;

#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) version: Arc<Version>,
    /// Oldest first.
    pub(crate) frozen: Vec<Arc<Generation>>,
    pub(crate) active: Arc<Generation>,
}

impl View {
    /// Oldest first, the active one last.
    pub(crate) fn generations(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.frozen.iter().chain([&self.active])
    }
}

/// A generation takes at most one part in so many of the memory budget with its payloads…
const MEMORY_SHARE: usize = 8;
/// …and so many eighths of it with all that is reserved for it.
const MEMORY_EIGHTHS: usize = 3;

/// A tail that has grown long.
pub(crate) type SealRequest = (TenantId, Signal);

/// The view and what is told about its changes.
#[derive(Debug)]
pub(crate) struct Memtable {
    view: ArcSwap<View>,
    /// Held while the next view is made of the present one.
    changing: Mutex<()>,
    pub(crate) batches: broadcast::Sender<Batch>,
    /// A generation was frozen.
    pub(crate) frozen: Notify,
    seal_requests: mpsc::UnboundedSender<SealRequest>,
    seal_bytes_max: usize,
    generation_bytes_max: usize,
    generation_memory_max: usize,
    counters: Arc<Counters>,
}

impl Memtable {
    pub(crate) fn new(
        version: Version,
        config: &crate::config::StoreConfig,
        counters: Arc<Counters>,
        seal_requests: mpsc::UnboundedSender<SealRequest>,
    ) -> Memtable {
        let view = View {
            version: Arc::new(version),
            frozen: Vec::new(),
            active: Arc::new(Generation::new(1)),
        };
        Memtable {
            view: ArcSwap::from_pointee(view),
            changing: Mutex::new(()),
            batches: broadcast::Sender::new(config.subscription_batches_max.max(1)),
            frozen: Notify::new(),
            seal_requests,
            seal_bytes_max: config.seal_bytes_max,
            // An active and a flushing generation, each with its columns, leave room for senders in between.
            generation_bytes_max: config.flush_bytes_max.min(config.memory.ceiling() / MEMORY_SHARE),
            generation_memory_max: config.memory.ceiling() / 8 * MEMORY_EIGHTHS,
            counters,
        }
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    fn change(&self, change: impl FnOnce(&mut View)) {
        let _changing = self.changing.lock();
        let mut view = self.view.load().as_ref().clone();
        change(&mut view);
        self.view.store(Arc::new(view));
    }

    /// Shows a new version, and no longer the generations that are in its segments.
    pub(crate) fn install(&self, version: Version) {
        self.change(|view| {
            view.frozen
                .retain(|generation| generation.last_sequence() > version.flushed_sequence);
            view.version = Arc::new(version);
        });
    }

    /// Pushes to the active generation; `true` when that is large enough to be frozen.
    pub(crate) fn push(&self, raw: RawBatch) -> bool {
        let active = self.view.load().active.clone();
        let key = (raw.batch.tenant().clone(), raw.batch.signal());
        if active.push(raw, self.seal_bytes_max) {
            // Nobody listens while the store closes; the flush seals then.
            let _ = self.seal_requests.send(key);
        }
        active.bytes() >= self.generation_bytes_max || active.held() >= self.generation_memory_max
    }

    /// Begins a new active generation unless this one is empty.
    pub(crate) fn freeze(&self) {
        self.change(|view| {
            if view.active.is_empty() {
                return;
            }
            let next = Arc::new(Generation::new(view.active.id + 1));
            view.frozen.push(std::mem::replace(&mut view.active, next));
        });
        self.frozen.notify_one();
    }
}

/// The journal thread's end of the memtable.
#[derive(Debug)]
pub(crate) struct MemtableWriter {
    pub(crate) memtable: Arc<Memtable>,
    /// The data directory stays locked until the last write.
    pub(crate) _lock: Arc<dyn crate::io::Lock>,
}

impl Visible for MemtableWriter {
    fn show(&mut self, accepted: Vec<Accepted>) -> bool {
        let tailed = self.memtable.batches.receiver_count() > 0;
        let mut full = false;
        for batch in accepted {
            if tailed {
                add(&self.memtable.counters.tailed_batches, 1);
                // Fails when the last subscriber has just gone.
                let _ = self.memtable.batches.send(batch.batch.clone());
            }
            full |= self.memtable.push(RawBatch {
                batch: batch.batch,
                sequence: batch.sequence,
                received_unix_nano: batch.received_unix_nano,
                reservation: batch.reservation,
            });
        }
        full
    }

    fn freeze(&mut self) {
        self.memtable.freeze();
    }
}
