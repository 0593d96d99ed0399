//! What the generator promises: equal bytes for equal seeds, valid OTLP, stated cardinalities, links that hold.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod cardinality;
mod determinism;
mod links;
mod shape;

use cupola_generator::{Generator, GeneratorConfig};
use cupola_telemetry::Batch;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

fn generator(seed: u64) -> Generator {
    Generator::new(GeneratorConfig {
        seed,
        ..GeneratorConfig::default()
    })
}

fn logs(batch: &Batch) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest::decode(batch.payload().clone()).unwrap()
}

fn traces(batch: &Batch) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(batch.payload().clone()).unwrap()
}

fn metrics(batch: &Batch) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest::decode(batch.payload().clone()).unwrap()
}

/// Each record with the name of its service.
fn records(batch: &Batch) -> Vec<(String, LogRecord)> {
    let mut all = Vec::new();
    for resource in logs(batch).resource_logs {
        let service = text(&resource.resource.unwrap().attributes, "service.name").unwrap();
        for record in resource
            .scope_logs
            .into_iter()
            .flat_map(|scope| scope.log_records)
        {
            all.push((service.clone(), record));
        }
    }
    all
}

/// Each span with the name of its service.
fn spans(batch: &Batch) -> Vec<(String, Span)> {
    let mut all = Vec::new();
    for resource in traces(batch).resource_spans {
        let service = text(&resource.resource.unwrap().attributes, "service.name").unwrap();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            all.push((service.clone(), span));
        }
    }
    all
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes
        .iter()
        .find(|attribute| attribute.key == key)?
        .value
        .clone()?
        .value?;
    match value {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}
