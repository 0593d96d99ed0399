//! What rows are to be, made of batches by the documentation and not by the code under test.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

use cupola_telemetry::{Batch, Signal};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, exemplar, metric, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use serde_json::{Map, Value, json};

use crate::postgres;

use super::{double, map, normal, plain};

/// NUL as it is stored, numbers in one form, nothing that is null.
pub fn clean(row: Value) -> String {
    let Value::Object(mut members) = row else { panic!() };
    if members
        .get("details")
        .is_some_and(|details| details.get("body_type").is_some())
    {
        let body = serde_json::from_str(members["body"].as_str().unwrap()).unwrap();
        members.insert("body".into(), body);
    }
    if let Some(value) = members.get_mut("value").filter(|value| value.is_number()) {
        // JSON of the database has no sign of zero.
        *value = json!(format!("{:e}", value.as_f64().unwrap() + 0.0));
    }
    let Value::Object(members) = normal(Value::Object(members)) else {
        panic!()
    };
    let members = members.into_iter().filter(|(_, value)| !value.is_null());
    serde_json::to_string(&Value::Object(members.collect::<Map<_, _>>()))
        .unwrap()
        .replace("\\u0000", "\u{2400}")
        // Two backslashes, and so text.
        .replace("\\\u{2400}", "\\\\u0000")
}

/// The rows of a table as JSON without `id`, times as microseconds, members that are null left out.
pub fn stored(server: &postgres::Running, table: &str, times: &[&str]) -> Vec<String> {
    let micros = |time: &&str| format!("'{time}', (extract(epoch from \"{time}\") * 1000000)::bigint");
    let micros: Vec<String> = times.iter().map(micros).collect();
    let row = format!(
        "(to_jsonb(t) - 'id' || jsonb_build_object({}))",
        micros.join(", ")
    );
    // In hex, since `psql` leaves out characters that Unicode keeps for nobody.
    let statement = format!("SELECT encode(convert_to({row}::text, 'UTF8'), 'hex') FROM {table} t");
    let rows = server.sql(&statement).unwrap();
    let mut rows: Vec<String> = rows
        .lines()
        .map(|line| clean(serde_json::from_slice(&bytes(line)).unwrap()))
        .collect();
    rows.sort();
    rows
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|place| u8::from_str_radix(&hex[place..place + 2], 16).unwrap())
        .collect()
}

/// Where each signal is, and its columns that are times.
pub const TABLES: [(Signal, &str, &[&str]); 3] = [
    (Signal::Logs, "otel_logs", &["timestamp"]),
    (Signal::Traces, "otel_spans", &["timestamp", "end_timestamp"]),
    (Signal::Metrics, "otel_points", &["timestamp", "start_timestamp"]),
];

/// The rows of batches, in one form and order.
pub fn expected(batches: &[Batch]) -> Vec<String> {
    let mut rows: Vec<String> = batches.iter().flat_map(rows).map(clean).collect();
    rows.sort();
    rows
}

pub fn rows(batch: &Batch) -> Vec<Value> {
    let tenant = batch.tenant().as_str();
    let payload = batch.payload().clone();
    let mut rows = Vec::new();
    match batch.signal() {
        Signal::Logs => {
            for resource in ExportLogsServiceRequest::decode(payload).unwrap().resource_logs {
                for scope in &resource.scope_logs {
                    for record in &scope.log_records {
                        let mut row = common(
                            &resource.resource,
                            &resource.schema_url,
                            &scope.scope,
                            &scope.schema_url,
                        );
                        log(&mut row, record);
                        row.insert("tenant".into(), json!(tenant));
                        rows.push(finished(row));
                    }
                }
            }
        }
        Signal::Traces => {
            for resource in ExportTraceServiceRequest::decode(payload).unwrap().resource_spans {
                for scope in &resource.scope_spans {
                    for item in &scope.spans {
                        let mut row = common(
                            &resource.resource,
                            &resource.schema_url,
                            &scope.scope,
                            &scope.schema_url,
                        );
                        span(&mut row, item);
                        row.insert("tenant".into(), json!(tenant));
                        rows.push(finished(row));
                    }
                }
            }
        }
        Signal::Metrics => {
            for resource in ExportMetricsServiceRequest::decode(payload)
                .unwrap()
                .resource_metrics
            {
                for scope in &resource.scope_metrics {
                    for metric in &scope.metrics {
                        for point in points(metric) {
                            let mut row = common(
                                &resource.resource,
                                &resource.schema_url,
                                &scope.scope,
                                &scope.schema_url,
                            );
                            row.extend(point);
                            row.insert("tenant".into(), json!(tenant));
                            rows.push(finished(row));
                        }
                    }
                }
            }
        }
    }
    rows
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(members) = value else {
        panic!("{value}")
    };
    members
}

/// Without members that say nothing.
fn some(value: Value) -> Value {
    let kept = object(value).into_iter().filter(|(_, value)| {
        !(value.is_null() || *value == json!("") || *value == json!(0) || *value == json!({}))
    });
    Value::Object(kept.collect())
}

fn common(
    resource: &Option<Resource>,
    resource_url: &str,
    scope: &Option<InstrumentationScope>,
    scope_url: &str,
) -> Map<String, Value> {
    let resource = resource.clone().unwrap_or_default();
    let scope = scope.clone().unwrap_or_default();
    assert!(resource.entity_refs.is_empty());
    object(json!({
        "resource": map(&resource.attributes),
        "scope": some(json!({"name": scope.name, "version": scope.version, "attributes": map(&scope.attributes),
            "dropped_attributes_count": scope.dropped_attributes_count, "schema_url": scope_url})),
        "details": {"resource": some(json!({
            "schema_url": resource_url, "dropped_attributes_count": resource.dropped_attributes_count}))},
    }))
}

fn finished(row: Map<String, Value>) -> Value {
    let mut row = row;
    for key in ["scope", "details"] {
        let value = some(row.remove(key).unwrap());
        if value != json!({}) {
            row.insert(key.into(), value);
        }
    }
    for key in [
        "trace_id",
        "span_id",
        "parent_span_id",
        "trace_state",
        "severity_text",
        "event_name",
        "unit",
        "description",
        "status_message",
    ] {
        if row.get(key) == Some(&json!("")) {
            row.remove(key);
        }
    }
    Value::Object(row)
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn nanos(time: u64) -> Value {
    i64::try_from(time).map_or(Value::Null, |time| json!(time))
}

fn log(row: &mut Map<String, Value>, record: &opentelemetry_proto::tonic::logs::v1::LogRecord) {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as V;
    let time = match record.time_unix_nano {
        0 => record.observed_time_unix_nano,
        time => time,
    };
    let body = record.body.as_ref();
    let (body, kind) = match body.map(|body| body.value.as_ref()) {
        None => (Value::Null, None),
        Some(Some(V::StringValue(text))) => (json!(text), None),
        Some(other) => {
            let kind = match other {
                None => "empty",
                Some(V::BoolValue(_)) => "bool",
                Some(V::DoubleValue(_)) => "double",
                Some(V::ArrayValue(_)) => "array",
                Some(V::IntValue(_)) => "int",
                Some(V::BytesValue(_)) => "bytes",
                Some(V::KvlistValue(_)) => "map",
                other => panic!("{other:?}"),
            };
            (json!(plain(other).to_string()), Some(kind))
        }
    };
    row.extend(object(json!({
        "timestamp": time / 1_000, "timestamp_nanos": nanos(record.time_unix_nano),
        "observed_timestamp_nanos": nanos(record.observed_time_unix_nano),
        "severity_text": record.severity_text, "severity_number": record.severity_number, "body": body,
        "trace_id": hex(&record.trace_id), "span_id": hex(&record.span_id), "attributes": map(&record.attributes),
        "event_name": record.event_name, "flags": record.flags,
    })));
    let details = row["details"].as_object_mut().unwrap();
    details.insert("body_type".into(), json!(kind));
    details.insert(
        "dropped_attributes_count".into(),
        json!(record.dropped_attributes_count),
    );
}

fn span(row: &mut Map<String, Value>, span: &opentelemetry_proto::tonic::trace::v1::Span) {
    let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
    let kinds = [
        "unspecified",
        "internal",
        "server",
        "client",
        "producer",
        "consumer",
    ];
    let statuses = ["unset", "ok", "error"];
    let named = |names: &[&str], number: i32| {
        names
            .get(number as usize)
            .map_or(number.to_string(), |name| (*name).to_owned())
    };
    let status = span.status.clone().unwrap_or_default();
    let events = span.events.iter().map(|event| {
        let mut json = object(some(json!({"attributes": map(&event.attributes),
            "dropped_attributes_count": event.dropped_attributes_count})));
        json.extend(object(
            json!({"time_unix_nano": event.time_unix_nano, "name": event.name}),
        ));
        json
    });
    let links = span.links.iter().map(|link| {
        some(json!({"trace_id": hex(&link.trace_id), "span_id": hex(&link.span_id), "trace_state": link.trace_state,
            "attributes": map(&link.attributes), "dropped_attributes_count": link.dropped_attributes_count,
            "flags": link.flags}))
    });
    row.extend(object(json!({
        "timestamp": start / 1_000, "timestamp_nanos": nanos(start), "end_timestamp_nanos": nanos(end),
        "duration_nanos": i64::try_from(i128::from(end) - i128::from(start)).ok(),
        "trace_id": hex(&span.trace_id), "span_id": hex(&span.span_id), "parent_span_id": hex(&span.parent_span_id),
        "trace_state": span.trace_state, "name": span.name, "kind": named(&kinds, span.kind),
        "status_code": named(&statuses, status.code), "status_message": status.message,
        "attributes": map(&span.attributes), "flags": span.flags,
        "events": events.collect::<Vec<_>>(), "links": links.collect::<Vec<_>>(),
    })));
    if end != 0 {
        row.insert("end_timestamp".into(), json!(end / 1_000));
    }
    let details = row["details"].as_object_mut().unwrap();
    for (key, value) in [
        ("dropped_attributes_count", span.dropped_attributes_count),
        ("dropped_events_count", span.dropped_events_count),
        ("dropped_links_count", span.dropped_links_count),
    ] {
        details.insert(key.into(), json!(value));
    }
}

fn exemplars(exemplars: &[Exemplar]) -> Value {
    let exemplars = exemplars.iter().map(|exemplar| {
        let mut json = object(some(
            json!({"trace_id": hex(&exemplar.trace_id), "span_id": hex(&exemplar.span_id),
            "filtered_attributes": map(&exemplar.filtered_attributes)}),
        ));
        json.insert("time_unix_nano".into(), json!(exemplar.time_unix_nano));
        let value = match exemplar.value {
            Some(exemplar::Value::AsInt(value)) => json!(value),
            Some(exemplar::Value::AsDouble(value)) => double(value),
            None => return json,
        };
        json.insert("value".into(), value);
        json
    });
    match exemplars.collect::<Vec<_>>() {
        none if none.is_empty() => Value::Null,
        some => json!(some),
    }
}

fn points(metric: &opentelemetry_proto::tonic::metrics::v1::Metric) -> Vec<Map<String, Value>> {
    let temporality = |number: i32| match number {
        0 => json!("unspecified"),
        1 => json!("delta"),
        2 => json!("cumulative"),
        other => json!(other.to_string()),
    };
    let optional = |value: Option<f64>| value.map_or(Value::Null, double);
    let without_null = |value: Value| {
        let members = object(value).into_iter().filter(|(_, value)| !value.is_null());
        Value::Object(members.collect())
    };
    macro_rules! points {
        ($data:expr, $kind:literal, $temporality:expr, $monotonic:expr, $exemplars:expr, $own:expr) => {
            $data
                .data_points
                .iter()
                .map(|point| {
                    let mut row = object(json!({
                        "metric_name": metric.name, "unit": metric.unit, "description": metric.description,
                        "type": $kind, "temporality": $temporality, "monotonic": $monotonic,
                        "timestamp": point.time_unix_nano / 1_000, "timestamp_nanos": nanos(point.time_unix_nano),
                        "start_timestamp_nanos": nanos(point.start_time_unix_nano), "flags": point.flags,
                        "attributes": map(&point.attributes), "exemplars": $exemplars(point),
                        "details": {"resource": {}},
                    }));
                    row.remove("details");
                    if point.start_time_unix_nano != 0 {
                        row.insert("start_timestamp".into(), json!(point.start_time_unix_nano / 1_000));
                    }
                    row.extend(object($own(point)));
                    row
                })
                .collect()
        };
    }
    macro_rules! number {
        () => {
            |point: &opentelemetry_proto::tonic::metrics::v1::NumberDataPoint| match point.value {
                Some(number_data_point::Value::AsInt(value)) => json!({"value": value as f64, "value_int": value}),
                Some(number_data_point::Value::AsDouble(value)) => json!({"value": double(value)}),
                None => json!({}),
            }
        };
    }
    match metric.data.as_ref().unwrap() {
        metric::Data::Gauge(data) => {
            points!(
                data,
                "gauge",
                (),
                (),
                |p: &opentelemetry_proto::tonic::metrics::v1::NumberDataPoint| exemplars(&p.exemplars),
                number!()
            )
        }
        metric::Data::Sum(data) => {
            points!(
                data,
                "sum",
                temporality(data.aggregation_temporality),
                data.is_monotonic,
                |p: &opentelemetry_proto::tonic::metrics::v1::NumberDataPoint| exemplars(&p.exemplars),
                number!()
            )
        }
        metric::Data::Histogram(data) => points!(
            data,
            "histogram",
            temporality(data.aggregation_temporality),
            (),
            |p: &opentelemetry_proto::tonic::metrics::v1::HistogramDataPoint| exemplars(&p.exemplars),
            |p: &opentelemetry_proto::tonic::metrics::v1::HistogramDataPoint| json!({"histogram": without_null(json!({
                "count": p.count, "sum": optional(p.sum), "min": optional(p.min), "max": optional(p.max),
                "explicit_bounds": doubles(&p.explicit_bounds), "bucket_counts": p.bucket_counts}))})
        ),
        metric::Data::ExponentialHistogram(data) => points!(
            data,
            "exponential_histogram",
            temporality(data.aggregation_temporality),
            (),
            |p: &opentelemetry_proto::tonic::metrics::v1::ExponentialHistogramDataPoint| exemplars(
                &p.exemplars
            ),
            |p: &opentelemetry_proto::tonic::metrics::v1::ExponentialHistogramDataPoint| {
                let buckets = |buckets: &Option<
                    opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets,
                >| {
                    buckets
                        .as_ref()
                        .map(|b| json!({"offset": b.offset, "bucket_counts": b.bucket_counts}))
                };
                json!({"histogram": without_null(json!({"count": p.count, "sum": optional(p.sum),
                    "min": optional(p.min), "max": optional(p.max), "scale": p.scale, "zero_count": p.zero_count,
                    "zero_threshold": double(p.zero_threshold),
                    "positive": buckets(&p.positive), "negative": buckets(&p.negative)}))})
            }
        ),
        metric::Data::Summary(data) => points!(
            data,
            "summary",
            (),
            (),
            |_: &opentelemetry_proto::tonic::metrics::v1::SummaryDataPoint| Value::Null,
            |p: &opentelemetry_proto::tonic::metrics::v1::SummaryDataPoint| json!({"histogram": {
                "count": p.count, "sum": double(p.sum),
                "quantiles": p.quantile_values.iter().map(|q| json!({"quantile": double(q.quantile),
                    "value": double(q.value)})).collect::<Vec<_>>()}})
        ),
    }
}

fn doubles(values: &[f64]) -> Value {
    values.iter().map(|value| double(*value)).collect()
}
