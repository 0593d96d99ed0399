//! Spans of `tracing` becoming spans of the core.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use cupola_sdk_core::attributes::Attributes as Written;
use cupola_sdk_core::span::{self, Exception, Span, SpanKind, Status};
use cupola_sdk_core::tracer::Start;
use tracing::field::Visit;
use tracing::span::{Attributes, Record};

use super::callsites::{self, Callsite};
use super::visit::{Failure, Fields, Found};
use super::{CoreLayer, threads};
use crate::context::Context;
use crate::context::node::{Node, State, Timings};

thread_local! {
    /// For values that are written as text first. Taken while it is used: what is written may make spans itself.
    static TEXT: Cell<String> = const { Cell::new(String::new()) };
}

/// Calls `with` with an empty text whose memory is kept.
pub(super) fn with_text<T>(with: impl FnOnce(&mut String) -> T) -> T {
    const KEPT_BYTES_MAX: usize = 16 * 1024;
    let mut text = TEXT.try_with(Cell::take).unwrap_or_default();
    let result = with(&mut text);
    if text.capacity() <= KEPT_BYTES_MAX {
        let _ = TEXT.try_with(|kept| kept.set(text));
    }
    result
}

impl CoreLayer {
    /// Starts a span below `parent`, or where it is made.
    pub(super) fn start(&self, attributes: &Attributes<'_>, parent: Option<Arc<Node>>) -> Node {
        let callsite = callsites::of(attributes.metadata());
        let around = match parent {
            Some(parent) => parent.context.clone().with_node(Some(parent)),
            None if attributes.is_contextual() => Context::current(),
            // What the request is about holds in it all the same.
            None => Context::current().with_span(Default::default()).with_node(None),
        };
        let mut written = span::empty_attributes(self.sdk().span_limits());
        if self.options.span_location {
            written.begin_with(&callsite.location);
        }
        if self.options.span_thread {
            threads::add_to_span(&mut written);
        }
        let mut found = visit(callsite, &mut written, |fields| attributes.record(fields));
        if let Some(inherited) = around.attributes() {
            written.inherit(inherited, |_| true);
        }
        let node = self.start_in(&around, callsite, written, &mut found);
        if let Some(mut state) = node.state()
            && let Some(recording) = &mut state.recording
        {
            apply(recording, found, self.sdk().clock().now());
        }
        if let Some(console) = self.console.get() {
            console.span_started(&node);
        }
        node
    }

    fn start_in(
        &self,
        around: &Context,
        callsite: &'static Callsite,
        written: Written,
        found: &mut Found,
    ) -> Node {
        let name = callsite.metadata().name();
        let mut start = match found.name.take() {
            Some(name) => Start::new(name),
            None => Start::new(name),
        };
        start.kind = found.kind.take().unwrap_or(SpanKind::Internal);
        start.parent = around.span();
        start.baggage = around.baggage();
        start.is_forced = around.is_forced();
        let mut written = Some(written);
        let started = self.tracer.start_with(start, &mut written);
        let timings = self.options.timings.then(|| Timings {
            last: Instant::now(),
            busy_nanos: 0,
            idle_nanos: 0,
        });
        let state = State {
            recording: started.recording,
            fields: written.filter(|_| self.options.inherit_fields),
            timings,
            #[cfg(feature = "opentelemetry")]
            api: None,
        };
        let inside = around.clone().with_node(None).with_span(started.context);
        Node::new(inside, around.node().cloned(), name, callsite.scope, state)
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
            apply(recording, found, self.sdk().clock().now());
        } else if let Some(fields) = &mut state.fields {
            fields.replace(&written);
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
        self.tracer.end_in(node.scope, recording);
    }
}

/// Writes fields as attributes.
fn visit(
    callsite: &'static Callsite,
    attributes: &mut Written,
    record: impl FnOnce(&mut dyn Visit),
) -> Found {
    with_text(|text| {
        let mut fields = Fields {
            callsite,
            attributes,
            text,
            body: &mut String::new(),
            found: Found::default(),
        };
        record(&mut fields);
        fields.found
    })
}

/// What fields say of a span that is no attribute.
fn apply(span: &mut Span, mut found: Found, now: u64) {
    if let Some(failure) = found.failure.take() {
        failure.add_to(span, now);
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
    pub(super) fn entered(&self) {
        if let Some(mut state) = self.state()
            && let Some(timings) = &mut state.timings
        {
            timings.idle_nanos += nanos(timings.last);
            timings.last = Instant::now();
        }
    }

    pub(super) fn exited(&self) {
        if let Some(mut state) = self.state()
            && let Some(timings) = &mut state.timings
        {
            timings.busy_nanos += nanos(timings.last);
            timings.last = Instant::now();
        }
    }
}
