//! Contexts: what a statement is about, and which of the things around it it can name.

use std::fmt;

use cupola_telemetry::Signal;
use cupola_telemetry::edit::Level;
use serde::Deserialize;

use super::error::Problem;

/// What a statement is run for, once each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Context {
    Resource,
    #[serde(alias = "instrumentation_scope")]
    Scope,
    Log,
    Span,
    SpanEvent,
    Metric,
    DataPoint,
}

impl Context {
    pub const ALL: [Self; 7] = [
        Self::Resource,
        Self::Scope,
        Self::Log,
        Self::Span,
        Self::SpanEvent,
        Self::Metric,
        Self::DataPoint,
    ];

    /// As it is written in configuration, and in front of a path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Scope => "scope",
            Self::Log => "log",
            Self::Span => "span",
            Self::SpanEvent => "spanevent",
            Self::Metric => "metric",
            Self::DataPoint => "datapoint",
        }
    }

    /// The context that a path may begin with.
    pub(super) fn of_prefix(name: &str) -> Option<Self> {
        if name == "instrumentation_scope" {
            return Some(Self::Scope);
        }
        Self::ALL.into_iter().find(|context| context.as_str() == name)
    }

    /// The level of a walk at which it is met.
    pub(super) fn level(self) -> Level {
        match self {
            Self::Resource => Level::Resource,
            Self::Scope => Level::Scope,
            Self::Log | Self::Span | Self::Metric => Level::Item,
            Self::SpanEvent | Self::DataPoint => Level::Part,
        }
    }

    /// The only signal that has it; `None` if all have.
    pub fn signal(self) -> Option<Signal> {
        match self {
            Self::Resource | Self::Scope => None,
            Self::Log => Some(Signal::Logs),
            Self::Span | Self::SpanEvent => Some(Signal::Traces),
            Self::Metric | Self::DataPoint => Some(Signal::Metrics),
        }
    }

    /// Whether statements of this context can name things of the other one, which is this or around it.
    pub(super) fn sees(self, other: Self) -> bool {
        let level = other.level();
        level <= self.level() && (other.signal().is_none() || other.signal() == self.signal())
    }

    /// Whether things of this context are in a signal.
    pub(super) fn is_of(self, signal: Signal) -> bool {
        self.signal().is_none_or(|of| of == signal)
    }

    /// That they are not.
    pub(super) fn foreign_to(self, signal: Signal) -> Problem {
        Problem::NotOfSignal {
            name: self.as_str(),
            signal: signal.as_str(),
            known: match signal {
                Signal::Logs => "`resource`, `scope` and `log`",
                Signal::Traces => "`resource`, `scope`, `span` and `spanevent`",
                Signal::Metrics => "`resource`, `scope`, `metric` and `datapoint`",
            },
        }
    }

    /// Contexts of a signal, from the outside in.
    pub(super) fn of_signal(signal: Signal) -> &'static [Self] {
        match signal {
            Signal::Logs => &[Self::Resource, Self::Scope, Self::Log],
            Signal::Traces => &[Self::Resource, Self::Scope, Self::Span, Self::SpanEvent],
            Signal::Metrics => &[Self::Resource, Self::Scope, Self::Metric, Self::DataPoint],
        }
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happens to a statement or condition that fails on an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorMode {
    /// Go on with the next one, and tell.
    Ignore,
    /// Go on with the next one, and count only.
    Silent,
    /// Give up the batch.
    Propagate,
}
