//! What documents are to be in `otel` mode, made of batches by the documentation and not by the code under test.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

use cupola_telemetry::Batch;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue, any_value::Value as V};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::{finite, finite_map, normal, plain};
use crate::opensearch;

/// All documents of an index, in one form and order.
pub fn documents(node: &opensearch::Running, index: &str) -> Vec<String> {
    node.ask("POST", &format!("/{index}/_refresh"), "").unwrap();
    let answer = node
        .ask("GET", &format!("/{index}/_search?size=9999"), "")
        .unwrap();
    let mut answer: Value = serde_json::from_str(&answer).unwrap();
    let Value::Array(hits) = answer["hits"]["hits"].take() else {
        panic!()
    };
    let mut all: Vec<String> = hits
        .into_iter()
        .map(|mut hit| normal(hit["_source"].take()).to_string())
        .collect();
    all.sort();
    all
}

pub fn moment(nanos: u64) -> Value {
    json!(format!("{}.{:06}", nanos / 1_000_000, nanos % 1_000_000))
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// With a name for a key that has none.
fn named(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(named).collect(),
        Value::Object(members) => {
            let members = members.into_iter().map(|(key, value)| match key.as_str() {
                "" => ("(empty)".to_owned(), named(value)),
                _ => (key, named(value)),
            });
            Value::Object(members.collect())
        }
        other => other,
    }
}

/// Attributes as documents have them: no empty key, no number that JSON does not have.
pub fn attributes(list: &[KeyValue]) -> Value {
    named(finite_map(list))
}

/// Without members that say nothing.
pub fn some(value: Value) -> Value {
    let Value::Object(members) = value else { panic!() };
    let kept = members.into_iter().filter(|(_, value)| {
        !(value.is_null() || *value == json!("") || *value == json!(0) || *value == json!([]))
    });
    Value::Object(kept.collect())
}

pub fn above(
    signal: &str,
    resource: &Option<Resource>,
    resource_url: &str,
    scope: &Option<InstrumentationScope>,
    scope_url: &str,
) -> Map<String, Value> {
    let resource = resource.clone().unwrap_or_default();
    let scope = scope.clone().unwrap_or_default();
    let own = match scope.attributes.is_empty() {
        true => Value::Null,
        false => attributes(&scope.attributes),
    };
    let document = json!({
        "data_stream": {"type": signal, "dataset": "generic.otel", "namespace": "default"},
        "resource": some(json!({"attributes": attributes(&resource.attributes), "schema_url": resource_url,
            "dropped_attributes_count": resource.dropped_attributes_count})),
        "scope": some(json!({"name": scope.name, "version": scope.version, "attributes": own,
            "schema_url": scope_url, "dropped_attributes_count": scope.dropped_attributes_count})),
    });
    let Value::Object(document) = document else {
        panic!()
    };
    document
}

/// Texts and whatever people read like one; what can be looked into.
fn body(value: Option<&V>) -> Value {
    match value {
        None => json!({}),
        Some(V::KvlistValue(_)) => json!({"structured": named(finite(value))}),
        Some(V::ArrayValue(_)) => json!({"structured": {"value": named(finite(value))}}),
        Some(_) => match plain(value) {
            Value::String(text) => json!({"text": text}),
            // Exponents without a plus.
            other => json!({"text": other.to_string().replace("e+", "e")}),
        },
    }
}

/// What documents of logs are to be, those of `keep` only.
pub fn log_documents(batch: &Batch) -> Vec<Value> {
    let mut all = Vec::new();
    for resource in ExportLogsServiceRequest::decode(batch.payload().clone())
        .unwrap()
        .resource_logs
    {
        for scope in &resource.scope_logs {
            for record in &scope.log_records {
                let above = above(
                    "logs",
                    &resource.resource,
                    &resource.schema_url,
                    &scope.scope,
                    &scope.schema_url,
                );
                let time = match record.time_unix_nano {
                    0 => record.observed_time_unix_nano,
                    time => time,
                };
                let observed = match record.observed_time_unix_nano {
                    0 => Value::Null,
                    time => moment(time),
                };
                let body = record.body.as_ref().map(|body| self::body(body.value.as_ref()));
                let mut document = some(json!({
                    "@timestamp": moment(time), "observed_timestamp": observed,
                    "severity_text": record.severity_text, "severity_number": record.severity_number,
                    "trace_id": hex(&record.trace_id), "span_id": hex(&record.span_id), "trace_flags": record.flags,
                    "event_name": record.event_name, "attributes": attributes(&record.attributes),
                    "dropped_attributes_count": record.dropped_attributes_count,
                    "body": body.map_or(Value::Null, |body| body),
                }));
                document.as_object_mut().unwrap().extend(above);
                all.push(document);
            }
        }
    }
    all
}

/// Documents of spans, and those of their events.
pub fn span_documents(batch: &Batch) -> (Vec<Value>, Vec<Value>) {
    let (mut spans, mut events) = (Vec::new(), Vec::new());
    let kinds = [
        "Unspecified",
        "Internal",
        "Server",
        "Client",
        "Producer",
        "Consumer",
    ];
    let statuses = ["Unset", "Ok", "Error"];
    let named = |names: &[&str], number: i32| {
        names
            .get(number as usize)
            .map_or(number.to_string(), |name| (*name).to_owned())
    };
    for resource in ExportTraceServiceRequest::decode(batch.payload().clone())
        .unwrap()
        .resource_spans
    {
        for scope in &resource.scope_spans {
            for span in &scope.spans {
                let above = |signal| {
                    above(
                        signal,
                        &resource.resource,
                        &resource.schema_url,
                        &scope.scope,
                        &scope.schema_url,
                    )
                };
                let status = span.status.clone().unwrap_or_default();
                let links: Vec<Value> = span
                    .links
                    .iter()
                    .map(|link| {
                        some(
                            json!({"trace_id": hex(&link.trace_id), "span_id": hex(&link.span_id),
                            "trace_state": link.trace_state, "attributes": attributes(&link.attributes),
                            "dropped_attributes_count": link.dropped_attributes_count}),
                        )
                    })
                    .collect();
                let duration = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
                let mut document = some(json!({
                    "@timestamp": moment(span.start_time_unix_nano),
                    "trace_id": hex(&span.trace_id), "span_id": hex(&span.span_id), "trace_state": span.trace_state,
                    "parent_span_id": hex(&span.parent_span_id), "name": span.name, "kind": named(&kinds, span.kind),
                    "trace_flags": span.flags, "attributes": attributes(&span.attributes),
                    "dropped_attributes_count": span.dropped_attributes_count,
                    "dropped_events_count": span.dropped_events_count,
                    "dropped_links_count": span.dropped_links_count,
                    "status": some(json!({"message": status.message, "code": named(&statuses, status.code)})),
                }));
                let members = document.as_object_mut().unwrap();
                members.insert("duration".into(), json!(duration.min(i64::MAX as u64)));
                members.insert("links".into(), json!(links));
                members.extend(above("traces"));
                spans.push(document);
                for event in &span.events {
                    let mut document = some(json!({"@timestamp": moment(event.time_unix_nano),
                        "trace_id": hex(&span.trace_id), "span_id": hex(&span.span_id),
                        "attributes": attributes(&event.attributes),
                        "dropped_attributes_count": event.dropped_attributes_count}));
                    let members = document.as_object_mut().unwrap();
                    members.insert("event_name".into(), json!(event.name));
                    members.extend(above("logs"));
                    events.push(document);
                }
            }
        }
    }
    (spans, events)
}
