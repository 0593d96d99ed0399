//! Our contexts and those of the API of OpenTelemetry: what is attached to one is attached to the other, and the one that was
//! attached last is the current one.

use std::ptr;
use std::str::FromStr;
use std::sync::Arc;

use ::opentelemetry::baggage::{Baggage as ApiBaggage, BaggageExt as _, BaggageMetadata, KeyValueMetadata};
use ::opentelemetry::trace::{
    self as api, SpanContext as ApiSpanContext, TraceContextExt as _, TraceState as ApiTraceState,
};
use ::opentelemetry::{Context as ApiContext, ContextGuard as ApiGuard};
use cupola_sdk_core::SpanContext;
use cupola_sdk_core::attributes::Attributes;
use cupola_sdk_core::baggage::Baggage;
use cupola_sdk_core::context::{TraceFlags, TraceState};
use cupola_telemetry::{SpanId, TraceId};

use super::node::Node;
use super::{Context, stack};

pub(super) type Attached = ApiGuard;

/// What our contexts have beside a span, as a value of those of the API: what the API has no place for, and the baggage, to
/// spare its way there and back.
#[derive(Debug)]
struct Beside {
    is_forced: bool,
    attributes: Option<Arc<Attributes>>,
    baggage: Baggage,
}

/// What of a context of the API is not its span, by its addresses: none of it is ever changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    baggage: *const ApiBaggage,
    beside: *const Beside,
}

impl Default for Mark {
    fn default() -> Mark {
        Mark {
            baggage: ptr::null(),
            beside: ptr::null(),
        }
    }
}

impl Mark {
    #[inline]
    fn of(context: &ApiContext) -> Mark {
        let baggage = context.baggage();
        Mark {
            baggage: match baggage.is_empty() {
                true => ptr::null(),
                false => baggage,
            },
            beside: context.get::<Beside>().map_or(ptr::null(), ptr::from_ref),
        }
    }
}

/// Has the thread keep what the API needs for longer than what is made after this.
pub(super) fn touch() {
    ApiContext::map_current(|_| {});
}

/// Whether somebody does not want what is done now to be recorded.
#[inline]
pub(crate) fn is_suppressed() -> bool {
    // While a thread ends, the API cannot be asked.
    stack::is_there() && ApiContext::is_current_telemetry_suppressed()
}

/// The context of the API, if it is another than `own`, which was attached with `mark`: then it was attached later.
#[inline]
pub(super) fn newer(own: &Context, mark: Mark) -> Option<Context> {
    ApiContext::map_current(|current| {
        let has_span = is_same_span(own.span(), current);
        let has_rest = Mark::of(current) == mark;
        if has_span && has_rest {
            return None;
        }
        let mut context = match has_rest {
            true => own.clone(),
            false => beside(current),
        };
        context.node = None;
        context.span = match has_span {
            true => own.span.clone(),
            false => from_api_span(current.span().span_context()),
        };
        Some(context)
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
    let Some(mut state) = node.state() else {
        return attach(&node.context);
    };
    if let Some(api) = &state.api {
        let (api, mark) = (api.clone(), Mark::of(api));
        // Not while the span is locked: what was attached last may end with this.
        drop(state);
        return (api.attach(), mark);
    }
    let plain = ApiContext::map_current(|current| {
        let is_plain = Mark::of(current) == Mark::default() && node.context.is_plain();
        is_plain.then(|| current.with_remote_span_context(to_api_span(node.context.span())))
    });
    let api = plain.unwrap_or_else(|| to_api(&node.context));
    state.api = Some(api.clone());
    drop(state);
    let mark = Mark::of(&api);
    (api.attach(), mark)
}

/// The current context of the API with what is in ours.
pub(crate) fn to_api(context: &Context) -> ApiContext {
    Context::with_current(|before| ApiContext::map_current(|current| to_api_over(context, before, current)))
}

/// `over`, in which there is what is in `before`, with what is in `context`.
pub(crate) fn to_api_over(context: &Context, before: &Context, over: &ApiContext) -> ApiContext {
    let mut api = match is_same_span(context.span(), over) {
        true => over.clone(),
        false => over.with_remote_span_context(to_api_span(context.span())),
    };
    let has_baggage = context.baggage == before.baggage;
    if !has_baggage {
        api = api.with_baggage(to_api_baggage(&context.baggage));
    }
    let attributes = |context: &Context| context.attributes.as_ref().map(Arc::as_ptr);
    if !has_baggage || context.is_forced != before.is_forced || attributes(context) != attributes(before) {
        api = api.with_value(Beside {
            is_forced: context.is_forced,
            attributes: context.attributes.clone(),
            baggage: context.baggage.clone(),
        });
    }
    api
}

/// Ours of one of the API.
#[inline]
pub(crate) fn from_api(context: &ApiContext) -> Context {
    Context {
        span: from_api_span(context.span().span_context()),
        ..beside(context)
    }
}

/// What is beside the span.
#[inline]
fn beside(context: &ApiContext) -> Context {
    let (baggage, beside) = (context.baggage(), context.get::<Beside>());
    let known = beside.map(|beside| &beside.baggage);
    Context {
        span: SpanContext::none(),
        baggage: match known.filter(|known| is_same_baggage(known, baggage)) {
            Some(known) => known.clone(),
            None if baggage.is_empty() => Baggage::none(),
            None => from_api_baggage(baggage),
        },
        is_forced: beside.is_some_and(|beside| beside.is_forced),
        attributes: beside.and_then(|beside| beside.attributes.clone()),
        node: None,
    }
}

fn is_same_baggage(own: &Baggage, baggage: &ApiBaggage) -> bool {
    own.members().len() == baggage.len()
        && own.members().iter().all(|member| {
            let other = baggage.get_with_metadata(&member.name);
            other.is_some_and(|(value, metadata)| {
                value.as_str() == member.value && metadata.as_str() == member.properties
            })
        })
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
