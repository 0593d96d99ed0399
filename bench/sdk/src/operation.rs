//! What is measured, and with which data: the same for every SDK.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// One thing that an application does again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Operation {
    /// A span that begins a trace, without attributes.
    RootSpan,
    /// With eight attributes.
    RootSpanAttributes,
    /// A span of a trace that has a hundred: one root, and the others below it.
    ChildSpan,
    ChildSpanAttributes,
    /// A log record with three fields, outside of every span.
    Log,
    /// In a span that has a thousand.
    LogInSpan,
    /// Adding to a counter with three attributes, of which there are sixteen combinations.
    Counter,
    Histogram,
    /// A log record of a level that is not wanted.
    DisabledLog,
    /// A root span that the sampler does not want.
    UnsampledSpan,
}

/// What an operation leaves at a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    Spans,
    Logs,
    Measurements,
    Nothing,
}

/// Spans of a trace of child spans.
pub(crate) const TRACE_SPANS: usize = 100;

impl Operation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Operation::RootSpan => "root span",
            Operation::RootSpanAttributes => "root span, 8 attributes",
            Operation::ChildSpan => "child span",
            Operation::ChildSpanAttributes => "child span, 8 attributes",
            Operation::Log => "log, 3 fields",
            Operation::LogInSpan => "log in a span, 3 fields",
            Operation::Counter => "counter, 3 attributes",
            Operation::Histogram => "histogram, 3 attributes",
            Operation::DisabledLog => "disabled log",
            Operation::UnsampledSpan => "span not sampled",
        }
    }

    pub(crate) fn leaves(self) -> Leaves {
        match self {
            Operation::RootSpan
            | Operation::RootSpanAttributes
            | Operation::ChildSpan
            | Operation::ChildSpanAttributes => Leaves::Spans,
            Operation::Log | Operation::LogInSpan => Leaves::Logs,
            Operation::Counter | Operation::Histogram => Leaves::Measurements,
            Operation::DisabledLog | Operation::UnsampledSpan => Leaves::Nothing,
        }
    }

    /// Each is exported by itself, so that what cannot be exported in time is lost.
    pub(crate) fn is_record(self) -> bool {
        matches!(self.leaves(), Leaves::Spans | Leaves::Logs)
    }

    /// Threads that it is measured with.
    pub(crate) fn threads(self) -> &'static [usize] {
        match self.leaves() {
            Leaves::Measurements => &[1, 2],
            _ => &[1],
        }
    }
}

/// Names and values, as a service that answers requests has them. What such a service would know before it runs is
/// `static`; the path and the number of the user come with a request.
pub(crate) mod data {
    pub(crate) const SCOPE: &str = "bench";
    pub(crate) const SERVICE: &str = "shop";
    pub(crate) const METHOD: &str = "GET";
    pub(crate) const ROUTE: &str = "/orders/{id}";
    pub(crate) const ADDRESS: &str = "shop.example";
    pub(crate) const PORT: i64 = 8080;
    pub(crate) const SHARE: f64 = 0.25;

    const PATHS: [&str; 4] = ["/orders/1", "/orders/22", "/orders/333", "/orders/4444"];
    const METHODS: [&str; 4] = ["GET", "PUT", "POST", "DELETE"];
    const STATUSES: [i64; 4] = [200, 201, 404, 500];

    pub(crate) fn path(n: usize) -> &'static str {
        PATHS[n % PATHS.len()]
    }

    /// Method and status of a measurement: sixteen together.
    pub(crate) fn combination(n: usize) -> (&'static str, i64) {
        (METHODS[n % 4], STATUSES[n / 4 % 4])
    }

    /// What a histogram measures: milliseconds from 0 to 99.9.
    pub(crate) fn milliseconds(n: usize) -> f64 {
        (n * 7 % 1000) as f64 / 10.0
    }
}
