//! A queue that survives: batches in append-only files, durable before their senders are answered, read back in order.
//!
//! Many senders share one sync: what waits when the writer comes back is written as one group. All IO is done on the
//! runtime's blocking threads, by one writer and one reader at a time. `spool/FORMAT.md` documents the bytes.
//!
//! Promises: a batch that was acknowledged is delivered at least once, also after the process or the machine died, unless
//! its bytes were damaged, which is counted and said. After a crash at most [`REDELIVERED_BATCHES_MAX`] batches that were
//! delivered are delivered again, and those that were being delivered; more only while the disk refuses to note it.

mod cursor;
mod file;
mod log;
mod open;
mod reader;
mod scan;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cupola_telemetry::Batch;
use cupola_telemetry::memory::Reservation;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use file::SPOOL_FORMAT;
pub(crate) use log::{Handed, Log, LogConfig, SpoolCounters};
pub use open::SpoolError;
use reader::Step;

use crate::SendError;
use crate::fs::{FileSystem, is_storage_full};
use crate::queue::{Entered, Gate, Load, Waiter};

/// Batches that may wait for the writer; more senders wait themselves.
const PENDING_BATCHES_MAX: usize = 1024;
/// A group is not added to beyond this many payload bytes.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Delivered batches that a crash may have delivered again.
pub const REDELIVERED_BATCHES_MAX: u64 = 1024;
/// Delivered batches after which that is written down.
const CURSOR_BATCHES: u64 = 256;
/// Time after which it is written down anyway.
const CURSOR_DELAY: Duration = Duration::from_secs(1);
/// Pause after a read that failed.
const READ_PAUSE: Duration = Duration::from_secs(1);
/// What senders are asked to wait while nothing can be written.
const WRITE_RETRY_AFTER: Duration = Duration::from_secs(5);

/// A spool and its writer.
#[derive(Debug)]
pub(crate) struct Spool {
    shared: Arc<Shared>,
    /// `None` once closed.
    sender: Mutex<Option<mpsc::Sender<(Pending, Written)>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    log: Arc<Log>,
    /// Signalled when there may be more to hand out.
    changed: Notify,
    /// Signalled when the writer should look after what is delivered.
    attention: Notify,
    reading: Arc<tokio::sync::Mutex<()>>,
    /// Senders that want to know how it ends.
    waiters: Mutex<HashMap<u64, Waiter>>,
    /// The last group could not be written.
    refusing: AtomicBool,
}

/// A batch on its way into the spool.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) batch: Batch,
    pub(crate) entered: Entered,
    pub(crate) reservation: Reservation,
    pub(crate) waiter: Option<Waiter>,
}

/// Where to say that a batch is durable.
type Written = oneshot::Sender<Result<(), SendError>>;

impl Spool {
    /// Opens the directory and starts the writer on the current runtime.
    pub(crate) async fn start(
        config: LogConfig,
        file_system: Arc<dyn FileSystem>,
        gate: Arc<Gate>,
    ) -> Result<Spool, SpoolError> {
        let path = config.directory.clone();
        let log = blocking(move || Log::open(config, file_system, gate)).await;
        let log = log.map_err(|source| SpoolError::Io {
            action: "open",
            path,
            source,
        })??;
        let shared = Arc::new(Shared {
            log: Arc::new(log),
            changed: Notify::new(),
            attention: Notify::new(),
            reading: Arc::default(),
            waiters: Mutex::default(),
            refusing: AtomicBool::new(false),
        });
        let (sender, receiver) = mpsc::channel(PENDING_BATCHES_MAX);
        let writer = tokio::spawn(shared.clone().write(receiver));
        Ok(Spool {
            shared,
            sender: Mutex::new(Some(sender)),
            writer: Mutex::new(Some(writer)),
        })
    }

    pub(crate) fn log(&self) -> &Log {
        &self.shared.log
    }

    /// Returns when the batch is durable.
    pub(crate) async fn push(&self, pending: Pending) -> Result<(), SendError> {
        let closed = || SendError::retryable("the queue is shutting down");
        if !crate::record::fits(&pending.batch) {
            return Err(SendError::permanent(
                "the batch is larger than the queue's format can hold",
            ));
        }
        if pending.batch.payload().len() as u64 > self.shared.log.disk_bytes_max() {
            return Err(SendError::permanent(
                "the batch is larger than the queue's files may be together; raise `sending_queue.storage_size`",
            ));
        }
        let (written, answer) = oneshot::channel();
        let sender = self.sender.lock().clone().ok_or_else(closed)?;
        let queued = sender.send((pending, written)).await;
        queued.map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// The next batch, as soon as there is one.
    pub(crate) async fn next(&self) -> Handed {
        let shared = &self.shared;
        loop {
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that a batch that comes in between is seen.
            changed.as_mut().enable();
            match shared.try_next().await {
                Ok(Some(handed)) => return handed,
                Ok(None) => changed.await,
                Err(_) => tokio::time::sleep(READ_PAUSE).await,
            }
        }
    }

    /// The oldest batch that waits is left out; `None` when none does.
    pub(crate) async fn drop_oldest(&self) -> Option<Load> {
        let handed = self.shared.try_next().await.ok().flatten()?;
        let load = Load::of(&handed.batch);
        self.take_waiter(handed.sequence);
        self.done(handed.sequence);
        Some(load)
    }

    pub(crate) fn has_waiter(&self, sequence: u64) -> bool {
        let waiters = self.shared.waiters.lock();
        waiters.get(&sequence).is_some_and(|waiter| !waiter.is_closed())
    }

    pub(crate) fn take_waiter(&self, sequence: u64) -> Option<Waiter> {
        self.shared.waiters.lock().remove(&sequence)
    }

    pub(crate) fn done(&self, sequence: u64) {
        self.shared.log.done(sequence);
        self.shared.attention.notify_one();
    }

    pub(crate) fn give_back(&self, handed: Handed) {
        self.shared.give_back(handed);
    }

    #[cfg(test)]
    pub(crate) fn kill(&self) {
        self.sender.lock().take();
        self.shared.waiters.lock().clear();
    }

    /// Takes nothing more, writes down what is delivered, and lets go of the directory.
    pub(crate) async fn close(&self) {
        self.sender.lock().take();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            let _ = writer.await;
        }
        // Their batches stay for the next start.
        self.shared.waiters.lock().clear();
    }
}

/// Waits for a batch that is being read; if it goes away before, the batch is for another.
struct Taking {
    receiver: oneshot::Receiver<io::Result<Option<Handed>>>,
    shared: Arc<Shared>,
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.receiver.close();
        if let Ok(Ok(Some(handed))) = self.receiver.try_recv() {
            self.shared.give_back(handed);
        }
    }
}

impl Shared {
    fn give_back(&self, handed: Handed) {
        self.log.give_back(handed);
        self.changed.notify_waiters();
    }

    async fn try_next(self: &Arc<Self>) -> io::Result<Option<Handed>> {
        let turn = self.reading.clone().lock_owned().await;
        let (unwritten, failing) = self.log.unwritten();
        if unwritten >= REDELIVERED_BATCHES_MAX && !failing {
            self.attention.notify_one();
            return Ok(None);
        }
        let next = match self.log.next_in_memory() {
            Step::Handed(handed) => Some(handed),
            Step::Empty => None,
            Step::OnDisk => {
                let (sender, receiver) = oneshot::channel();
                let shared = self.clone();
                tokio::task::spawn_blocking(move || {
                    let next = shared.log.next();
                    drop(turn);
                    if let Err(Ok(Some(handed))) = sender.send(next) {
                        shared.give_back(handed);
                    }
                });
                let mut taking = Taking {
                    receiver,
                    shared: self.clone(),
                };
                (&mut taking.receiver).await.map_err(io::Error::other)??
            }
        };
        if next.is_none() && self.log.has_removable() {
            self.attention.notify_one();
        }
        Ok(next)
    }
}

impl Shared {
    /// The writer: groups of what comes in, and in between what is delivered.
    async fn write(self: Arc<Self>, mut receiver: mpsc::Receiver<(Pending, Written)>) {
        let mut upkeep_at: Option<Instant> = None;
        loop {
            let due = async {
                match upkeep_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                received = receiver.recv() => {
                    let Some(first) = received else { break };
                    let group = gather(first, &mut receiver);
                    self.append(group).await;
                }
                () = self.attention.notified() => {}
                () = due => {
                    self.upkeep().await;
                    upkeep_at = None;
                }
            }
            let (unwritten, failing) = self.log.unwritten();
            if (unwritten >= CURSOR_BATCHES && !failing) || self.log.has_removable() && upkeep_at.is_none() {
                self.upkeep().await;
            }
            if upkeep_at.is_none() && (self.log.unwritten().0 > 0 || self.log.has_removable()) {
                upkeep_at = Some(Instant::now() + CURSOR_DELAY);
            }
        }
        let log = self.log.clone();
        let released = blocking(move || {
            log.upkeep();
            log.release();
        });
        let _ = released.await;
    }

    async fn upkeep(&self) {
        let log = self.log.clone();
        let _ = blocking(move || log.upkeep()).await;
        self.changed.notify_waiters();
    }

    async fn append(&self, group: Vec<(Pending, Written)>) {
        let log = self.log.clone();
        let batches: Vec<Batch> = group.iter().map(|(pending, _)| pending.batch.clone()).collect();
        let mut waiters = Vec::with_capacity(group.len());
        let mut answers = Vec::with_capacity(group.len());
        for (pending, written) in group {
            waiters.push(pending.waiter);
            answers.push((pending.entered, pending.reservation, written));
        }
        // Registered under the log's own order: a consumer takes them out after this task has put them in.
        let reading = match waiters.iter().any(Option::is_some) {
            true => Some(self.reading.clone().lock_owned().await),
            false => None,
        };
        let appended = blocking(move || log.append(&batches, now())).await;
        match appended.and_then(|appended| appended) {
            Ok(first) => {
                let waiting = (first..).zip(waiters);
                let waiting = waiting.filter_map(|(sequence, waiter)| Some((sequence, waiter?)));
                self.waiters.lock().extend(waiting);
                drop(reading);
                if self.refusing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the queue can be written again");
                }
                for (entered, _, written) in answers {
                    entered.keep();
                    let _ = written.send(Ok(()));
                }
                self.changed.notify_waiters();
            }
            Err(error) => {
                drop(reading);
                // Once: whoever sends again is refused again.
                if !self.refusing.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, batches = answers.len(), "could not write the queue, batches are refused until that works");
                }
                let refusal = refusal(&error);
                for (entered, _, written) in answers {
                    drop(entered);
                    let _ = written.send(Err(refusal.clone()));
                }
            }
        }
    }
}

fn refusal(error: &io::Error) -> SendError {
    let reason = match is_storage_full(error) {
        true => format!("the disk of the queue is full: {error}"),
        false => format!("the queue could not be written: {error}"),
    };
    SendError::Retryable {
        reason,
        retry_after: Some(WRITE_RETRY_AFTER),
    }
}

/// What waits already, up to the bound of a group.
fn gather(
    first: (Pending, Written),
    receiver: &mut mpsc::Receiver<(Pending, Written)>,
) -> Vec<(Pending, Written)> {
    let mut bytes = first.0.batch.payload().len();
    let mut group = vec![first];
    while bytes < GROUP_BYTES_MAX
        && let Ok(next) = receiver.try_recv()
    {
        bytes += next.0.batch.payload().len();
        group.push(next);
    }
    group
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Runs what blocks where that is allowed.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
