//! What metrics are told: how often, in which temporality, how histograms count, which exemplars, which views. Owns the defaults.
//!
//! <https://opentelemetry.io/docs/specs/otel/metrics/sdk/>,
//! <https://opentelemetry.io/docs/specs/otel/metrics/sdk_exporters/otlp/>

use std::time::Duration;

use super::instrument::Kind;
use super::view::{Aggregation, View};

/// Metrics. Instruments are made after them, so that none can be changed later.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSettings {
    /// Between two collections.
    pub interval: Duration,
    /// Longest that one collection and its export may take. Callbacks whose turn has not come by then are left out.
    pub timeout: Duration,
    pub temporality: TemporalityPreference,
    pub histogram: HistogramPreference,
    pub exemplars: ExemplarFilter,
    /// Most series of one stream, if its view does not say. Measurements beyond are in one more, which has
    /// `otel.metric.overflow=true`.
    pub cardinality_limit: usize,
    /// Each that matches an instrument makes a stream of it; without one it has the stream that it describes itself.
    pub views: Vec<View>,
    /// Of one batch: it is closed when it has reached it.
    pub batch_bytes: usize,
}

impl Default for MetricSettings {
    fn default() -> MetricSettings {
        MetricSettings {
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(30),
            temporality: TemporalityPreference::default(),
            histogram: HistogramPreference::default(),
            exemplars: ExemplarFilter::default(),
            cardinality_limit: 2000,
            views: Vec::new(),
            batch_bytes: 1 << 20,
        }
    }
}

/// `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TemporalityPreference {
    /// All since it began.
    #[default]
    Cumulative,
    /// Counters and histograms since the last collection; up-down counters cumulative, as their value is what is asked for.
    Delta,
    /// What takes the least memory: synchronous counters and histograms since the last collection, the others cumulative.
    LowMemory,
}

impl TemporalityPreference {
    /// Whether what an instrument of this kind measures is told since the last collection.
    pub fn is_delta(self, kind: Kind) -> bool {
        match kind {
            Kind::Counter | Kind::Histogram => self != TemporalityPreference::Cumulative,
            Kind::ObservableCounter => self == TemporalityPreference::Delta,
            Kind::UpDownCounter | Kind::ObservableUpDownCounter | Kind::Gauge | Kind::ObservableGauge => {
                false
            }
        }
    }
}

/// `OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HistogramPreference {
    #[default]
    ExplicitBuckets,
    Exponential,
}

impl HistogramPreference {
    pub(super) fn aggregation(self) -> Aggregation {
        match self {
            HistogramPreference::ExplicitBuckets => Aggregation::explicit(),
            HistogramPreference::Exponential => Aggregation::exponential(),
        }
    }
}

/// Which measurements may become exemplars: `OTEL_METRICS_EXEMPLAR_FILTER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExemplarFilter {
    AlwaysOn,
    AlwaysOff,
    /// Those made in a span that is sampled.
    #[default]
    TraceBased,
}
