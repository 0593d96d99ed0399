//! Spans of Zipkin to spans of OTLP. Owns the mapping that the receiver's documentation states.

use std::borrow::Cow;

use cupola_telemetry::encode::{ScopeSpans, Span, TracesEncoder};
use cupola_telemetry::view::AnyValue;
use cupola_telemetry::{SpanId, TenantId, TraceId};

use crate::receivers::http::intake::{Converted, Room};
use crate::receivers::http::posts::LeftOut;

/// Most tags of one span.
pub(super) const TAGS_MAX: usize = 1024;

/// How spans are taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) parse_string_tags: bool,
    pub(super) arrived_unix_nano: u64,
}

/// One side of a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Endpoint<'a> {
    pub(super) service: Cow<'a, str>,
    pub(super) address: Cow<'a, str>,
    pub(super) port: u32,
}

/// A span of either format; times in microseconds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ZipkinSpan<'a> {
    pub(super) trace_id: TraceId,
    pub(super) id: SpanId,
    pub(super) parent_id: Option<SpanId>,
    /// As OTLP numbers it.
    pub(super) kind: i32,
    pub(super) name: Cow<'a, str>,
    pub(super) timestamp: u64,
    pub(super) duration: u64,
    pub(super) local: Endpoint<'a>,
    pub(super) remote: Endpoint<'a>,
    pub(super) annotations: Vec<(u64, Cow<'a, str>)>,
    /// Sorted by name, each once.
    pub(super) tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub(super) debug: bool,
    pub(super) shared: bool,
}

const INTERNAL: i32 = 1;
const STATUS_OK: i32 = 1;
const STATUS_ERROR: i32 = 2;

/// The kind of OTLP that Zipkin's word stands for.
pub(super) fn kind(word: &str) -> i32 {
    match word {
        "SERVER" => 2,
        "CLIENT" => 3,
        "PRODUCER" => 4,
        "CONSUMER" => 5,
        _ => INTERNAL,
    }
}

impl<'a> ZipkinSpan<'a> {
    pub(super) fn tag(&self, name: &str) -> Option<&str> {
        let at = self
            .tags
            .binary_search_by(|(known, _)| (**known).cmp(name))
            .ok()?;
        Some(&self.tags[at].1)
    }

    /// Sorts tags; of those of one name the last counts.
    pub(super) fn sort_tags(&mut self) {
        self.tags.reverse();
        self.tags.sort_by(|a, b| a.0.cmp(&b.0));
        self.tags.dedup_by(|later, earlier| later.0 == earlier.0);
    }

    fn scope(&self) -> (&str, &str) {
        let either = |name, older| self.tag(name).or_else(|| self.tag(older)).unwrap_or_default();
        let name = either("otel.scope.name", "otel.library.name");
        (name, either("otel.scope.version", "otel.library.version"))
    }

    /// An upper bound of what it takes in OTLP.
    fn bytes(&self) -> usize {
        const SPAN: usize = 512;
        const PART: usize = 64;
        let tags: usize = self
            .tags
            .iter()
            .map(|(name, value)| PART + name.len() + value.len())
            .sum();
        let annotations: usize = self
            .annotations
            .iter()
            .map(|(_, value)| PART + 2 * value.len())
            .sum();
        let endpoints = [&self.local, &self.remote].map(|one| one.service.len() + one.address.len());
        SPAN + self.name.len() + tags + annotations + endpoints.iter().sum::<usize>()
    }
}

/// Writes spans, those of one service and scope together.
pub(super) fn finish(
    mut spans: Vec<ZipkinSpan<'_>>,
    tenant: TenantId,
    room: &mut Room<'_>,
    (rules, left_out): (Rules, LeftOut),
) -> Converted<LeftOut> {
    room.hold(spans.iter().map(ZipkinSpan::bytes).sum())?;
    spans.sort_by(|a, b| (&a.local.service, a.scope()).cmp(&(&b.local.service, b.scope())));
    let mut traces = TracesEncoder::new();
    for of_service in spans.chunk_by(|a, b| a.local.service == b.local.service) {
        let mut resource = traces.resource_spans();
        let service = &*of_service[0].local.service;
        if !service.is_empty() {
            resource.resource().attribute("service.name", service);
        }
        for of_scope in of_service.chunk_by(|a, b| a.scope() == b.scope()) {
            let mut scope = resource.scope_spans();
            let (name, version) = of_scope[0].scope();
            if (name, version) != ("", "") {
                scope.scope().name(name).version(version);
            }
            of_scope.iter().for_each(|span| rules.span(span, &mut scope));
        }
    }
    Ok((vec![traces.finish(tenant)], left_out))
}

fn nanos(micros: u64) -> u64 {
    micros.saturating_mul(1000)
}

impl Rules {
    fn span(self, span: &ZipkinSpan<'_>, scope: &mut ScopeSpans<'_>) {
        let mut written = scope.span();
        written
            .trace_id(span.trace_id.as_bytes())
            .span_id(span.id.as_bytes());
        if let Some(parent) = &span.parent_id {
            written.parent_span_id(parent.as_bytes());
        }
        if let Some(state) = span.tag("w3c.tracestate") {
            written.trace_state(state);
        }
        let first = span.annotations.iter().map(|(time, _)| *time).min();
        let start = match (span.timestamp, first) {
            (0, Some(first)) if first > 0 => nanos(first),
            (0, _) => self.arrived_unix_nano,
            (timestamp, _) => nanos(timestamp),
        };
        written
            .name(&span.name)
            .kind(span.kind)
            .start_time_unix_nano(start)
            .end_time_unix_nano(start.saturating_add(nanos(span.duration)));
        if span.timestamp == 0 {
            written.attribute("otel.zipkin.absentField.startTime", "startTime");
        }
        self.attributes(span, &mut written);
        for (time, value) in &span.annotations {
            event(&mut written, nanos(*time), value);
        }
        if let Some((code, message)) = status(span) {
            written.status().code(code).message(message);
        }
    }

    fn attributes(self, span: &ZipkinSpan<'_>, written: &mut Span<'_>) {
        let error = span.tag("otel.status_code").is_some() || status(span).is_some();
        for (name, value) in &span.tags {
            let said_otherwise = match &**name {
                "otel.scope.name" | "otel.scope.version" | "otel.library.name" | "otel.library.version" => {
                    true
                }
                "otel.status_code" | "otel.status_description" | "w3c.tracestate" => true,
                "error" => error,
                "span.kind" => &**value == "internal" && span.kind == INTERNAL,
                _ => false,
            };
            if said_otherwise {
                continue;
            }
            match self.parse_string_tags {
                true => written.attribute(name, typed(value)),
                false => written.attribute(name, &**value),
            };
        }
        let own = [
            ("net.host.ip", "net.host.port", &span.local),
            ("net.peer.ip", "net.peer.port", &span.remote),
        ];
        for (ip, port, endpoint) in own {
            // A tag of the same name says it already.
            if !endpoint.address.is_empty() && span.tag(ip).is_none() {
                written.attribute(ip, &*endpoint.address);
            }
            if endpoint.port > 0 && span.tag(port).is_none() {
                written.attribute(port, i64::from(endpoint.port));
            }
        }
        if !span.remote.service.is_empty() && span.tag("peer.service").is_none() {
            written.attribute("peer.service", &*span.remote.service);
        }
        for (name, flag) in [("zipkin.debug", span.debug), ("zipkin.shared", span.shared)] {
            if flag && span.tag(name).is_none() {
                written.attribute(name, true);
            }
        }
    }
}

/// The code and message of a status, if tags say one.
fn status<'s>(span: &'s ZipkinSpan<'_>) -> Option<(i32, &'s str)> {
    let error = span.tag("error");
    if let Some(code) = span.tag("otel.status_code") {
        let description = span.tag("otel.status_description").or(error).unwrap_or_default();
        return match code {
            "OK" | "STATUS_CODE_OK" => Some((STATUS_OK, "")),
            "ERROR" | "STATUS_CODE_ERROR" => Some((STATUS_ERROR, description)),
            _ => None,
        };
    }
    match error? {
        "false" => None,
        "true" => Some((STATUS_ERROR, "")),
        message => Some((STATUS_ERROR, message)),
    }
}

/// An annotation; `"name":{…}` is how the exporters of OpenTelemetry write an event with attributes.
fn event(span: &mut Span<'_>, time_unix_nano: u64, value: &str) {
    let mut event = span.event();
    event.time_unix_nano(time_unix_nano);
    let parsed = value
        .starts_with('"')
        .then(|| {
            serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&format!("{{{value}}}")).ok()
        })
        .flatten()
        .filter(|parsed| parsed.len() == 1);
    let named = parsed.as_ref().and_then(|parsed| parsed.iter().next());
    let Some((name, serde_json::Value::Object(attributes))) = named else {
        event.name(value);
        return;
    };
    event.name(name);
    for (key, value) in attributes {
        match value {
            serde_json::Value::String(text) => event.attribute(key, &**text),
            serde_json::Value::Bool(flag) => event.attribute(key, *flag),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(integer) => event.attribute(key, integer),
                None => event.attribute(key, number.as_f64().unwrap_or_default()),
            },
            other => event.attribute(key, &*other.to_string()),
        };
    }
}

/// A text as the number or truth value that it looks like.
fn typed(text: &str) -> AnyValue<'_> {
    let numeric = text.starts_with(|first: char| first.is_ascii_digit() || first == '-' || first == '.');
    if numeric {
        if let Ok(integer) = text.parse::<i64>() {
            return integer.into();
        }
        if let Ok(double) = text.parse::<f64>()
            && double.is_finite()
        {
            return double.into();
        }
    }
    match text {
        "true" => true.into(),
        "false" => false.into(),
        _ => text.into(),
    }
}
