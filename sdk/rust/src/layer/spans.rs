//! Spans of `tracing` becoming spans of the core.

use std::sync::Arc;
use std::time::Instant;

use cupola_sdk_core::SpanContext;
use cupola_sdk_core::attributes::Attributes as Written;
use cupola_sdk_core::span::{self, Exception, Span, SpanKind, Status};
use cupola_sdk_core::tracer::Start;
use tracing::field::Visit;
use tracing::span::{Attributes, Id, Record};

use super::alone::Place;
use super::callsites::{self, Callsite};
use super::visit::{Failure, Fields, Found};
use super::{CoreLayer, threads};
use crate::context::node::{Node, State, Timings};
use crate::context::{Context, stack};

impl CoreLayer {
    /// Starts a span below `parent`, or where it is made. `place` is asked for its own below the one that it is in.
    pub(super) fn start(
        &self,
        attributes: &Attributes<'_>,
        parent: Option<&Arc<Node>>,
        place: impl FnOnce(Option<&Arc<Node>>) -> Place,
    ) -> Arc<Node> {
        let callsite = callsites::of(attributes.metadata());
        let mut written = span::empty_attributes(self.sdk().span_limits());
        if self.options.span_location {
            written.begin_with(&callsite.location);
        }
        if self.options.span_thread {
            threads::add_to_span(&mut written);
        }
        let found = visit(callsite, &mut written, |fields| attributes.record(fields));
        let start = |around: &Context, parent: Option<&Arc<Node>>| {
            self.start_in(around, parent, place(parent), callsite, written, found)
        };
        let node = match parent {
            Some(parent) => start(&parent.context, Some(parent)),
            None if attributes.is_contextual() => stack::with_current(start),
            // What the request is about holds in it all the same.
            None => stack::with_current(|around, _| start(&around.inside(SpanContext::none()), None)),
        };
        if let Some(console) = self.console.get() {
            console.span_started(&node);
        }
        node
    }

    #[inline]
    fn start_in(
        &self,
        around: &Context,
        parent: Option<&Arc<Node>>,
        place: Place,
        callsite: &'static Callsite,
        mut written: Written,
        mut found: Found,
    ) -> Arc<Node> {
        if let Some(inherited) = around.attributes() {
            written.inherit(inherited, |_| true);
        }
        let name = callsite.metadata().name();
        let start = Start {
            kind: found.kind.take().unwrap_or(SpanKind::Internal),
            parent: around.span(),
            baggage: around.baggage(),
            is_forced: around.is_forced(),
            scope: Some(callsite.scope),
            ..match found.name.take() {
                Some(name) => Start::new(name),
                None => Start::new(name),
            }
        };
        let mut written = Some(written);
        let mut started = self.tracer.start_with(start, &mut written);
        if let Some(recording) = &mut started.recording {
            apply(recording, found, || self.sdk().clock().now());
        }
        let timings = self.options.timings.then(|| {
            Box::new(Timings {
                last: Instant::now(),
                busy_nanos: 0,
                idle_nanos: 0,
            })
        });
        let state = State {
            recording: started.recording,
            fields: written.filter(|_| self.options.inherit_fields),
            timings,
            #[cfg(feature = "opentelemetry")]
            api: None,
        };
        let inside = around.inside(started.context);
        let gives_fields = self.options.inherit_fields;
        let parent = parent.cloned();
        Arc::new(Node::new(inside, parent, callsite, place, gives_fields, state))
    }

    /// Adds fields that a span gets after it was made.
    pub(super) fn add_fields(&self, node: &Node, callsite: &'static Callsite, values: &Record<'_>) {
        // Written before the span is locked: what writes them is code of the application.
        let mut written = span::empty_attributes(self.sdk().span_limits());
        let found = visit(callsite, &mut written, |fields| values.record(fields));
        let Some(mut state) = node.state() else {
            return;
        };
        if let Some(recording) = &mut state.recording {
            recording.attributes_mut().replace(&written);
            apply(recording, found, || self.sdk().clock().now());
        } else if let Some(fields) = &mut state.fields {
            fields.replace(&written);
        }
    }

    #[inline]
    pub(super) fn enter(&self, node: &Arc<Node>, id: &Id) {
        if self.options.timings {
            node.entered();
        }
        stack::enter(node, id.into_u64());
    }

    #[inline]
    pub(super) fn exit(&self, id: &Id, node: impl FnOnce() -> Option<Arc<Node>>) {
        stack::exit(id.into_u64());
        if self.options.timings
            && let Some(node) = node()
        {
            node.exited();
        }
    }

    /// Links a span to one that it follows from.
    pub(super) fn link(node: &Node, followed: &Node) {
        if let Some(mut state) = node.state()
            && let Some(recording) = &mut state.recording
        {
            recording.add_link(followed.context.span(), &[]);
        }
    }

    /// Ends a span.
    pub(super) fn end(&self, node: &Arc<Node>) {
        let Some(mut state) = node.state() else {
            return;
        };
        let recording = state.recording.take();
        let timings = state.timings.take();
        if let Some(recording) = &recording
            && self.options.inherit_fields
            && Arc::strong_count(node) > 1
        {
            // Log records in a context that lives on have them still.
            state.fields = Some(recording.attributes().clone());
        }
        drop(state);
        let Some(mut recording) = recording else {
            return;
        };
        if let Some(timings) = timings {
            let idle = timings.idle_nanos + nanos(timings.last);
            recording.set("busy_ns", timings.busy_nanos as i64);
            recording.set("idle_ns", idle as i64);
        }
        if let Some(console) = self.console.get() {
            console.span_ended(node, &recording, self.sdk().clock().now());
        }
        self.tracer.end_in(node.callsite.scope, recording);
    }
}

/// Writes fields as attributes.
#[inline]
fn visit(
    callsite: &'static Callsite,
    attributes: &mut Written,
    record: impl FnOnce(&mut dyn Visit),
) -> Found {
    let mut fields = Fields {
        callsite,
        attributes,
        body: &mut String::new(),
        found: Found::default(),
    };
    record(&mut fields);
    fields.found
}

/// What fields say of a span that is no attribute.
#[inline]
fn apply(span: &mut Span, mut found: Found, now: impl FnOnce() -> u64) {
    if let Some(failure) = found.failure.take() {
        failure.add_to(span, now());
        span.set_status(Status::Error {
            description: failure.message,
        });
    }
    if let Some(status) = found.status() {
        span.set_status(status);
    }
    if let Some(name) = found.name {
        span.rename(name);
    }
    if let Some(kind) = found.kind {
        span.set_kind(kind);
    }
}

impl Failure {
    /// Adds it as an exception.
    pub(crate) fn add_to(&self, span: &mut Span, now: u64) {
        let exception = Exception {
            kind: &self.kind,
            message: &self.message,
            stack_trace: self.chain.as_deref(),
        };
        span.record_exception(&exception, now, &[]);
    }
}

fn nanos(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

impl Node {
    fn entered(&self) {
        if let Some(mut state) = self.state()
            && let Some(timings) = &mut state.timings
        {
            timings.idle_nanos += nanos(timings.last);
            timings.last = Instant::now();
        }
    }

    fn exited(&self) {
        if let Some(mut state) = self.state()
            && let Some(timings) = &mut state.timings
        {
            timings.busy_nanos += nanos(timings.last);
            timings.last = Instant::now();
        }
    }
}
