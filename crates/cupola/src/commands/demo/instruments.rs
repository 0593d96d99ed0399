//! What a service of the shop is instrumented with: the official OpenTelemetry SDK, once for each tenant, because a
//! tenant is chosen by a header of the export.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::metrics::{Counter, Histogram, MeterProvider as _, UpDownCounter};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{
    BatchConfigBuilder as LogBatch, BatchLogProcessor, SdkLogger, SdkLoggerProvider,
};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder as SpanBatch, BatchSpanProcessor, SdkTracer, SdkTracerProvider,
};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::Channel;

use crate::failure::Failure;

/// Short, so that what happens is seen at once.
const EXPORT_EVERY: Duration = Duration::from_millis(500);
const METRICS_EVERY: Duration = Duration::from_secs(5);
const SCOPE: &str = "cupola-demo";

/// Telemetry of one service for one tenant.
pub(crate) struct Instruments {
    tracer: SdkTracer,
    logger: SdkLogger,
    request_duration: Histogram<f64>,
    pub(crate) orders: Counter<u64>,
    pub(crate) order_value: Histogram<f64>,
    pub(crate) queue_depth: UpDownCounter<i64>,
    providers: Providers,
}

struct Providers {
    traces: SdkTracerProvider,
    logs: SdkLoggerProvider,
    metrics: SdkMeterProvider,
}

/// A connection that all exporters share; made when it is first needed.
pub(crate) fn channel(endpoint: SocketAddr) -> Result<Channel, Failure> {
    Channel::from_shared(format!("http://{endpoint}"))
        .map(|endpoint| endpoint.connect_lazy())
        .map_err(|error| Failure::new("cannot make a channel for the demo's telemetry").caused_by(&error))
}

impl Instruments {
    pub(crate) fn new(service: &'static str, tenant: &str, channel: &Channel) -> Result<Self, Failure> {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            Failure::new("cannot make an exporter for the demo's telemetry").caused_by(error)
        };
        let mut metadata = MetadataMap::new();
        let value = MetadataValue::try_from(tenant).map_err(|error| failed(&error))?;
        metadata.insert("x-scope-orgid", value);
        let spans = SpanExporter::builder()
            .with_tonic()
            .with_channel(channel.clone())
            .with_metadata(metadata.clone())
            .build()
            .map_err(|error| failed(&error))?;
        let logs = LogExporter::builder()
            .with_tonic()
            .with_channel(channel.clone())
            .with_metadata(metadata.clone())
            .build()
            .map_err(|error| failed(&error))?;
        let metrics = MetricExporter::builder()
            .with_tonic()
            .with_channel(channel.clone())
            .with_metadata(metadata)
            .build()
            .map_err(|error| failed(&error))?;
        let providers = Providers::new(resource(service), spans, logs, metrics);
        let meter = providers.metrics.meter(SCOPE);
        Ok(Instruments {
            tracer: providers.traces.tracer(SCOPE),
            logger: providers.logs.logger(SCOPE),
            request_duration: meter
                .f64_histogram("http.server.request.duration")
                .with_unit("s")
                .with_description("Duration of HTTP server requests.")
                .with_boundaries(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0])
                .build(),
            orders: meter.u64_counter("shop.orders").with_unit("{order}").build(),
            order_value: meter.f64_histogram("shop.order.value").with_unit("EUR").build(),
            queue_depth: meter
                .i64_up_down_counter("shop.queue.depth")
                .with_unit("{message}")
                .build(),
            providers,
        })
    }

    /// Exports what is left. Blocks.
    pub(crate) fn shutdown(&self) {
        // The server may be gone already; then there is nobody to complain to.
        let _ = self.providers.traces.shutdown();
        let _ = self.providers.logs.shutdown();
        let _ = self.providers.metrics.shutdown();
    }

    /// Starts a span below `parent`.
    pub(crate) fn span(
        &self,
        name: String,
        kind: SpanKind,
        parent: &Context,
        attributes: Vec<KeyValue>,
    ) -> Context {
        let builder = self
            .tracer
            .span_builder(name)
            .with_kind(kind)
            .with_attributes(attributes);
        let span = self.tracer.build_with_context(builder, parent);
        parent.with_span(span)
    }

    pub(crate) fn log(
        &self,
        context: &Context,
        severity: Severity,
        body: String,
        attributes: Vec<(&'static str, AnyValue)>,
    ) {
        let mut record = self.logger.create_log_record();
        record.set_timestamp(std::time::SystemTime::now());
        record.set_severity_number(severity);
        record.set_severity_text(severity.name());
        record.set_body(AnyValue::from(body));
        record.add_attributes(attributes);
        let span = context.span();
        let ids = span.span_context();
        if ids.is_valid() {
            record.set_trace_context(ids.trace_id(), ids.span_id(), Some(ids.trace_flags()));
        }
        self.logger.emit(record);
    }

    pub(crate) fn request_done(
        &self,
        route: &'static str,
        method: &'static str,
        status: u16,
        started: Instant,
    ) {
        let attributes = [
            KeyValue::new("http.route", route),
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.response.status_code", i64::from(status)),
        ];
        self.request_duration
            .record(started.elapsed().as_secs_f64(), &attributes);
    }
}

impl Providers {
    fn new(resource: Resource, spans: SpanExporter, logs: LogExporter, metrics: MetricExporter) -> Self {
        let spans = BatchSpanProcessor::builder(spans)
            .with_batch_config(SpanBatch::default().with_scheduled_delay(EXPORT_EVERY).build())
            .build();
        let logs = BatchLogProcessor::builder(logs)
            .with_batch_config(LogBatch::default().with_scheduled_delay(EXPORT_EVERY).build())
            .build();
        let reader = PeriodicReader::builder(metrics)
            .with_interval(METRICS_EVERY)
            .build();
        Providers {
            traces: SdkTracerProvider::builder()
                .with_span_processor(spans)
                .with_resource(resource.clone())
                .build(),
            logs: SdkLoggerProvider::builder()
                .with_log_processor(logs)
                .with_resource(resource.clone())
                .build(),
            metrics: SdkMeterProvider::builder()
                .with_reader(reader)
                .with_resource(resource)
                .build(),
        }
    }
}

fn resource(service: &'static str) -> Resource {
    Resource::builder()
        .with_service_name(service)
        .with_attribute(KeyValue::new("service.namespace", "shop"))
        .with_attribute(KeyValue::new("service.version", "1.4.2"))
        .with_attribute(KeyValue::new(
            "service.instance.id",
            format!("{service}-{:08x}", rand::random::<u32>()),
        ))
        .with_attribute(KeyValue::new("deployment.environment.name", "demo"))
        .build()
}

/// Marks the span of `context` as failed.
pub(crate) fn fail(context: &Context, message: String) {
    let span = context.span();
    span.add_event(
        "exception",
        vec![
            KeyValue::new("exception.type", "DemoError"),
            KeyValue::new("exception.message", message.clone()),
        ],
    );
    span.set_status(Status::error(message));
}

/// The W3C trace context of `context` as headers.
pub(crate) fn inject(context: &Context, headers: &mut dyn Injector) {
    TraceContextPropagator::new().inject_context(context, headers);
}

/// The trace context that a caller sent.
pub(crate) fn extract(headers: &dyn Extractor) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), headers)
}

/// HTTP headers as a carrier.
pub(crate) struct Headers<'a>(pub(crate) &'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}
