//! The transform processor: statements of the transformation language, in order.
//!
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/processor/transformprocessor>

use cupola_telemetry::{Batch, Signal};
use serde::Deserialize;

use super::statements::{Compiling, ConfigError, StatementGroup, groups};
use crate::ottl::{Env, ErrorMode, Outcome, RunError, SharedCaches, Statements};

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransformConfig {
    /// Ignore, if it is not given.
    pub error_mode: Option<ErrorMode>,
    #[serde(deserialize_with = "groups")]
    pub trace_statements: Vec<StatementGroup>,
    #[serde(deserialize_with = "groups")]
    pub metric_statements: Vec<StatementGroup>,
    #[serde(deserialize_with = "groups")]
    pub log_statements: Vec<StatementGroup>,
}

impl TransformConfig {
    /// Refuses statements that cannot be compiled, each with its place.
    pub fn validate(&self) -> Result<(), ConfigError> {
        Transform::new(self).map(drop)
    }
}

#[derive(Debug)]
pub struct Transform {
    traces: Vec<Statements>,
    metrics: Vec<Statements>,
    logs: Vec<Statements>,
}

impl Transform {
    pub fn new(config: &TransformConfig) -> Result<Self, ConfigError> {
        let mode = config.error_mode.unwrap_or(ErrorMode::Ignore);
        let mut compiling = Compiling::default();
        let mut compile =
            |key, signal, groups: &[StatementGroup]| compiling.statement_groups(key, signal, groups, mode);
        let transform = Self {
            traces: compile("trace_statements", Signal::Traces, &config.trace_statements),
            metrics: compile("metric_statements", Signal::Metrics, &config.metric_statements),
            logs: compile("log_statements", Signal::Logs, &config.log_statements),
        };
        compiling.finish(transform)
    }

    /// Runs the statements of the batch's signal. An error is one that is to be propagated.
    pub fn process(&self, batch: Batch, env: &dyn Env) -> Result<Outcome, RunError> {
        let groups = match batch.signal() {
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
            Signal::Logs => &self.logs,
        };
        let mut outcome = Outcome {
            batch: Some(batch),
            errors: 0,
            first_error: None,
        };
        let mut caches = SharedCaches::default();
        for statements in groups {
            let Some(batch) = &outcome.batch else {
                break;
            };
            let next = statements.apply_sharing(batch, env, &mut caches)?;
            outcome = Outcome {
                batch: next.batch,
                errors: outcome.errors + next.errors,
                first_error: outcome.first_error.or(next.first_error),
            };
        }
        Ok(outcome)
    }
}
