//! Requests of OTLP taken apart: each log record, span and metric with its resource and scope.

use cupola_telemetry::{Batch, Signal};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// Something, and what it is of.
#[derive(Clone, Debug)]
pub struct Of<T> {
    pub resource: Option<Resource>,
    pub resource_url: String,
    pub scope: Option<InstrumentationScope>,
    pub scope_url: String,
    pub item: T,
}

impl<T> Of<T> {
    pub fn scope_name(&self) -> &str {
        self.scope.as_ref().map_or("", |scope| &scope.name)
    }
}

/// Items of one request under their resources and scopes.
macro_rules! apart {
    ($request:expr, $resources:ident, $scopes:ident, $items:ident) => {
        $request.$resources.into_iter().flat_map(|above| {
            let (resource, resource_url) = (above.resource, above.schema_url);
            above.$scopes.into_iter().flat_map(move |within| {
                let (scope, scope_url) = (within.scope, within.schema_url);
                let (resource, resource_url) = (resource.clone(), resource_url.clone());
                within.$items.into_iter().map(move |item| Of {
                    resource: resource.clone(),
                    resource_url: resource_url.clone(),
                    scope: scope.clone(),
                    scope_url: scope_url.clone(),
                    item,
                })
            })
        })
    };
}

pub fn logs(batches: &[Batch]) -> Vec<Of<LogRecord>> {
    let requests = of_signal(batches, Signal::Logs)
        .map(|batch| ExportLogsServiceRequest::decode(batch.payload().clone()).unwrap());
    requests.flat_map(of_logs).collect()
}

pub fn spans(batches: &[Batch]) -> Vec<Of<Span>> {
    let requests = of_signal(batches, Signal::Traces)
        .map(|batch| ExportTraceServiceRequest::decode(batch.payload().clone()).unwrap());
    requests.flat_map(of_spans).collect()
}

pub fn metrics(batches: &[Batch]) -> Vec<Of<Metric>> {
    let requests = of_signal(batches, Signal::Metrics)
        .map(|batch| ExportMetricsServiceRequest::decode(batch.payload().clone()).unwrap());
    requests.flat_map(of_metrics).collect()
}

/// Every item of a signal as text, in an order of its own: for batches of which one is to have what the other has.
pub fn texts(batches: &[Batch], signal: Signal) -> Vec<String> {
    let mut texts: Vec<String> = match signal {
        Signal::Logs => logs(batches).iter().map(|item| format!("{item:#?}")).collect(),
        Signal::Metrics => metrics(batches).iter().map(|item| format!("{item:#?}")).collect(),
        Signal::Traces => spans(batches)
            .into_iter()
            .map(|mut span| {
                // The Collector always has one.
                span.item.status.get_or_insert_default();
                format!("{span:#?}")
            })
            .collect(),
    };
    texts.sort();
    texts
}

/// Panics with the first difference.
pub fn assert_same(what: &str, arrived: &[String], wanted: &[String]) {
    for (arrived, wanted) in arrived.iter().zip(wanted) {
        assert_eq!(arrived, wanted, "{what}");
    }
    assert_eq!(arrived.len(), wanted.len(), "{what}");
}

pub(crate) fn of_logs(request: ExportLogsServiceRequest) -> impl Iterator<Item = Of<LogRecord>> {
    apart!(request, resource_logs, scope_logs, log_records)
}

pub(crate) fn of_spans(request: ExportTraceServiceRequest) -> impl Iterator<Item = Of<Span>> {
    apart!(request, resource_spans, scope_spans, spans)
}

pub(crate) fn of_metrics(request: ExportMetricsServiceRequest) -> impl Iterator<Item = Of<Metric>> {
    apart!(request, resource_metrics, scope_metrics, metrics)
}

fn of_signal(batches: &[Batch], signal: Signal) -> impl Iterator<Item = &Batch> {
    batches.iter().filter(move |batch| batch.signal() == signal)
}
