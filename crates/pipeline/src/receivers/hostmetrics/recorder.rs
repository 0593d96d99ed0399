//! Which metrics of a scraper are wanted, and the points that a scrape has so far.
//!
//! As in the Collector, points that are equal in the attributes that are wanted become one: added up, their mean, the
//! least or the greatest of them.

use std::collections::{BTreeMap, HashMap};

use cupola_config::nearest::nearest;
use cupola_telemetry::encode::{NumberDataPoint, ScopeMetrics};
use cupola_telemetry::view::NumberValue;
use serde::Deserialize;

use super::metric::{Kind, Metric};
use crate::processors::ConfigError;

/// Of OTLP: since a start.
const CUMULATIVE: i32 = 2;

/// How points that differ only in attributes that are not wanted become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregation {
    Sum,
    Avg,
    Min,
    Max,
}

/// What settings say of one metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricConfig {
    pub enabled: Option<bool>,
    /// The attributes that its points have.
    pub attributes: Option<Vec<String>>,
    pub aggregation_strategy: Option<Aggregation>,
}

/// By name.
pub type MetricConfigs = BTreeMap<String, MetricConfig>;

/// Gathers the points of one scraper and resource.
#[derive(Debug)]
pub(super) struct Recorder {
    wanted: Vec<Wanted>,
}

impl Recorder {
    /// `key` is where `configs` stand in the settings.
    pub(super) fn new(
        metrics: &'static [Metric],
        configs: &MetricConfigs,
        key: &str,
    ) -> Result<Recorder, ConfigError> {
        let is_unknown = |name: &&String| metrics.iter().all(|metric| metric.name != **name);
        if let Some(name) = configs.keys().find(is_unknown) {
            let names = || metrics.iter().map(|metric| metric.name);
            let meant = match nearest(name, names()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("there are: {}", names().collect::<Vec<_>>().join(", ")),
            };
            let problem = format!("`{name}` is no metric of this scraper; {meant}");
            return Err(ConfigError::setting(key, problem));
        }
        let mut wanted = Vec::new();
        for metric in metrics {
            let config = configs.get(metric.name).cloned().unwrap_or_default();
            let one = Wanted::new(metric, &config, key)?;
            if config.enabled.unwrap_or(metric.usual) {
                wanted.push(one);
            }
        }
        Ok(Recorder { wanted })
    }

    pub(super) fn wants(&self, metric: &Metric) -> bool {
        self.wanted.iter().any(|wanted| wanted.metric.name == metric.name)
    }

    pub(super) fn wants_any(&self, metrics: &[&Metric]) -> bool {
        metrics.iter().any(|metric| self.wants(metric))
    }

    /// One point, with the values of the metric's attributes.
    pub(super) fn record(
        &mut self,
        metric: &Metric,
        time: u64,
        value: impl Into<NumberValue>,
        attributes: &[&str],
    ) {
        debug_assert_eq!(metric.attributes.len(), attributes.len(), "{}", metric.name);
        let mut all = self.wanted.iter_mut();
        if let Some(wanted) = all.find(|wanted| wanted.metric.name == metric.name) {
            wanted.add(time, value.into(), attributes);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wanted.iter().all(|wanted| wanted.points.is_empty())
    }

    /// Writes the metrics that have points, which began at `start`, and forgets the points.
    pub(super) fn write(&mut self, start: u64, scope: &mut ScopeMetrics<'_>) {
        for wanted in &mut self.wanted {
            if !wanted.points.is_empty() {
                wanted.write(start, scope);
            }
        }
    }
}

/// A metric that is wanted, and its points so far.
#[derive(Debug)]
struct Wanted {
    metric: &'static Metric,
    /// Which of the metric's attributes its points have.
    attributes: Vec<usize>,
    aggregation: Aggregation,
    /// By the values of these attributes.
    points: HashMap<Vec<Box<str>>, Point>,
}

#[derive(Debug)]
struct Point {
    /// Points are written in the order in which they came.
    number: usize,
    time: u64,
    value: NumberValue,
    /// How many it was made of.
    of: u32,
}

impl Wanted {
    fn new(metric: &'static Metric, config: &MetricConfig, key: &str) -> Result<Wanted, ConfigError> {
        let wrong = |problem: String| ConfigError::setting(format!("{key}.{}", metric.name), problem);
        if metric.attributes.is_empty()
            && (config.attributes.is_some() || config.aggregation_strategy.is_some())
        {
            return Err(wrong("the metric has no attributes".to_owned()));
        }
        let there = metric.attributes;
        if let Some(names) = &config.attributes
            && let Some(unknown) = names.iter().find(|name| !there.contains(&name.as_str()))
        {
            let there = there.join(", ");
            return Err(wrong(format!(
                "`{unknown}` is no attribute of the metric; there are: {there}"
            )));
        }
        let is_wanted = |at: &usize| match &config.attributes {
            Some(names) => names.iter().any(|name| name == there[*at]),
            None => !metric.on_demand.contains(&there[*at]),
        };
        Ok(Wanted {
            metric,
            attributes: (0..there.len()).filter(is_wanted).collect(),
            aggregation: config.aggregation_strategy.unwrap_or(match metric.kind {
                Kind::Gauge => Aggregation::Avg,
                Kind::Counter | Kind::Level => Aggregation::Sum,
            }),
            points: HashMap::new(),
        })
    }

    fn add(&mut self, time: u64, value: NumberValue, attributes: &[&str]) {
        let number = self.points.len();
        let key = self.attributes.iter().map(|at| attributes[*at].into()).collect();
        let aggregation = self.aggregation;
        self.points
            .entry(key)
            .and_modify(|point| {
                point.value = joined(point.value, value, aggregation);
                point.of += 1;
            })
            .or_insert(Point {
                number,
                time,
                value,
                of: 1,
            });
    }

    fn write(&mut self, start: u64, scope: &mut ScopeMetrics<'_>) {
        let mut points: Vec<_> = self.points.drain().collect();
        points.sort_unstable_by_key(|(_, point)| point.number);
        let mut metric = scope.metric();
        metric.name(self.metric.name);
        metric.description(self.metric.description);
        metric.unit(self.metric.unit);
        if self.metric.kind == Kind::Gauge {
            let mut gauge = metric.gauge();
            for (values, point) in &points {
                self.write_point(values, point, start, gauge.point());
            }
            return;
        }
        let mut sum = metric.sum();
        for (values, point) in &points {
            self.write_point(values, point, start, sum.point());
        }
        sum.aggregation_temporality(CUMULATIVE);
        sum.is_monotonic(self.metric.kind == Kind::Counter);
    }

    fn write_point(&self, values: &[Box<str>], point: &Point, start: u64, mut out: NumberDataPoint<'_>) {
        out.start_time_unix_nano(start);
        out.time_unix_nano(point.time);
        let value = match (self.aggregation, point.value) {
            (Aggregation::Avg, NumberValue::Int(value)) => NumberValue::Int(value / i64::from(point.of)),
            (Aggregation::Avg, NumberValue::Double(value)) => {
                NumberValue::Double(value / f64::from(point.of))
            }
            (_, value) => value,
        };
        out.value(value);
        for (at, value) in self.attributes.iter().zip(values) {
            let name = self.metric.attributes[*at];
            match value.parse::<i64>() {
                Ok(number) if self.metric.numbers.contains(&name) => out.attribute(name, number),
                _ => out.attribute(name, &**value),
            };
        }
    }
}

/// Two values of one metric; a metric has either whole numbers or others.
fn joined(left: NumberValue, right: NumberValue, aggregation: Aggregation) -> NumberValue {
    let is_less = match (left, right) {
        (NumberValue::Int(left), NumberValue::Int(right)) => left < right,
        _ => left.as_f64() < right.as_f64(),
    };
    match (aggregation, left, right) {
        (Aggregation::Min, ..) if is_less => left,
        (Aggregation::Max, ..) if is_less => right,
        (Aggregation::Min, ..) => right,
        (Aggregation::Max, ..) => left,
        (_, NumberValue::Int(left), NumberValue::Int(right)) => NumberValue::Int(left.wrapping_add(right)),
        _ => NumberValue::Double(left.as_f64() + right.as_f64()),
    }
}
