//! The cumulativetodelta processor: makes each point say what came since the one before.
//!
//! Monotonic sums, histograms and exponential histograms; other metrics pass through. Of histograms the least and the
//! largest value go, which are not known of a part of the time. A value below the one before means that the counting
//! began anew. Points that come late are dropped and counted.
//!
//! The sender has the answer of the next sink, and a batch that was not taken finds the values as they were when it comes
//! again.
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/processor/cumulativetodeltaprocessor>

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cupola_config::units::TimeSpan;
use cupola_export::{Accepted, Component, Sample, SendError, Sink};
use cupola_telemetry::Batch;
use cupola_telemetry::edit::{MetricKind, Place};
use regex::Regex;
use serde::Deserialize;

use super::ConfigError;
use super::matching::MatchType;
use super::series::{Converter, Converting, Outcome, Point, Streams};
use crate::ottl::Env;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CumulativeToDeltaConfig {
    /// Metrics that are converted; all if there is nothing.
    pub include: MetricMatchConfig,
    /// Metrics that are left alone.
    pub exclude: MetricMatchConfig,
    /// Time without a point after which a stream is forgotten; zero is never.
    pub max_staleness: TimeSpan,
    pub initial_value: InitialValue,
    /// Streams that are known; beyond, the one that was silent the longest is forgotten. The Collector has no bound.
    pub max_streams: usize,
}

impl Default for CumulativeToDeltaConfig {
    fn default() -> Self {
        Self {
            include: MetricMatchConfig::default(),
            exclude: MetricMatchConfig::default(),
            max_staleness: TimeSpan(Duration::ZERO),
            initial_value: InitialValue::default(),
            max_streams: 1_000_000,
        }
    }
}

/// What the first point of a stream becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InitialValue {
    /// It is passed on if it says that it has counted since this processor began.
    #[default]
    Auto,
    Keep,
    Drop,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricMatchConfig {
    pub metrics: Vec<String>,
    /// Needed where there are names.
    pub match_type: Option<MatchType>,
    pub metric_types: Vec<MetricType>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricType {
    Sum,
    Histogram,
    #[serde(alias = "exponential_histogram")]
    ExponentialHistogram,
}

enum Names {
    Strict(Vec<String>),
    Patterns(Vec<Regex>),
}

struct MetricMatch {
    names: Option<Names>,
    types: Vec<MetricType>,
}

impl MetricMatch {
    fn new(config: &MetricMatchConfig, key: &str) -> Result<Self, ConfigError> {
        let pattern = |pattern: &String| {
            Regex::new(pattern)
                .map_err(|error| ConfigError::setting(format!("{key}.metrics"), error.to_string()))
        };
        let names = match (config.metrics.is_empty(), config.match_type) {
            (true, _) => None,
            (false, Some(MatchType::Strict)) => Some(Names::Strict(config.metrics.clone())),
            (false, Some(MatchType::Regexp)) => Some(Names::Patterns(
                config.metrics.iter().map(pattern).collect::<Result<_, _>>()?,
            )),
            (false, None) => {
                return Err(ConfigError::setting(
                    format!("{key}.match_type"),
                    "names need strict or regexp",
                ));
            }
        };
        Ok(Self {
            names,
            types: config.metric_types.clone(),
        })
    }

    fn is_empty(&self) -> bool {
        self.names.is_none() && self.types.is_empty()
    }

    /// What is not given matches.
    fn matches(&self, name: &str, kind: MetricType) -> bool {
        let named = match &self.names {
            None => true,
            Some(Names::Strict(names)) => names.iter().any(|wanted| wanted == name),
            Some(Names::Patterns(patterns)) => patterns.iter().any(|pattern| pattern.is_match(name)),
        };
        named && (self.types.is_empty() || self.types.contains(&kind))
    }
}

impl CumulativeToDeltaConfig {
    /// Refuses patterns that are none.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.max_streams == 0 {
            return Err(ConfigError::setting(
                "max_streams",
                "at least one stream must have room",
            ));
        }
        MetricMatch::new(&self.include, "include")?;
        MetricMatch::new(&self.exclude, "exclude").map(drop)
    }
}

struct Differences {
    include: MetricMatch,
    exclude: MetricMatch,
    initial: InitialValue,
    /// Nanoseconds since the epoch.
    began: u64,
}

impl Converter for Differences {
    const TEMPORALITY: u64 = 1;

    fn wants(&self, place: &Place<'_>, kind: MetricKind) -> bool {
        let kind = match kind {
            MetricKind::Sum if place.data.number(3).unwrap_or(0) != 0 => MetricType::Sum,
            MetricKind::Histogram => MetricType::Histogram,
            MetricKind::ExponentialHistogram => MetricType::ExponentialHistogram,
            _ => return false,
        };
        let name = place.item.text(1);
        place.data.number(2) == Some(2)
            && self.include.matches(&name, kind)
            && (self.exclude.is_empty() || !self.exclude.matches(&name, kind))
    }

    fn convert(&self, state: Option<Point>, point: Point) -> Outcome {
        let Some(before) = state else {
            let counted_since = point.start > self.began && point.start != point.time;
            let kept = match self.initial {
                InitialValue::Keep => true,
                InitialValue::Drop => false,
                InitialValue::Auto => counted_since,
            };
            let state = point.clone();
            return match kept {
                true => Outcome::Emit { point, state },
                false => Outcome::Drop {
                    reason: "initial_value",
                    state: Some(state),
                },
            };
        };
        if point.time <= before.time {
            return Outcome::Drop {
                reason: "out_of_order",
                state: None,
            };
        }
        let delta = match point.value.since(&before.value) {
            Some(value) => Point {
                start: before.time,
                time: point.time,
                value,
            },
            // Counted anew since then: all of it is new.
            None => Point {
                start: point.start.max(before.time),
                ..point.clone()
            },
        };
        Outcome::Emit {
            point: delta,
            state: point,
        }
    }

    fn refuses_overflow(&self) -> bool {
        false
    }
}

/// The processor in front of a sink.
pub struct CumulativeToDelta {
    converting: Converting<Differences>,
}

impl CumulativeToDelta {
    pub fn new(
        config: &CumulativeToDeltaConfig,
        next: Arc<dyn Sink>,
        env: Arc<dyn Env + Send>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let differences = Differences {
            include: MetricMatch::new(&config.include, "include")?,
            exclude: MetricMatch::new(&config.exclude, "exclude")?,
            initial: config.initial_value,
            began: env.now_unix_nano(),
        };
        let stale = u64::try_from(config.max_staleness.0.as_nanos()).unwrap_or(u64::MAX);
        let streams = Streams::new(config.max_streams, stale);
        Ok(Self {
            converting: Converting::new(differences, streams, next, env),
        })
    }
}

#[async_trait]
impl Sink for CumulativeToDelta {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        self.converting.send(batch).await
    }
}

#[async_trait]
impl Component for CumulativeToDelta {
    fn collect(&self, samples: &mut Vec<Sample>) {
        let counts = self.converting.counts.lock().clone();
        let datapoints = "otelcol_cumulativetodelta_datapoints";
        let help = "Data points that became deltas, and those dropped by why they were.";
        samples.push(Sample::count(datapoints, help, counts.converted));
        for (reason, count) in counts.dropped {
            samples.push(Sample::count(datapoints, help, count).with("error", reason));
        }
        samples.push(Sample::level(
            "otelcol_cumulativetodelta_streams_tracked",
            "Streams that are known.",
            counts.streams as f64,
        ));
        samples.push(Sample::count(
            "otelcol_cumulativetodelta_streams_overflowed",
            "Streams for which another one was forgotten early.",
            counts.overflowed,
        ));
    }
}
