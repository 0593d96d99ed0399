//! Starting and ending spans: where sampling, ids, the clock, baggage and limits come together. Which span is the current one
//! is the business of the crates above.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

use cupola_telemetry::view::AnyValue;
use smallvec::SmallVec;

use crate::attributes::Attributes;
use crate::baggage::Baggage;
use crate::clock::Moment;
use crate::context::{SpanContext, TraceFlags};
use crate::pending::{PendingSettings, Registered};
use crate::recorder::Scope;
use crate::sampling::{Answer, Decision, FORCED, Question};
use crate::sdk::Sdk;
use crate::span::{Span, SpanKind, empty_attributes, spare};
use crate::suppress;
use crate::value::Value;

/// Makes spans of one scope.
#[derive(Clone, Debug)]
pub struct Tracer {
    sdk: Sdk,
    scope: Scope,
}

/// A span that is to start.
#[derive(Clone, Debug)]
pub struct Start<'s> {
    pub name: Cow<'static, str>,
    pub kind: SpanKind,
    /// The span in which it starts; without ids, it begins a trace.
    pub parent: &'s SpanContext,
    pub baggage: &'s Baggage,
    /// In which it is going to end, for samplers to see; the tracer's, if nobody says.
    pub scope: Option<Scope>,
    /// Recorded whatever the sampler says: see [`Carried::is_forced`](crate::propagation::Carried::is_forced).
    pub is_forced: bool,
    pub attributes: &'s [(&'s str, Value<'s>)],
    pub links: &'s [(SpanContext, &'s [(&'s str, Value<'s>)])],
    /// Now, if nobody says when.
    pub unix_nano: Option<u64>,
}

static NO_SPAN: SpanContext = SpanContext::none();
static NO_BAGGAGE: Baggage = Baggage::none();

impl<'s> Start<'s> {
    pub fn new(name: impl Into<Cow<'static, str>>) -> Start<'s> {
        Start {
            name: name.into(),
            kind: SpanKind::Internal,
            parent: &NO_SPAN,
            baggage: &NO_BAGGAGE,
            scope: None,
            is_forced: false,
            attributes: &[],
            links: &[],
            unix_nano: None,
        }
    }
}

/// A span that has started.
#[derive(Debug)]
pub struct Started {
    /// What spans below it, and other processes, know it by: also of one that is not recorded. While the SDK is disabled, and on
    /// threads whose spans are passed over, it is that of the parent.
    pub context: SpanContext,
    /// `None` if the sampler said so.
    pub recording: Option<Recording>,
}

/// A span that is recorded. To be given back to [`Tracer::end`]; one that is dropped is lost.
#[derive(Debug)]
pub struct Recording {
    /// Where it stays: it is moved around while it runs.
    span: Box<Span>,
    begin: Moment,
    /// Among those that run, if somebody wants to know them.
    registered: Option<Box<Registered>>,
}

impl Deref for Recording {
    type Target = Span;

    fn deref(&self) -> &Span {
        &self.span
    }
}

impl DerefMut for Recording {
    fn deref_mut(&mut self) -> &mut Span {
        &mut self.span
    }
}

impl Tracer {
    pub(crate) fn new(sdk: Sdk, scope: Scope) -> Tracer {
        Tracer { sdk, scope }
    }

    pub fn sdk(&self) -> &Sdk {
        &self.sdk
    }

    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Whether its sampler looks at the attributes that spans start with. If not, they may be set after the start as well.
    #[inline]
    pub fn looks_at_attributes(&self) -> bool {
        self.sdk.live().sampler.looks_at_attributes()
    }

    /// Starts a span.
    pub fn start(&self, start: Start<'_>) -> Started {
        self.start_with(start, &mut None)
    }

    /// Starts a span whose attributes have been written already ([`span::empty_attributes`](crate::span::empty_attributes)): it
    /// takes them, if it is recorded. They are in place of those of `start`.
    pub fn start_with(&self, start: Start<'_>, written: &mut Option<Attributes>) -> Started {
        let live = self.sdk.live();
        let parent = start.parent;
        if live.is_disabled || suppress::is_suppressed() {
            // As if nobody were here: whoever comes next goes on from the parent.
            return Started {
                context: parent.clone(),
                recording: None,
            };
        }
        let scope = start.scope.unwrap_or(self.scope);
        let (trace_id, random) = match parent.is_valid() {
            true => (parent.trace_id, parent.flags.0 & TraceFlags::RANDOM.0),
            false => (self.sdk.ids().trace_id(), TraceFlags::RANDOM.0),
        };
        let mut context = SpanContext {
            trace_id,
            span_id: self.sdk.ids().span_id(),
            flags: TraceFlags(random),
            trace_state: parent.trace_state.clone(),
            is_remote: false,
        };
        let ask = |attributes| {
            live.sampler.sample(&Question {
                parent,
                trace_id,
                name: &start.name,
                kind: start.kind,
                attributes,
                links: start.links,
                baggage: start.baggage,
                scope,
                clock: self.sdk.clock(),
            })
        };
        let answer = match (start.is_forced, &*written) {
            (true, _) => Answer::from(Decision::RecordAndSample),
            (false, None) => ask(start.attributes),
            (false, Some(_)) if !live.sampler.looks_at_attributes() => ask(&[]),
            (false, Some(written)) => ask(&shown(written)),
        };
        if let Some(trace_state) = answer.trace_state {
            context.trace_state = trace_state;
        }
        context.flags = context
            .flags
            .with_sampled(answer.decision == Decision::RecordAndSample);
        if answer.decision == Decision::Drop {
            return Started {
                context,
                recording: None,
            };
        }
        let begin = self.sdk.clock().moment();
        let unix_nano = start.unix_nano.unwrap_or(begin.unix_nano);
        let limits = &live.span_limits;
        let mut span = Span::new(
            context.clone(),
            Some(parent),
            start.name,
            start.kind,
            unix_nano,
            limits,
        );
        match written.take() {
            Some(attributes) => {
                *span.attributes_mut() = attributes;
                live.baggage.spans.each(start.baggage, |key, value| {
                    span.attributes_mut().set_if_absent(key, value);
                });
            }
            None => {
                *span.attributes_mut() = empty_attributes(limits.attributes);
                live.baggage
                    .spans
                    .each(start.baggage, |key, value| span.set(key, value));
                for (key, value) in start.attributes {
                    span.set(key, *value);
                }
            }
        }
        if start.is_forced {
            span.set(FORCED, true);
        }
        for (key, value) in answer.attributes {
            span.set(key, value);
        }
        for (to, attributes) in start.links {
            span.add_link(to, attributes);
        }
        let registered = match &live.pending {
            Some(settings) => self.register(settings, scope, &span, begin),
            None => None,
        };
        Started {
            context,
            recording: Some(Recording {
                span: spare::place(span),
                begin,
                registered,
            }),
        }
    }

    #[cold]
    fn register(
        &self,
        settings: &PendingSettings,
        scope: Scope,
        span: &Span,
        begin: Moment,
    ) -> Option<Box<Registered>> {
        if !span.context().flags.is_sampled() {
            return None;
        }
        let pending = self.sdk.pending();
        let is_first = !pending.has_begun();
        let registered = pending.register(settings, scope, span, begin.unix_nano);
        if is_first {
            // Nothing else may have been recorded yet that would have started it.
            self.sdk.begin_exporting();
        }
        registered
    }

    /// Ends a span now.
    #[inline]
    pub fn end(&self, recording: Recording) {
        self.end_in(self.scope, recording);
    }

    /// Ends a span now that is of another scope.
    #[inline]
    pub fn end_in(&self, scope: Scope, recording: Recording) {
        let begin = recording.begin;
        let took = self.sdk.clock().after(begin).saturating_sub(begin.unix_nano);
        // Also of one that was started at another time than now: as long after it as it says itself.
        let end = match recording.span.start_unix_nano() == begin.unix_nano {
            true => begin.unix_nano.saturating_add(took),
            false => self.sdk.clock().now(),
        };
        self.record(scope, recording, end);
    }

    /// Ends a span at a time.
    #[inline]
    pub fn end_at(&self, recording: Recording, unix_nano: u64) {
        self.record(self.scope, recording, unix_nano);
    }

    fn record(&self, scope: Scope, recording: Recording, unix_nano: u64) {
        drop(recording.registered);
        let span = recording.span;
        if span.context().flags.is_sampled() {
            self.sdk
                .spans()
                .record_sized(scope, span.bytes_max(), |out| span.write(out, unix_nano));
        }
        spare::keep(span);
    }
}

/// As samplers see them: texts, numbers and truths.
fn shown(written: &Attributes) -> SmallVec<[(&str, Value<'_>); 16]> {
    let plain = written.iter().filter_map(|(key, value)| {
        let value = match value {
            AnyValue::String(text) => Value::String(text),
            AnyValue::Bool(value) => Value::Bool(value),
            AnyValue::Int(value) => Value::Int(value),
            AnyValue::Double(value) => Value::Double(value),
            AnyValue::Bytes(bytes) => Value::Bytes(bytes),
            AnyValue::Empty | AnyValue::Array(_) | AnyValue::KeyValueList(_) | AnyValue::StringIndex(_) => {
                return None;
            }
        };
        Some((key, value))
    });
    plain.collect()
}
