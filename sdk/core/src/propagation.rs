//! Carrying a context from one process to the next, in the headers of a request or of a message. Knows the formats, and not
//! what carries them.
//!
//! <https://opentelemetry.io/docs/specs/otel/context/api-propagators/>

mod b3;
mod jaeger;
mod trace_context;
mod x_ray;

use cupola_telemetry::{SpanId, TraceId};

use crate::baggage::Baggage;
use crate::context::SpanContext;

/// What goes along with a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The span that asks; without ids if there is none.
    pub span: SpanContext,
    pub baggage: Baggage,
    /// Somebody wants to see this trace whatever samplers say: the debug flag of B3 and Jaeger, and our own.
    pub is_forced: bool,
}

/// Headers, or whatever stands for them, to be read.
pub trait Extractor {
    /// The value of a key, of which the case does not count; several of one key joined by commas.
    fn get(&self, key: &str) -> Option<String>;

    /// All keys.
    fn keys(&self) -> Vec<&str>;
}

/// Headers, or whatever stands for them, to be written.
pub trait Injector {
    /// Sets a key, in place of what it has.
    fn set(&mut self, key: &str, value: String);
}

/// Pairs of keys and values, as a message of a queue has them.
impl Extractor for Vec<(String, String)> {
    fn get(&self, key: &str) -> Option<String> {
        let found = self.iter().filter(|(known, _)| known.eq_ignore_ascii_case(key));
        let values: Vec<&str> = found.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    fn keys(&self) -> Vec<&str> {
        self.iter().map(|(key, _)| key.as_str()).collect()
    }
}

impl Injector for Vec<(String, String)> {
    fn set(&mut self, key: &str, value: String) {
        self.retain(|(known, _)| !known.eq_ignore_ascii_case(key));
        self.push((key.to_owned(), value));
    }
}

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `traceparent` and `tracestate`.
    TraceContext,
    /// `baggage`, with our flag for traces that somebody wants to see in it.
    Baggage,
    /// `b3`.
    B3,
    /// `X-B3-TraceId` and the like.
    B3Multi,
    /// `uber-trace-id` and `uberctx-…`.
    Jaeger,
    /// `X-Amzn-Trace-Id`.
    XRay,
}

impl Format {
    /// The format that `OTEL_PROPAGATORS` means.
    pub fn of_name(name: &str) -> Option<Format> {
        Some(match name {
            "tracecontext" => Format::TraceContext,
            "baggage" => Format::Baggage,
            "b3" => Format::B3,
            "b3multi" => Format::B3Multi,
            "jaeger" => Format::Jaeger,
            "xray" => Format::XRay,
            _ => return None,
        })
    }

    /// Keys that it writes, but for those that have a name of the baggage in them.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Format::TraceContext => &["traceparent", "tracestate"],
            Format::Baggage => &["baggage"],
            Format::B3 => &["b3"],
            Format::B3Multi => &["x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags"],
            Format::Jaeger => &["uber-trace-id"],
            Format::XRay => &["x-amzn-trace-id"],
        }
    }

    fn inject(self, carried: &Carried, into: &mut dyn Injector) {
        match self {
            Format::TraceContext => trace_context::inject(carried, into),
            Format::Baggage => inject_baggage(carried, into),
            Format::B3 => b3::inject(carried, into),
            Format::B3Multi => b3::inject_multi(carried, into),
            Format::Jaeger => jaeger::inject(carried, into),
            Format::XRay => x_ray::inject(carried, into),
        }
    }

    fn extract(self, from: &dyn Extractor, carried: &mut Carried) {
        match self {
            Format::TraceContext => trace_context::extract(from, carried),
            Format::Baggage => extract_baggage(from, carried),
            Format::B3 | Format::B3Multi => b3::extract(from, carried),
            Format::Jaeger => jaeger::extract(from, carried),
            Format::XRay => x_ray::extract(from, carried),
        }
    }
}

/// Several formats at once: all are written, and of those read the last that says something counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Propagators(pub Vec<Format>);

impl Default for Propagators {
    fn default() -> Self {
        Propagators(vec![Format::TraceContext, Format::Baggage])
    }
}

impl Propagators {
    /// Keys that are written, each once: for those who empty a carrier before they use it again.
    pub fn fields(&self) -> Vec<&'static str> {
        let mut fields: Vec<&str> = self
            .0
            .iter()
            .flat_map(|format| format.fields())
            .copied()
            .collect();
        fields.sort_unstable();
        fields.dedup();
        fields
    }

    pub fn inject(&self, carried: &Carried, into: &mut dyn Injector) {
        self.0.iter().for_each(|format| format.inject(carried, into));
    }

    pub fn extract(&self, from: &dyn Extractor) -> Carried {
        let mut carried = Carried::default();
        self.0
            .iter()
            .for_each(|format| format.extract(from, &mut carried));
        carried
    }
}

/// The member of baggage that asks for the whole trace.
const FORCED: &str = "cupola.force";

fn inject_baggage(carried: &Carried, into: &mut dyn Injector) {
    let forced = carried.is_forced.then(|| carried.baggage.with(FORCED, "1"));
    // Where there is no room left for it, the rest goes on without.
    let baggage = forced
        .and_then(Result::ok)
        .unwrap_or_else(|| carried.baggage.clone());
    if !baggage.is_empty() {
        into.set("baggage", baggage.to_header());
    }
}

fn extract_baggage(from: &dyn Extractor, carried: &mut Carried) {
    let Some(header) = from.get("baggage") else {
        return;
    };
    let baggage = Baggage::parse(&header);
    carried.is_forced |= baggage.get(FORCED) == Some("1");
    carried.baggage = baggage.without(FORCED);
}

/// An id of up to 32 hex digits; shorter ones are meant to have zeros in front.
fn trace_id(hex: &str) -> Option<TraceId> {
    let padded = padded::<32>(hex)?;
    TraceId::parse(&padded).ok().filter(|id| !id.is_zero())
}

/// An id of up to 16 hex digits.
fn span_id(hex: &str) -> Option<SpanId> {
    let padded = padded::<16>(hex)?;
    SpanId::parse(&padded).ok().filter(|id| !id.is_zero())
}

fn padded<const DIGITS: usize>(hex: &str) -> Option<String> {
    (!hex.is_empty() && hex.len() <= DIGITS).then(|| format!("{hex:0>DIGITS$}"))
}

#[cfg(test)]
mod tests;
