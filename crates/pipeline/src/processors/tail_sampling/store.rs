//! Traces in memory: undecided ones by when they are due, decisions that late spans follow, and what waits for delivery.
//!
//! Everything happens under one lock of its owner; refuses to send anything itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use cupola_export::{Accepted, Sample, SendError};
use cupola_telemetry::memory::{MemoryBudget, Reservation};
use cupola_telemetry::{Batch, TenantId, TraceId};
use tokio::time::Instant;

use super::config::TailSamplingConfig;
use super::outbox::{Outbox, Outgoing};
use super::policy::{Decision, Evidence, Policies};
use super::stats::Stats;
use super::ticket::Ticket;
use crate::ottl::Env;
use crate::processors::ConfigError;
use crate::processors::lru::Lru;

/// What a trace takes beside its bytes: its places in the maps and a fragment's handle, estimated.
const TRACE_OVERHEAD_BYTES: usize = 320;
/// What a further fragment of a trace takes beside its bytes.
const FRAGMENT_OVERHEAD_BYTES: usize = 96;
/// What a remembered decision takes, notes about the order included.
const DECISION_BYTES: usize = 160;
/// How long a sender is asked to wait when there is no room.
const RETRY_AFTER: Duration = Duration::from_secs(1);

type Key = (TenantId, TraceId);

/// The spans that a batch has of one trace.
pub(super) struct Fragment {
    pub(super) id: TraceId,
    pub(super) batch: Batch,
    /// A root span is among them; only known if that matters.
    pub(super) root: bool,
}

/// A batch by what is to be done with its parts.
pub(super) struct Sorted {
    /// Of traces that are sampled.
    pub(super) late: Vec<Batch>,
    /// Of traces that are not decided, or not known.
    pub(super) held: Vec<Fragment>,
    /// For what is to be held.
    pub(super) memory: Reservation,
}

struct Trace {
    fragments: Vec<Batch>,
    bytes: usize,
    arrived: Instant,
    due: (Instant, u64),
    memory: Reservation,
    tickets: Vec<Arc<Ticket>>,
}

pub(super) struct Store {
    policies: Policies,
    pub(super) stats: Stats,
    budget: MemoryBudget,
    wait: Duration,
    wait_after_root: Duration,
    traces_max: usize,
    trace_bytes_max: usize,
    block_on_overflow: bool,
    drop_at_shutdown: bool,
    traces: HashMap<Key, Trace>,
    due: BTreeMap<(Instant, u64), Key>,
    sequence: u64,
    sampled: Lru<Key, Instant>,
    not_sampled: Lru<Key, Instant>,
    decisions: Reservation,
    pub(super) outbox: Outbox,
    closed: bool,
}

impl Store {
    pub(super) fn new(config: &TailSamplingConfig, budget: MemoryBudget) -> Result<Self, ConfigError> {
        // Both caches together take at most half of the memory, so that there is room for spans.
        let most = budget.ceiling() / 4 / DECISION_BYTES;
        let size = |configured: usize| match configured {
            0 => config.num_traces.min(most),
            size => size.min(most),
        };
        let bytes_max = usize::try_from(config.maximum_trace_size_bytes.0).unwrap_or(usize::MAX);
        // As many as come within the wait, but a hint alone is no reason to allocate without bound.
        let expected = config.expected_new_traces_per_sec as f64 * config.decision_wait.0.as_secs_f64();
        Ok(Self {
            policies: Policies::new(config)?,
            stats: Stats::new(),
            decisions: budget.reservation(),
            budget,
            wait: config.decision_wait.0,
            wait_after_root: config.decision_wait_after_root_received.0,
            traces_max: config.num_traces,
            trace_bytes_max: if bytes_max == 0 { usize::MAX } else { bytes_max },
            block_on_overflow: config.block_on_overflow,
            drop_at_shutdown: config.drop_pending_traces_on_shutdown,
            traces: HashMap::with_capacity((expected as usize).min(config.num_traces).min(1 << 16)),
            due: BTreeMap::new(),
            sequence: 0,
            sampled: Lru::new(size(config.decision_cache.sampled_cache_size)),
            not_sampled: Lru::new(size(config.decision_cache.non_sampled_cache_size)),
            outbox: Outbox::default(),
            closed: false,
        })
    }

    pub(super) fn held(&self) -> usize {
        self.traces.len()
    }

    pub(super) fn first_due(&self) -> Option<Instant> {
        self.due.keys().next().map(|(due, _)| *due)
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.first_due().is_some_and(|due| due <= now)
    }

    /// Takes nothing more.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    fn open(&mut self, spans: usize) -> Result<(), SendError> {
        if !self.closed {
            return Ok(());
        }
        self.stats.refused_spans += spans as u64;
        Err(SendError::retryable("tail sampling has been shut down"))
    }

    /// Sorts the fragments of a batch by what is known of their traces, and reserves memory for what is to be held.
    pub(super) fn sort(
        &mut self,
        fragments: Vec<Fragment>,
        now: Instant,
        began: Instant,
        env: &dyn Env,
    ) -> Result<Sorted, SendError> {
        let spans = |fragments: &[Fragment]| fragments.iter().map(|fragment| fragment.batch.items()).sum();
        self.open(spans(&fragments))?;
        let (mut late, mut held, mut not_sampled) = (Vec::new(), Vec::new(), Vec::new());
        let (mut bytes, mut begin) = (0, 0);
        for fragment in fragments {
            let key = (fragment.batch.tenant().clone(), fragment.id);
            let overhead = if self.traces.contains_key(&key) {
                FRAGMENT_OVERHEAD_BYTES
            } else if let Some(decided) = self.sampled.get(&key) {
                late.push((fragment.batch, *decided));
                continue;
            } else if let Some(decided) = self.not_sampled.get(&key) {
                not_sampled.push((fragment.batch.items(), *decided));
                continue;
            } else {
                begin += 1;
                TRACE_OVERHEAD_BYTES
            };
            bytes += fragment.batch.payload().len() + overhead;
            held.push(fragment);
        }
        if self.block_on_overflow && self.traces.len() + begin > self.traces_max {
            return Err(self.full(spans(&held), "it holds num_traces traces"));
        }
        let memory = self.reserve(bytes, &held, now, began, env)?;
        for (batch, decided) in &late {
            self.stats.late_sampled += batch.items() as u64;
            self.stats.late_span_age.record((now - *decided).as_secs_f64());
        }
        for (items, decided) in not_sampled {
            self.stats.late_not_sampled += items as u64;
            self.stats.not_sampled_spans += items as u64;
            self.stats.late_span_age.record((now - decided).as_secs_f64());
        }
        let late = late.into_iter().map(|(batch, _)| batch).collect();
        Ok(Sorted { late, held, memory })
    }

    fn full(&mut self, spans: usize, why: &str) -> SendError {
        self.stats.refused_spans += spans as u64;
        SendError::Retryable {
            reason: format!("tail sampling cannot hold more: {why}"),
            retry_after: Some(RETRY_AFTER),
        }
    }

    /// Reserves memory. Where there is too little, traces are decided early, unless what is decided already and waits
    /// for delivery will give back enough.
    fn reserve(
        &mut self,
        bytes: usize,
        held: &[Fragment],
        now: Instant,
        began: Instant,
        env: &dyn Env,
    ) -> Result<Reservation, SendError> {
        let spans = held.iter().map(|fragment| fragment.batch.items()).sum();
        if bytes > self.budget.ceiling() {
            self.stats.refused_spans += spans as u64;
            let ceiling = self.budget.ceiling();
            return Err(SendError::permanent(format!(
                "tail sampling: a batch of {bytes} bytes is larger than all of its memory, {ceiling} bytes; send smaller batches"
            )));
        }
        loop {
            if let Some(memory) = self.budget.try_reserve(bytes) {
                return Ok(memory);
            }
            if self.outbox.bytes() >= bytes || self.traces.is_empty() {
                return Err(self.full(spans, "its memory is used up"));
            }
            self.stats.too_early += 1;
            self.decide_first(now, began, env);
        }
    }

    /// Holds fragments. Whether one of them is due before all that was held until now.
    pub(super) fn hold(
        &mut self,
        held: Vec<Fragment>,
        mut memory: Reservation,
        ticket: Option<&Arc<Ticket>>,
        now: Instant,
        began: Instant,
        env: &dyn Env,
    ) -> Result<bool, SendError> {
        self.open(held.iter().map(|fragment| fragment.batch.items()).sum())?;
        let before = self.first_due();
        // Traces of this batch come last when room is made for it.
        for fragment in held {
            let key = (fragment.batch.tenant().clone(), fragment.id);
            let bytes = fragment.batch.payload().len();
            if !self.traces.contains_key(&key) {
                // Decided since it was sorted.
                if self.sampled.get(&key).is_some() {
                    self.stats.late_sampled += fragment.batch.items() as u64;
                    let memory = memory.split(bytes);
                    self.outbox.push(Outgoing {
                        fragments: vec![fragment.batch],
                        bytes,
                        memory,
                        tickets: Vec::from_iter(ticket.cloned()),
                    });
                    continue;
                }
                if self.not_sampled.get(&key).is_some() {
                    self.stats.late_not_sampled += fragment.batch.items() as u64;
                    self.stats.not_sampled_spans += fragment.batch.items() as u64;
                    if let Some(ticket) = ticket {
                        ticket.complete(Ok(Accepted::all()));
                    }
                    continue;
                }
                if self.traces.len() >= self.traces_max {
                    self.stats.too_early += 1;
                    self.decide_first(now, began, env);
                }
            }
            self.append(key, fragment, &mut memory, ticket, now);
            self.decide_too_large(now, began, env);
        }
        Ok(match (before, self.first_due()) {
            (Some(before), Some(first)) => first < before,
            (None, Some(_)) => true,
            (_, None) => false,
        })
    }

    fn append(
        &mut self,
        key: Key,
        fragment: Fragment,
        memory: &mut Reservation,
        ticket: Option<&Arc<Ticket>>,
        now: Instant,
    ) {
        self.sequence += 1;
        let bytes = fragment.batch.payload().len();
        let due = (now + self.wait, self.sequence);
        let stats = &mut self.stats;
        let trace = self.traces.entry(key.clone()).or_insert_with(|| {
            stats.new_traces += 1;
            Trace {
                fragments: Vec::new(),
                bytes: 0,
                arrived: now,
                due,
                memory: memory.split(TRACE_OVERHEAD_BYTES - FRAGMENT_OVERHEAD_BYTES),
                tickets: Vec::new(),
            }
        });
        // What was reserved for a trace that has begun since is given back with the rest.
        let taken = memory.split(bytes + FRAGMENT_OVERHEAD_BYTES);
        trace.memory.absorb(taken);
        if trace.fragments.is_empty() {
            self.due.insert(trace.due, key.clone());
        }
        trace.fragments.push(fragment.batch);
        trace.bytes += bytes;
        trace.tickets.extend(ticket.cloned());
        let (mut at, sequence) = trace.due;
        if fragment.root {
            at = at.min(now + self.wait_after_root);
        }
        if trace.bytes > self.trace_bytes_max {
            // Before everything else: decided at once.
            at = at.min(trace.arrived);
        }
        if at != trace.due.0 {
            self.due.remove(&trace.due);
            trace.due = (at, sequence);
            self.due.insert(trace.due, key);
        }
    }

    /// Decides traces that have grown too large, which are due before all others.
    fn decide_too_large(&mut self, now: Instant, began: Instant, env: &dyn Env) {
        while let Some((_, key)) = self.due.first_key_value()
            && self
                .traces
                .get(key)
                .is_some_and(|trace| trace.bytes > self.trace_bytes_max)
        {
            self.stats.too_large += 1;
            self.decide_first(now, began, env);
        }
    }

    /// Decides the trace that is due first.
    pub(super) fn decide_first(&mut self, now: Instant, began: Instant, env: &dyn Env) {
        let Some((_, key)) = self.due.pop_first() else {
            return;
        };
        let Some(trace) = self.traces.remove(&key) else {
            return;
        };
        if self.closed && self.drop_at_shutdown {
            let spans = trace.fragments.iter().map(Batch::items).sum::<usize>() as u64;
            self.stats.dropped_at_shutdown += spans;
            trace
                .tickets
                .iter()
                .for_each(|ticket| ticket.complete(Ok(Accepted::all())));
            return;
        }
        let evidence = Evidence::new(key.1, &trace.fragments, now - began, env);
        let decision = self.policies.decide(&evidence);
        let spans = evidence.span_count as u64;
        self.stats.count(decision);
        self.stats.removal_age.record((now - trace.arrived).as_secs_f64());
        self.remember(key, decision, now);
        let Trace {
            fragments,
            bytes,
            memory,
            tickets,
            ..
        } = trace;
        if decision.is_sampled() {
            self.outbox.push(Outgoing {
                fragments,
                bytes,
                memory,
                tickets,
            });
        } else {
            self.stats.not_sampled_spans += spans;
            tickets
                .iter()
                .for_each(|ticket| ticket.complete(Ok(Accepted::all())));
        }
    }

    fn remember(&mut self, key: Key, decision: Decision, now: Instant) {
        match decision.is_sampled() {
            true => self.sampled.insert(key, now),
            false => self.not_sampled.insert(key, now),
        }
        let bytes = (self.sampled.len() + self.not_sampled.len()) * DECISION_BYTES;
        // They are small and bounded in number; what is held makes room for them.
        let reserved = self.decisions.bytes();
        self.decisions.grow(bytes.saturating_sub(reserved));
    }

    /// A delivery has ended. Whether nothing is left to deliver.
    pub(super) fn delivered(&mut self, spans: u64, memory: usize, failed: bool, rejected: u64) -> bool {
        self.outbox.delivered(spans, memory);
        self.stats.rejected_spans += rejected;
        if failed {
            self.stats.failed_spans += spans;
        }
        self.outbox.is_idle()
    }

    /// Gives up what is not delivered; how many spans that were.
    pub(super) fn give_up(&mut self) -> u64 {
        let spans = self.outbox.give_up();
        self.stats.failed_spans += spans;
        spans
    }

    pub(super) fn collect(&self, samples: &mut Vec<Sample>) {
        self.stats
            .collect(self.traces.len(), self.policies.stats(), samples);
    }
}
