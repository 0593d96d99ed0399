//! The core of Cupola's SDK, called directly.

use std::sync::Arc;
use std::time::Duration;

use cupola_export::otlp::{Compression, OtlpConfig, Protocol};
use cupola_sdk_core::backend::{Backend, Destination};
use cupola_sdk_core::baggage::Baggage;
use cupola_sdk_core::log::Severity;
use cupola_sdk_core::logger::Logger;
use cupola_sdk_core::metrics::{Description, Instrument};
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::sampling::AlwaysOff;
use cupola_sdk_core::tracer::{Start, Tracer};
use cupola_sdk_core::{Sdk, Settings, SpanContext, Surroundings, Value};

use crate::operation::{Operation, TRACE_SPANS, data};
use crate::side::Side;

pub(crate) struct Core {
    sdk: Sdk,
    tracer: Tracer,
    logger: Logger,
    counter: Instrument<u64>,
    histogram: Instrument<f64>,
}

/// Longest that is waited for what was recorded to arrive.
pub(crate) const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);

/// As an application has them that exports where it is told to.
pub(crate) fn settings(endpoint: &str, is_sampled: bool) -> Settings {
    let mut settings = Settings::default();
    settings.resource.attributes = vec![("service.name".to_owned(), data::SERVICE.into())];
    settings.logs.level = Severity::INFO;
    if !is_sampled {
        settings.traces.sampler = Arc::new(AlwaysOff);
    }
    let mut otlp = OtlpConfig::new(Protocol::HttpProtobuf, endpoint);
    otlp.compression = Compression::None;
    settings.backends = vec![Backend::new("otlp", Destination::Otlp(otlp))];
    settings
}

impl Core {
    pub(crate) fn start(endpoint: &str, is_sampled: bool, is_scrubbed: bool) -> Core {
        let mut settings = settings(endpoint, is_sampled);
        settings.scrub.is_enabled = is_scrubbed;
        let sdk = Sdk::new(settings, Surroundings::default());
        let scope = Scope::of(data::SCOPE, "", "", &[]);
        let meter = sdk.meter(scope);
        Core {
            counter: meter.counter(&Description::new("orders")),
            histogram: meter.histogram(&Description {
                unit: "ms",
                ..Description::new("order.duration")
            }),
            tracer: sdk.tracer(scope),
            logger: sdk.logger(scope),
            sdk,
        }
    }

    /// A span with these attributes; it has ended.
    fn span(&self, parent: Option<&SpanContext>, attributes: &[(&str, Value<'_>)]) {
        let mut start = Start::new(data::ROUTE);
        if let Some(parent) = parent {
            start.parent = parent;
        }
        start.attributes = attributes;
        if let Some(recording) = self.tracer.start(start).recording {
            self.tracer.end(recording);
        }
    }

    /// A root with others below it, which end before it.
    fn trace(&self, child: impl Fn(usize, &SpanContext)) {
        let root = self.tracer.start(Start::new(data::ROUTE));
        for n in 1..TRACE_SPANS {
            child(n, &root.context);
        }
        if let Some(recording) = root.recording {
            self.tracer.end(recording);
        }
    }

    fn log(&self, n: usize, span: Option<&SpanContext>) {
        let mut record = self
            .logger
            .record(Severity::INFO, "order placed", &Baggage::none());
        record.set("url.path", data::path(n));
        record.set("user.number", n as i64);
        record.set("is_new", true);
        record.span = span;
        self.logger.emit(&record);
    }

    fn measure(&self, operation: Operation, n: usize) {
        let (method, status) = data::combination(n);
        let attributes = [
            ("http.request.method", Value::String(method)),
            ("http.route", Value::String(data::ROUTE)),
            ("http.response.status_code", Value::Int(status)),
        ];
        match operation {
            Operation::Counter => self.counter.record(1, &attributes),
            _ => self.histogram.record(data::milliseconds(n), &attributes),
        }
    }
}

/// Ends it. What it lost until now is exported first, with its metrics.
pub(crate) fn end(sdk: &Sdk) {
    sdk.flush(FLUSH_TIMEOUT);
    sdk.shutdown(FLUSH_TIMEOUT);
}

/// Eight attributes, the same for every SDK.
fn eight(n: usize) -> [(&'static str, Value<'static>); 8] {
    [
        ("http.request.method", Value::String(data::METHOD)),
        ("http.route", Value::String(data::ROUTE)),
        ("url.path", Value::String(data::path(n))),
        ("server.address", Value::String(data::ADDRESS)),
        ("server.port", Value::Int(data::PORT)),
        ("user.number", Value::Int(n as i64)),
        ("is_new", Value::Bool(true)),
        ("share", Value::Double(data::SHARE)),
    ]
}

impl Side for Core {
    fn run(&self, operation: Operation, count: usize) {
        match operation {
            Operation::RootSpan | Operation::UnsampledSpan => (0..count).for_each(|_| self.span(None, &[])),
            Operation::RootSpanAttributes => (0..count).for_each(|n| self.span(None, &eight(n))),
            Operation::ChildSpan => {
                (0..count / TRACE_SPANS).for_each(|_| self.trace(|_, root| self.span(Some(root), &[])));
            }
            Operation::ChildSpanAttributes => {
                (0..count / TRACE_SPANS).for_each(|_| self.trace(|n, root| self.span(Some(root), &eight(n))));
            }
            Operation::Log => (0..count).for_each(|n| self.log(n, None)),
            Operation::LogInSpan => {
                let span = self.tracer.start(Start::new(data::ROUTE));
                (0..count).for_each(|n| self.log(n, Some(&span.context)));
                if let Some(recording) = span.recording {
                    self.tracer.end(recording);
                }
            }
            Operation::DisabledLog => {
                for n in 0..count {
                    if self.logger.is_enabled(Severity::DEBUG) {
                        self.log(n, None);
                    }
                }
            }
            Operation::Counter | Operation::Histogram => {
                (0..count).for_each(|n| self.measure(operation, n));
            }
        }
    }

    fn flush(&self) {
        self.sdk.flush(FLUSH_TIMEOUT);
    }

    fn finish(&self) -> Option<u64> {
        end(&self.sdk);
        None
    }
}
