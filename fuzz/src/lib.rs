//! What must hold for any input of each decoder. The targets in `fuzz_targets/` only name the check.

use std::fmt::{self, Write};

use cupola_telemetry::view::{AnyValue, MetricData};
use cupola_telemetry::{Batch, Problem, Signal, TenantId, json};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

/// Protobuf: no panic; prost agrees on what is valid and on what it means; canonical is a fixed point.
pub fn check_protobuf(signal: Signal, input: &[u8]) {
    let by_prost = through_prost(signal, input);
    // Views of anything at all must not panic.
    walk(&Batch::from_canonical(signal, TenantId::default_tenant(), input.to_vec().into(), 0));
    match Batch::decode_protobuf(signal, TenantId::default_tenant(), input.to_vec().into()) {
        Ok(batch) => {
            let expected = by_prost.expect("what we accept, prost accepts");
            assert_eq!(through_prost(signal, batch.payload()).expect("we write what prost reads"), expected);
            check_canonical(&batch);
            check_json(signal, batch.to_json().as_bytes());
        }
        Err(error) => {
            assert!(error.offset <= input.len(), "{error}");
            // Only here are we stricter.
            let stricter = matches!(error.problem, Problem::IdLength { .. } | Problem::Nesting);
            assert!(stricter || by_prost.is_err(), "prost accepts what we refuse: {error}");
        }
    }
}

/// OTLP/JSON: no panic; what is read is canonical, and written as JSON reads back equal.
pub fn check_json(signal: Signal, input: &[u8]) {
    let Ok(batch) = Batch::decode_json(signal, TenantId::default_tenant(), input) else { return };
    check_canonical(&batch);
    let again = Batch::decode_json(signal, TenantId::default_tenant(), batch.to_json().as_bytes())
        .expect("we read what we write");
    assert_eq!(
        through_prost(signal, again.payload()).expect("prost reads what we write"),
        through_prost(signal, batch.payload()).expect("prost reads what we write"),
    );
}

/// A value in OTLP/JSON: no panic; exact round trip.
pub fn check_any_value_json(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(bytes) = json::parse_any_value(text) else { return };
    let value = AnyValue::parse(&bytes);
    let again = json::parse_any_value(&json::any_value(value)).expect("we read what we write");
    assert_eq!(AnyValue::parse(&again), value);
    json::plain(value);
}

fn check_canonical(batch: &Batch) {
    let again = Batch::decode_protobuf(batch.signal(), batch.tenant().clone(), batch.payload().clone())
        .expect("canonical bytes are valid");
    assert_eq!(again.payload().as_ptr(), batch.payload().as_ptr(), "canonical bytes are kept");
    assert_eq!(again.items(), batch.items());
    walk(batch);
}

/// What prost makes of a payload, encoded again, so that NaN equals itself.
fn through_prost(signal: Signal, payload: &[u8]) -> Result<Vec<u8>, prost::DecodeError> {
    Ok(match signal {
        Signal::Logs => ExportLogsServiceRequest::decode(payload)?.encode_to_vec(),
        Signal::Metrics => ExportMetricsServiceRequest::decode(payload)?.encode_to_vec(),
        Signal::Traces => ExportTraceServiceRequest::decode(payload)?.encode_to_vec(),
    })
}

/// Looks at every field of every view; a debug print does that.
fn walk(batch: &Batch) {
    let mut nowhere = Nowhere;
    let mut look = |field: &dyn fmt::Debug| write!(nowhere, "{field:?}").expect("nothing to fail");
    match batch.signal() {
        Signal::Logs => {
            for resource in batch.logs().resources() {
                look(&(resource.resource(), resource.schema_url()));
                resource.scopes().for_each(|scope| look(&(scope.scope(), scope.schema_url(), scope.records())));
            }
        }
        Signal::Traces => {
            for resource in batch.traces().resources() {
                look(&(resource.resource(), resource.schema_url()));
                resource.scopes().for_each(|scope| look(&(scope.scope(), scope.schema_url(), scope.spans())));
            }
        }
        Signal::Metrics => {
            for resource in batch.metrics().resources() {
                look(&(resource.resource(), resource.schema_url()));
                for scope in resource.scopes() {
                    look(&(scope.scope(), scope.schema_url()));
                    scope.metrics().for_each(|metric| look(&(metric, metric.data().as_ref().map(points))));
                }
            }
        }
    }
}

fn points<'a>(data: &'a MetricData<'a>) -> &'a dyn fmt::Debug {
    match data {
        MetricData::Gauge(points) | MetricData::Sum { points, .. } => points,
        MetricData::Histogram { points, .. } => points,
        MetricData::ExponentialHistogram { points, .. } => points,
        MetricData::Summary(points) => points,
    }
}

struct Nowhere;

impl Write for Nowhere {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        Ok(())
    }
}
