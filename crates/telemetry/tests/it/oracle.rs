//! prost's reading of a payload, and the two ways to compare with it: by bytes, so that NaN equals itself.

use bytes::Bytes;
use cupola_telemetry::{Batch, DecodeError, Signal, TenantId};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;

use crate::dice::Dice;

/// A random export request as prost encodes it.
pub(crate) fn random_request(signal: Signal, dice: &mut Dice) -> Vec<u8> {
    match signal {
        Signal::Logs => dice.logs().encode_to_vec(),
        Signal::Metrics => dice.metrics().encode_to_vec(),
        Signal::Traces => dice.traces().encode_to_vec(),
    }
}

/// What prost makes of a payload: encoded again, known fields only, in its own order.
pub(crate) fn normalised(signal: Signal, payload: &[u8]) -> Result<Vec<u8>, prost::DecodeError> {
    Ok(match signal {
        Signal::Logs => ExportLogsServiceRequest::decode(payload)?.encode_to_vec(),
        Signal::Metrics => ExportMetricsServiceRequest::decode(payload)?.encode_to_vec(),
        Signal::Traces => ExportTraceServiceRequest::decode(payload)?.encode_to_vec(),
    })
}

/// Items of a payload as prost reads it.
pub(crate) fn count_items(signal: Signal, payload: &[u8]) -> usize {
    match signal {
        Signal::Logs => {
            let request = ExportLogsServiceRequest::decode(payload).unwrap();
            request
                .resource_logs
                .iter()
                .flat_map(|r| &r.scope_logs)
                .map(|s| s.log_records.len())
                .sum()
        }
        Signal::Traces => {
            let request = ExportTraceServiceRequest::decode(payload).unwrap();
            request
                .resource_spans
                .iter()
                .flat_map(|r| &r.scope_spans)
                .map(|s| s.spans.len())
                .sum()
        }
        Signal::Metrics => {
            let request = ExportMetricsServiceRequest::decode(payload).unwrap();
            let scopes = request.resource_metrics.iter().flat_map(|r| &r.scope_metrics);
            scopes
                .flat_map(|s| &s.metrics)
                .map(|metric| count_points(metric.data.as_ref()))
                .sum()
        }
    }
}

fn count_points(data: Option<&Data>) -> usize {
    match data {
        None => 0,
        Some(Data::Gauge(data)) => data.data_points.len(),
        Some(Data::Sum(data)) => data.data_points.len(),
        Some(Data::Histogram(data)) => data.data_points.len(),
        Some(Data::ExponentialHistogram(data)) => data.data_points.len(),
        Some(Data::Summary(data)) => data.data_points.len(),
    }
}

pub(crate) fn decode(signal: Signal, payload: impl Into<Bytes>) -> Result<Batch, DecodeError> {
    Batch::decode_protobuf(signal, TenantId::default_tenant(), payload.into())
}
