//! A layer of `tracing` that writes spans and events straight into the core: a span is started when it is made and ended when it
//! is closed, an event becomes a log record with the ids and the fields of the spans around it.
//!
//! What depends on the place in the code alone is worked out once for each ([`callsites`]). A span's own attributes are
//! written when it is made, in the form in which they are sent, and its log records copy them from there.

pub(crate) mod alone;
pub(crate) mod callsites;
mod events;
pub mod filter;
mod spans;
mod threads;
pub(crate) mod visit;

use std::sync::Arc;

use cupola_sdk_core::Sdk;
use cupola_sdk_core::logger::Logger;
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::suppress;
use cupola_sdk_core::tracer::Tracer;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Filtered;
use tracing_subscriber::layer;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use crate::console::ConsoleHandle;
use crate::context::node::Node;
use alone::Place;
pub use filter::{Directives, FilterError, FilterHandle, Filters};

/// What the layer adds, and what becomes of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerOptions {
    /// `code.file.path` and `code.line.number` on log records.
    pub log_location: bool,
    /// The same on spans.
    pub span_location: bool,
    /// `thread.id` and `thread.name` on log records.
    pub log_thread: bool,
    /// The same on spans: of the thread that made it, which a task may leave.
    pub span_thread: bool,
    /// Log records have the fields of the spans around them; their own count where both have one.
    pub inherit_fields: bool,
    /// An event with an error in a field becomes an exception of the span around it too.
    pub record_exceptions: bool,
    /// An event at ERROR makes the span around it a failed one.
    pub errors_fail_spans: bool,
    /// Events are events of the span around them too.
    pub events_on_spans: bool,
    /// `busy_ns` and `idle_ns` on spans: how long they were entered, and were not.
    pub timings: bool,
}

impl Default for LayerOptions {
    fn default() -> LayerOptions {
        LayerOptions {
            log_location: true,
            span_location: true,
            log_thread: true,
            span_thread: false,
            inherit_fields: true,
            record_exceptions: true,
            errors_fail_spans: false,
            events_on_spans: false,
            timings: false,
        }
    }
}

/// The layer, behind its filter.
pub type Layer<S> = Filtered<CoreLayer, FilterHandle, S>;

/// A layer that writes into this SDK, and on this console.
pub fn layer<S>(
    sdk: Sdk,
    options: LayerOptions,
    console: impl Into<ConsoleHandle>,
    filter: FilterHandle,
) -> Layer<S>
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    CoreLayer::new(sdk, options, console.into(), filter.clone()).with_filter(filter)
}

/// A subscriber that does what the layer does, at less cost; no other layer can look up its spans.
pub fn subscriber(
    sdk: Sdk,
    options: LayerOptions,
    console: impl Into<ConsoleHandle>,
    filter: FilterHandle,
) -> impl Subscriber + Send + Sync + 'static {
    alone::subscriber(sdk, options, console.into(), filter)
}

/// What writes into the core.
#[derive(Debug)]
pub struct CoreLayer {
    tracer: Tracer,
    logger: Logger,
    options: LayerOptions,
    console: ConsoleHandle,
    filter: FilterHandle,
}

impl CoreLayer {
    fn new(sdk: Sdk, options: LayerOptions, console: ConsoleHandle, filter: FilterHandle) -> CoreLayer {
        CoreLayer {
            tracer: sdk.tracer(Scope::nameless()),
            logger: sdk.logger(Scope::nameless()),
            options,
            console,
            filter,
        }
    }

    fn sdk(&self) -> &Sdk {
        self.tracer.sdk()
    }
}

/// Our side of a span. `None` if it was made while nothing was to be recorded.
#[inline]
fn node_of<'l, S: LookupSpan<'l>>(span: &SpanRef<'l, S>) -> Option<Arc<Node>> {
    span.extensions().get::<Arc<Node>>().cloned()
}

/// Whether what this thread does now is not to be recorded.
#[inline]
fn is_suppressed(metadata: &Metadata<'_>) -> bool {
    if suppress::is_suppressed() {
        return true;
    }
    #[cfg(feature = "opentelemetry")]
    {
        // Its own events may come while it cannot be asked for its context.
        metadata.target() == "opentelemetry" || crate::context::bridge::is_suppressed()
    }
    #[cfg(not(feature = "opentelemetry"))]
    {
        let _ = metadata;
        false
    }
}

impl<S> tracing_subscriber::Layer<S> for CoreLayer
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: layer::Context<'_, S>) {
        if is_suppressed(attributes.metadata()) {
            return;
        }
        let Some(span) = context.span(id) else {
            return;
        };
        let parent = attributes.parent().and_then(|parent| context.span(parent));
        let parent = parent.and_then(|parent| node_of(&parent));
        let node = self.start(attributes, parent.as_ref(), |_| Place::default());
        span.extensions_mut().insert(node);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: layer::Context<'_, S>) {
        if let Some(node) = context.span(id).and_then(|span| node_of(&span)) {
            self.add_fields(&node, node.callsite, values);
        }
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: layer::Context<'_, S>) {
        let node = context.span(id).and_then(|span| node_of(&span));
        let followed = context.span(follows).and_then(|span| node_of(&span));
        if let (Some(node), Some(followed)) = (node, followed) {
            CoreLayer::link(&node, &followed);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: layer::Context<'_, S>) {
        if is_suppressed(event.metadata()) {
            return;
        }
        self.record_event(event, &context, |id| {
            context.span(id).and_then(|span| node_of(&span))
        });
    }

    #[inline]
    fn on_enter(&self, id: &Id, context: layer::Context<'_, S>) {
        if let Some(node) = context.span(id).and_then(|span| node_of(&span)) {
            self.enter(&node, id);
        }
    }

    #[inline]
    fn on_exit(&self, id: &Id, context: layer::Context<'_, S>) {
        self.exit(id, || context.span(id).and_then(|span| node_of(&span)));
    }

    fn on_close(&self, id: Id, context: layer::Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let node = span.extensions_mut().remove::<Arc<Node>>();
        if let Some(node) = node {
            self.end(&node);
        }
    }
}
