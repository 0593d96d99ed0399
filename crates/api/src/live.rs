//! Batches as they arrive, filtered and in the shapes of `model`: what the live tail sends. Walks the OTLP bytes without
//! copying what the filter refuses.

use cupola_query::{level_of, span_kind, status_code};
use cupola_telemetry::view::{self, AnyValue, Attributes as View};
use cupola_telemetry::{Batch, Signal, TenantId, TraceId};
use serde_json::{Map, Value};

use crate::attribute_value::{double, integer};
use crate::encode::json::rfc3339;
use crate::model::{Attributes, LogRecord, Span, SpanEvent, SpanLink};

/// What a tail shows. Every condition that is given must hold.
#[derive(Debug, Clone)]
pub(crate) struct LiveFilter {
    pub(crate) tenant: TenantId,
    pub(crate) signal: Signal,
    pub(crate) service: Option<String>,
    pub(crate) severity_floor: Option<i32>,
    /// Lower-case words that must all be in the body (or the span's name).
    pub(crate) words: Vec<String>,
    pub(crate) trace_id: Option<TraceId>,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) errors: bool,
}

/// Splits as `match()` does: runs of letters, digits and `_`, in lower case.
pub(crate) fn words_of(text: &str) -> Vec<String> {
    text.split(|character: char| !character.is_alphanumeric() && character != '_')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

impl LiveFilter {
    pub(crate) fn wants(&self, batch: &Batch) -> bool {
        batch.signal() == self.signal && *batch.tenant() == self.tenant
    }

    pub(crate) fn logs(&self, batch: &Batch) -> Vec<LogRecord> {
        let mut found = Vec::new();
        for resource_logs in batch.logs().resources().iter() {
            let resource = resource_logs.resource();
            let Some(service) = self.admitted_service(&resource) else {
                continue;
            };
            for scope_logs in resource_logs.scopes().iter() {
                for record in scope_logs
                    .records()
                    .iter()
                    .filter(|record| self.admits_log(record))
                {
                    found.push(log_record(&record, &resource, &scope_logs.scope(), service));
                }
            }
        }
        found
    }

    pub(crate) fn spans(&self, batch: &Batch) -> Vec<Span> {
        let mut found = Vec::new();
        for resource_spans in batch.traces().resources().iter() {
            let resource = resource_spans.resource();
            let Some(service) = self.admitted_service(&resource) else {
                continue;
            };
            for scope_spans in resource_spans.scopes().iter() {
                for one in scope_spans.spans().iter().filter(|one| self.admits_span(one)) {
                    found.push(span(&one, &resource, &scope_spans.scope(), service));
                }
            }
        }
        found
    }

    /// The resource's service, if the tail shows it.
    fn admitted_service<'a>(&self, resource: &view::Resource<'a>) -> Option<&'a str> {
        let service = resource
            .attributes
            .get("service.name")
            .and_then(AnyValue::as_str)
            .unwrap_or_default();
        self.service
            .as_ref()
            .is_none_or(|wanted| wanted == service)
            .then_some(service)
    }

    fn admits_log(&self, record: &view::LogRecord<'_>) -> bool {
        self.severity_floor
            .is_none_or(|floor| record.severity_number >= floor)
            && (!self.errors || record.severity_number >= 17)
            && self.admits_trace(record.trace_id)
            && self.admits_attributes(record.attributes)
            && (self.words.is_empty() || record.body.is_some_and(|body| self.admits_words(&as_text(body))))
    }

    fn admits_span(&self, span: &view::Span<'_>) -> bool {
        (!self.errors || span.status.is_some_and(|status| status.code == 2))
            && self.admits_trace(span.trace_id)
            && self.admits_attributes(span.attributes)
            && (self.words.is_empty() || self.admits_words(span.name))
    }

    fn admits_trace(&self, id: &[u8]) -> bool {
        self.trace_id.is_none_or(|wanted| wanted.as_bytes() == id)
    }

    fn admits_attributes(&self, attributes: View<'_>) -> bool {
        self.attributes
            .iter()
            .all(|(key, wanted)| attributes.get(key).is_some_and(|value| as_text(value) == *wanted))
    }

    fn admits_words(&self, text: &str) -> bool {
        let present = words_of(text);
        self.words.iter().all(|word| present.contains(word))
    }
}

/// The text `->>` gives for a value.
fn as_text(value: AnyValue<'_>) -> String {
    match value {
        AnyValue::String(text) => text.to_owned(),
        other => match plain(other) {
            Value::String(text) => text,
            Value::Null => String::new(),
            value => value.to_string(),
        },
    }
}

/// A value as the JSON it stands for.
fn plain(value: AnyValue<'_>) -> Value {
    use base64::Engine as _;
    match value {
        AnyValue::Empty => Value::Null,
        AnyValue::String(text) => Value::String(text.to_owned()),
        AnyValue::Bool(flag) => Value::Bool(flag),
        AnyValue::Int(number) => integer(number),
        AnyValue::Double(number) => double(number),
        AnyValue::Bytes(bytes) => Value::String(base64::engine::general_purpose::STANDARD.encode(bytes)),
        AnyValue::StringIndex(index) => integer(index.into()),
        // Nesting was bounded when the batch was decoded.
        AnyValue::Array(items) => Value::Array(items.iter().map(plain).collect()),
        AnyValue::KeyValueList(pairs) => Value::Object(object(pairs)),
    }
}

fn object(pairs: View<'_>) -> Attributes {
    let mut out = Map::new();
    for pair in pairs.iter() {
        if !out.contains_key(pair.key) {
            out.insert(pair.key.to_owned(), plain(pair.value));
        }
    }
    out
}

fn instant(nanoseconds: u64) -> String {
    rfc3339(nanoseconds as i64)
}

fn log_record(
    record: &view::LogRecord<'_>,
    resource: &view::Resource<'_>,
    scope: &view::Scope<'_>,
    service: &str,
) -> LogRecord {
    let observed = record.observed_time_unix_nano;
    let sent = if record.time_unix_nano == 0 {
        observed
    } else {
        record.time_unix_nano
    };
    LogRecord {
        timestamp: instant(sent),
        observed_timestamp: (observed != 0).then(|| instant(observed)),
        severity_number: record.severity_number,
        severity_text: record.severity_text.to_owned(),
        level: level_of(record.severity_number.into())
            .unwrap_or_default()
            .to_owned(),
        body: record.body.map_or(Value::Null, plain),
        event_name: record.event_name.to_owned(),
        trace_id: hex::encode(record.trace_id),
        span_id: hex::encode(record.span_id),
        service_name: service.to_owned(),
        scope_name: scope.name.to_owned(),
        scope_version: scope.version.to_owned(),
        attributes: object(record.attributes),
        resource_attributes: object(resource.attributes),
        scope_attributes: object(scope.attributes),
    }
}

fn span(
    span: &view::Span<'_>,
    resource: &view::Resource<'_>,
    scope: &view::Scope<'_>,
    service: &str,
) -> Span {
    let named = |number: i32, name: fn(i64) -> Option<&'static str>| {
        name(number.into()).map_or_else(|| number.to_string(), str::to_owned)
    };
    let duration = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
    Span {
        timestamp: instant(span.start_time_unix_nano),
        end_timestamp: instant(span.end_time_unix_nano),
        duration_ns: i64::try_from(duration).unwrap_or_default(),
        trace_id: hex::encode(span.trace_id),
        span_id: hex::encode(span.span_id),
        parent_span_id: hex::encode(span.parent_span_id),
        trace_state: span.trace_state.to_owned(),
        kind: named(span.kind, span_kind),
        name: span.name.to_owned(),
        status_code: named(span.status.map_or(0, |status| status.code), status_code),
        status_message: span.status.map_or("", |status| status.message).to_owned(),
        service_name: service.to_owned(),
        scope_name: scope.name.to_owned(),
        scope_version: scope.version.to_owned(),
        attributes: object(span.attributes),
        resource_attributes: object(resource.attributes),
        scope_attributes: object(scope.attributes),
        events: span
            .events
            .iter()
            .map(|event| SpanEvent {
                timestamp: instant(event.time_unix_nano),
                name: event.name.to_owned(),
                attributes: object(event.attributes),
            })
            .collect(),
        links: span
            .links
            .iter()
            .map(|link| SpanLink {
                trace_id: hex::encode(link.trace_id),
                span_id: hex::encode(link.span_id),
                trace_state: link.trace_state.to_owned(),
                attributes: object(link.attributes),
            })
            .collect(),
        dropped_attributes_count: span.dropped_attributes_count,
        dropped_events_count: span.dropped_events_count,
        dropped_links_count: span.dropped_links_count,
    }
}
