//! The filter processor: drops what a condition holds for.
//!
//! A metric whose points have all been dropped goes too, and so do scopes and resources that are left empty; a span stays
//! without its events.
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/processor/filterprocessor>

mod properties;

use cupola_telemetry::{Batch, Signal};
use serde::Deserialize;

use self::properties::Chosen;
pub use self::properties::{LogProperties, MetricProperties, Selection};
use super::matching::MatchConfig;
use super::statements::{Compiling, ConditionGroup, ConfigError, groups};
use crate::ottl::{Conditions, Context, Env, ErrorMode, Outcome, RunError, drop_matching};

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilterConfig {
    /// Ignore, if it is not given: a condition that fails does not hold.
    pub error_mode: Option<ErrorMode>,
    pub spans: Selection<MatchConfig>,
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

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceFilters {
    pub resource: Vec<String>,
    pub span: Vec<String>,
    pub spanevent: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricFilters {
    pub include: Option<MetricProperties>,
    pub exclude: Option<MetricProperties>,
    /// Settings of a cache that is not needed here.
    pub regexp: Option<serde::de::IgnoredAny>,
    pub resource: Vec<String>,
    pub metric: Vec<String>,
    pub datapoint: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogFilters {
    pub include: Option<LogProperties>,
    pub exclude: Option<LogProperties>,
    pub resource: Vec<String>,
    pub log_record: Vec<String>,
}

impl FilterConfig {
    /// Refuses conditions that cannot be compiled, each with its place.
    pub fn validate(&self) -> Result<(), ConfigError> {
        Filter::new(self).map(drop)
    }

    /// What the properties choose, by signal. They are not used together with conditions.
    fn chosen(&self) -> Result<[Chosen; Signal::ALL.len()], ConfigError> {
        let (traces, metrics, logs) = (&self.traces, &self.metrics, &self.logs);
        let listed = |key: &str, lists: &[&[String]], groups: &[ConditionGroup], chosen: bool| {
            let listed = lists.iter().any(|list| !list.is_empty());
            match (listed, !groups.is_empty(), chosen) {
                (true, _, true) | (_, true, true) => {
                    let problem = "conditions, and `include` or `exclude`, are not used at the same time";
                    Err(ConfigError::setting(key, problem))
                }
                (true, true, _) => {
                    let problem =
                        "conditions stand in one list of the signal, or by context, and not in both";
                    Err(ConfigError::setting(key, problem))
                }
                _ => Ok(()),
            }
        };
        let spans = &self.spans;
        listed(
            "traces",
            &[&traces.resource, &traces.span, &traces.spanevent],
            &self.trace_conditions,
            spans.include.is_some() || spans.exclude.is_some(),
        )?;
        listed(
            "metrics",
            &[&metrics.resource, &metrics.metric, &metrics.datapoint],
            &self.metric_conditions,
            metrics.include.is_some() || metrics.exclude.is_some(),
        )?;
        listed(
            "logs",
            &[&logs.resource, &logs.log_record],
            &self.log_conditions,
            logs.include.is_some() || logs.exclude.is_some(),
        )?;
        let mut chosen: [Chosen; Signal::ALL.len()] = Default::default();
        chosen[Signal::Traces as usize] =
            Chosen::new(spans.include.as_ref(), spans.exclude.as_ref(), "spans")?;
        chosen[Signal::Metrics as usize] =
            Chosen::new(metrics.include.as_ref(), metrics.exclude.as_ref(), "metrics")?;
        chosen[Signal::Logs as usize] = Chosen::new(logs.include.as_ref(), logs.exclude.as_ref(), "logs")?;
        Ok(chosen)
    }
}

#[derive(Debug)]
pub struct Filter {
    /// By signal.
    chosen: [Chosen; Signal::ALL.len()],
    traces: Vec<Conditions>,
    metrics: Vec<Conditions>,
    logs: Vec<Conditions>,
}

impl Filter {
    pub fn new(config: &FilterConfig) -> Result<Self, ConfigError> {
        let chosen = config.chosen()?;
        let mode = config.error_mode.unwrap_or(ErrorMode::Ignore);
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
            chosen,
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
        let chosen = &self.chosen[batch.signal() as usize];
        if !chosen.is_empty() {
            return Ok(Outcome {
                batch: chosen.process(&batch),
                errors: 0,
                first_error: None,
            });
        }
        let rules = match batch.signal() {
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
            Signal::Logs => &self.logs,
        };
        let rules: Vec<&Conditions> = rules.iter().collect();
        drop_matching(&rules, &batch, env)
    }
}
