//! Tail sampling in the process: which traces are exported, decided by what their spans came to. Owns the spans that wait for it,
//! the bounds on them, and what is remembered of decisions. Belongs to the exporting thread, which hands it spans as they were
//! recorded: what samplers have dropped at the start never comes here.
//!
//! A trace is kept as soon as something speaks for it: it is in the share that is kept anyway, was forced, has a span with an error
//! or one that a rule fits, or what this process has of it took long. Only what nothing speaks for yet waits, until the span that
//! began the trace in this process has ended and a little longer; then it is dropped. What of other processes belongs to the trace
//! is not looked at: each decides for itself, and agrees with the others on the share alone.
//!
//! Spans that wait are in memory alone, also where there is a spool, once the segment that they were in has been given back.

mod decisions;
mod waiting;

use std::time::Duration;

use cupola_telemetry::view::{AnyValue, Message, Span};
use cupola_telemetry::{SpanId, TraceId};

use crate::recorder::Scope;
use crate::sampling::{Condition, Ended, FORCED, Pattern, TraceIdRatio, all_hold};
use crate::span::IS_REMOTE;
use decisions::Decisions;
use waiting::{Trace, Waiting};

/// `STATUS_CODE_ERROR`.
const ERROR: i32 = 2;

/// What decides, and the bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct TailSettings {
    /// Traces that are kept whatever is in them, chosen as [`TraceIdRatio`] does: a tenth by default.
    pub ratio: TraceIdRatio,
    /// Keeps traces with a span whose status is an error.
    pub errors: bool,
    /// Keeps traces of which the part in this process took at least so long: one second by default.
    pub slow: Option<Duration>,
    /// Other times for parts that begin with spans of these names; the first that fits counts.
    pub slow_names: Vec<(Pattern, Duration)>,
    /// Keeps traces with a span of which all conditions of one of these are so.
    pub rules: Vec<Vec<Condition>>,
    /// How long spans are waited for that end after the one that began the trace in this process: 2 s by default.
    pub linger: Duration,
    /// Longest that a trace waits: 30 s by default.
    pub wait_max: Duration,
    /// Bytes of the spans that wait, with what they take beside: 16 MiB by default. Beyond it the oldest traces are decided upon.
    pub bytes_max: usize,
    /// Traces that wait: 10,000 by default.
    pub traces_max: usize,
    /// Decisions that are remembered for spans that end later: those about 65,536 traces by default, the latest that were asked for.
    pub decisions_max: usize,
}

impl Default for TailSettings {
    fn default() -> TailSettings {
        TailSettings {
            ratio: TraceIdRatio::new(0.1).expect("a tenth is a share"),
            errors: true,
            slow: Some(Duration::from_secs(1)),
            slow_names: Vec::new(),
            rules: Vec::new(),
            linger: Duration::from_secs(2),
            wait_max: Duration::from_secs(30),
            bytes_max: 16 << 20,
            traces_max: 10_000,
            decisions_max: 65_536,
        }
    }
}

/// What became of spans so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TailCounts {
    pub kept: u64,
    pub dropped: u64,
    /// Traces that were decided upon before their time, because too much waited.
    pub early: u64,
    /// Spans that came when their trace had been dropped; of these, those with something that speaks for them are kept.
    pub late: u64,
}

/// Takes spans that are exported, with their scopes.
pub type With<'w> = dyn FnMut(Scope, &[u8]) + 'w;

/// The spans that wait for a decision.
#[derive(Debug)]
pub struct Tail {
    settings: TailSettings,
    waiting: Waiting,
    decisions: Decisions,
    counts: TailCounts,
}

impl Tail {
    pub fn new(settings: TailSettings) -> Tail {
        Tail {
            decisions: Decisions::new(settings.decisions_max),
            waiting: Waiting::default(),
            counts: TailCounts::default(),
            settings,
        }
    }

    /// Decides by other settings from now on; what waits goes on waiting, until when it was to.
    pub fn apply(&mut self, settings: TailSettings) {
        self.decisions.bound(settings.decisions_max);
        self.settings = settings;
    }

    pub fn counts(&self) -> TailCounts {
        self.counts
    }

    /// Bytes that wait, with what they take beside.
    pub fn bytes(&self) -> usize {
        self.waiting.bytes()
    }

    /// Takes a span, encoded, at this time in nanoseconds since 1970. It, and what waited for it, is handed to `with` as soon as the
    /// trace is kept.
    pub fn add(&mut self, scope: Scope, record: &[u8], now: u64, with: &mut With<'_>) {
        let ended = Ended {
            scope,
            span: Span::parse(record),
        };
        let Some(trace_id) = TraceId::from_bytes(ended.span.trace_id) else {
            // Of no trace: there is nothing to wait for.
            return self.keep(scope, record, with);
        };
        if self.settings.ratio.has(trace_id) {
            return self.keep(scope, record, with);
        }
        match self.decisions.of(trace_id) {
            Some(true) => return self.keep(scope, record, with),
            Some(false) => {
                self.counts.late += 1;
                if !self.speaks_for_itself(&ended) {
                    self.counts.dropped += 1;
                    return;
                }
                self.decisions.remember(trace_id, true);
                return self.keep(scope, record, with);
            }
            None => {}
        }
        if self.speaks_for_itself(&ended) {
            self.decisions.remember(trace_id, true);
            if let Some(trace) = self.waiting.remove(trace_id) {
                self.end(&trace, true, with);
            }
            return self.keep(scope, record, with);
        }
        self.waiting
            .push(trace_id, scope, record, ended.span.start_time_unix_nano, now);
        if is_local_root(&ended.span) {
            self.waiting
                .linger(trace_id, now.saturating_add(nanos(self.settings.linger)));
        }
        self.stay_within_bounds(now, with);
    }

    /// Decides upon what has waited long enough.
    pub fn due(&mut self, now: u64, with: &mut With<'_>) {
        let wait_max = nanos(self.settings.wait_max);
        while let Some((trace_id, trace)) = self.waiting.take_due(now, wait_max) {
            self.decide(trace_id, &trace, now, with);
        }
    }

    /// When there is something to decide upon next, in nanoseconds since 1970.
    pub fn next(&self) -> Option<u64> {
        self.waiting.next(nanos(self.settings.wait_max))
    }

    /// Decides upon all that waits, at the end of the process. Of what has not come to its end nobody knows that it would have been
    /// dropped: it is kept.
    pub fn flush(&mut self, with: &mut With<'_>) {
        while let Some((trace_id, trace)) = self.waiting.take_oldest() {
            self.decisions.remember(trace_id, !trace.has_root());
            self.end(&trace, !trace.has_root(), with);
        }
    }

    fn stay_within_bounds(&mut self, now: u64, with: &mut With<'_>) {
        let TailSettings {
            bytes_max,
            traces_max,
            ..
        } = self.settings;
        while self.waiting.bytes() > bytes_max || self.waiting.traces() > traces_max {
            let Some((trace_id, trace)) = self.waiting.take_oldest() else {
                return;
            };
            self.counts.early += 1;
            self.decide(trace_id, &trace, now, with);
        }
    }

    /// Nothing in it speaks for it. If it has not ended, it may have gone on for so long that it is slow whenever it ends.
    fn decide(&mut self, trace_id: TraceId, trace: &Trace, now: u64, with: &mut With<'_>) {
        let age = Duration::from_nanos(now.saturating_sub(trace.start_unix_nano));
        let is_kept = !trace.has_root() && self.settings.slow.is_some_and(|slow| age >= slow);
        self.decisions.remember(trace_id, is_kept);
        self.end(trace, is_kept, with);
    }

    fn end(&mut self, trace: &Trace, is_kept: bool, with: &mut With<'_>) {
        if !is_kept {
            self.counts.dropped += trace.spans() as u64;
            return;
        }
        for (scope, record) in trace.iter() {
            self.keep(scope, record, with);
        }
    }

    fn keep(&mut self, scope: Scope, record: &[u8], with: &mut With<'_>) {
        self.counts.kept += 1;
        with(scope, record);
    }

    /// Whether it is enough for its trace to be kept.
    fn speaks_for_itself(&self, ended: &Ended<'_>) -> bool {
        let span = &ended.span;
        let is_error = self.settings.errors && span.status.is_some_and(|status| status.code == ERROR);
        is_error
            || is_local_root(span) && self.is_slow(span)
            || span.attributes.get(FORCED) == Some(AnyValue::Bool(true))
            || self.settings.rules.iter().any(|rule| all_hold(rule, ended))
    }

    fn is_slow(&self, root: &Span<'_>) -> bool {
        let mut names = self.settings.slow_names.iter();
        let of_name = names.find(|(pattern, _)| pattern.fits(root.name));
        let slow = of_name.map(|(_, slow)| *slow).or(self.settings.slow);
        let took = root.end_time_unix_nano.saturating_sub(root.start_time_unix_nano);
        slow.is_some_and(|slow| Duration::from_nanos(took) >= slow)
    }
}

/// Whether the trace begins with it in this process.
fn is_local_root(span: &Span<'_>) -> bool {
    SpanId::from_bytes(span.parent_span_id).is_none() || span.flags & IS_REMOTE != 0
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
