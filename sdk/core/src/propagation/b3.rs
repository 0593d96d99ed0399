//! B3, in one header or in several. <https://github.com/openzipkin/b3-propagation>

use super::{Carried, Extractor, Injector, span_id, trace_id};
use crate::context::{SpanContext, TraceFlags, TraceState};

const TRACE_ID: &str = "x-b3-traceid";
const SPAN_ID: &str = "x-b3-spanid";
const SAMPLED: &str = "x-b3-sampled";
const FLAGS: &str = "x-b3-flags";

pub(super) fn inject(carried: &Carried, into: &mut dyn Injector) {
    let span = &carried.span;
    if span.is_valid() {
        let state = match (carried.is_forced, span.flags.is_sampled()) {
            (true, _) => 'd',
            (false, true) => '1',
            (false, false) => '0',
        };
        into.set("b3", format!("{}-{}-{state}", span.trace_id, span.span_id));
    }
}

pub(super) fn inject_multi(carried: &Carried, into: &mut dyn Injector) {
    let span = &carried.span;
    if !span.is_valid() {
        return;
    }
    into.set(TRACE_ID, span.trace_id.to_string());
    into.set(SPAN_ID, span.span_id.to_string());
    // Debug implies that it is sampled, which is then not said.
    match carried.is_forced {
        true => into.set(FLAGS, "1".to_owned()),
        false => into.set(SAMPLED, u8::from(span.flags.is_sampled()).to_string()),
    }
}

/// The one header, and where it says nothing the others.
pub(super) fn extract(from: &dyn Extractor, carried: &mut Carried) {
    let single = from.get("b3").and_then(|header| parse(header.trim()));
    if let Some((span, is_forced)) = single.or_else(|| parse_multi(from)) {
        carried.span = span;
        carried.is_forced |= is_forced;
    }
}

/// A context, and whether it is to be debugged. A header that is a decision alone names no span.
fn parse(header: &str) -> Option<(SpanContext, bool)> {
    let mut parts = header.split('-');
    let (trace, span) = (parts.next()?, parts.next()?);
    let state = parts.next().unwrap_or_default();
    context(trace, span, state)
}

fn parse_multi(from: &dyn Extractor) -> Option<(SpanContext, bool)> {
    let (trace, span) = (from.get(TRACE_ID)?, from.get(SPAN_ID)?);
    let is_debugged = from.get(FLAGS).is_some_and(|flags| flags.trim() == "1");
    let state = match is_debugged {
        true => "d".to_owned(),
        false => from.get(SAMPLED).unwrap_or_default(),
    };
    context(trace.trim(), span.trim(), state.trim())
}

fn context(trace: &str, span: &str, state: &str) -> Option<(SpanContext, bool)> {
    // Eight or sixteen bytes, written out.
    if !matches!(trace.len(), 16 | 32) || span.len() != 16 {
        return None;
    }
    let is_debugged = state == "d";
    let is_sampled = is_debugged || state == "1" || state.eq_ignore_ascii_case("true");
    let context = SpanContext {
        trace_id: trace_id(trace)?,
        span_id: span_id(span)?,
        flags: TraceFlags::default().with_sampled(is_sampled),
        trace_state: TraceState::default(),
        is_remote: true,
    };
    Some((context, is_debugged))
}
