//! `include` and `exclude`: what is kept by its properties, as filters were written before they had conditions.
//!
//! Conditions say the same and more; these stand in files that are older. Expressions (`match_type: expr`) are refused, with
//! the condition that takes their place.

use std::convert::Infallible;

use cupola_telemetry::edit::{Editor, Level, Place, Verdict, edit};
use cupola_telemetry::{Batch, Signal};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::processors::matching::{MatchConfig, MatchType, Matcher, Named, Severity};
use crate::processors::statements::ConfigError;

/// What is kept, and of that what is not.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selection<T> {
    pub include: Option<T>,
    pub exclude: Option<T>,
}

impl<T> Default for Selection<T> {
    fn default() -> Self {
        Self {
            include: None,
            exclude: None,
        }
    }
}

/// Of log records.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogProperties {
    pub match_type: Option<MatchType>,
    pub resource_attributes: Vec<Named<Json>>,
    pub record_attributes: Vec<Named<Json>>,
    pub severity_texts: Vec<String>,
    pub severity_number: Option<Severity>,
    pub bodies: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricMatchType {
    Strict,
    Regexp,
    Expr,
}

/// Of metrics.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricProperties {
    pub match_type: Option<MetricMatchType>,
    pub metric_names: Vec<String>,
    pub expressions: Vec<String>,
    pub resource_attributes: Vec<Named<Json>>,
    /// Settings of a cache that is not needed here.
    pub regexp: Option<serde::de::IgnoredAny>,
}

fn nothing_of(match_type: MatchType) -> MatchConfig {
    MatchConfig {
        match_type,
        services: Vec::new(),
        span_names: Vec::new(),
        span_kinds: Vec::new(),
        log_bodies: Vec::new(),
        log_severity_texts: Vec::new(),
        log_severity_number: None,
        metric_names: Vec::new(),
        attributes: Vec::new(),
        resources: Vec::new(),
        libraries: Vec::new(),
    }
}

/// Makes what matches of the properties of one signal.
pub(super) trait Properties {
    /// Those that have to be met together; none if nothing is asked for.
    fn matchers(&self, key: &str) -> Result<Vec<Matcher>, ConfigError>;
}

impl Properties for LogProperties {
    fn matchers(&self, key: &str) -> Result<Vec<Matcher>, ConfigError> {
        let empty = self.resource_attributes.is_empty()
            && self.record_attributes.is_empty()
            && self.severity_texts.is_empty()
            && self.severity_number.is_none()
            && self.bodies.is_empty();
        if empty {
            return Ok(Vec::new());
        }
        let config = MatchConfig {
            log_bodies: self.bodies.clone(),
            log_severity_texts: self.severity_texts.clone(),
            log_severity_number: self.severity_number.clone(),
            attributes: self.record_attributes.clone(),
            resources: self.resource_attributes.clone(),
            ..nothing_of(self.match_type.unwrap_or(MatchType::Strict))
        };
        Ok(vec![Matcher::new(&config, key)?])
    }
}

impl Properties for MatchConfig {
    fn matchers(&self, key: &str) -> Result<Vec<Matcher>, ConfigError> {
        if *self == nothing_of(self.match_type) {
            let problem = "it needs at least one of services, span_names, span_kinds, attributes, resources and libraries";
            return Err(ConfigError::setting(key, problem));
        }
        Ok(vec![Matcher::new(self, key)?])
    }
}

impl Properties for MetricProperties {
    fn matchers(&self, key: &str) -> Result<Vec<Matcher>, ConfigError> {
        let match_type = match self.match_type {
            Some(MetricMatchType::Expr) if self.expressions.is_empty() => return Ok(Vec::new()),
            Some(MetricMatchType::Expr) => return Err(self.expressions_refused(key)),
            Some(MetricMatchType::Regexp) => MatchType::Regexp,
            Some(MetricMatchType::Strict) | None => MatchType::Strict,
        };
        if self.metric_names.is_empty() && self.resource_attributes.is_empty() {
            return Ok(Vec::new());
        }
        let config = MatchConfig {
            metric_names: self.metric_names.clone(),
            resources: self.resource_attributes.clone(),
            ..nothing_of(match_type)
        };
        Ok(vec![Matcher::new(&config, key)?])
    }
}

impl MetricProperties {
    /// Says what to write instead.
    fn expressions_refused(&self, key: &str) -> ConfigError {
        let conditions: Vec<String> = self.expressions.iter().map(|one| condition(one)).collect();
        let joined = match &conditions[..] {
            [one] => one.clone(),
            several => format!("({})", several.join(") or (")),
        };
        let condition = match key.ends_with("include") {
            true => format!("not ({joined})"),
            false => joined,
        };
        ConfigError::setting(
            format!("{key}.expressions"),
            format!(
                "expressions are not evaluated here; write them as a condition: metric_conditions: ['{condition}']"
            ),
        )
    }
}

/// An expression over points as a condition, as near as words can be replaced.
fn condition(expression: &str) -> String {
    let replaced = [
        (
            r#"HasLabel\(("[^"]*"|'[^']*')\)"#,
            "datapoint.attributes[$1] != nil",
        ),
        (r#"Label\(("[^"]*"|'[^']*')\)"#, "datapoint.attributes[$1]"),
        (r"\bMetricName\b", "metric.name"),
        (r"\s*&&\s*", " and "),
        (r"\s*\|\|\s*", " or "),
        (r"!\s*(\w|\()", "not $1"),
        (r"'", "\""),
    ];
    replaced.iter().fold(
        expression.to_owned(),
        |text, (pattern, replacement)| match regex::Regex::new(pattern) {
            Ok(pattern) => pattern.replace_all(&text, *replacement).into_owned(),
            Err(_) => text,
        },
    )
}

/// A selection that is ready.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    include: Vec<Matcher>,
    exclude: Vec<Matcher>,
}

impl Chosen {
    /// `key` is where the selection stands in configuration.
    pub(super) fn new<T: Properties>(
        include: Option<&T>,
        exclude: Option<&T>,
        key: &str,
    ) -> Result<Self, ConfigError> {
        let matchers = |properties: Option<&T>, side: &str| match properties {
            Some(properties) => properties.matchers(&format!("{key}.{side}")),
            None => Ok(Vec::new()),
        };
        Ok(Self {
            include: matchers(include, "include")?,
            exclude: matchers(exclude, "exclude")?,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// The batch without what is not chosen; `None` if nothing is left.
    pub(super) fn process(&self, batch: &Batch) -> Option<Batch> {
        let mut dropping = Dropping {
            chosen: self,
            signal: batch.signal(),
        };
        let Ok(left) = edit(batch, &mut dropping);
        left
    }
}

struct Dropping<'c> {
    chosen: &'c Chosen,
    signal: Signal,
}

impl<'a> Editor<'a> for Dropping<'_> {
    type Error = Infallible;

    fn deepest(&self) -> Level {
        Level::Item
    }

    fn visit(&mut self, level: Level, place: &mut Place<'a>) -> Result<Verdict, Infallible> {
        if level != Level::Item {
            return Ok(Verdict::Keep);
        }
        let attributes = match self.signal {
            Signal::Logs => place.item.map(6),
            Signal::Traces => place.item.map(9),
            Signal::Metrics => cupola_telemetry::edit::Map::new(),
        };
        let all = |matchers: &[Matcher]| {
            matchers
                .iter()
                .all(|matcher| matcher.matches(self.signal, place, &attributes))
        };
        let Chosen { include, exclude } = self.chosen;
        let keep = all(include) && (exclude.is_empty() || !all(exclude));
        Ok(if keep { Verdict::Keep } else { Verdict::Drop })
    }
}
