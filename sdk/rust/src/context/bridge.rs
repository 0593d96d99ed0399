//! Our contexts and those of the API of OpenTelemetry: what is attached to one is attached to the other, and the one that was
//! attached last is the current one.

use std::ptr;
use std::str::FromStr;

use ::opentelemetry::baggage::{Baggage as ApiBaggage, BaggageExt as _, BaggageMetadata, KeyValueMetadata};
use ::opentelemetry::trace::{
    self as api, SpanContext as ApiSpanContext, TraceContextExt as _, TraceState as ApiTraceState,
};
use ::opentelemetry::{Context as ApiContext, ContextGuard as ApiGuard};
use cupola_sdk_core::SpanContext;
use cupola_sdk_core::baggage::Baggage;
use cupola_sdk_core::context::{TraceFlags, TraceState};
use cupola_telemetry::{SpanId, TraceId};

use super::Context;
use super::node::Node;

pub(super) type Attached = ApiGuard;

/// The baggage that was attached along, by its address: it is never changed. None if it is empty.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(*const ApiBaggage);

impl Default for Mark {
    fn default() -> Mark {
        Mark(ptr::null())
    }
}

impl Mark {
    fn of(context: &ApiContext) -> Mark {
        let baggage = context.baggage();
        Mark(if baggage.is_empty() { ptr::null() } else { baggage })
    }
}

/// Has the thread keep what the API needs for longer than what is made after this.
pub(super) fn touch() {
    ApiContext::map_current(|_| {});
}

/// Whether somebody does not want what is done now to be recorded.
pub(crate) fn is_suppressed() -> bool {
    ApiContext::is_current_telemetry_suppressed()
}

/// The context of the API, if it is another than `own`, which was attached with `mark`: then it was attached later.
#[inline]
pub(super) fn newer(own: &Context, mark: Mark) -> Option<Context> {
    ApiContext::map_current(|current| {
        let has_span = is_same_span(own.span(), current);
        let has_baggage = Mark::of(current).0 == mark.0;
        (!has_span || !has_baggage).then(|| Context {
            span: match has_span {
                true => own.span.clone(),
                false => from_api_span(current.span().span_context()),
            },
            baggage: match has_baggage {
                true => own.baggage.clone(),
                false => from_api_baggage(current.baggage()),
            },
            is_forced: own.is_forced,
            attributes: own.attributes.clone(),
            node: None,
        })
    })
}

/// Makes it the current one of the API too.
pub(super) fn attach(context: &Context) -> (Attached, Mark) {
    let api = to_api(context);
    let mark = Mark::of(&api);
    (api.attach(), mark)
}

/// Makes a span of `tracing` the current one of the API too, with the values that were there when it was first entered.
#[inline]
pub(super) fn attach_span(node: &Node) -> (Attached, Mark) {
    let known = node.state().and_then(|state| state.api.clone());
    let api = known.unwrap_or_else(|| {
        let api = to_api(&node.context);
        if let Some(mut state) = node.state() {
            state.api = Some(api.clone());
        }
        api
    });
    let mark = Mark::of(&api);
    (api.attach(), mark)
}

/// The current context of the API with the span and baggage of ours.
pub(crate) fn to_api(context: &Context) -> ApiContext {
    Context::with_current(|before| to_api_over(context, before))
}

fn to_api_over(context: &Context, before: &Context) -> ApiContext {
    ApiContext::map_current(|current| {
        let with_span = match is_same_span(context.span(), current) {
            true => current.clone(),
            false => current.with_remote_span_context(to_api_span(context.span())),
        };
        match context.baggage == before.baggage {
            true => with_span,
            false => with_span.with_baggage(to_api_baggage(&context.baggage)),
        }
    })
}

/// Ours of one of the API.
pub(crate) fn from_api(context: &ApiContext) -> Context {
    Context {
        span: from_api_span(context.span().span_context()),
        baggage: from_api_baggage(context.baggage()),
        is_forced: false,
        attributes: None,
        node: None,
    }
}

#[inline]
fn is_same_span(own: &SpanContext, context: &ApiContext) -> bool {
    let span = context.span();
    let span = span.span_context();
    span.span_id().to_bytes() == own.span_id.0 && span.trace_id().to_bytes() == own.trace_id.0
}

pub(crate) fn from_api_span(span: &ApiSpanContext) -> SpanContext {
    let trace_state = match span.trace_state() == &ApiTraceState::NONE {
        true => TraceState::empty(),
        // A list that the API took and we do not is left out.
        false => TraceState::parse(&span.trace_state().header()).unwrap_or_default(),
    };
    SpanContext {
        trace_id: TraceId(span.trace_id().to_bytes()),
        span_id: SpanId(span.span_id().to_bytes()),
        flags: TraceFlags(span.trace_flags().to_u8()),
        trace_state,
        is_remote: span.is_remote(),
    }
}

pub(crate) fn to_api_span(span: &SpanContext) -> ApiSpanContext {
    let trace_state = match span.trace_state.is_empty() {
        true => ApiTraceState::NONE,
        false => ApiTraceState::from_str(span.trace_state.as_str()).unwrap_or_default(),
    };
    ApiSpanContext::new(
        api::TraceId::from_bytes(span.trace_id.0),
        api::SpanId::from_bytes(span.span_id.0),
        api::TraceFlags::new(span.flags.0),
        span.is_remote,
        trace_state,
    )
}

pub(crate) fn from_api_baggage(baggage: &ApiBaggage) -> Baggage {
    let mut ours = Baggage::none();
    for (name, (value, metadata)) in baggage {
        // What does not fit any more is left out, as it would be on its way to the next service.
        if let Ok(more) = ours.with_properties(name.as_str(), value.as_str(), metadata.as_str()) {
            ours = more;
        }
    }
    ours
}

pub(crate) fn to_api_baggage(baggage: &Baggage) -> ApiBaggage {
    let members = baggage.members().iter().map(|member| {
        KeyValueMetadata::new(
            member.name.clone(),
            member.value.clone(),
            BaggageMetadata::from(member.properties.as_str()),
        )
    });
    members.collect()
}
