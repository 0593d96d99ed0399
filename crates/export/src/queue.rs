//! A bounded queue in front of one destination, so that a slow destination holds up nobody else: in memory, or kept by
//! the [spool](crate::spool). Owns the bound, what happens beyond it, and when a sender is answered.
//!
//! By default a sender is answered when its batch is queued, which with storage means durable; with `wait_for_result` when
//! it is delivered. Refuses to send anything itself: the [exporter](crate::Exporter) has the consumers.

mod gate;
mod memory;
mod settings;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cupola_telemetry::memory::{MemoryBudget, Reservation};
use cupola_telemetry::{Batch, Signal};
use tokio::sync::oneshot;

pub use gate::Load;
pub(crate) use gate::{Closed, Entered, Gate};
use memory::{Entry, Memory};
pub use settings::{QueueConfig, SettingError, Sizer, WhenFull};

use crate::fs::FileSystem;
use crate::spool::{Handed, LogConfig, Pending, Spool, SpoolCounters, SpoolError};
use crate::{Accepted, SendError};

/// Told how a batch ended.
pub(crate) type Waiter = oneshot::Sender<Result<Accepted, SendError>>;

/// How long a full queue asks its sender to wait.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Payloads of a durable queue that are kept in memory because they will be read soon.
const CACHE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A count of items for each signal.
#[derive(Debug, Default)]
pub(crate) struct PerSignal([AtomicU64; 3]);

impl PerSignal {
    pub(crate) fn add(&self, signal: Signal, items: u64) {
        self.0[signal as usize].fetch_add(items, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, signal: Signal) -> u64 {
        self.0[signal as usize].load(Ordering::Relaxed)
    }
}

/// Items since the start.
#[derive(Debug, Default)]
pub(crate) struct QueueCounters {
    /// Taken into the queue.
    pub(crate) enqueued: AtomicU64,
    /// Refused with an error, because the queue was full or could not be written.
    pub(crate) refused: PerSignal,
    /// Lost because the queue was full and the settings say so.
    pub(crate) dropped: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct SendingQueue {
    config: QueueConfig,
    gate: Arc<Gate>,
    budget: MemoryBudget,
    backing: Backing,
    pub(crate) counters: QueueCounters,
}

#[derive(Debug)]
enum Backing {
    Memory(Memory),
    Spool(Spool),
}

/// A batch in the hands of a consumer, to be finished or given back.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) batch: Batch,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Memory(Entry),
    Spool(Handed),
}

impl SendingQueue {
    /// A queue in memory without `directory`, else one that is kept there.
    pub(crate) async fn start(
        config: QueueConfig,
        directory: Option<PathBuf>,
        file_system: Arc<dyn FileSystem>,
        budget: MemoryBudget,
    ) -> Result<SendingQueue, SpoolError> {
        let gate = Arc::new(Gate::new(config.sizer, config.queue_size.0));
        let backing = match directory {
            None => Backing::Memory(Memory::default()),
            Some(directory) => {
                let log = LogConfig {
                    directory,
                    segment_bytes_max: config.segment_size.0,
                    disk_bytes_max: config.storage_size.0,
                    cache_bytes_max: CACHE_BYTES_MAX,
                    budget: budget.clone(),
                };
                Backing::Spool(Spool::start(log, file_system, gate.clone()).await?)
            }
        };
        Ok(SendingQueue {
            config,
            gate,
            budget,
            backing,
            counters: QueueCounters::default(),
        })
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Of what is being sent.
    pub(crate) fn busy(&self) -> Load {
        match &self.backing {
            Backing::Memory(memory) => memory.busy(),
            Backing::Spool(spool) => spool.log().busy(),
        }
    }

    /// Where the queue is now: everything that it has taken is before it.
    pub(crate) fn mark(&self) -> u64 {
        match &self.backing {
            Backing::Memory(memory) => memory.mark(),
            Backing::Spool(spool) => spool.log().mark(),
        }
    }

    /// Whether everything before the mark is done with.
    pub(crate) fn has_passed(&self, mark: u64) -> bool {
        let has_passed = match &self.backing {
            Backing::Memory(memory) => memory.has_passed(mark),
            Backing::Spool(spool) => spool.log().has_passed(mark),
        };
        // What was damaged on the disk never comes.
        has_passed || self.gate.held().requests == 0
    }

    pub(crate) fn is_durable(&self) -> bool {
        matches!(self.backing, Backing::Spool(_))
    }

    /// Of a durable queue: what happened to its files, and the bytes they take.
    pub(crate) fn spool(&self) -> Option<(&SpoolCounters, u64)> {
        match &self.backing {
            Backing::Memory(_) => None,
            Backing::Spool(spool) => Some((&spool.log().counters, spool.log().disk_bytes())),
        }
    }

    /// Takes a batch, or says why not.
    pub(crate) async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let (signal, items) = (batch.signal(), batch.items() as u64);
        let sent = self.enqueue(batch).await;
        if sent.is_err() {
            self.counters.refused.add(signal, items);
        }
        match sent? {
            None => Ok(Accepted::all()),
            Some(answer) => answer.await.unwrap_or_else(|_| {
                Err(SendError::retryable(
                    "the queue gave the batch up before it was sent",
                ))
            }),
        }
    }

    /// Gives where the result will be told, if the sender is to wait for it.
    pub(crate) async fn enqueue(
        &self,
        batch: Batch,
    ) -> Result<Option<oneshot::Receiver<Result<Accepted, SendError>>>, SendError> {
        self.put(batch, self.config.wait_for_result).await
    }

    /// For a batch whose sender has been answered: nobody waits for its result, whatever the settings say.
    pub(crate) async fn adopt(&self, batch: Batch) -> Result<(), SendError> {
        self.put(batch, false).await.map(drop)
    }

    async fn put(
        &self,
        batch: Batch,
        waits: bool,
    ) -> Result<Option<oneshot::Receiver<Result<Accepted, SendError>>>, SendError> {
        let load = Load::of(&batch);
        let Some(entered) = self.enter(load).await? else {
            self.counters.dropped.fetch_add(load.items, Ordering::Relaxed);
            return Ok(None);
        };
        if batch.payload().len() > self.budget.ceiling() {
            return Err(SendError::permanent(format!(
                "the batch has {} bytes, more than all the memory for queues",
                load.bytes
            )));
        }
        let mut batch = batch;
        let mut reservation = self.budget.try_reserve(batch.bytes_held());
        if reservation.is_none() && batch.gzip().is_some() {
            batch = batch.without_gzip();
            reservation = self.budget.try_reserve(batch.bytes_held());
        }
        let Some(reservation) = reservation else {
            return Err(busy("the memory for queues is used up"));
        };
        let (waiter, answer) = match waits {
            true => {
                let (waiter, answer) = oneshot::channel();
                (Some(waiter), Some(answer))
            }
            false => (None, None),
        };
        match &self.backing {
            Backing::Memory(memory) => {
                let entry = Entry {
                    sequence: 0,
                    batch,
                    entered,
                    reservation,
                    waiter,
                };
                if !memory.push(entry) {
                    return Err(SendError::retryable("the queue is shutting down"));
                }
            }
            Backing::Spool(spool) => {
                let pending = Pending {
                    batch,
                    entered,
                    reservation,
                    waiter,
                };
                spool.push(pending).await?;
            }
        }
        self.counters.enqueued.fetch_add(load.items, Ordering::Relaxed);
        Ok(answer)
    }

    /// `None` when the batch is to be dropped.
    async fn enter(&self, load: Load) -> Result<Option<Entered>, SendError> {
        let mut entered = self.gate.try_enter(load);
        if matches!(entered, Err(Closed::Full)) {
            entered = match (self.config.block_on_overflow, self.config.when_full) {
                (true, _) => self.gate.enter(load).await,
                (false, WhenFull::Refuse | WhenFull::DropWhileFailing) => entered,
                (false, WhenFull::DropNewest) => return Ok(None),
                (false, WhenFull::DropOldest) => match self.make_room(load).await {
                    Some(entered) => entered,
                    None => return Ok(None),
                },
            };
        }
        match entered {
            Ok(entered) => Ok(Some(entered)),
            Err(Closed::ShuttingDown) => Err(SendError::retryable("the queue is shutting down")),
            Err(Closed::Full) => Err(busy("the queue is full")),
            Err(Closed::TooLarge) => Err(SendError::permanent(format!(
                "the batch is larger than the whole queue ({} {:?}); raise `sending_queue.queue_size`",
                self.config.queue_size.0, self.config.sizer
            ))),
        }
    }

    /// Drops the oldest until there is room; `None`, and nothing dropped, where there cannot be.
    async fn make_room(&self, load: Load) -> Option<Result<Entered, Closed>> {
        loop {
            if !self.gate.fits_beside(self.busy(), load) {
                return None;
            }
            let dropped = match &self.backing {
                Backing::Memory(memory) => memory.drop_oldest(),
                Backing::Spool(spool) => spool.drop_oldest().await,
            };
            let dropped = dropped?;
            self.counters.dropped.fetch_add(dropped.items, Ordering::Relaxed);
            match self.gate.try_enter(load) {
                Err(Closed::Full) => {}
                decided => return Some(decided),
            }
        }
    }

    /// Memory for copies of what is sent; `None` if there is none.
    pub(crate) fn reserve(&self, bytes: usize) -> Option<Reservation> {
        self.budget.try_reserve(bytes)
    }

    /// The next batch to be sent. `None` at the end: of a queue in memory when it is closed and empty.
    pub(crate) async fn next(&self) -> Option<Delivery> {
        match &self.backing {
            Backing::Memory(memory) => memory.next().await.map(|entry| Delivery {
                batch: entry.batch.clone(),
                source: Source::Memory(entry),
            }),
            Backing::Spool(spool) => {
                let handed = spool.next().await;
                Some(Delivery {
                    batch: handed.batch.clone(),
                    source: Source::Spool(handed),
                })
            }
        }
    }

    /// The batch is delivered or has been put elsewhere; its sender is told if it waits.
    pub(crate) fn finish(&self, delivery: Delivery, result: Result<Accepted, SendError>) {
        let waiter = match (&self.backing, delivery.source) {
            (Backing::Memory(memory), Source::Memory(entry)) => {
                memory.done(&entry);
                entry.waiter
            }
            (Backing::Spool(spool), Source::Spool(handed)) => {
                let waiter = spool.take_waiter(handed.sequence);
                spool.done(handed.sequence);
                waiter
            }
            _ => unreachable!("a delivery goes back to the queue it came from"),
        };
        if let Some(waiter) = waiter {
            // A sender that went away does not mind.
            let _ = waiter.send(result);
        }
    }

    /// Whether its sender waits to hear what becomes of it, and has it still.
    pub(crate) fn has_waiter(&self, delivery: &Delivery) -> bool {
        match (&self.backing, &delivery.source) {
            (Backing::Spool(spool), Source::Spool(handed)) => spool.has_waiter(handed.sequence),
            (_, Source::Memory(entry)) => entry.waiter.as_ref().is_some_and(|waiter| !waiter.is_closed()),
            _ => false,
        }
    }

    /// The batch was not sent after all.
    pub(crate) fn give_back(&self, delivery: Delivery) {
        match (&self.backing, delivery.source) {
            (Backing::Memory(memory), Source::Memory(entry)) => memory.give_back(entry),
            (Backing::Spool(spool), Source::Spool(handed)) => spool.give_back(handed),
            _ => unreachable!("a delivery goes back to the queue it came from"),
        }
    }

    /// Takes nothing more.
    pub(crate) fn close(&self) {
        self.gate.close();
        if let Backing::Memory(memory) = &self.backing {
            memory.close();
        }
    }

    /// Forgets everything, as the end of the process would.
    #[cfg(test)]
    pub(crate) fn kill(&self) {
        self.close();
        match &self.backing {
            Backing::Memory(memory) => drop(memory.take_all()),
            Backing::Spool(spool) => spool.kill(),
        }
    }

    /// After the consumers have ended. Gives what is left in memory, to be put elsewhere, and whom to tell.
    pub(crate) async fn end(&self) -> Vec<(Batch, Option<Waiter>)> {
        match &self.backing {
            Backing::Memory(memory) => {
                let left = memory.take_all().into_iter();
                left.map(|entry| (entry.batch, entry.waiter)).collect()
            }
            Backing::Spool(spool) => {
                spool.close().await;
                Vec::new()
            }
        }
    }
}

fn busy(reason: &str) -> SendError {
    SendError::Retryable {
        reason: reason.to_owned(),
        retry_after: Some(FULL_RETRY_AFTER),
    }
}
