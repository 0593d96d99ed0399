//! Writing the log: one thread, one group of batches at a time, one sync a group.
//!
//! Refuses: showing or acknowledging a batch before its sync came back well, and writing to a file once a write or sync
//! of it failed in a way that leaves its content unknown.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cupola_telemetry::Batch;
use cupola_telemetry::memory::Reservation;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::file::{ClosedFile, OpenFile, is_storage_full};
use super::file_path;
use super::record::{FILE_HEADER_BYTES, FileHeader, Payload, checksum_seed};
use crate::error::AppendError;
use crate::io::FileSystem;
use crate::status::{Counters, add};

/// Batches that may wait for the writer; more senders wait themselves.
pub(crate) const QUEUE_BATCHES_MAX: usize = 1024;
/// Beside the log's files, whose names it does not resemble.
const PROBE_FILE: &str = "probe";
/// As much as batches need that are worth taking again.
const PROBE_BYTES: usize = 256 * 1024;

/// What the writer needs to know.
#[derive(Debug)]
pub(crate) struct JournalConfig {
    pub(crate) directory: PathBuf,
    pub(crate) journal: Uuid,
    pub(crate) file_system: Arc<dyn FileSystem>,
    pub(crate) segment_bytes_max: u64,
    pub(crate) group_bytes_max: usize,
    pub(crate) retry_after: Duration,
    pub(crate) next_number: u64,
    pub(crate) next_sequence: u64,
    /// Files of earlier runs that are still needed, oldest first.
    pub(crate) closed: Vec<ClosedFile>,
}

/// A batch on its way into the log.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) payload: Payload,
    pub(crate) batch: Batch,
    pub(crate) received_unix_nano: i64,
    pub(crate) reservation: Reservation,
}

/// A batch that is durable.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) sequence: u64,
    pub(crate) batch: Batch,
    pub(crate) received_unix_nano: i64,
    pub(crate) reservation: Reservation,
}

/// Shows batches to readers. Called by the writer thread only, so that what is in a generation and what is in the log
/// go in step.
pub(crate) trait Visible: Send + 'static {
    /// Makes these batches visible. `true` asks for a freeze.
    fn show(&mut self, accepted: Vec<Accepted>) -> bool;
    /// Ends the active generation.
    fn freeze(&mut self);
}

type Done = oneshot::Sender<Result<(), AppendError>>;

enum Command {
    Append(Pending, Done),
    Freeze(oneshot::Sender<()>),
}

/// The log. Dropping it ends the thread after what is queued.
#[derive(Debug)]
pub(crate) struct Journal {
    /// `None` once closed.
    sender: Mutex<Option<mpsc::Sender<Command>>>,
    shared: Arc<Shared>,
    file_system: Arc<dyn FileSystem>,
    directory: PathBuf,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    closed: Mutex<VecDeque<ClosedFile>>,
    /// Last sequence number acknowledged.
    sequence: AtomicU64,
    open_files: AtomicU64,
    failing: AtomicBool,
}

impl Journal {
    /// Starts the writer thread. The first file is made by the first batch.
    pub(crate) fn start(
        config: JournalConfig,
        counters: Arc<Counters>,
        visible: impl Visible,
    ) -> io::Result<Journal> {
        let (sender, receiver) = mpsc::channel(QUEUE_BATCHES_MAX);
        let shared = Arc::new(Shared {
            closed: Mutex::new(config.closed.iter().cloned().collect()),
            sequence: AtomicU64::new(config.next_sequence - 1),
            open_files: AtomicU64::new(0),
            failing: AtomicBool::new(false),
        });
        let (file_system, directory) = (config.file_system.clone(), config.directory.clone());
        let mut writer = Writer {
            sequence: config.next_sequence,
            number: config.next_number,
            config,
            shared: shared.clone(),
            counters,
            file: None,
            buffer: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name("cupola-journal".to_owned())
            .spawn(move || writer.run(receiver, visible))?;
        Ok(Journal {
            sender: Mutex::new(Some(sender)),
            shared,
            file_system,
            directory,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Returns when the batch is durable and visible.
    pub(crate) async fn append(&self, pending: Pending) -> Result<(), AppendError> {
        let (done, answer) = oneshot::channel();
        self.send(Command::Append(pending, done)).await?;
        answer.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Returns when everything appended before is in a frozen generation.
    pub(crate) async fn freeze(&self) -> Result<(), AppendError> {
        let (done, answer) = oneshot::channel();
        self.send(Command::Freeze(done)).await?;
        answer.await.map_err(|_| AppendError::Closed)
    }

    async fn send(&self, command: Command) -> Result<(), AppendError> {
        let sender = self.sender.lock().clone().ok_or(AppendError::Closed)?;
        sender.send(command).await.map_err(|_| AppendError::Closed)
    }

    /// Removes files whose records are all in segments. Oldest first and without a gap: the header of a later file says
    /// which records of an older one are void.
    pub(crate) fn remove_flushed(&self, flushed_sequence: u64) -> io::Result<()> {
        let mut closed = self.shared.closed.lock();
        while let Some(file) = closed
            .front()
            .filter(|file| file.last_sequence <= flushed_sequence)
        {
            match self.file_system.remove(&file.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            closed.pop_front();
        }
        Ok(())
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.shared.sequence.load(Ordering::Acquire)
    }

    pub(crate) fn files(&self) -> u64 {
        self.shared.closed.lock().len() as u64 + self.shared.open_files.load(Ordering::Relaxed)
    }

    /// Batches that wait for the writer, of [`QUEUE_BATCHES_MAX`] that may before their senders wait.
    pub(crate) fn queued(&self) -> u64 {
        let sender = self.sender.lock();
        let waiting = |sender: &mpsc::Sender<Command>| sender.max_capacity() - sender.capacity();
        sender.as_ref().map_or(0, waiting) as u64
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.shared.failing.load(Ordering::Relaxed)
    }

    /// Tries whether a failing log can be written again, with a file of its own; forgets the failure if so. Blocks.
    pub(crate) fn probe(&self) -> Result<(), (PathBuf, io::Error)> {
        let path = self.directory.join(PROBE_FILE);
        // Left by a process that ended meanwhile.
        let _ = self.file_system.remove(&path);
        let written = self.file_system.create(&path).and_then(|mut file| {
            file.write_all(&vec![0; PROBE_BYTES])?;
            file.sync()
        });
        let _ = self.file_system.remove(&path);
        written.map_err(|error| (path, error))?;
        self.shared.failing.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Ends the thread after what is queued and waits for it. Blocks.
    pub(crate) fn close(&self) {
        self.sender.lock().take();
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the journal thread panicked");
        }
    }
}

struct Writer {
    config: JournalConfig,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    file: Option<OpenFile>,
    /// Of the next file.
    number: u64,
    /// Of the next record.
    sequence: u64,
    buffer: Vec<u8>,
}

impl Writer {
    fn run(&mut self, mut receiver: mpsc::Receiver<Command>, mut visible: impl Visible) {
        while let Some(command) = receiver.blocking_recv() {
            let mut next = Some(command);
            let mut group = Vec::new();
            let mut group_bytes = 0;
            let mut freeze = None;
            while let Some(command) = next.take() {
                match command {
                    Command::Append(pending, done) => {
                        group_bytes += pending.payload.record_bytes();
                        group.push((pending, done));
                    }
                    Command::Freeze(done) => {
                        freeze = Some(done);
                        break;
                    }
                }
                if group_bytes < self.config.group_bytes_max {
                    next = receiver.try_recv().ok();
                }
            }
            let full = self.commit(group, &mut visible);
            if full || freeze.is_some() {
                self.close_file();
                visible.freeze();
            }
            if let Some(done) = freeze {
                let _ = done.send(());
            }
        }
        self.close_file();
    }

    /// Writes and syncs a group, shows it, answers its senders. `true` asks for a freeze.
    fn commit(&mut self, group: Vec<(Pending, Done)>, visible: &mut impl Visible) -> bool {
        if group.is_empty() {
            return false;
        }
        let written = self.write(&group);
        self.count_files();
        self.shared.failing.store(written.is_err(), Ordering::Relaxed);
        if let Err(error) = written {
            self.refuse(group, error);
            return false;
        }
        let mut accepted = Vec::with_capacity(group.len());
        let mut senders = Vec::with_capacity(group.len());
        for (pending, done) in group {
            add(&self.counters.appended_batches, 1);
            add(&self.counters.appended_items, pending.batch.items() as u64);
            add(
                &self.counters.appended_bytes,
                pending.batch.payload().len() as u64,
            );
            accepted.push(Accepted {
                sequence: self.sequence,
                batch: pending.batch,
                received_unix_nano: pending.received_unix_nano,
                reservation: pending.reservation,
            });
            self.sequence += 1;
            senders.push(done);
        }
        self.shared.sequence.store(self.sequence - 1, Ordering::Release);
        let full = visible.show(accepted);
        for done in senders {
            let _ = done.send(Ok(()));
        }
        full
    }

    fn refuse(&self, group: Vec<(Pending, Done)>, error: io::Error) {
        let retry_after = self.config.retry_after;
        let (counter, refusal) = if is_storage_full(&error) {
            tracing::warn!(%error, batches = group.len(), "disk full, batches refused until space returns");
            (
                &self.counters.refused_storage_full,
                AppendError::StorageFull { retry_after },
            )
        } else {
            tracing::error!(%error, batches = group.len(), "could not write the log, batches refused");
            let source = Arc::new(error);
            (
                &self.counters.refused_failed,
                AppendError::Failed { retry_after, source },
            )
        };
        add(counter, group.len() as u64);
        for (_, done) in group {
            let _ = done.send(Err(refusal.clone()));
        }
    }

    /// Makes the records of a group durable, or leaves nothing of them that would count.
    fn write(&mut self, group: &[(Pending, Done)]) -> io::Result<()> {
        if self
            .file
            .as_ref()
            .is_some_and(|file| file.bytes >= self.config.segment_bytes_max)
        {
            self.close_file();
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.begin_file()?,
        };
        self.buffer.clear();
        for (index, (pending, _)) in group.iter().enumerate() {
            let sequence = self.sequence + index as u64;
            pending
                .payload
                .write(file.seed, sequence, pending.received_unix_nano, &mut self.buffer);
        }
        let started = Instant::now();
        let written = file.append(&self.buffer);
        // One batch may be large; the memory is not kept for the next.
        self.buffer.shrink_to(2 * self.config.group_bytes_max);
        match written {
            Ok(bytes) => {
                add(&self.counters.journal_syncs, 1);
                add(
                    &self.counters.journal_sync_nanos,
                    started.elapsed().as_nanos() as u64,
                );
                add(&self.counters.journal_bytes, bytes);
                self.file = Some(file);
                Ok(())
            }
            Err(failure) => {
                if failure.usable {
                    self.file = Some(file);
                } else {
                    add(&self.counters.journal_poisoned, 1);
                    self.give_up(file);
                }
                Err(failure.error)
            }
        }
    }

    /// Makes the next file with a durable name. Its header is synced with the first group.
    fn begin_file(&mut self) -> io::Result<OpenFile> {
        let file_system = &self.config.file_system;
        let path = file_path(&self.config.directory, self.number);
        let number = self.number;
        // A name is used once, whatever becomes of it.
        self.number += 1;
        let mut file = file_system.create(&path)?;
        let header = FileHeader::new(self.sequence, self.config.journal).encode();
        let made = file
            .write_all(&header)
            .and_then(|()| file_system.sync_directory(&self.config.directory));
        if let Err(error) = made {
            let _ = file_system.remove(&path);
            return Err(error);
        }
        Ok(OpenFile {
            path,
            file,
            first_sequence: self.sequence,
            seed: checksum_seed(self.config.journal, number),
            bytes: FILE_HEADER_BYTES as u64,
        })
    }

    /// Leaves a file whose last records were refused. They may be on the disk all the same, and a start would take them
    /// for good: a later file that begins with their numbers makes them void, before their senders send them again.
    fn give_up(&mut self, file: OpenFile) {
        let begun = self.begin_file().and_then(|mut next| {
            next.file.sync()?;
            Ok(next)
        });
        let next = match begun {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "could not begin the next log file, trying again with the next batch");
                return self.retire(file);
            }
        };
        self.file = Some(next);
        // Nothing of it is needed, and a disk that fails for long would fill up with such files.
        let is_void = file.first_sequence == self.sequence;
        if !is_void || self.config.file_system.remove(&file.path).is_err() {
            self.retire(file);
        }
    }

    fn close_file(&mut self) {
        if let Some(file) = self.file.take() {
            self.retire(file);
        }
        self.count_files();
    }

    fn count_files(&self) {
        let open = u64::from(self.file.is_some());
        self.shared.open_files.store(open, Ordering::Relaxed);
    }

    fn retire(&self, file: OpenFile) {
        self.shared.closed.lock().push_back(ClosedFile {
            path: file.path,
            last_sequence: self.sequence - 1,
        });
    }
}
