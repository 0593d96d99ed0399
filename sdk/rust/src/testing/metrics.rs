//! Metrics as tests look at them.

use std::collections::BTreeMap;

use cupola_telemetry::view::{
    Attributes, Buckets, Exemplar, Exemplars, ExponentialHistogramDataPoint, HistogramDataPoint, Metric,
    MetricData, MetricsData, NumberDataPoint, NumberValue,
};
use cupola_telemetry::{Batch, Signal};

use super::decoded::{CapturedAttributes, attributes, hex};

/// What an instrument has measured, as it was last collected.
#[derive(Clone, Debug, PartialEq)]
pub struct CapturedMetric {
    pub scope: String,
    pub name: String,
    pub description: String,
    pub unit: String,
    pub kind: CapturedKind,
    /// In the order of their attributes.
    pub points: Vec<CapturedPoint>,
}

/// What the points of a metric are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapturedKind {
    Gauge,
    /// A sum that only grows.
    Counter,
    UpDownCounter,
    Histogram,
    ExponentialHistogram,
}

/// One series.
#[derive(Clone, Debug, PartialEq)]
pub struct CapturedPoint {
    pub attributes: CapturedAttributes,
    pub start_unix_nano: u64,
    pub unix_nano: u64,
    pub value: CapturedMeasure,
    pub exemplars: Vec<CapturedExemplar>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum CapturedMeasure {
    Int(i64),
    Double(f64),
    Histogram {
        count: u64,
        sum: Option<f64>,
        min: Option<f64>,
        max: Option<f64>,
        /// Upper bounds of all buckets but the last.
        bounds: Vec<f64>,
        buckets: Vec<u64>,
    },
    ExponentialHistogram {
        count: u64,
        sum: Option<f64>,
        min: Option<f64>,
        max: Option<f64>,
        scale: i32,
        zero_count: u64,
        positive: CapturedBuckets,
        negative: CapturedBuckets,
    },
}

/// Buckets of an exponential histogram, from `offset` on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapturedBuckets {
    pub offset: i32,
    pub counts: Vec<u64>,
}

/// A measurement, with the span in which it was made. Ids are in hex digits; an empty one is none.
#[derive(Clone, Debug, PartialEq)]
pub struct CapturedExemplar {
    pub value: f64,
    pub unix_nano: u64,
    pub trace_id: String,
    pub span_id: String,
    /// Those that are not among the attributes of the series.
    pub attributes: CapturedAttributes,
}

impl PartialEq<i64> for CapturedMeasure {
    fn eq(&self, other: &i64) -> bool {
        *self == CapturedMeasure::Int(*other)
    }
}

impl PartialEq<f64> for CapturedMeasure {
    fn eq(&self, other: &f64) -> bool {
        *self == CapturedMeasure::Double(*other)
    }
}

/// Each metric as the latest batch that has it has it, by scope and name.
pub(super) fn latest(batches: &[Batch]) -> Vec<CapturedMetric> {
    let mut latest: BTreeMap<(String, String), CapturedMetric> = BTreeMap::new();
    for batch in batches.iter().filter(|batch| batch.signal() == Signal::Metrics) {
        for resource in MetricsData::new(batch.payload()).resources() {
            for scope in resource.scopes() {
                let name = scope.scope().name;
                for metric in scope.metrics().filter_map(|metric| captured(name, &metric)) {
                    latest.insert((metric.scope.clone(), metric.name.clone()), metric);
                }
            }
        }
    }
    latest.into_values().collect()
}

/// `None` of a kind that the SDK does not make.
fn captured(scope: &str, metric: &Metric<'_>) -> Option<CapturedMetric> {
    let (kind, mut points): (CapturedKind, Vec<CapturedPoint>) = match metric.data()? {
        MetricData::Gauge(points) => (CapturedKind::Gauge, points.iter().map(number).collect()),
        MetricData::Sum {
            points, monotonic, ..
        } => {
            let kind = match monotonic {
                true => CapturedKind::Counter,
                false => CapturedKind::UpDownCounter,
            };
            (kind, points.iter().map(number).collect())
        }
        MetricData::Histogram { points, .. } => {
            (CapturedKind::Histogram, points.iter().map(histogram).collect())
        }
        MetricData::ExponentialHistogram { points, .. } => (
            CapturedKind::ExponentialHistogram,
            points.iter().map(exponential).collect(),
        ),
        MetricData::Summary(_) => return None,
    };
    // By their text: numbers have no order of their own.
    points.sort_by_cached_key(|point| format!("{:?}", point.attributes));
    Some(CapturedMetric {
        scope: scope.to_owned(),
        name: metric.name.to_owned(),
        description: metric.description.to_owned(),
        unit: metric.unit.to_owned(),
        kind,
        points,
    })
}

fn point(
    of: Attributes<'_>,
    (start_unix_nano, unix_nano): (u64, u64),
    exemplars: Exemplars<'_>,
    value: CapturedMeasure,
) -> CapturedPoint {
    CapturedPoint {
        attributes: attributes(of),
        start_unix_nano,
        unix_nano,
        value,
        exemplars: exemplars.iter().map(exemplar).collect(),
    }
}

fn number(read: NumberDataPoint<'_>) -> CapturedPoint {
    let value = match read.value {
        Some(NumberValue::Double(value)) => CapturedMeasure::Double(value),
        Some(NumberValue::Int(value)) => CapturedMeasure::Int(value),
        None => CapturedMeasure::Int(0),
    };
    let times = (read.start_time_unix_nano, read.time_unix_nano);
    point(read.attributes, times, read.exemplars, value)
}

fn histogram(read: HistogramDataPoint<'_>) -> CapturedPoint {
    let times = (read.start_time_unix_nano, read.time_unix_nano);
    let value = CapturedMeasure::Histogram {
        count: read.count,
        sum: read.sum,
        min: read.min,
        max: read.max,
        bounds: read.explicit_bounds.iter().collect(),
        buckets: read.bucket_counts.iter().collect(),
    };
    point(read.attributes, times, read.exemplars, value)
}

fn exponential(read: ExponentialHistogramDataPoint<'_>) -> CapturedPoint {
    let times = (read.start_time_unix_nano, read.time_unix_nano);
    let value = CapturedMeasure::ExponentialHistogram {
        count: read.count,
        sum: read.sum,
        min: read.min,
        max: read.max,
        scale: read.scale,
        zero_count: read.zero_count,
        positive: buckets(read.positive),
        negative: buckets(read.negative),
    };
    point(read.attributes, times, read.exemplars, value)
}

fn buckets(read: Option<Buckets<'_>>) -> CapturedBuckets {
    read.map_or_else(CapturedBuckets::default, |read| CapturedBuckets {
        offset: read.offset,
        counts: read.bucket_counts.iter().collect(),
    })
}

fn exemplar(read: Exemplar<'_>) -> CapturedExemplar {
    CapturedExemplar {
        value: read.value.map_or(0.0, NumberValue::as_f64),
        unix_nano: read.time_unix_nano,
        trace_id: hex(read.trace_id),
        span_id: hex(read.span_id),
        attributes: attributes(read.filtered_attributes),
    }
}
