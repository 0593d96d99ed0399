//! `fastrace`, reporting by the exporter of OpenTelemetry's SDK. It has spans alone, and texts alone for attributes.

use std::borrow::Cow;

use anyhow::Result;
use fastrace::collector::Config;
use fastrace::prelude::{LocalSpan, Span, SpanContext};
use fastrace_opentelemetry::OpenTelemetryReporter;
use opentelemetry::InstrumentationScope;

use super::opentelemetry_sdk::{resource, span_exporter};
use crate::operation::{Operation, TRACE_SPANS, data};
use crate::side::Side;

pub(crate) struct Fastrace;

impl Fastrace {
    pub(crate) fn start(endpoint: &str, _is_sampled: bool) -> Result<Fastrace> {
        let scope = InstrumentationScope::builder(data::SCOPE).build();
        let exporter = span_exporter(endpoint)?;
        let reporter = OpenTelemetryReporter::new(exporter, Cow::Owned(resource()), scope);
        fastrace::set_reporter(reporter, Config::default());
        Ok(Fastrace)
    }
}

type Text = Cow<'static, str>;

fn eight(n: usize) -> [(&'static str, Text); 8] {
    [
        ("http.request.method", data::METHOD.into()),
        ("http.route", data::ROUTE.into()),
        ("url.path", data::path(n).to_owned().into()),
        ("server.address", data::ADDRESS.into()),
        ("server.port", data::PORT.to_string().into()),
        ("user.number", n.to_string().into()),
        ("is_new", "true".into()),
        ("share", data::SHARE.to_string().into()),
    ]
}

fn root() -> Span {
    Span::root(data::ROUTE, SpanContext::random())
}

fn child() -> LocalSpan {
    LocalSpan::enter_with_local_parent(data::ROUTE)
}

fn trace(child: impl Fn(usize) -> LocalSpan) {
    let root = root();
    let _current = root.set_local_parent();
    for n in 1..TRACE_SPANS {
        drop(child(n));
    }
}

impl Side for Fastrace {
    fn run(&self, operation: Operation, count: usize) {
        match operation {
            Operation::RootSpan => (0..count).for_each(|_| drop(root())),
            Operation::RootSpanAttributes => {
                (0..count).for_each(|n| drop(root().with_properties(|| eight(n))));
            }
            Operation::ChildSpan => (0..count / TRACE_SPANS).for_each(|_| trace(|_| child())),
            Operation::ChildSpanAttributes => {
                (0..count / TRACE_SPANS).for_each(|_| trace(|n| child().with_properties(|| eight(n))));
            }
            Operation::UnsampledSpan => (0..count).for_each(|_| {
                drop(Span::root(data::ROUTE, SpanContext::random().sampled(false)));
            }),
            _ => {}
        }
    }

    fn flush(&self) {
        fastrace::flush();
    }

    fn finish(&self) -> Option<u64> {
        fastrace::flush();
        None
    }
}
