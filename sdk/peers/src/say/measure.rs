//! Measurements, and the points that they are to be.

use std::collections::BTreeMap;

use cupola_sdk::Cupola;
use cupola_sdk::core::metrics::{Description, Instrument};
use cupola_sdk::core::value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};

use super::Speaker;
use crate::expect::{attributes, int, pair, text};

/// The scope of everything that is measured.
pub(crate) const METER: &str = "shop";
const CUMULATIVE: i32 = 2;
/// Those of a histogram that says nothing else.
const BOUNDS: [f64; 15] = [
    0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10000.0,
];

/// Attributes of a series.
type Series = (String, i64);

pub(super) struct Measured {
    orders: Instrument<u64>,
    waiting: Instrument<i64>,
    temperature: Instrument<f64>,
    paper: Instrument<f64>,
    sums: BTreeMap<Series, u64>,
    differences: BTreeMap<Series, i64>,
    lasts: BTreeMap<Series, f64>,
    distributions: BTreeMap<Series, Vec<f64>>,
}

impl Measured {
    pub(super) fn new(cupola: &Cupola) -> Measured {
        let meter = cupola.meter(METER);
        let described = |name, unit| Description {
            unit,
            description: "of a shop – ünïcode",
            ..Description::new(name)
        };
        Measured {
            orders: meter.counter(&described("orders", "{order}")),
            waiting: meter.up_down_counter(&described("waiting", "{order}")),
            temperature: meter.gauge(&described("temperature", "Cel")),
            paper: meter.histogram(&described("paper", "m")),
            sums: BTreeMap::new(),
            differences: BTreeMap::new(),
            lasts: BTreeMap::new(),
            distributions: BTreeMap::new(),
        }
    }

    pub(super) fn finish(&self) -> Vec<Metric> {
        let sums = self
            .sums
            .iter()
            .map(|(series, value)| number(series, Number::AsInt(*value as i64)));
        let differences = self
            .differences
            .iter()
            .map(|(series, value)| number(series, Number::AsInt(*value)));
        let lasts = self
            .lasts
            .iter()
            .map(|(series, value)| number(series, Number::AsDouble(*value)));
        let sum = |data_points, is_monotonic| {
            Data::Sum(Sum {
                data_points,
                aggregation_temporality: CUMULATIVE,
                is_monotonic,
            })
        };
        let paper = self
            .distributions
            .iter()
            .map(|(series, values)| distribution(series, values));
        vec![
            metric("orders", "{order}", sum(sums.collect(), true)),
            metric("waiting", "{order}", sum(differences.collect(), false)),
            metric(
                "temperature",
                "Cel",
                Data::Gauge(Gauge {
                    data_points: lasts.collect(),
                }),
            ),
            metric(
                "paper",
                "m",
                Data::Histogram(Histogram {
                    data_points: paper.collect(),
                    aggregation_temporality: CUMULATIVE,
                }),
            ),
        ]
    }
}

impl Speaker<'_> {
    pub(super) fn measure(&mut self) {
        let content = &mut self.content;
        let kind = content.pick(&["paper", "tinte", "紙", "", "a\"\\b\n"]);
        let shelf = content.below(4) as i64 - 1;
        let labels = [("kind", Value::String(kind)), ("shelf", Value::Int(shelf))];
        let series = (kind.to_owned(), shelf);
        let (orders, waiting) = (content.below(1000) as u64, content.below(100) as i64 - 50);
        let (temperature, paper) = (content.double(), content.measured());
        let measured = &mut self.measured;
        measured.orders.record(orders, &labels);
        *measured.sums.entry(series.clone()).or_default() += orders;
        measured.waiting.record(waiting, &labels);
        *measured.differences.entry(series.clone()).or_default() += waiting;
        if temperature.is_finite() {
            measured.temperature.record(temperature, &labels);
            measured.lasts.insert(series.clone(), temperature);
        }
        measured.paper.record(paper, &labels);
        measured.distributions.entry(series).or_default().push(paper);
    }
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    Metric {
        name: name.to_owned(),
        description: "of a shop – ünïcode".to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn labels((kind, shelf): &Series) -> Vec<opentelemetry_proto::tonic::common::v1::KeyValue> {
    attributes(vec![pair("kind", text(kind)), pair("shelf", int(*shelf))])
}

fn number(series: &Series, value: Number) -> NumberDataPoint {
    NumberDataPoint {
        attributes: labels(series),
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn distribution(series: &Series, values: &[f64]) -> HistogramDataPoint {
    let mut bucket_counts = vec![0; BOUNDS.len() + 1];
    for value in values {
        // Upper bounds are in their buckets.
        bucket_counts[BOUNDS.partition_point(|bound| bound < value)] += 1;
    }
    HistogramDataPoint {
        attributes: labels(series),
        count: values.len() as u64,
        sum: Some(values.iter().sum()),
        min: values.iter().copied().reduce(f64::min),
        max: values.iter().copied().reduce(f64::max),
        bucket_counts,
        explicit_bounds: BOUNDS.to_vec(),
        ..HistogramDataPoint::default()
    }
}
