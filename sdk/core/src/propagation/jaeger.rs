//! `uber-trace-id` and `uberctx-…`. <https://www.jaegertracing.io/docs/1.76/client-libraries/#propagation-format>

use super::{Carried, Extractor, Injector, span_id, trace_id};
use crate::baggage;
use crate::context::{SpanContext, TraceFlags, TraceState};

const HEADER: &str = "uber-trace-id";
const BAGGAGE: &str = "uberctx-";
const SAMPLED: u8 = 1;
const DEBUG: u8 = 2;

pub(super) fn inject(carried: &Carried, into: &mut dyn Injector) {
    let span = &carried.span;
    if span.is_valid() {
        let flags = match (carried.is_forced, span.flags.is_sampled()) {
            (true, _) => SAMPLED | DEBUG,
            (false, sampled) => u8::from(sampled),
        };
        // The parent has been without meaning for long; zero says that there is none.
        into.set(HEADER, format!("{}:{}:0:{flags:x}", span.trace_id, span.span_id));
    }
    for member in carried.baggage.members() {
        let mut value = String::new();
        baggage::encode(&member.value, &mut value);
        into.set(&format!("{BAGGAGE}{}", member.name), value);
    }
}

pub(super) fn extract(from: &dyn Extractor, carried: &mut Carried) {
    if let Some((span, is_forced)) = from.get(HEADER).and_then(|header| parse(header.trim())) {
        carried.span = span;
        carried.is_forced |= is_forced;
    }
    for key in from.keys() {
        let name = key
            .get(..BAGGAGE.len())
            .filter(|start| start.eq_ignore_ascii_case(BAGGAGE));
        let Some(name) = name.and(key.get(BAGGAGE.len()..)) else {
            continue;
        };
        let value = baggage::decode(&from.get(key).unwrap_or_default());
        if let Ok(with) = carried.baggage.with(name, &value) {
            carried.baggage = with;
        }
    }
}

fn parse(header: &str) -> Option<(SpanContext, bool)> {
    // Some encode the colons.
    let header = baggage::decode(header);
    let mut parts = header.split(':');
    let (trace, span, _parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let flags = u8::from_str_radix(flags, 16).ok()?;
    if parts.next().is_some() {
        return None;
    }
    let context = SpanContext {
        trace_id: trace_id(trace)?,
        span_id: span_id(span)?,
        flags: TraceFlags::default().with_sampled(flags & SAMPLED != 0),
        trace_state: TraceState::default(),
        is_remote: true,
    };
    Some((context, flags & DEBUG != 0))
}
