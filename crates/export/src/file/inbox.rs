//! What waits for the writing thread, and its loop: take all that waits, write it as one group, sync once, answer.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use cupola_telemetry::Batch;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Semaphore, oneshot};

use super::disk::Disk;
use super::writer::Writer;
use crate::SendError;

/// Batches waiting at most; more senders wait for a place.
const JOBS_MAX: usize = 128;
/// A group is written once it has this many bytes.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(super) type Answer = Result<(), SendError>;

/// One batch and whoever waits for it.
pub(super) struct Job {
    pub(super) batch: Batch,
    pub(super) answer: oneshot::Sender<Answer>,
}

pub(super) struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
    places: Semaphore,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Default for Inbox {
    fn default() -> Self {
        Inbox {
            state: Mutex::default(),
            arrived: Condvar::new(),
            places: Semaphore::new(JOBS_MAX),
        }
    }
}

impl Inbox {
    /// Hands a job over once there is a place; `false` if the inbox is closed.
    pub(super) async fn push(&self, job: Job) -> bool {
        let Ok(place) = self.places.acquire().await else {
            return false;
        };
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        // Given back when the thread takes the job.
        place.forget();
        state.jobs.push_back(job);
        drop(state);
        self.arrived.notify_one();
        true
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.places.close();
        self.arrived.notify_one();
    }

    /// All that waits; nothing after `limit` without a job; `None` once closed and empty.
    fn take(&self, limit: Option<Duration>) -> Option<VecDeque<Job>> {
        let mut state = self.state.lock();
        while state.jobs.is_empty() {
            if state.closed {
                return None;
            }
            match limit {
                None => self.arrived.wait(&mut state),
                Some(limit) if self.arrived.wait_for(&mut state, limit).timed_out() => break,
                Some(_) => {}
            }
        }
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        if !self.places.is_closed() {
            self.places.add_permits(jobs.len());
        }
        Some(jobs)
    }
}

/// Writes jobs until the inbox is closed and empty. With `flush_interval`, answers before syncing and syncs that often.
pub(super) fn serve<D: Disk>(inbox: &Inbox, writer: &mut Writer<D>, flush_interval: Option<Duration>) {
    let mut synced = std::time::Instant::now();
    let mut group = Group::default();
    while let Some(jobs) = inbox.take(flush_interval) {
        for job in jobs {
            group.add(job, writer);
        }
        group.commit(writer);
        if flush_interval.is_some_and(|interval| synced.elapsed() >= interval) {
            writer.flush();
            synced = std::time::Instant::now();
        }
    }
    writer.flush();
}

/// Records that are written together.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    waiting: Vec<oneshot::Sender<Answer>>,
}

impl Group {
    fn add<D: Disk>(&mut self, job: Job, writer: &mut Writer<D>) {
        let before = self.bytes.len();
        if let Err(reason) = writer.framing().append(&mut self.bytes, &job.batch) {
            self.bytes.truncate(before);
            let _ = job.answer.send(Err(SendError::permanent(reason)));
            return;
        }
        let limit = writer.file_bytes_max().min(GROUP_BYTES_MAX as u64);
        if before > 0 && self.bytes.len() as u64 > limit {
            // The one that is too many begins the next group.
            let record = self.bytes.split_off(before);
            self.commit(writer);
            self.bytes = record;
        }
        self.waiting.push(job.answer);
    }

    fn commit<D: Disk>(&mut self, writer: &mut Writer<D>) {
        if self.bytes.is_empty() {
            return;
        }
        let outcome: io::Result<()> = writer.append(&self.bytes);
        let answer = outcome.map_err(|error| {
            SendError::retryable(format!(
                "{} could not be written: {error}",
                writer.path().display()
            ))
        });
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(answer.clone());
        }
        self.bytes.clear();
        self.bytes.shrink_to(GROUP_BYTES_MAX);
    }
}
