//! The queue in memory. Batches in it share their bytes with every other queue. Refuses to survive a crash.

use std::collections::{BTreeSet, VecDeque};

use cupola_telemetry::Batch;
use cupola_telemetry::memory::Reservation;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Entered, Load, Waiter};

#[derive(Debug)]
pub(super) struct Entry {
    /// Given by the queue, in the order of arrival.
    pub(super) sequence: u64,
    pub(super) batch: Batch,
    #[expect(dead_code, reason = "leaves the queue with the entry")]
    pub(super) entered: Entered,
    #[expect(dead_code, reason = "is given back with the entry")]
    pub(super) reservation: Reservation,
    pub(super) waiter: Option<Waiter>,
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    state: Mutex<State>,
    /// Signalled when a batch arrives and when the queue closes.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Entry>,
    /// Of what is being sent, which can no longer be dropped.
    busy: Load,
    /// Numbers of what is being sent.
    in_flight: BTreeSet<u64>,
    /// The number of what comes next.
    next: u64,
    closed: bool,
}

impl Memory {
    /// `false`, and the entry is gone, once the queue is closed.
    pub(super) fn push(&self, mut entry: Entry) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        entry.sequence = state.next;
        state.next += 1;
        state.waiting.push_back(entry);
        drop(state);
        self.changed.notify_one();
        true
    }

    pub(super) fn busy(&self) -> Load {
        self.state.lock().busy
    }

    pub(super) fn drop_oldest(&self) -> Option<Load> {
        let oldest = self.state.lock().waiting.pop_front()?;
        Some(Load::of(&oldest.batch))
    }

    /// The next batch, or `None` once the queue is closed and empty.
    pub(super) async fn next(&self) -> Option<Entry> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that a batch pushed in between wakes this consumer.
            changed.as_mut().enable();
            {
                let mut state = self.state.lock();
                if let Some(entry) = state.waiting.pop_front() {
                    state.busy.add(Load::of(&entry.batch));
                    state.in_flight.insert(entry.sequence);
                    return Some(entry);
                }
                if state.closed {
                    return None;
                }
            }
            changed.await;
        }
    }

    pub(super) fn done(&self, entry: &Entry) {
        let mut state = self.state.lock();
        state.busy.subtract(Load::of(&entry.batch));
        state.in_flight.remove(&entry.sequence);
    }

    /// What has arrived until now has numbers below it.
    pub(super) fn mark(&self) -> u64 {
        self.state.lock().next
    }

    /// Whether nothing below the mark is left.
    pub(super) fn has_passed(&self, mark: u64) -> bool {
        let state = self.state.lock();
        // What was given back stands in front of what is older, so that all are looked at.
        state.in_flight.first().is_none_or(|first| *first >= mark)
            && state.waiting.iter().all(|entry| entry.sequence >= mark)
    }

    pub(super) fn give_back(&self, entry: Entry) {
        let mut state = self.state.lock();
        state.busy.subtract(Load::of(&entry.batch));
        state.in_flight.remove(&entry.sequence);
        state.waiting.push_front(entry);
        drop(state);
        self.changed.notify_one();
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_waiters();
    }

    /// Everything that still waits, at the end.
    pub(super) fn take_all(&self) -> Vec<Entry> {
        self.state.lock().waiting.drain(..).collect()
    }
}
