//! The SDK of OpenTelemetry, for whoever compares with it: its providers, and what they export as OTLP. Beside it what ours
//! exports, decoded the same way.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cupola_sdk::testing::Capture;
use cupola_telemetry::{Signal, TenantId};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::transform::logs::tonic::group_logs_by_resource_and_scope;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, SdkLoggerProvider};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use prost::Message as _;

/// A scope, its schema, and something of it.
pub(crate) type Of<T> = (InstrumentationScope, String, T);

/// What an exporter was given.
#[derive(Clone)]
pub(crate) struct Kept<T>(Arc<Mutex<Vec<Of<T>>>>);

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

impl<T: Clone> Kept<T> {
    fn new() -> Kept<T> {
        Kept(Arc::default())
    }

    pub(crate) fn all(&self) -> Vec<Of<T>> {
        self.0.lock().unwrap().clone()
    }

    fn add(&self, items: impl IntoIterator<Item = Of<T>>) {
        self.0.lock().unwrap().extend(items);
    }
}

fn resource() -> opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema {
    (&Resource::builder_empty().build()).into()
}

impl SpanExporter for Kept<Span> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        for resource in group_spans_by_resource_and_scope(batch, &resource()) {
            for scope in resource.scope_spans {
                let of = scope.scope.unwrap_or_default();
                self.add(
                    scope
                        .spans
                        .into_iter()
                        .map(|span| (of.clone(), scope.schema_url.clone(), span)),
                );
            }
        }
        Ok(())
    }
}

impl LogExporter for Kept<LogRecord> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        for resource in group_logs_by_resource_and_scope(&batch, &resource()) {
            for scope in resource.scope_logs {
                let of = scope.scope.unwrap_or_default();
                let records = scope.log_records.into_iter();
                self.add(records.map(|record| (of.clone(), scope.schema_url.clone(), record)));
            }
        }
        Ok(())
    }
}

impl PushMetricExporter for Kept<Metric> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.0.lock().unwrap().clear();
        self.add(metrics_of(ExportMetricsServiceRequest::from(metrics)));
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

pub(crate) fn tracer_provider() -> (SdkTracerProvider, Kept<Span>) {
    let kept = Kept::new();
    let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone());
    (provider.build(), kept)
}

pub(crate) fn logger_provider() -> (SdkLoggerProvider, Kept<LogRecord>) {
    let kept = Kept::new();
    let provider = SdkLoggerProvider::builder().with_simple_exporter(kept.clone());
    (provider.build(), kept)
}

pub(crate) fn meter_provider() -> (SdkMeterProvider, Kept<Metric>) {
    let kept = Kept::new();
    let reader = PeriodicReader::builder(kept.clone())
        .with_interval(Duration::from_secs(3600))
        .build();
    (SdkMeterProvider::builder().with_reader(reader).build(), kept)
}

/// The spans that ours has exported.
pub(crate) fn spans(capture: &Capture) -> Vec<Of<Span>> {
    let requests = payloads(capture, Signal::Traces);
    let requests = requests.map(|payload| ExportTraceServiceRequest::decode(payload).unwrap());
    let resources = requests.flat_map(|request| request.resource_spans);
    let scopes = resources.flat_map(|resource| resource.scope_spans);
    scopes
        .flat_map(|scope| {
            let of = scope.scope.unwrap_or_default();
            scope
                .spans
                .into_iter()
                .map(move |span| (of.clone(), scope.schema_url.clone(), span))
        })
        .collect()
}

/// The log records that ours has exported.
pub(crate) fn logs(capture: &Capture) -> Vec<Of<LogRecord>> {
    let requests = payloads(capture, Signal::Logs);
    let requests = requests.map(|payload| ExportLogsServiceRequest::decode(payload).unwrap());
    let resources = requests.flat_map(|request| request.resource_logs);
    let scopes = resources.flat_map(|resource| resource.scope_logs);
    scopes
        .flat_map(|scope| {
            let of = scope.scope.unwrap_or_default();
            let records = scope.log_records.into_iter();
            records.map(move |record| (of.clone(), scope.schema_url.clone(), record))
        })
        .collect()
}

/// Our metrics now.
pub(crate) fn metrics(capture: &Capture) -> Vec<Of<Metric>> {
    let meters = capture.sdk().meters();
    let batches = meters.collect(&capture.sdk().resource(), &TenantId::default_tenant());
    let requests = batches
        .iter()
        .map(|batch| ExportMetricsServiceRequest::decode(batch.payload().clone()).unwrap());
    requests.flat_map(metrics_of).collect()
}

fn metrics_of(request: ExportMetricsServiceRequest) -> Vec<Of<Metric>> {
    let resources = request.resource_metrics.into_iter();
    let scopes = resources.flat_map(|resource| resource.scope_metrics);
    scopes
        .flat_map(|scope| {
            let of = scope.scope.unwrap_or_default();
            let metrics = scope.metrics.into_iter();
            metrics.map(move |metric| (of.clone(), scope.schema_url.clone(), metric))
        })
        .collect()
}

fn payloads(capture: &Capture, signal: Signal) -> impl Iterator<Item = bytes::Bytes> {
    let batches = capture.batches().into_iter();
    batches
        .filter(move |batch| batch.signal() == signal)
        .map(|batch| batch.payload().clone())
}

/// Attributes of which those that are set again are only where they were set last.
pub(crate) fn last_of_each_key(attributes: &mut Vec<KeyValue>) {
    let all = std::mem::take(attributes);
    for (at, attribute) in all.iter().enumerate() {
        if all[at + 1..].iter().all(|later| later.key != attribute.key) {
            attributes.push(attribute.clone());
        }
    }
}
