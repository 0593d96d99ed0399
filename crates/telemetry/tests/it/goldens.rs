//! The examples of opentelemetry-proto (`examples/`, copied unchanged), and one message with every kind of field.

use cupola_telemetry::{Batch, Signal, TenantId};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;

const LOGS: &str = include_str!("examples/logs.json");
const EVENTS: &str = include_str!("examples/events.json");
const METRICS: &str = include_str!("examples/metrics.json");
const TRACE: &str = include_str!("examples/trace.json");

fn read(signal: Signal, text: &str) -> Batch {
    Batch::decode_json(signal, TenantId::default_tenant(), text.as_bytes()).unwrap()
}

#[test]
fn examples_are_read_and_written() {
    for (signal, text) in [
        (Signal::Logs, LOGS),
        (Signal::Logs, EVENTS),
        (Signal::Metrics, METRICS),
        (Signal::Traces, TRACE),
    ] {
        let batch = read(signal, text);
        let written: serde_json::Value = serde_json::from_str(&batch.to_json()).unwrap();
        let expected: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(normalised(written), normalised(expected));
    }
}

/// Numbers as doubles, for the examples write `5` where we write `5.0`, ids in lower case.
fn normalised(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(values) => values.into_iter().map(normalised).collect(),
        Value::Object(fields) => fields
            .into_iter()
            // Defaults, which the examples write and we do not.
            .filter(|(name, value)| {
                !["scale", "zeroThreshold"].contains(&name.as_str()) || value.as_f64() != Some(0.0)
            })
            .map(|(name, value)| {
                let value = match value {
                    Value::String(id) if name.ends_with("Id") => Value::String(id.to_lowercase()),
                    // A number that the example writes as such although it has 64 bits.
                    Value::Number(number) if ["count", "zeroCount"].contains(&name.as_str()) => {
                        Value::String(number.to_string())
                    }
                    Value::Array(values) if name == "bucketCounts" => values
                        .into_iter()
                        .map(|value| Value::String(value.as_str().map_or(value.to_string(), str::to_owned)))
                        .collect(),
                    other => normalised(other),
                };
                (name, value)
            })
            .collect(),
        other => other,
    }
}

#[test]
fn log_example_means_what_it_says() {
    let batch = read(Signal::Logs, LOGS);
    let request = ExportLogsServiceRequest::decode(batch.payload().as_ref()).unwrap();
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!(record.time_unix_nano, 1_544_712_660_300_000_000);
    assert_eq!(
        (record.severity_number, record.severity_text.as_str()),
        (10, "Information")
    );
    assert_eq!(record.trace_id[..2], [0x5b, 0x8e]);
    assert_eq!(
        record.attributes[3].value.as_ref().unwrap().value,
        Some(Value::DoubleValue(637.704))
    );
    assert_eq!(batch.items(), 1);
}

#[test]
fn trace_example_means_what_it_says() {
    let batch = read(Signal::Traces, TRACE);
    let request = ExportTraceServiceRequest::decode(batch.payload().as_ref()).unwrap();
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!((span.name.as_str(), span.kind), ("I'm a server span", 2));
    assert_eq!(span.parent_span_id[6..], [0xb1, 0x73]);
    assert_eq!(batch.items(), 1);
}

#[test]
fn metric_example_has_all_kinds() {
    let batch = read(Signal::Metrics, METRICS);
    let request = ExportMetricsServiceRequest::decode(batch.payload().as_ref()).unwrap();
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let Some(Data::Sum(sum)) = &metrics[0].data else {
        panic!("{:?}", metrics[0])
    };
    assert!(sum.is_monotonic && sum.aggregation_temporality == 1);
    assert_eq!(batch.items(), metrics.len());
}

/// Written by hand from the specification: what our writer gives for each kind of field.
#[test]
fn every_kind_of_field_is_written_as_specified() {
    let text = concat!(
        r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"b","value":{"bytesValue":"+/8="}},"#,
        r#"{"key":"e","value":{}}]},"scopeMetrics":[{"metrics":[{"name":"h","exponentialHistogram":{"dataPoints":"#,
        r#"[{"timeUnixNano":"5","count":"18446744073709551615","sum":"NaN","scale":-3,"zeroCount":"1","#,
        r#""positive":{"offset":-2,"bucketCounts":["1","0"]},"flags":1,"exemplars":[{"asInt":"-7","#,
        r#""spanId":"0102030405060708","traceId":"000102030405060708090a0b0c0d0e0f"},{"asDouble":1e-7}],"#,
        r#""min":"-Infinity","max":0.1,"zeroThreshold":1e300}],"aggregationTemporality":2}}]}]}]}"#,
    );
    assert_eq!(read(Signal::Metrics, text).to_json(), text);
}
