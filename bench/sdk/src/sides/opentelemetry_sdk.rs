//! The SDK of OpenTelemetry with its OTLP exporter: called by its API, or by `tracing` through `tracing-opentelemetry` and
//! `opentelemetry-appender-tracing`. Batch processors, and everything else as it is by default.

use anyhow::Result;
use opentelemetry::logs::LoggerProvider as _;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::prelude::*;

use super::api_calls::{Calls, Instruments};
use super::tracing_calls;
use crate::operation::{Operation, data};
use crate::side::Side;

/// The three providers of an application.
pub(crate) struct Providers {
    pub(crate) traces: SdkTracerProvider,
    pub(crate) logs: SdkLoggerProvider,
    pub(crate) metrics: SdkMeterProvider,
}

pub(crate) fn resource() -> Resource {
    Resource::builder().with_service_name(data::SERVICE).build()
}

pub(crate) fn span_exporter(endpoint: &str) -> Result<SpanExporter> {
    Ok(SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .build()?)
}

impl Providers {
    pub(crate) fn start(endpoint: &str, is_sampled: bool) -> Result<Providers> {
        let logs = LogExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{endpoint}/v1/logs"))
            .build()?;
        let metrics = MetricExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{endpoint}/v1/metrics"))
            .build()?;
        let sampler = match is_sampled {
            true => Sampler::ParentBased(Box::new(Sampler::AlwaysOn)),
            false => Sampler::AlwaysOff,
        };
        Ok(Providers {
            traces: SdkTracerProvider::builder()
                .with_resource(resource())
                .with_sampler(sampler)
                .with_batch_exporter(span_exporter(endpoint)?)
                .build(),
            logs: SdkLoggerProvider::builder()
                .with_resource(resource())
                .with_batch_exporter(logs)
                .build(),
            metrics: SdkMeterProvider::builder()
                .with_resource(resource())
                .with_periodic_exporter(metrics)
                .build(),
        })
    }

    /// What a peer cannot do is seen in what arrives.
    pub(crate) fn flush(&self) {
        let _ = self.traces.force_flush();
        let _ = self.logs.force_flush();
        let _ = self.metrics.force_flush();
    }

    fn finish(&self) {
        let _ = self.traces.shutdown();
        let _ = self.logs.shutdown();
        let _ = self.metrics.shutdown();
    }
}

/// Called by its API.
pub(crate) struct Direct {
    providers: Providers,
    calls: Calls<SdkTracer, SdkLogger>,
}

impl Direct {
    pub(crate) fn start(endpoint: &str, is_sampled: bool) -> Result<Direct> {
        let providers = Providers::start(endpoint, is_sampled)?;
        Ok(Direct {
            calls: Calls {
                tracer: providers.traces.tracer(data::SCOPE),
                logger: providers.logs.logger(data::SCOPE),
                instruments: Instruments::of(&providers.metrics.meter(data::SCOPE)),
            },
            providers,
        })
    }
}

impl Side for Direct {
    fn run(&self, operation: Operation, count: usize) {
        self.calls.run(operation, count);
    }

    fn flush(&self) {
        self.providers.flush();
    }

    fn finish(&self) -> Option<u64> {
        self.providers.finish();
        None
    }
}

/// Called by `tracing`.
pub(crate) struct Tracing {
    providers: Providers,
}

/// What an application wants to see, and not what exporting does itself.
pub(crate) fn wanted() -> Targets {
    Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("opentelemetry", LevelFilter::OFF)
        .with_target("loud", LevelFilter::DEBUG)
}

impl Tracing {
    pub(crate) fn start(endpoint: &str, is_sampled: bool) -> Result<Tracing> {
        let providers = Providers::start(endpoint, is_sampled)?;
        Tracing::install(&providers)?;
        Ok(Tracing { providers })
    }

    /// Log records become log records, and not events of spans besides.
    pub(crate) fn install(providers: &Providers) -> Result<()> {
        let spans = tracing_opentelemetry::layer().with_tracer(providers.traces.tracer(data::SCOPE));
        tracing_subscriber::registry()
            .with(wanted())
            .with(spans.with_filter(filter_fn(|metadata| metadata.is_span())))
            .with(OpenTelemetryTracingBridge::new(&providers.logs))
            .try_init()?;
        Ok(())
    }
}

impl Side for Tracing {
    fn run(&self, operation: Operation, count: usize) {
        tracing_calls::run(operation, count);
    }

    fn flush(&self) {
        self.providers.flush();
    }

    fn finish(&self) -> Option<u64> {
        self.providers.finish();
        None
    }
}
