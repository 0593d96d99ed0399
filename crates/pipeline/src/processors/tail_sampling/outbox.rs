//! What is sampled and waits to be handed on. It keeps its memory until it has been.

use std::collections::VecDeque;
use std::sync::Arc;

use cupola_telemetry::Batch;
use cupola_telemetry::memory::Reservation;

use super::ticket::Ticket;

/// Traces are put together to batches of about this size for delivery.
const DELIVERY_BYTES: usize = 1 << 20;

/// Sampled spans that wait to be handed on, all of one tenant.
pub(super) struct Outgoing {
    pub(super) fragments: Vec<Batch>,
    pub(super) bytes: usize,
    pub(super) memory: Reservation,
    pub(super) tickets: Vec<Arc<Ticket>>,
}

impl Outgoing {
    pub(super) fn spans(&self) -> u64 {
        self.fragments
            .iter()
            .map(|fragment| fragment.items() as u64)
            .sum()
    }
}

#[derive(Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Outgoing>,
    /// Memory of what waits and of what is being delivered.
    bytes: usize,
    delivering_spans: u64,
    delivering: usize,
}

impl Outbox {
    pub(super) fn push(&mut self, outgoing: Outgoing) {
        self.bytes += outgoing.memory.bytes();
        self.waiting.push_back(outgoing);
    }

    /// Bytes that will be given back when all is delivered.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.delivering == 0
    }

    /// The next to deliver, with others of the same tenant; and whether there is more.
    pub(super) fn next(&mut self) -> Option<(Outgoing, bool)> {
        let mut first = self.waiting.pop_front()?;
        let tenant = |outgoing: &Outgoing| outgoing.fragments.first().map(|batch| batch.tenant().clone());
        let first_tenant = tenant(&first);
        while let Some(next) = self.waiting.front()
            && first.bytes + next.bytes <= DELIVERY_BYTES
            && tenant(next) == first_tenant
            && let Some(next) = self.waiting.pop_front()
        {
            first.fragments.extend(next.fragments);
            first.bytes += next.bytes;
            first.memory.absorb(next.memory);
            first.tickets.extend(next.tickets);
        }
        self.delivering += 1;
        self.delivering_spans += first.spans();
        Some((first, !self.waiting.is_empty()))
    }

    /// A delivery of that many spans, which held so much memory, has ended.
    pub(super) fn delivered(&mut self, spans: u64, memory: usize) {
        self.delivering = self.delivering.saturating_sub(1);
        self.delivering_spans = self.delivering_spans.saturating_sub(spans);
        self.bytes = self.bytes.saturating_sub(memory);
    }

    /// Forgets what waits; how many spans that, and what is being delivered, were.
    pub(super) fn give_up(&mut self) -> u64 {
        let waiting: u64 = self.waiting.drain(..).map(|outgoing| outgoing.spans()).sum();
        waiting + self.delivering_spans
    }
}
