//! Settings of the spanmetrics connector, as the Collector has them, and two of our own: `naming` and
//! `include_status_message`.

use std::time::Duration;

use cupola_config::units::TimeSpan;
use serde::Deserialize;

use super::naming::Naming;
use crate::connectors::aggregate::Temporality;
use crate::processors::ConfigError;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpanMetricsConfig {
    /// Names of metrics and labels. Without it: the Collector's if `namespace` or `histogram.unit` is set, else
    /// Tempo's, which are what Grafana asks for.
    pub naming: Option<Naming>,
    /// Tempo's label `status_message`, off there as here. Any text can be in it: every one is a series.
    pub include_status_message: bool,
    pub histogram: HistogramConfig,
    /// Attributes of the span, or else of its resource, that become labels of all metrics.
    pub dimensions: Vec<DimensionConfig>,
    /// Further labels of the calls alone.
    pub calls_dimensions: Vec<DimensionConfig>,
    /// Labels of every metric that are left out: `status.code`.
    pub exclude_dimensions: Vec<String>,
    /// Accepted: there is no such cache. Series are bounded by `aggregation_cardinality_limit`.
    pub dimensions_cache_size: usize,
    /// Resources of a tenant; spans of others are counted in the overflow series.
    pub resource_metrics_cache_size: usize,
    /// Attributes of resources that keep their metrics apart, and that these carry. Without it, and without
    /// `add_resource_attributes`, resources are not told apart but by labels.
    pub resource_metrics_key_attributes: Vec<String>,
    /// Metrics carry the attributes of the resource, all of them or those of `resource_metrics_key_attributes`. If it
    /// is not given, they do under the Collector's names, as there, and not under Tempo's.
    pub add_resource_attributes: Option<bool>,
    pub aggregation_temporality: AggregationTemporality,
    /// Zero: after every batch.
    pub metrics_flush_interval: TimeSpan,
    /// Zero: never.
    pub metrics_expiration: TimeSpan,
    /// Accepted as `metrics_expiration` for series: the shorter one counts. Zero: never.
    pub series_expiration: TimeSpan,
    /// Accepted: the windows of deltas need no such cache.
    pub metric_timestamp_cache_size: Option<usize>,
    /// Of metrics under the Collector's names: `traces.span.metrics` without it.
    pub namespace: Option<String>,
    pub exemplars: ExemplarsConfig,
    pub events: EventsConfig,
    /// Names of scopes whose name and version become labels of their spans.
    pub include_instrumentation_scope: Vec<String>,
    /// Adds `sampling.method`, `extrapolated` or `counted`.
    pub enable_metrics_sampling_method: bool,
    /// Series of a tenant and metric; zero is 50,000.
    pub aggregation_cardinality_limit: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HistogramConfig {
    pub disable: bool,
    /// Milliseconds, if it is not given, under the Collector's names; seconds under Tempo's.
    pub unit: Option<Unit>,
    pub explicit: Option<ExplicitConfig>,
    pub exponential: Option<ExponentialConfig>,
    /// Further labels of the histogram alone.
    pub dimensions: Vec<DimensionConfig>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Ms,
    S,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExplicitConfig {
    /// Highest duration of each bucket but the last.
    pub buckets: Vec<TimeSpan>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExponentialConfig {
    pub max_size: usize,
}

impl Default for ExponentialConfig {
    fn default() -> Self {
        Self { max_size: 160 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DimensionConfig {
    pub name: String,
    /// Where the attribute is missing; without it the label is left out there.
    pub default: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum AggregationTemporality {
    #[serde(rename = "AGGREGATION_TEMPORALITY_CUMULATIVE")]
    Cumulative,
    #[serde(rename = "AGGREGATION_TEMPORALITY_DELTA")]
    Delta,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExemplarsConfig {
    /// Off under the Collector's names, on under Tempo's, if it is not given.
    pub enabled: Option<bool>,
    pub max_per_data_point: usize,
}

impl Default for ExemplarsConfig {
    fn default() -> Self {
        Self {
            enabled: None,
            max_per_data_point: 5,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventsConfig {
    pub enabled: bool,
    /// Attributes of the event that become labels, on top of those of its span.
    pub dimensions: Vec<DimensionConfig>,
}

impl Default for SpanMetricsConfig {
    fn default() -> Self {
        Self {
            naming: None,
            include_status_message: false,
            histogram: HistogramConfig::default(),
            dimensions: Vec::new(),
            calls_dimensions: Vec::new(),
            exclude_dimensions: Vec::new(),
            dimensions_cache_size: 1_000,
            resource_metrics_cache_size: 1_000,
            resource_metrics_key_attributes: Vec::new(),
            add_resource_attributes: None,
            enable_metrics_sampling_method: false,
            aggregation_temporality: AggregationTemporality::Cumulative,
            metrics_flush_interval: TimeSpan(Duration::from_secs(60)),
            metrics_expiration: TimeSpan(Duration::ZERO),
            series_expiration: TimeSpan(Duration::ZERO),
            metric_timestamp_cache_size: None,
            namespace: None,
            exemplars: ExemplarsConfig::default(),
            events: EventsConfig::default(),
            include_instrumentation_scope: Vec::new(),
            aggregation_cardinality_limit: 0,
        }
    }
}

/// Series of a tenant and metric, if nothing is said.
const SERIES_DEFAULT: usize = 50_000;
/// Buckets of a histogram.
const BUCKETS_MAX: usize = 1_000;
const EXEMPLARS_MAX: usize = 100;
const DIMENSIONS_MAX: usize = 100;

impl SpanMetricsConfig {
    /// Refuses what cannot work, naming the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |key: &str, problem: &str| Err(ConfigError::setting(key, problem));
        let histogram = &self.histogram;
        if histogram.explicit.is_some() && histogram.exponential.is_some() {
            return refuse("histogram", "use either `explicit` or `exponential`, not both");
        }
        if let Some(explicit) = &histogram.explicit {
            let buckets = &explicit.buckets;
            if buckets.len() > BUCKETS_MAX {
                return refuse("histogram.explicit.buckets", "at most 1000 buckets are possible");
            }
            if !buckets.windows(2).all(|pair| pair[0].0 < pair[1].0) {
                return refuse(
                    "histogram.explicit.buckets",
                    "each bucket must be longer than the one before",
                );
            }
        }
        if let Some(exponential) = &histogram.exponential
            && !(2..=BUCKETS_MAX).contains(&exponential.max_size)
        {
            return refuse("histogram.exponential.max_size", "must be from 2 to 1000");
        }
        if self.naming == Some(Naming::Tempo) {
            if histogram.unit == Some(Unit::Ms) {
                return refuse(
                    "histogram.unit",
                    "Tempo's latency is in seconds: leave it out, or set `naming: collector`",
                );
            }
            if self.namespace.is_some() {
                return refuse(
                    "namespace",
                    "Tempo's names have none: leave it out, or set `naming: collector`",
                );
            }
        }
        if self.events.enabled && self.events.dimensions.is_empty() {
            return refuse(
                "events.dimensions",
                "at least one is needed if events are enabled",
            );
        }
        if self.exemplars.max_per_data_point > EXEMPLARS_MAX {
            return refuse("exemplars.max_per_data_point", "at most 100 are possible");
        }
        if self.resource_metrics_cache_size == 0 {
            return refuse("resource_metrics_cache_size", "must be at least 1");
        }
        self.validate_dimensions()
    }

    fn validate_dimensions(&self) -> Result<(), ConfigError> {
        let names = self.resolved_naming().labels();
        let own = [
            names.service,
            names.span_name,
            names.span_kind,
            names.status_code,
            names.status_message,
        ];
        let lists = [
            ("calls_dimensions", &self.calls_dimensions),
            ("histogram.dimensions", &self.histogram.dimensions),
            ("events.dimensions", &self.events.dimensions),
        ];
        let mut common: Vec<&str> = own.to_vec();
        unique("dimensions", &self.dimensions, &mut common)?;
        for (key, list) in lists {
            unique(key, list, &mut common.clone())?;
        }
        Ok(())
    }

    pub(super) fn temporality(&self) -> Temporality {
        match self.aggregation_temporality {
            AggregationTemporality::Cumulative => Temporality::Cumulative,
            AggregationTemporality::Delta => Temporality::Delta,
        }
    }

    pub(super) fn series_max(&self) -> usize {
        match self.aggregation_cardinality_limit {
            0 => SERIES_DEFAULT,
            limit => limit,
        }
    }

    pub(super) fn expiration(&self) -> Option<Duration> {
        let given = [self.metrics_expiration.0, self.series_expiration.0];
        given.into_iter().filter(|duration| !duration.is_zero()).min()
    }

    pub(super) fn with_resource(&self) -> bool {
        let by_naming = self.resolved_naming() == Naming::Collector;
        self.add_resource_attributes.unwrap_or(by_naming)
    }

    pub(super) fn exemplars_max(&self) -> usize {
        let by_naming = self.resolved_naming() == Naming::Tempo;
        match self.exemplars.enabled.unwrap_or(by_naming) {
            true => self.exemplars.max_per_data_point,
            false => 0,
        }
    }
}

fn unique<'a>(key: &str, list: &'a [DimensionConfig], seen: &mut Vec<&'a str>) -> Result<(), ConfigError> {
    if list.len() > DIMENSIONS_MAX {
        return Err(ConfigError::setting(key, "at most 100 are possible"));
    }
    // As they will be in Prometheus, where dots are underscores.
    let plain = |name: &str| name.replace('.', "_");
    for (index, dimension) in list.iter().enumerate() {
        let name = dimension.name.as_str();
        let problem = match name {
            "" => "the name is empty".to_owned(),
            _ if seen.iter().any(|seen| plain(seen) == plain(name)) => {
                format!("there is a label `{name}` already")
            }
            _ => {
                seen.push(name);
                continue;
            }
        };
        return Err(ConfigError::setting(format!("{key}[{index}].name"), problem));
    }
    Ok(())
}
