//! A bounded queue in front of one destination, so that a slow destination holds up nobody else. Owns the
//! bound (in bytes and items), what happens beyond it, and the workers that empty it. Batches in it share
//! their bytes with every other queue. Refuses to survive a crash: that is the spool's.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cupola_telemetry::Batch;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::{Accepted, SendError, Sink};

/// What happens to a batch that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// Refused with a retryable error: the sender keeps it.
    #[default]
    Refuse,
    /// Dropped and counted.
    DropNewest,
    /// The longest waiting make room for it, dropped and counted.
    DropOldest,
}

/// Bounds of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// Payload bytes waiting or being sent.
    pub bytes_max: usize,
    /// Log records, spans and data points waiting or being sent.
    pub items_max: usize,
    pub when_full: WhenFull,
    /// Batches sent at the same time.
    pub workers: NonZeroUsize,
}

impl Default for QueueConfig {
    fn default() -> QueueConfig {
        QueueConfig {
            bytes_max: 64 * 1024 * 1024,
            items_max: 1_000_000,
            when_full: WhenFull::default(),
            workers: NonZeroUsize::MIN.saturating_add(3),
        }
    }
}

/// How long a full queue asks its sender to wait.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Counts of items since the start.
#[derive(Debug, Default)]
pub struct QueueStats {
    /// Taken into the queue.
    pub enqueued: AtomicU64,
    /// Refused with a retryable error because the queue was full.
    pub refused: AtomicU64,
    /// Lost because the queue was full.
    pub dropped: AtomicU64,
    /// Delivered.
    pub sent: AtomicU64,
    /// Refused for good by the destination within an accepted request.
    pub rejected: AtomicU64,
    /// Lost because the destination failed for good, or for too long.
    pub failed: AtomicU64,
}

/// A queue and its workers. Dropping it stops the workers at once; [`Queue::shutdown`] lets them finish.
pub struct Queue {
    shared: Arc<Shared>,
    workers: Mutex<JoinSet<()>>,
}

struct Shared {
    config: QueueConfig,
    state: Mutex<State>,
    /// Signalled when a batch arrives and when the queue closes.
    changed: Notify,
    stats: QueueStats,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Batch>,
    /// Of what waits and what is being sent.
    held: Load,
    /// Of what is being sent, which can no longer be dropped.
    sending: Load,
    closed: bool,
}

/// What counts towards the bounds.
#[derive(Clone, Copy, Default)]
struct Load {
    bytes: usize,
    items: usize,
}

impl Load {
    fn of(batch: &Batch) -> Load {
        Load {
            bytes: batch.payload().len(),
            items: batch.items(),
        }
    }

    fn with(self, other: Load) -> Load {
        Load {
            bytes: self.bytes + other.bytes,
            items: self.items + other.items,
        }
    }

    fn without(self, other: Load) -> Load {
        Load {
            bytes: self.bytes - other.bytes,
            items: self.items - other.items,
        }
    }

    fn fits(self, config: &QueueConfig) -> bool {
        self.bytes <= config.bytes_max && self.items <= config.items_max
    }
}

impl Queue {
    /// Starts the workers on the current runtime.
    pub fn start(config: QueueConfig, sink: Arc<dyn Sink>) -> Queue {
        let shared = Arc::new(Shared {
            config,
            state: Mutex::default(),
            changed: Notify::new(),
            stats: QueueStats::default(),
        });
        let mut workers = JoinSet::new();
        for _ in 0..shared.config.workers.get() {
            workers.spawn(work(shared.clone(), sink.clone()));
        }
        Queue {
            shared,
            workers: Mutex::new(workers),
        }
    }

    pub fn stats(&self) -> &QueueStats {
        &self.shared.stats
    }

    /// Payload bytes waiting or being sent.
    pub fn bytes(&self) -> usize {
        self.shared.state.lock().held.bytes
    }

    /// Items waiting or being sent.
    pub fn items(&self) -> usize {
        self.shared.state.lock().held.items
    }

    /// Batches not yet being sent.
    pub fn waiting(&self) -> usize {
        self.shared.state.lock().waiting.len()
    }

    /// Takes nothing more, sends what waits for at most `limit`, and returns the number of items given up.
    pub async fn shutdown(&self, limit: Duration) -> usize {
        self.shared.state.lock().closed = true;
        self.shared.changed.notify_waiters();
        let mut workers = std::mem::take(&mut *self.workers.lock());
        let finished =
            tokio::time::timeout(limit, async { while workers.join_next().await.is_some() {} }).await;
        workers.abort_all();
        let left = self.shared.state.lock().held.items;
        if finished.is_err() && left > 0 {
            tracing::error!(items = left, "queue not empty at shutdown, items lost");
            self.shared.stats.failed.fetch_add(left as u64, Ordering::Relaxed);
        }
        left
    }
}

#[async_trait]
impl Sink for Queue {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        if batch.items() == 0 {
            return Ok(Accepted::all());
        }
        self.shared.push(batch)
    }
}

impl Shared {
    fn push(&self, batch: Batch) -> Result<Accepted, SendError> {
        let load = Load::of(&batch);
        let items = load.items;
        let mut state = self.state.lock();
        if state.closed {
            return Err(SendError::retryable("the queue is shutting down"));
        }
        let fits_alone = load.fits(&self.config);
        // Nothing is dropped for a batch that would find no room even then.
        if self.config.when_full == WhenFull::DropOldest && state.sending.with(load).fits(&self.config) {
            while !state.held.with(load).fits(&self.config) {
                let Some(oldest) = state.waiting.pop_front() else {
                    break;
                };
                state.held = state.held.without(Load::of(&oldest));
                self.stats
                    .dropped
                    .fetch_add(oldest.items() as u64, Ordering::Relaxed);
            }
        }
        if state.held.with(load).fits(&self.config) {
            state.held = state.held.with(load);
            state.waiting.push_back(batch);
            drop(state);
            self.stats.enqueued.fetch_add(items as u64, Ordering::Relaxed);
            self.changed.notify_one();
            return Ok(Accepted::all());
        }
        drop(state);
        if !fits_alone {
            self.stats.dropped.fetch_add(items as u64, Ordering::Relaxed);
            return Err(SendError::permanent("the batch is larger than the whole queue"));
        }
        if self.config.when_full == WhenFull::Refuse {
            self.stats.refused.fetch_add(items as u64, Ordering::Relaxed);
            let reason = "the queue is full".to_owned();
            return Err(SendError::Retryable {
                reason,
                retry_after: Some(FULL_RETRY_AFTER),
            });
        }
        self.stats.dropped.fetch_add(items as u64, Ordering::Relaxed);
        Ok(Accepted::all())
    }

    /// The next batch, or `None` once the queue is closed and empty.
    async fn pop(&self) -> Option<Batch> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that a batch pushed in between wakes this worker.
            changed.as_mut().enable();
            {
                let mut state = self.state.lock();
                if let Some(batch) = state.waiting.pop_front() {
                    state.sending = state.sending.with(Load::of(&batch));
                    return Some(batch);
                }
                if state.closed {
                    return None;
                }
            }
            changed.await;
        }
    }
}

impl State {
    /// After a batch has been sent, or not.
    fn release(&mut self, batch: &Batch) {
        let load = Load::of(batch);
        self.held = self.held.without(load);
        self.sending = self.sending.without(load);
    }
}

async fn work(shared: Arc<Shared>, sink: Arc<dyn Sink>) {
    while let Some(batch) = shared.pop().await {
        let items = batch.items() as u64;
        let stats = &shared.stats;
        match sink.send(batch.clone()).await {
            Ok(accepted) => {
                let rejected = accepted.rejected.min(items);
                stats.sent.fetch_add(items - rejected, Ordering::Relaxed);
                stats.rejected.fetch_add(rejected, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::error!(signal = batch.signal().as_str(), items, %error, "batch lost");
                stats.failed.fetch_add(items, Ordering::Relaxed);
            }
        }
        shared.state.lock().release(&batch);
    }
}
