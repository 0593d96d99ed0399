//! How much a queue holds, and whether more fits. Owns the count; refuses to know what is held.

use std::sync::Arc;

use cupola_telemetry::Batch;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Sizer;

/// What counts towards the bounds of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    pub requests: u64,
    pub items: u64,
    /// Of payloads, as they were before compression.
    pub bytes: u64,
}

impl Load {
    pub(crate) fn of(batch: &Batch) -> Load {
        Load {
            requests: 1,
            items: batch.items() as u64,
            bytes: batch.payload().len() as u64,
        }
    }

    pub(crate) fn add(&mut self, other: Load) {
        self.requests += other.requests;
        self.items += other.items;
        self.bytes += other.bytes;
    }

    pub(crate) fn subtract(&mut self, other: Load) {
        self.requests = self.requests.saturating_sub(other.requests);
        self.items = self.items.saturating_sub(other.items);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }

    pub(crate) fn measure(self, sizer: Sizer) -> u64 {
        match sizer {
            Sizer::Requests => self.requests,
            Sizer::Items => self.items,
            Sizer::Bytes => self.bytes,
        }
    }
}

/// Why a batch was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// Nothing is let in any more.
    ShuttingDown,
    /// Not now.
    Full,
    /// Not even into the empty queue.
    TooLarge,
}

/// The count of one queue: waiting, and being sent.
#[derive(Debug)]
pub(crate) struct Gate {
    sizer: Sizer,
    capacity: u64,
    state: Mutex<GateState>,
    /// Signalled when something leaves, and at the end.
    freed: Notify,
}

#[derive(Debug, Default)]
struct GateState {
    held: Load,
    closed: bool,
}

impl Gate {
    pub(crate) fn new(sizer: Sizer, capacity: u64) -> Gate {
        Gate {
            sizer,
            capacity,
            state: Mutex::default(),
            freed: Notify::new(),
        }
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(crate) fn held(&self) -> Load {
        self.state.lock().held
    }

    /// Held, in the unit of the capacity.
    pub(crate) fn size(&self) -> u64 {
        self.held().measure(self.sizer)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.size() >= self.capacity
    }

    pub(crate) fn try_enter(self: &Arc<Self>, load: Load) -> Result<Entered, Closed> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Closed::ShuttingDown);
        }
        let wanted = load.measure(self.sizer);
        if wanted > self.capacity {
            return Err(Closed::TooLarge);
        }
        if state.held.measure(self.sizer) + wanted > self.capacity {
            return Err(Closed::Full);
        }
        state.held.add(load);
        let gate = self.clone();
        Ok(Entered { gate, load })
    }

    /// Waits until there is room, or the end.
    pub(crate) async fn enter(self: &Arc<Self>, load: Load) -> Result<Entered, Closed> {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Registered before looking, so that room made in between is seen.
            freed.as_mut().enable();
            match self.try_enter(load) {
                Err(Closed::Full) => {}
                decided => return decided,
            }
            freed.await;
        }
    }

    /// Whether a batch of this load could be let in if everything that only waits were dropped.
    pub(crate) fn fits_beside(&self, busy: Load, load: Load) -> bool {
        busy.measure(self.sizer) + load.measure(self.sizer) <= self.capacity
    }

    /// Counts what is there already, whatever the bound says.
    pub(crate) fn found(&self, load: Load) {
        self.state.lock().held.add(load);
    }

    pub(crate) fn leave(&self, load: Load) {
        self.state.lock().held.subtract(load);
        self.freed.notify_waiters();
    }

    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.freed.notify_waiters();
    }
}

/// A batch that was let in; leaves when dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    gate: Arc<Gate>,
    load: Load,
}

impl Entered {
    /// Whoever calls this calls [`Gate::leave`] later.
    pub(crate) fn keep(mut self) {
        self.load = Load::default();
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if self.load != Load::default() {
            self.gate.leave(self.load);
        }
    }
}
