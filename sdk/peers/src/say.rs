//! What the application says, and with it what is to arrive: requests, each a span in which log records, further spans and
//! measurements are made, over all ways that an application has.

mod api;
mod events;
mod measure;
mod spans;

use std::fmt;

use cupola_sdk::core::SpanContext;
use cupola_sdk::{Context, Cupola};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::span::Event;

use crate::content::Content;
use crate::expect::{Pairs, attributes, inherit, int, now, pair, text};
use crate::said::Said;
pub(crate) use measure::METER;

/// Where everything is recorded that says nothing else.
const SCOPE: &str = module_path!();

/// Names of severities that `tracing` has, and their numbers.
const LEVELS: [(&str, i32); 5] = [
    ("TRACE", 1),
    ("DEBUG", 5),
    ("INFO", 9),
    ("WARN", 13),
    ("ERROR", 17),
];

/// A span of `tracing` that runs.
#[derive(Default)]
struct Running {
    /// What log records inside have of it.
    fields: Pairs,
    events: Vec<Event>,
}

pub(crate) struct Speaker<'c> {
    cupola: &'c Cupola,
    content: Content,
    said: Said,
    measured: measure::Measured,
    /// The number of the last log record.
    last: i64,
    /// Spans of `tracing` around what is said now, the innermost last.
    running: Vec<Running>,
    /// Attributes of the context, and members of the baggage that become attributes.
    around: Pairs,
}

/// What is to be of a log record beside what surrounds it.
struct SaidLog<'l> {
    severity: (&'l str, i32),
    body: Option<AnyValue>,
    event_name: &'l str,
    own: Pairs,
    scope: &'l str,
    /// From which line of which file, if it says so; then it says its thread as well.
    place: Option<(&'l str, u32)>,
    /// The span in which it happened, if it is not the current one.
    span: Option<&'l SpanContext>,
    /// When it was begun to be said.
    from: u64,
    /// When it happened, if it says so.
    time: Option<u64>,
}

/// An error, with a cause or without.
#[derive(Debug)]
struct Refused {
    because: String,
    cause: Option<fmt::Error>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {}", self.because)
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

impl<'c> Speaker<'c> {
    pub(crate) fn new(cupola: &'c Cupola, seed: u64) -> Speaker<'c> {
        Speaker {
            cupola,
            content: Content::new(seed),
            said: Said::default(),
            measured: measure::Measured::new(cupola),
            last: 0,
            running: Vec::new(),
            around: Vec::new(),
        }
    }

    /// A request.
    pub(crate) fn round(&mut self) {
        let (task, tenant, hidden) = (self.content.int(), self.content.text(), self.content.text());
        let mut context = Context::root().with_attribute("task.id", task);
        self.around = vec![pair("task.id", int(task))];
        if self.content.once_in(2) {
            context = context.with_member("tenant.id", &tenant).unwrap();
            self.around.push(pair("tenant.id", text(&tenant)));
        }
        context = context.with_member("hidden", &hidden).unwrap();
        if self.content.once_in(10) {
            // Outside of every span.
            context.clone().run(|| self.log());
        }
        context.run(|| self.request());
    }

    /// Everything has been said.
    pub(crate) fn finish(mut self) -> Said {
        let metrics = self.measured.finish();
        metrics
            .into_iter()
            .for_each(|metric| self.said.metric(METER, metric));
        self.said
    }

    fn next(&mut self) -> i64 {
        self.last += 1;
        self.last
    }

    /// Notes what is to arrive of a log record that has just been said.
    fn note(&mut self, log: SaidLog<'_>) {
        let mut own = log.own;
        if let Some((file, line)) = log.place {
            let thread = std::thread::current();
            own.extend([
                pair("code.file.path", text(file)),
                pair("code.line.number", int(i64::from(line))),
                pair("thread.id", int(thread_id())),
                pair("thread.name", text(thread.name().unwrap())),
            ]);
        }
        for running in self.running.iter().rev() {
            inherit(&mut own, &running.fields);
        }
        inherit(&mut own, &self.around);
        let (severity_text, severity_number) = log.severity;
        let mut record = LogRecord {
            time_unix_nano: log.time.unwrap_or(log.from),
            observed_time_unix_nano: now(),
            severity_number,
            severity_text: severity_text.to_owned(),
            body: log.body,
            attributes: attributes(own),
            event_name: log.event_name.to_owned(),
            ..LogRecord::default()
        };
        Context::with_current(|context| {
            let span = log.span.unwrap_or(context.span());
            if span.is_valid() {
                record.trace_id = span.trace_id.as_bytes().to_vec();
                record.span_id = span.span_id.as_bytes().to_vec();
                record.flags = u32::from(span.flags.0);
            }
        });
        self.said.log(log.scope, record);
    }
}

/// As the system numbers it.
fn thread_id() -> i64 {
    let own = std::fs::read_link("/proc/thread-self").unwrap();
    own.file_name().unwrap().to_string_lossy().parse().unwrap()
}

fn body(body: &str) -> Option<AnyValue> {
    Some(AnyValue {
        value: Some(Value::StringValue(body.to_owned())),
    })
}
