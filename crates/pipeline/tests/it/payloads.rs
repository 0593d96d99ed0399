//! Requests to send, made with the official protobuf definitions.

use bytes::Bytes;
use cupola_telemetry::{Batch, Signal};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

pub(crate) fn text(value: &str) -> Option<AnyValue> {
    Some(AnyValue {
        value: Some(any_value::Value::StringValue(value.to_owned())),
    })
}

fn resource() -> Option<Resource> {
    let attribute = KeyValue {
        key: "service.name".to_owned(),
        value: text("checkout"),
        ..KeyValue::default()
    };
    Some(Resource {
        attributes: vec![attribute],
        ..Resource::default()
    })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: "test".to_owned(),
        ..InstrumentationScope::default()
    })
}

/// Log records with the bodies given.
pub(crate) fn logs_of(bodies: &[&str]) -> ExportLogsServiceRequest {
    let record = |(index, body): (usize, &&str)| LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000 + index as u64,
        severity_number: 9,
        body: text(body),
        ..LogRecord::default()
    };
    let log_records = bodies.iter().enumerate().map(record).collect();
    let scope_logs = vec![ScopeLogs {
        scope: scope(),
        log_records,
        ..ScopeLogs::default()
    }];
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: resource(),
            scope_logs,
            ..ResourceLogs::default()
        }],
    }
}

/// A valid request with three items.
pub(crate) fn request(signal: Signal) -> Bytes {
    let payload = match signal {
        Signal::Logs => logs_of(&["one", "two", "three"]).encode_to_vec(),
        Signal::Metrics => metrics().encode_to_vec(),
        Signal::Traces => traces().encode_to_vec(),
    };
    Bytes::from(payload)
}

fn metrics() -> ExportMetricsServiceRequest {
    let point = |value| NumberDataPoint {
        time_unix_nano: 1_700_000_000_000_000_000 + value as u64,
        value: Some(number_data_point::Value::AsInt(value)),
        ..NumberDataPoint::default()
    };
    let gauge = Gauge {
        data_points: (1..=3).map(point).collect(),
    };
    let metric = Metric {
        name: "queue.length".to_owned(),
        data: Some(metric::Data::Gauge(gauge)),
        ..Metric::default()
    };
    let scope_metrics = vec![ScopeMetrics {
        scope: scope(),
        metrics: vec![metric],
        ..ScopeMetrics::default()
    }];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: resource(),
            scope_metrics,
            ..ResourceMetrics::default()
        }],
    }
}

fn traces() -> ExportTraceServiceRequest {
    let span = |index: u8| Span {
        trace_id: vec![7; 16],
        span_id: vec![index; 8],
        name: format!("GET /{index}"),
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_500_000_000,
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans {
        scope: scope(),
        spans: (1..=3).map(span).collect(),
        ..ScopeSpans::default()
    }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: resource(),
            scope_spans,
            ..ResourceSpans::default()
        }],
    }
}

/// Bodies of the log records in what was captured.
pub(crate) fn bodies(batches: &[Batch]) -> Vec<String> {
    let mut bodies = Vec::new();
    for batch in batches {
        for scope in batch.logs().resources().flat_map(|resource| resource.scopes()) {
            for record in scope.records() {
                match record.body {
                    Some(cupola_telemetry::view::AnyValue::String(text)) => bodies.push(text.to_owned()),
                    other => panic!("a body that is no text: {other:?}"),
                }
            }
        }
    }
    bodies
}

/// Text that does not compress away, from a fixed seed.
pub(crate) fn noise(length: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state % 90) as u8)
    };
    (0..length).map(|_| next()).collect()
}

/// Log records with eight attributes and bodies of some 120 bytes, as services write them.
pub(crate) fn realistic_logs(records: usize) -> ExportLogsServiceRequest {
    let attribute = |key: &str, value: String| KeyValue {
        key: key.to_owned(),
        value: text(&value),
        ..KeyValue::default()
    };
    let mut request = logs_of(&[]);
    let record = |index: usize| LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000 + index as u64 * 1_000_003,
        observed_time_unix_nano: 1_700_000_000_000_100_000 + index as u64 * 1_000_003,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: text(&format!(
            "request {index} for cart {} finished in {} ms with status 200 after reading 3 rows from replica {}, cache warm",
            index * 7919 % 100_003,
            index % 977,
            index % 3
        )),
        attributes: vec![
            attribute("http.request.method", "GET".to_owned()),
            attribute("http.route", format!("/api/carts/{{id}}/items/{}", index % 17)),
            attribute("http.response.status_code", "200".to_owned()),
            attribute("user.id", format!("user-{}", index * 31 % 5003)),
            attribute(
                "session.id",
                format!("{:032x}", index as u128 * 0x9e37_79b9_7f4a_7c15),
            ),
            attribute("server.address", format!("cart-{}.internal", index % 5)),
            attribute("thread.name", format!("worker-{}", index % 8)),
            attribute("code.function.name", "cart::items::list".to_owned()),
        ],
        trace_id: (index as u128 * 0x9e37_79b9_7f4a_7c15_f39c)
            .to_be_bytes()
            .to_vec(),
        span_id: (index as u64 * 0x9e37_79b9_7f4a).to_be_bytes().to_vec(),
        ..LogRecord::default()
    };
    request.resource_logs[0].scope_logs[0].log_records = (0..records).map(record).collect();
    request
}
