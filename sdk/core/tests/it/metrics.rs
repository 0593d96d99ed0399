//! Metrics, from instruments to what is exported: seen as lines of text, one a data point.

mod collecting;
mod exemplars;
mod instruments;
mod limits;
mod model;
mod temporality;
mod views;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cupola_sdk_core::clock::Clock;
use cupola_sdk_core::metrics::{Meter, Meters, MetricSettings, View};
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::resource::Resource;
use cupola_sdk_core::{Settings, Value};
use cupola_telemetry::{Batch, TenantId};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, exemplar,
    number_data_point,
};
use prost::Message;

/// Meters at a time that stands still until it is set.
pub(crate) struct Bench {
    pub(crate) meters: Arc<Meters>,
    pub(crate) meter: Meter,
    time: Arc<AtomicU64>,
}

impl Bench {
    /// At 10 nanoseconds after 1970.
    pub(crate) fn new(metrics: MetricSettings) -> Bench {
        Bench::of(&Settings {
            metrics,
            ..Settings::default()
        })
    }

    pub(crate) fn of(settings: &Settings) -> Bench {
        let (clock, time) = Clock::at(10);
        let meters = Meters::new(settings, clock, Box::new(|| {}));
        Bench {
            meter: meters.meter(Scope::of("bench", "", "", &[])),
            meters,
            time,
        }
    }

    pub(crate) fn with_views(views: impl IntoIterator<Item = View>) -> Bench {
        Bench::new(MetricSettings {
            views: views.into_iter().collect(),
            ..MetricSettings::default()
        })
    }

    pub(crate) fn set_time(&self, unix_nano: u64) {
        self.time.store(unix_nano, Ordering::Relaxed);
    }

    pub(crate) fn batches(&self) -> Vec<Batch> {
        let resource = Resource {
            message: Vec::new(),
            schema_url: "https://resource".to_owned(),
        };
        self.meters.collect(&resource, &TenantId::default_tenant())
    }

    /// Collects, at a time: a line for each point, sorted.
    pub(crate) fn collect_at(&self, unix_nano: u64) -> Vec<String> {
        self.set_time(unix_nano);
        self.collect()
    }

    pub(crate) fn collect(&self) -> Vec<String> {
        lines(&self.metrics())
    }

    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        for request in requests(&self.batches()) {
            for resource in request.resource_metrics {
                assert_eq!(resource.schema_url, "https://resource");
                metrics.extend(resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics));
            }
        }
        metrics
    }

    /// The problems as they are said.
    pub(crate) fn problems(&self) -> Vec<String> {
        let (problems, further) = self.meters.problems();
        assert_eq!(further, 0);
        problems.iter().map(ToString::to_string).collect()
    }
}

/// Batches as a reader of OTLP sees them, which are what they say and canonical.
pub(crate) fn requests(batches: &[Batch]) -> Vec<ExportMetricsServiceRequest> {
    let decode = |batch: &Batch| {
        let payload = batch.payload().clone();
        let again = Batch::decode_protobuf(batch.signal(), batch.tenant().clone(), payload).unwrap();
        assert_eq!(again.items(), batch.items());
        assert_eq!(again.payload(), batch.payload(), "what is written is canonical");
        ExportMetricsServiceRequest::decode(batch.payload().clone()).unwrap()
    };
    batches.iter().map(decode).collect()
}

/// A line for each data point, sorted: `name{attributes} kind temporality start..time = value`.
pub(crate) fn lines(metrics: &[Metric]) -> Vec<String> {
    let mut lines = Vec::new();
    for metric in metrics {
        let mut line = |attributes: &[KeyValue], kind: &str, times: (u64, u64), value: String| {
            let (start, end) = times;
            let attributes = text(attributes);
            lines.push(format!(
                "{}{{{attributes}}} {kind} {start}..{end} = {value}",
                metric.name
            ));
        };
        match metric.data.as_ref().unwrap() {
            Data::Gauge(gauge) => {
                for point in &gauge.data_points {
                    line(&point.attributes, "gauge", times(point), number(point));
                }
            }
            Data::Sum(sum) => {
                let sign = if sum.is_monotonic { "+" } else { "" };
                let kind = format!("sum{sign} {}", temporality(sum.aggregation_temporality));
                for point in &sum.data_points {
                    line(&point.attributes, &kind, times(point), number(point));
                }
            }
            Data::Histogram(histogram) => {
                let kind = format!("histogram {}", temporality(histogram.aggregation_temporality));
                for point in &histogram.data_points {
                    let times = (point.start_time_unix_nano, point.time_unix_nano);
                    line(&point.attributes, &kind, times, explicit(point));
                }
            }
            Data::ExponentialHistogram(histogram) => {
                let kind = format!("exponential {}", temporality(histogram.aggregation_temporality));
                for point in &histogram.data_points {
                    let times = (point.start_time_unix_nano, point.time_unix_nano);
                    line(&point.attributes, &kind, times, exponential(point));
                }
            }
            Data::Summary(_) => panic!("no SDK makes summaries"),
        }
    }
    lines.sort();
    lines
}

fn temporality(temporality: i32) -> &'static str {
    match temporality {
        1 => "delta",
        2 => "cumulative",
        other => panic!("temporality {other}"),
    }
}

fn times(point: &NumberDataPoint) -> (u64, u64) {
    (point.start_time_unix_nano, point.time_unix_nano)
}

fn number(point: &NumberDataPoint) -> String {
    match point.value.unwrap() {
        number_data_point::Value::AsInt(value) => value.to_string(),
        number_data_point::Value::AsDouble(value) => format!("{value:?}"),
    }
}

fn statistics(sum: Option<f64>, min: Option<f64>, max: Option<f64>) -> String {
    let mut text = String::new();
    for (name, value) in [("sum", sum), ("min", min), ("max", max)] {
        if let Some(value) = value {
            let _ = write!(text, " {name} {value:?}");
        }
    }
    text
}

fn explicit(point: &HistogramDataPoint) -> String {
    let statistics = statistics(point.sum, point.min, point.max);
    let (counts, bounds) = (&point.bucket_counts, &point.explicit_bounds);
    format!("{}{statistics} {counts:?} to {bounds:?}", point.count)
}

fn exponential(point: &ExponentialHistogramDataPoint) -> String {
    let statistics = statistics(point.sum, point.min, point.max);
    let side = |buckets: &Option<_>| {
        let buckets: &opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets =
            buckets.as_ref()?;
        Some(format!("{:?} from {}", buckets.bucket_counts, buckets.offset))
    };
    let (scale, zeros) = (point.scale, point.zero_count);
    let mut text = format!("{}{statistics} scale {scale} zeros {zeros}", point.count);
    for (sign, buckets) in [("+", &point.positive), ("-", &point.negative)] {
        if let Some(buckets) = side(buckets) {
            let _ = write!(text, " {sign}{buckets}");
        }
    }
    text
}

/// Attributes as `a=1,b=x`, in the order in which they stand.
pub(crate) fn text(attributes: &[KeyValue]) -> String {
    let mut text = String::new();
    for attribute in attributes {
        let separator = if text.is_empty() { "" } else { "," };
        let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
        let value = match value {
            Some(any_value::Value::StringValue(value)) => value.clone(),
            Some(any_value::Value::IntValue(value)) => value.to_string(),
            Some(any_value::Value::BoolValue(value)) => value.to_string(),
            Some(any_value::Value::DoubleValue(value)) => format!("{value:?}"),
            other => format!("{other:?}"),
        };
        let _ = write!(text, "{separator}{}={value}", attribute.key);
    }
    text
}

/// All exemplars of number and histogram points.
pub(crate) fn exemplars(metrics: &[Metric]) -> Vec<Exemplar> {
    let mut found = Vec::new();
    for metric in metrics {
        match metric.data.as_ref().unwrap() {
            Data::Gauge(data) => data
                .data_points
                .iter()
                .for_each(|point| found.extend(point.exemplars.clone())),
            Data::Sum(data) => data
                .data_points
                .iter()
                .for_each(|point| found.extend(point.exemplars.clone())),
            Data::Histogram(data) => data
                .data_points
                .iter()
                .for_each(|point| found.extend(point.exemplars.clone())),
            Data::ExponentialHistogram(data) => data
                .data_points
                .iter()
                .for_each(|point| found.extend(point.exemplars.clone())),
            Data::Summary(_) => panic!("no SDK makes summaries"),
        }
    }
    found
}

pub(crate) fn value_of(exemplar: &Exemplar) -> f64 {
    match exemplar.value.unwrap() {
        exemplar::Value::AsInt(value) => value as f64,
        exemplar::Value::AsDouble(value) => value,
    }
}

/// `key: value` with a text or a number.
pub(crate) fn a<'v>(key: &'v str, value: impl Into<Value<'v>>) -> (&'v str, Value<'v>) {
    (key, value.into())
}
