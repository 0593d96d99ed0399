//! What every client sends: a trace of two spans with an event, a correlated log record, a counter, a
//! histogram and a gauge. Read with the official protobuf definitions, not with ours.

use cupola_telemetry::{Batch, Signal};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// Checks everything a client sent.
pub(crate) fn check(batches: &[Batch], client: &str) {
    let spans = spans(batches);
    assert_eq!(spans.len(), 2, "{client}: spans");
    let parent = spans
        .iter()
        .find(|span| span.name == "GET /cart")
        .expect("the server span");
    let child = spans
        .iter()
        .find(|span| span.name == "SELECT cart")
        .expect("the client span");
    check_parent(parent, client);
    assert_eq!(
        (child.kind, &child.trace_id, &child.parent_span_id),
        (3, &parent.trace_id, &parent.span_id),
        "{client}"
    );
    assert_ne!(child.span_id, parent.span_id, "{client}");
    check_log(batches, parent, client);
    check_metrics(batches, client);
}

fn check_parent(span: &Span, client: &str) {
    assert_eq!(
        (span.trace_id.len(), span.span_id.len(), span.parent_span_id.len()),
        (16, 8, 0),
        "{client}"
    );
    assert_eq!(span.kind, 2, "{client}: a server span");
    assert!(
        span.end_time_unix_nano >= span.start_time_unix_nano
            && span.start_time_unix_nano > 1_600_000_000_000_000_000
    );
    let status = span.status.as_ref().expect("a status");
    assert_eq!((status.code, status.message.as_str()), (2, "boom"), "{client}");
    let value = |name| attribute(&span.attributes, name);
    assert_eq!(value("http.route"), &text("/cart"), "{client}");
    assert_eq!(
        value("http.response.status_code"),
        &Value::IntValue(500),
        "{client}"
    );
    assert_eq!(value("sample.ratio"), &Value::DoubleValue(0.5), "{client}");
    assert_eq!(value("cached"), &Value::BoolValue(true), "{client}");
    let tags = ["a", "b"]
        .map(|tag| AnyValue {
            value: Some(text(tag)),
        })
        .to_vec();
    assert_eq!(
        value("tags"),
        &Value::ArrayValue(ArrayValue { values: tags }),
        "{client}"
    );
    assert_eq!(value("text"), &text("Grüße 🚀"), "{client}");
    assert_eq!(span.events.len(), 1, "{client}");
    assert_eq!(span.events[0].name, "cache.miss", "{client}");
    assert_eq!(
        attribute(&span.events[0].attributes, "key"),
        &text("cart:42"),
        "{client}"
    );
}

fn check_log(batches: &[Batch], parent: &Span, client: &str) {
    let mut records = Vec::new();
    for batch in of(batches, Signal::Logs) {
        for resource in ExportLogsServiceRequest::decode(batch).unwrap().resource_logs {
            check_resource(resource.resource.as_ref(), client);
            for scope in resource.scope_logs {
                check_scope(scope.scope.as_ref(), client);
                records.extend(scope.log_records);
            }
        }
    }
    assert_eq!(records.len(), 1, "{client}: log records");
    let record = &records[0];
    assert_eq!(
        (record.severity_number, record.severity_text.as_str()),
        (13, "WARN"),
        "{client}"
    );
    let body = record.body.as_ref().and_then(|body| body.value.as_ref());
    assert_eq!(body, Some(&text("payment declined")), "{client}");
    assert_eq!(
        attribute(&record.attributes, "user.id"),
        &Value::IntValue(42),
        "{client}"
    );
    assert_eq!(
        (&record.trace_id, &record.span_id),
        (&parent.trace_id, &parent.span_id),
        "{client}"
    );
}

fn check_metrics(batches: &[Batch], client: &str) {
    let mut metrics = Vec::new();
    for batch in of(batches, Signal::Metrics) {
        for resource in ExportMetricsServiceRequest::decode(batch)
            .unwrap()
            .resource_metrics
        {
            check_resource(resource.resource.as_ref(), client);
            for scope in resource.scope_metrics {
                // SDKs may add metrics about themselves, in scopes of their own.
                if scope.scope.as_ref().is_some_and(|scope| scope.name == "checkout") {
                    check_scope(scope.scope.as_ref(), client);
                    metrics.extend(scope.metrics);
                }
            }
        }
    }
    let find = |name: &str| -> &Metric {
        metrics
            .iter()
            .find(|metric| metric.name == name)
            .unwrap_or_else(|| panic!("{client}: no metric {name}"))
    };

    let requests = find("requests");
    assert_eq!(
        (requests.unit.as_str(), requests.description.as_str()),
        ("{request}", "Requests served."),
        "{client}"
    );
    let Some(metric::Data::Sum(sum)) = &requests.data else {
        panic!("{client}: {requests:?}")
    };
    assert_eq!(
        (sum.aggregation_temporality, sum.is_monotonic),
        (2, true),
        "{client}"
    );
    assert_eq!(number(sum.data_points[0].value), 7.0, "{client}");
    assert_eq!(
        attribute(&sum.data_points[0].attributes, "http.route"),
        &text("/cart"),
        "{client}"
    );

    let latency = find("latency");
    let Some(metric::Data::Histogram(histogram)) = &latency.data else {
        panic!("{client}: {latency:?}")
    };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.sum), (3, Some(555.0)), "{client}");
    assert_eq!((point.min, point.max), (Some(5.0), Some(500.0)), "{client}");
    assert_eq!(point.explicit_bounds, [10.0, 100.0], "{client}");
    assert_eq!(point.bucket_counts, [1, 1, 1], "{client}");

    let temperature = find("temperature");
    let Some(metric::Data::Gauge(gauge)) = &temperature.data else {
        panic!("{client}: {temperature:?}")
    };
    assert_eq!(number(gauge.data_points[0].value), 21.5, "{client}");
}

fn spans(batches: &[Batch]) -> Vec<Span> {
    let mut spans = Vec::new();
    for batch in of(batches, Signal::Traces) {
        for resource in ExportTraceServiceRequest::decode(batch).unwrap().resource_spans {
            check_resource(resource.resource.as_ref(), "spans");
            for scope in resource.scope_spans {
                check_scope(scope.scope.as_ref(), "spans");
                spans.extend(scope.spans);
            }
        }
    }
    spans
}

fn of(batches: &[Batch], signal: Signal) -> impl Iterator<Item = bytes::Bytes> {
    batches
        .iter()
        .filter(move |batch| batch.signal() == signal)
        .map(|batch| batch.payload().clone())
}

fn check_resource(resource: Option<&Resource>, client: &str) {
    let attributes = &resource.expect("a resource").attributes;
    assert_eq!(
        attribute(attributes, "service.name"),
        &text("client-under-test"),
        "{client}"
    );
    assert_eq!(
        attribute(attributes, "process.pid"),
        &Value::IntValue(4711),
        "{client}"
    );
}

fn check_scope(scope: Option<&InstrumentationScope>, client: &str) {
    let scope = scope.expect("a scope");
    assert_eq!(
        (scope.name.as_str(), scope.version.as_str()),
        ("checkout", "1.2.3"),
        "{client}"
    );
}

fn attribute<'a>(attributes: &'a [KeyValue], name: &str) -> &'a Value {
    let mut found = attributes.iter().filter(|attribute| attribute.key == name);
    let attribute = found
        .next()
        .unwrap_or_else(|| panic!("no attribute {name} in {attributes:?}"));
    assert!(found.next().is_none(), "{name} twice");
    attribute
        .value
        .as_ref()
        .and_then(|value| value.value.as_ref())
        .expect("a value")
}

fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

/// JavaScript has one kind of number, so a counter of it may be either of ours.
fn number(value: Option<number_data_point::Value>) -> f64 {
    match value {
        Some(number_data_point::Value::AsDouble(value)) => value,
        Some(number_data_point::Value::AsInt(value)) => value as f64,
        None => panic!("a point without a value"),
    }
}
