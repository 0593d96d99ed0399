//! The official Rust SDK. Its batch processors run on threads of their own, where its asynchronous HTTP
//! client finds no runtime; the exporters are wrapped to bring one.

use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
    WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, SdkLoggerProvider};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData};
use tokio::runtime::Handle;
use tokio_util::context::TokioContext;

use super::{endpoint, expected, start};

/// An exporter whose work happens in the runtime of the test.
#[derive(Debug)]
struct InRuntime<E>(E, Handle);

impl<E: opentelemetry_sdk::trace::SpanExporter> opentelemetry_sdk::trace::SpanExporter for InRuntime<E> {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        TokioContext::new(self.0.export(batch), self.1.clone())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

impl<E: opentelemetry_sdk::logs::LogExporter> opentelemetry_sdk::logs::LogExporter for InRuntime<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        TokioContext::new(self.0.export(batch), self.1.clone()).await
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for InRuntime<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        TokioContext::new(self.0.export(metrics), self.1.clone()).await
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.0.temporality()
    }
}

struct Exporters {
    spans: SpanExporter,
    logs: LogExporter,
    metrics: MetricExporter,
}

fn grpc(endpoint: &str, compression: Option<Compression>) -> Exporters {
    macro_rules! exporter {
        ($kind:ident) => {{
            let builder = $kind::builder().with_tonic().with_endpoint(endpoint);
            match compression {
                Some(compression) => builder.with_compression(compression).build().unwrap(),
                None => builder.build().unwrap(),
            }
        }};
    }
    Exporters {
        spans: exporter!(SpanExporter),
        logs: exporter!(LogExporter),
        metrics: exporter!(MetricExporter),
    }
}

fn http(endpoint: &str, protocol: Protocol, compression: Option<Compression>) -> Exporters {
    macro_rules! exporter {
        ($kind:ident, $path:literal) => {{
            let url = format!("{endpoint}/v1/{}", $path);
            let builder = $kind::builder()
                .with_http()
                .with_endpoint(url)
                .with_protocol(protocol);
            match compression {
                Some(compression) => builder.with_compression(compression).build().unwrap(),
                None => builder.build().unwrap(),
            }
        }};
    }
    Exporters {
        spans: exporter!(SpanExporter, "traces"),
        logs: exporter!(LogExporter, "logs"),
        metrics: exporter!(MetricExporter, "metrics"),
    }
}

/// Sends what `expected.rs` expects. Blocks until it has arrived.
fn send(exporters: Exporters, runtime: &Handle) {
    let attributes = [
        KeyValue::new("service.name", "client-under-test"),
        KeyValue::new("process.pid", 4711),
    ];
    let resource = Resource::builder_empty().with_attributes(attributes).build();
    let in_runtime = InRuntime(exporters.spans, runtime.clone());
    let traces = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_batch_exporter(in_runtime)
        .build();
    let in_runtime = InRuntime(exporters.logs, runtime.clone());
    let logs = SdkLoggerProvider::builder()
        .with_resource(resource.clone())
        .with_batch_exporter(in_runtime)
        .build();
    let in_runtime = InRuntime(exporters.metrics, runtime.clone());
    let metrics = SdkMeterProvider::builder()
        .with_resource(resource)
        .with_periodic_exporter(in_runtime)
        .build();
    let scope = InstrumentationScope::builder("checkout")
        .with_version("1.2.3")
        .build();

    let tracer = traces.tracer_with_scope(scope.clone());
    let tags = Array::String(vec![StringValue::from("a"), StringValue::from("b")]);
    let attributes = [
        KeyValue::new("http.route", "/cart"),
        KeyValue::new("http.response.status_code", 500),
        KeyValue::new("sample.ratio", 0.5),
        KeyValue::new("cached", true),
        KeyValue::new("tags", Value::Array(tags)),
        KeyValue::new("text", "Grüße 🚀"),
    ];
    let parent = tracer
        .span_builder("GET /cart")
        .with_kind(SpanKind::Server)
        .with_attributes(attributes)
        .start(&tracer);
    let context = Context::new().with_span(parent);
    context
        .span()
        .add_event("cache.miss", vec![KeyValue::new("key", "cart:42")]);
    let child = tracer.span_builder("SELECT cart").with_kind(SpanKind::Client);
    child.start_with_context(&tracer, &context).end();
    let logger = logs.logger_with_scope(scope.clone());
    let mut record = logger.create_log_record();
    record.set_severity_number(Severity::Warn);
    record.set_severity_text("WARN");
    record.set_body(AnyValue::from("payment declined"));
    record.add_attribute("user.id", 42);
    let span = context.span().span_context().clone();
    record.set_trace_context(span.trace_id(), span.span_id(), Some(span.trace_flags()));
    logger.emit(record);
    context.span().set_status(Status::error("boom"));
    context.span().end();

    record_metrics(&metrics.meter_with_scope(scope));
    traces.force_flush().unwrap();
    logs.force_flush().unwrap();
    metrics.force_flush().unwrap();
}

fn record_metrics(meter: &opentelemetry::metrics::Meter) {
    let requests = meter
        .u64_counter("requests")
        .with_unit("{request}")
        .with_description("Requests served.")
        .build();
    requests.add(7, &[KeyValue::new("http.route", "/cart")]);
    let latency = meter
        .f64_histogram("latency")
        .with_unit("ms")
        .with_boundaries(vec![10.0, 100.0])
        .build();
    for value in [5.0, 50.0, 500.0] {
        latency.record(value, &[]);
    }
    let _temperature = meter
        .f64_observable_gauge("temperature")
        .with_callback(|gauge| gauge.observe(21.5, &[]))
        .build();
}

async fn check(protocol: &str, compression: Option<Compression>) {
    let receiver = start().await;
    let endpoint = endpoint(&receiver, protocol);
    let exporters = match protocol {
        "grpc" => grpc(&endpoint, compression),
        "http/json" => http(&endpoint, Protocol::HttpJson, compression),
        _ => http(&endpoint, Protocol::HttpBinary, compression),
    };
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || send(exporters, &runtime))
        .await
        .unwrap();
    expected::check(
        &receiver.sink.batches(),
        &format!("Rust over {protocol}, {compression:?}"),
    );
}

const COMPRESSIONS: [Option<Compression>; 3] = [None, Some(Compression::Gzip), Some(Compression::Zstd)];

#[tokio::test(flavor = "multi_thread")]
async fn rust_over_grpc() {
    for compression in COMPRESSIONS {
        check("grpc", compression).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_over_http_with_protobuf_and_json() {
    for protocol in ["http/protobuf", "http/json"] {
        for compression in COMPRESSIONS {
            check(protocol, compression).await;
        }
    }
}
