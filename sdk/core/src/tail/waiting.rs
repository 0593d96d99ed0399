//! Spans that wait, by trace, and in which order their traces are decided upon.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cupola_telemetry::TraceId;

use crate::recorder::Scope;

/// What a span, and a trace, take beside the bytes of records.
const SPAN_BYTES: usize = size_of::<(Scope, usize)>();
const TRACE_BYTES: usize = 2 * size_of::<Trace>() + size_of::<(u64, TraceId)>() + size_of::<(u64, u64)>();

/// The spans of one trace that have ended, one behind the other.
#[derive(Debug)]
pub(super) struct Trace {
    /// The order in which traces came.
    number: u64,
    /// When the first of its spans came.
    came_at: u64,
    /// When the first of its spans started.
    pub(super) start_unix_nano: u64,
    /// When it is decided upon, once the span has ended that began it in this process.
    due: Option<u64>,
    bytes: Vec<u8>,
    ends: Vec<(Scope, usize)>,
}

impl Trace {
    /// Whether the span has ended that began it in this process.
    pub(super) fn has_root(&self) -> bool {
        self.due.is_some()
    }

    pub(super) fn spans(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Scope, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |(scope, end)| {
            let record = &self.bytes[start..*end];
            start = *end;
            (*scope, record)
        })
    }

    fn counted_bytes(&self) -> usize {
        TRACE_BYTES + self.bytes.len() + self.ends.len() * SPAN_BYTES
    }
}

/// Traces that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    traces: HashMap<TraceId, Trace>,
    /// By their numbers.
    order: BTreeMap<u64, TraceId>,
    /// Those with a `due`: that, and their number.
    lingering: BTreeSet<(u64, u64)>,
    next_number: u64,
    bytes: usize,
}

impl Waiting {
    pub(super) fn traces(&self) -> usize {
        self.traces.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, trace_id: TraceId, scope: Scope, record: &[u8], start: u64, now: u64) {
        let trace = self.traces.entry(trace_id).or_insert_with(|| {
            let number = self.next_number;
            self.next_number += 1;
            self.order.insert(number, trace_id);
            self.bytes += TRACE_BYTES;
            Trace {
                number,
                came_at: now,
                start_unix_nano: start,
                due: None,
                bytes: Vec::new(),
                ends: Vec::new(),
            }
        });
        trace.start_unix_nano = trace.start_unix_nano.min(start);
        trace.bytes.extend_from_slice(record);
        trace.ends.push((scope, trace.bytes.len()));
        self.bytes += record.len() + SPAN_BYTES;
    }

    /// Has a trace decided upon at `due`, unless it is to be earlier.
    pub(super) fn linger(&mut self, trace_id: TraceId, due: u64) {
        if let Some(trace) = self.traces.get_mut(&trace_id)
            && trace.due.is_none()
        {
            trace.due = Some(due);
            self.lingering.insert((due, trace.number));
        }
    }

    pub(super) fn remove(&mut self, trace_id: TraceId) -> Option<Trace> {
        let trace = self.traces.remove(&trace_id)?;
        self.order.remove(&trace.number);
        if let Some(due) = trace.due {
            self.lingering.remove(&(due, trace.number));
        }
        self.bytes -= trace.counted_bytes();
        Some(trace)
    }

    pub(super) fn take_oldest(&mut self) -> Option<(TraceId, Trace)> {
        let trace_id = *self.order.first_key_value()?.1;
        Some((trace_id, self.remove(trace_id)?))
    }

    /// Takes one that is due, or that has waited for `wait_max`.
    pub(super) fn take_due(&mut self, now: u64, wait_max: u64) -> Option<(TraceId, Trace)> {
        let (due, number) = self.earliest(wait_max)?;
        if due > now {
            return None;
        }
        let trace_id = *self.order.get(&number)?;
        Some((trace_id, self.remove(trace_id)?))
    }

    /// When the next is to be decided upon.
    pub(super) fn next(&self, wait_max: u64) -> Option<u64> {
        Some(self.earliest(wait_max)?.0)
    }

    /// When, and the number of the trace.
    fn earliest(&self, wait_max: u64) -> Option<(u64, u64)> {
        let (number, trace_id) = self.order.first_key_value()?;
        let oldest = self.traces.get(trace_id)?;
        let of_oldest = (oldest.came_at.saturating_add(wait_max), *number);
        let lingering = self.lingering.first().copied();
        Some(lingering.map_or(of_oldest, |lingering| lingering.min(of_oldest)))
    }
}
