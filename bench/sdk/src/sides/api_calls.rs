//! Calls of the OpenTelemetry API, over whichever SDK is behind it.

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger, Severity};
use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry::trace::{Span as _, SpanBuilder, TraceContextExt as _, Tracer};
use opentelemetry::{Context, KeyValue};

use crate::operation::{Operation, TRACE_SPANS, data};

/// What an application holds.
pub(crate) struct Calls<T, L> {
    pub(crate) tracer: T,
    pub(crate) logger: L,
    pub(crate) instruments: Instruments,
}

pub(crate) struct Instruments {
    counter: Counter<u64>,
    histogram: Histogram<f64>,
}

impl Instruments {
    pub(crate) fn of(meter: &Meter) -> Instruments {
        Instruments {
            counter: meter.u64_counter("orders").build(),
            histogram: meter.f64_histogram("order.duration").with_unit("ms").build(),
        }
    }

    pub(crate) fn run(&self, operation: Operation, count: usize) {
        for n in 0..count {
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
}

fn eight(n: usize) -> Vec<KeyValue> {
    vec![
        KeyValue::new("http.request.method", data::METHOD),
        KeyValue::new("http.route", data::ROUTE),
        KeyValue::new("url.path", data::path(n).to_owned()),
        KeyValue::new("server.address", data::ADDRESS),
        KeyValue::new("server.port", data::PORT),
        KeyValue::new("user.number", n as i64),
        KeyValue::new("is_new", true),
        KeyValue::new("share", data::SHARE),
    ]
}

impl<T, L> Calls<T, L>
where
    T: Tracer,
    T::Span: Send + Sync + 'static,
    L: Logger,
{
    fn builder(&self) -> SpanBuilder {
        self.tracer.span_builder(data::ROUTE)
    }

    fn root(&self, builder: SpanBuilder) {
        self.tracer.build_with_context(builder, &Context::new()).end();
    }

    fn trace(&self, builder: impl Fn(usize) -> SpanBuilder) {
        let root = self.tracer.build_with_context(self.builder(), &Context::new());
        let context = Context::new().with_span(root);
        for n in 1..TRACE_SPANS {
            self.tracer.build_with_context(builder(n), &context).end();
        }
        context.span().end();
    }

    fn log(&self, n: usize) {
        let mut record = self.logger.create_log_record();
        record.set_severity_number(Severity::Info);
        record.set_severity_text("INFO");
        record.set_body(AnyValue::from("order placed"));
        record.add_attribute("url.path", data::path(n).to_owned());
        record.add_attribute("user.number", n as i64);
        record.add_attribute("is_new", true);
        self.logger.emit(record);
    }

    pub(crate) fn run(&self, operation: Operation, count: usize) {
        match operation {
            Operation::RootSpan | Operation::UnsampledSpan => {
                (0..count).for_each(|_| self.root(self.builder()));
            }
            Operation::RootSpanAttributes => {
                (0..count).for_each(|n| self.root(self.builder().with_attributes(eight(n))));
            }
            Operation::ChildSpan => {
                (0..count / TRACE_SPANS).for_each(|_| self.trace(|_| self.builder()));
            }
            Operation::ChildSpanAttributes => (0..count / TRACE_SPANS)
                .for_each(|_| self.trace(|n| self.builder().with_attributes(eight(n)))),
            Operation::Log => (0..count).for_each(|n| self.log(n)),
            Operation::LogInSpan => {
                let span = self.tracer.build_with_context(self.builder(), &Context::new());
                let _current = Context::new().with_span(span).attach();
                (0..count).for_each(|n| self.log(n));
            }
            Operation::Counter | Operation::Histogram => self.instruments.run(operation, count),
            Operation::DisabledLog => {}
        }
    }
}
