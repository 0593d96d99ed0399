//! The SDK of Logfire, called by its own macros.

use anyhow::Result;
use logfire::config::{AdvancedOptions, MetricsOptions, SendToLogfire};
use opentelemetry_of_logfire::KeyValue;
use opentelemetry_of_logfire::metrics::{Counter, Histogram};
use tokio::runtime::Runtime;
use tracing::level_filters::LevelFilter;

use crate::operation::{Operation, TRACE_SPANS, data};
use crate::side::Side;

pub(crate) struct Logfire {
    /// In which its metrics are exported; an application of its users has one.
    _runtime: Runtime,
    sdk: logfire::Logfire,
    counter: Counter<u64>,
    pub(crate) histogram: Histogram<f64>,
}

impl Logfire {
    /// Not sampled by `OTEL_TRACES_SAMPLER`, as there is no other way.
    pub(crate) fn start(endpoint: &str, _is_sampled: bool) -> Result<Logfire> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let sdk = logfire::configure()
            .send_to_logfire(SendToLogfire::Yes)
            .with_token("bench")
            .with_service_name(data::SERVICE)
            .with_console(None)
            .with_default_level_filter(LevelFilter::INFO)
            .with_metrics(Some(MetricsOptions::default()))
            .with_advanced_options(AdvancedOptions::default().with_base_url(endpoint))
            .finish()?;
        drop(entered);
        Ok(Logfire {
            _runtime: runtime,
            sdk,
            counter: logfire::u64_counter("orders").build(),
            histogram: logfire::f64_histogram("order.duration").build(),
        })
    }

    fn measure(&self, operation: Operation, n: usize) {
        let (method, status) = data::combination(n);
        let attributes = [
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.route", data::ROUTE),
            KeyValue::new("http.response.status_code", status),
        ];
        match operation {
            Operation::Counter => self.counter.add(1, &attributes),
            _ => self.histogram.record(data::milliseconds(n), &attributes),
        }
    }
}

fn bare() {
    logfire::span!("/orders/id").in_scope(|| {});
}

fn eight(n: usize) {
    let span = logfire::span!(
        "/orders/id",
        http.request.method = data::METHOD,
        http.route = data::ROUTE,
        url.path = data::path(n),
        server.address = data::ADDRESS,
        server.port = data::PORT,
        user.number = n as i64,
        is_new = true,
        share = data::SHARE,
    );
    span.in_scope(|| {});
}

fn trace(child: impl Fn(usize)) {
    logfire::span!("/orders/id").in_scope(|| (1..TRACE_SPANS).for_each(child));
}

fn log(n: usize) {
    logfire::info!(
        "order placed",
        url.path = data::path(n),
        user.number = n as i64,
        is_new = true
    );
}

impl Side for Logfire {
    fn run(&self, operation: Operation, count: usize) {
        match operation {
            Operation::RootSpan | Operation::UnsampledSpan => (0..count).for_each(|_| bare()),
            Operation::RootSpanAttributes => (0..count).for_each(eight),
            Operation::ChildSpan => (0..count / TRACE_SPANS).for_each(|_| trace(|_| bare())),
            Operation::ChildSpanAttributes => (0..count / TRACE_SPANS).for_each(|_| trace(eight)),
            Operation::Log => (0..count).for_each(log),
            Operation::LogInSpan => {
                logfire::span!("/orders/id").in_scope(|| (0..count).for_each(log));
            }
            Operation::DisabledLog => {
                for n in 0..count {
                    logfire::debug!(
                        "order placed",
                        url.path = data::path(n),
                        user.number = n as i64,
                        is_new = true
                    );
                }
            }
            Operation::Counter | Operation::Histogram => {
                (0..count).for_each(|n| self.measure(operation, n));
            }
        }
    }

    fn flush(&self) {
        let _ = self.sdk.force_flush();
    }

    fn finish(&self) -> Option<u64> {
        let _ = self.sdk.shutdown();
        None
    }
}
