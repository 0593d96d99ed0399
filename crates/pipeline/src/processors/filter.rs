//! The filter processor: drops what a condition holds for.
//!
//! A metric whose points have all been dropped goes too, and so do scopes and resources that are left empty; a span stays
//! without its events.
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/processor/filterprocessor>

use cupola_telemetry::{Batch, Signal};
use serde::Deserialize;

use super::statements::{Compiling, ConditionGroup, ConfigError, groups};
use crate::ottl::{Conditions, Context, Env, ErrorMode, Outcome, RunError, drop_matching};

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilterConfig {
    /// Propagate, if it is not given.
    pub error_mode: Option<ErrorMode>,
    pub traces: TraceFilters,
    pub metrics: MetricFilters,
    pub logs: LogFilters,
    #[serde(deserialize_with = "groups")]
    pub trace_conditions: Vec<ConditionGroup>,
    #[serde(deserialize_with = "groups")]
    pub metric_conditions: Vec<ConditionGroup>,
    #[serde(deserialize_with = "groups")]
    pub log_conditions: Vec<ConditionGroup>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceFilters {
    pub resource: Vec<String>,
    pub span: Vec<String>,
    pub spanevent: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricFilters {
    pub resource: Vec<String>,
    pub metric: Vec<String>,
    pub datapoint: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogFilters {
    pub resource: Vec<String>,
    pub log_record: Vec<String>,
}

impl FilterConfig {
    /// Refuses conditions that cannot be compiled, each with its place.
    pub fn validate(&self) -> Result<(), ConfigError> {
        Filter::new(self).map(drop)
    }
}

#[derive(Debug)]
pub struct Filter {
    traces: Vec<Conditions>,
    metrics: Vec<Conditions>,
    logs: Vec<Conditions>,
}

impl Filter {
    pub fn new(config: &FilterConfig) -> Result<Self, ConfigError> {
        let mode = config.error_mode.unwrap_or(ErrorMode::Propagate);
        let mut compiling = Compiling::default();
        let mut rules = |signal, key, groups: &[ConditionGroup], listed: &[(&str, Context, &[String])]| {
            let mut rules = Vec::new();
            for (key, context, texts) in listed {
                rules.extend(compiling.conditions(key, *context, texts, mode));
            }
            rules.extend(compiling.condition_groups(key, signal, groups, mode));
            rules
        };
        let (traces, metrics, logs) = (&config.traces, &config.metrics, &config.logs);
        let filter = Self {
            traces: rules(
                Signal::Traces,
                "trace_conditions",
                &config.trace_conditions,
                &[
                    ("traces.resource", Context::Resource, &traces.resource),
                    ("traces.span", Context::Span, &traces.span),
                    ("traces.spanevent", Context::SpanEvent, &traces.spanevent),
                ],
            ),
            metrics: rules(
                Signal::Metrics,
                "metric_conditions",
                &config.metric_conditions,
                &[
                    ("metrics.resource", Context::Resource, &metrics.resource),
                    ("metrics.metric", Context::Metric, &metrics.metric),
                    ("metrics.datapoint", Context::DataPoint, &metrics.datapoint),
                ],
            ),
            logs: rules(
                Signal::Logs,
                "log_conditions",
                &config.log_conditions,
                &[
                    ("logs.resource", Context::Resource, &logs.resource),
                    ("logs.log_record", Context::Log, &logs.log_record),
                ],
            ),
        };
        compiling.finish(filter)
    }

    /// Drops what the conditions of the batch's signal hold for. An error is one that is to be propagated.
    pub fn process(&self, batch: Batch, env: &dyn Env) -> Result<Outcome, RunError> {
        let rules = match batch.signal() {
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
            Signal::Logs => &self.logs,
        };
        let rules: Vec<&Conditions> = rules.iter().collect();
        drop_matching(&rules, &batch, env)
    }
}
