//! `X-Amzn-Trace-Id`. <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>

use super::{Carried, Extractor, Injector, span_id, trace_id};
use crate::context::{SpanContext, TraceFlags, TraceState};

const HEADER: &str = "x-amzn-trace-id";
/// Of the trace id, which has a time in front.
const TIME_DIGITS: usize = 8;

pub(super) fn inject(carried: &Carried, into: &mut dyn Injector) {
    let span = &carried.span;
    if span.is_valid() {
        let id = span.trace_id.to_string();
        let (time, unique) = id.split_at(TIME_DIGITS);
        let sampled = u8::from(span.flags.is_sampled());
        into.set(
            HEADER,
            format!("Root=1-{time}-{unique};Parent={};Sampled={sampled}", span.span_id),
        );
    }
}

pub(super) fn extract(from: &dyn Extractor, carried: &mut Carried) {
    if let Some(span) = from.get(HEADER).and_then(|header| parse(&header)) {
        carried.span = span;
    }
}

fn parse(header: &str) -> Option<SpanContext> {
    let (mut root, mut parent, mut sampled) = (None, None, false);
    for (key, value) in header.split(';').filter_map(|part| part.split_once('=')) {
        match key.trim() {
            "Root" => root = Some(value.trim()),
            "Parent" => parent = Some(value.trim()),
            "Sampled" => sampled = value.trim() == "1",
            _ => {}
        }
    }
    let mut root = root?.split('-');
    let (version, time, unique) = (root.next()?, root.next()?, root.next()?);
    let parent = parent?;
    let has_lengths = time.len() == TIME_DIGITS && unique.len() == 24 && parent.len() == 16;
    if version != "1" || root.next().is_some() || !has_lengths {
        return None;
    }
    Some(SpanContext {
        trace_id: trace_id(&format!("{time}{unique}"))?,
        span_id: span_id(parent)?,
        flags: TraceFlags::default().with_sampled(sampled),
        trace_state: TraceState::default(),
        is_remote: true,
    })
}
