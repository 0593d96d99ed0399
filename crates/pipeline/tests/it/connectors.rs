//! Connectors: what they make of batches, against plain reference implementations over decoded structures.

mod against_collector;
mod count;
mod routing;
mod servicegraph;
mod spanmetrics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cupola_pipeline::connectors::{Output, Outputs, Surroundings};
use cupola_pipeline::ottl::Env;
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, Signal};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::support::Capture;

pub(crate) const START: u64 = 1_800_000_000_000_000_000;

/// A clock that is moved by hand.
pub(crate) struct Held(AtomicU64);

impl Held {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(START)))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Env for Held {
    fn now_unix_nano(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn random(&self) -> u128 {
        4
    }
}

pub(crate) fn surroundings(clock: &Arc<Held>) -> Surroundings {
    Surroundings {
        env: clock.clone(),
        memory: MemoryBudget::unlimited(),
        instance: None,
    }
}

pub(crate) fn output(pipeline: &str, sink: &Arc<Capture>) -> Output {
    let signal = pipeline.split('/').next().unwrap().parse::<Signal>().unwrap();
    Output {
        pipeline: pipeline.to_owned(),
        signal,
        sink: sink.clone(),
    }
}

pub(crate) fn outputs(named: &[(&str, &Arc<Capture>)]) -> Outputs {
    Outputs::new(named.iter().map(|(name, sink)| output(name, sink)).collect())
}

pub(crate) fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        None => String::new(),
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
    }
}

pub(crate) fn find(attributes: &[KeyValue], key: &str) -> Option<String> {
    let pair = attributes.iter().find(|pair| pair.key == key)?;
    Some(text(pair.value.as_ref()))
}

pub(crate) fn labels(attributes: &[KeyValue]) -> String {
    let pairs: BTreeMap<&str, String> = attributes
        .iter()
        .map(|pair| (pair.key.as_str(), text(pair.value.as_ref())))
        .collect();
    assert_eq!(pairs.len(), attributes.len(), "a label twice: {attributes:?}");
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

/// Spans with the attributes of their resource.
pub(crate) fn spans(batch: &Batch) -> Vec<(Vec<KeyValue>, Span)> {
    let request = ExportTraceServiceRequest::decode(batch.payload().clone()).unwrap();
    let mut spans = Vec::new();
    for resource_spans in request.resource_spans {
        let resource = resource_spans.resource.unwrap_or_default().attributes;
        for scope in resource_spans.scope_spans {
            spans.extend(scope.spans.into_iter().map(|span| (resource.clone(), span)));
        }
    }
    spans
}

/// One point of any kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Point {
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) labels: String,
    pub(crate) temporality: i32,
    pub(crate) start: u64,
    pub(crate) time: u64,
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) bounds: Vec<f64>,
    pub(crate) buckets: Vec<u64>,
    pub(crate) scale: i32,
    pub(crate) offset: i32,
    pub(crate) zero_count: u64,
    /// Trace id, span id, value.
    pub(crate) exemplars: Vec<(Vec<u8>, Vec<u8>, f64)>,
}

/// All points of a batch, which must be canonical and count them.
pub(crate) fn points(batch: &Batch) -> Vec<Point> {
    let again =
        Batch::decode_protobuf(batch.signal(), batch.tenant().clone(), batch.payload().clone()).unwrap();
    assert_eq!(
        again.payload().as_ptr(),
        batch.payload().as_ptr(),
        "not canonical"
    );
    assert_eq!(again.items(), batch.items());
    let request = ExportMetricsServiceRequest::decode(batch.payload().clone()).unwrap();
    let mut points = Vec::new();
    for resource_metrics in request.resource_metrics {
        let resource = labels(&resource_metrics.resource.unwrap_or_default().attributes);
        for metric in resource_metrics
            .scope_metrics
            .into_iter()
            .flat_map(|scope| scope.metrics)
        {
            let base = Point {
                resource: resource.clone(),
                name: metric.name.clone(),
                unit: metric.unit.clone(),
                ..Point::default()
            };
            points.extend(of_data(&base, metric.data.unwrap()));
        }
    }
    points
}

fn of_data(base: &Point, data: Data) -> Vec<Point> {
    let exemplars = |exemplars: Vec<opentelemetry_proto::tonic::metrics::v1::Exemplar>| {
        let value = |value| match value {
            Some(opentelemetry_proto::tonic::metrics::v1::exemplar::Value::AsDouble(value)) => value,
            other => panic!("{other:?}"),
        };
        exemplars
            .into_iter()
            .map(|exemplar| (exemplar.trace_id, exemplar.span_id, value(exemplar.value)))
            .collect()
    };
    match data {
        Data::Sum(sum) => {
            assert!(sum.is_monotonic);
            let of_point = |point: opentelemetry_proto::tonic::metrics::v1::NumberDataPoint| Point {
                labels: labels(&point.attributes),
                temporality: sum.aggregation_temporality,
                start: point.start_time_unix_nano,
                time: point.time_unix_nano,
                count: match point.value {
                    Some(number_data_point::Value::AsInt(count)) => count as u64,
                    other => panic!("{other:?}"),
                },
                ..base.clone()
            };
            sum.data_points.into_iter().map(of_point).collect()
        }
        Data::Histogram(histogram) => {
            let temporality = histogram.aggregation_temporality;
            let of_point = |point: opentelemetry_proto::tonic::metrics::v1::HistogramDataPoint| Point {
                labels: labels(&point.attributes),
                temporality,
                start: point.start_time_unix_nano,
                time: point.time_unix_nano,
                count: point.count,
                sum: point.sum.unwrap(),
                bounds: point.explicit_bounds,
                buckets: point.bucket_counts,
                exemplars: exemplars(point.exemplars),
                ..base.clone()
            };
            histogram.data_points.into_iter().map(of_point).collect()
        }
        Data::ExponentialHistogram(histogram) => {
            let temporality = histogram.aggregation_temporality;
            let of_point = |point: opentelemetry_proto::tonic::metrics::v1::ExponentialHistogramDataPoint| {
                let positive = point.positive.unwrap_or_default();
                Point {
                    labels: labels(&point.attributes),
                    temporality,
                    start: point.start_time_unix_nano,
                    time: point.time_unix_nano,
                    count: point.count,
                    sum: point.sum.unwrap(),
                    scale: point.scale,
                    offset: positive.offset,
                    buckets: positive.bucket_counts,
                    zero_count: point.zero_count,
                    exemplars: exemplars(point.exemplars),
                    ..base.clone()
                }
            };
            histogram.data_points.into_iter().map(of_point).collect()
        }
        other => panic!("unexpected {other:?}"),
    }
}
