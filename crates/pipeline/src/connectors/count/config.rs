//! Settings of the count connector, as the Collector has them.

use std::collections::BTreeMap;

use cupola_telemetry::view::AnyValue;
use serde::Deserialize;

use super::Counter;
use crate::ottl::{Conditions, Context, ErrorMode};
use crate::processors::{ConfigError, StatementProblem};

/// Metrics by their names. A kind of which nothing is said is counted as a whole: `trace.span.count`,
/// `trace.span.event.count`, `metric.count`, `metric.datapoint.count`, `log.record.count`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CountConfig {
    pub spans: BTreeMap<String, CountMetric>,
    pub spanevents: BTreeMap<String, CountMetric>,
    pub metrics: BTreeMap<String, CountMetric>,
    pub datapoints: BTreeMap<String, CountMetric>,
    pub logs: BTreeMap<String, CountMetric>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CountMetric {
    pub description: String,
    /// Of which one must hold; without any, everything is counted.
    pub conditions: Vec<String>,
    /// Attributes by which it is counted: of the item, of its scope, or of its resource.
    pub attributes: Vec<CountAttribute>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountAttribute {
    pub key: String,
    /// Where the attribute is missing; without it, such an item is not counted.
    pub default_value: Option<DefaultValue>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum DefaultValue {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
}

impl DefaultValue {
    pub(super) fn view(&self) -> AnyValue<'_> {
        match self {
            Self::Bool(value) => AnyValue::Bool(*value),
            Self::Int(value) => AnyValue::Int(*value),
            Self::Double(value) => AnyValue::Double(*value),
            Self::Text(text) => AnyValue::String(text),
        }
    }
}

impl CountConfig {
    /// Refuses what cannot work, naming the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.compile().map(drop)
    }

    /// Names, descriptions and what is counted.
    pub(super) fn compile(&self) -> Result<Vec<(String, String, Counter)>, ConfigError> {
        let kinds = [
            (
                "spans",
                Context::Span,
                &self.spans,
                "trace.span.count",
                "The number of spans observed.",
            ),
            (
                "spanevents",
                Context::SpanEvent,
                &self.spanevents,
                "trace.span.event.count",
                "The number of span events observed.",
            ),
            (
                "metrics",
                Context::Metric,
                &self.metrics,
                "metric.count",
                "The number of metrics observed.",
            ),
            (
                "datapoints",
                Context::DataPoint,
                &self.datapoints,
                "metric.datapoint.count",
                "The number of data points observed.",
            ),
            (
                "logs",
                Context::Log,
                &self.logs,
                "log.record.count",
                "The number of log records observed.",
            ),
        ];
        let mut compiled = Vec::new();
        for (key, context, metrics, name, description) in kinds {
            if metrics.is_empty() {
                let counter = Counter {
                    context,
                    conditions: None,
                    attributes: Vec::new(),
                };
                compiled.push((name.to_owned(), description.to_owned(), counter));
            }
            for (name, metric) in metrics {
                let counter = metric.compile(&format!("{key}.{name}"), context)?;
                compiled.push((name.clone(), metric.description.clone(), counter));
            }
        }
        Ok(compiled)
    }
}

impl CountMetric {
    fn compile(&self, key: &str, context: Context) -> Result<Counter, ConfigError> {
        if context == Context::Metric && !self.attributes.is_empty() {
            let problem = "metrics have no attributes: count `datapoints`";
            return Err(ConfigError::setting(format!("{key}.attributes"), problem));
        }
        let mut seen: Vec<&str> = Vec::new();
        for (index, attribute) in self.attributes.iter().enumerate() {
            if attribute.key.is_empty() || seen.contains(&attribute.key.as_str()) {
                let key = format!("{key}.attributes[{index}].key");
                return Err(ConfigError::setting(key, "must be a name that is not there yet"));
            }
            seen.push(&attribute.key);
        }
        let conditions = match self.conditions.is_empty() {
            true => None,
            false => {
                let compiled = Conditions::compile(context, &self.conditions);
                let conditions = compiled.map_err(|errors| {
                    let problem = |error| StatementProblem {
                        key: format!("{key}.conditions"),
                        error,
                    };
                    ConfigError::Statements(errors.into_iter().map(problem).collect())
                })?;
                Some(conditions.with_error_mode(ErrorMode::Ignore))
            }
        };
        Ok(Counter {
            context,
            conditions,
            attributes: self.attributes.clone(),
        })
    }
}
