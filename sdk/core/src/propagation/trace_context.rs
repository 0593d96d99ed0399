//! `traceparent` and `tracestate`. <https://www.w3.org/TR/trace-context-2/>

use cupola_telemetry::{SpanId, TraceId};

use super::{Carried, Extractor, Injector};
use crate::context::{SpanContext, TraceFlags, TraceState};

/// `00-` trace id `-` span id `-` flags.
const VERSION_0_BYTES: usize = 55;
/// The others are to be zero when they are passed on.
const KNOWN_FLAGS: u8 = TraceFlags::SAMPLED.0 | TraceFlags::RANDOM.0;

pub(super) fn inject(carried: &Carried, into: &mut dyn Injector) {
    let span = &carried.span;
    if !span.is_valid() {
        return;
    }
    let flags = span.flags.0 & KNOWN_FLAGS;
    into.set(
        "traceparent",
        format!("00-{}-{}-{flags:02x}", span.trace_id, span.span_id),
    );
    if !span.trace_state.is_empty() {
        into.set("tracestate", span.trace_state.as_str().to_owned());
    }
}

pub(super) fn extract(from: &dyn Extractor, carried: &mut Carried) {
    let Some(span) = from.get("traceparent").and_then(|header| parse(header.trim())) else {
        return;
    };
    // Without a state that can be read there is none; the ids count all the same.
    let state = from
        .get("tracestate")
        .and_then(|header| TraceState::parse(&header).ok());
    carried.span = SpanContext {
        trace_state: state.unwrap_or_default(),
        ..span
    };
}

fn parse(header: &str) -> Option<SpanContext> {
    let mut parts = header.get(..VERSION_0_BYTES)?.split('-');
    let (version, trace_id, span_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let has_known_length = match version {
        "ff" => false,
        "00" => header.len() == VERSION_0_BYTES,
        // Later versions may have more behind it.
        _ => header.len() == VERSION_0_BYTES || header[VERSION_0_BYTES..].starts_with('-'),
    };
    let is_lower_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let parts_are_right = version.len() == 2 && flags.len() == 2 && parts.next().is_none();
    if !has_known_length
        || !parts_are_right
        || ![version, trace_id, span_id, flags].into_iter().all(is_lower_hex)
    {
        return None;
    }
    let span = SpanContext {
        trace_id: TraceId::parse(trace_id).ok()?,
        span_id: SpanId::parse(span_id).ok()?,
        flags: TraceFlags(u8::from_str_radix(flags, 16).ok()? & KNOWN_FLAGS),
        trace_state: TraceState::default(),
        is_remote: true,
    };
    span.is_valid().then_some(span)
}
