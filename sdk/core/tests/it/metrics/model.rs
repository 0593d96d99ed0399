//! Whatever threads measure in whatever order, what is collected is what a plain model of it says: nothing is lost, nothing is
//! twice, in each aggregation and temporality.

use std::collections::BTreeMap;

use cupola_sdk_core::metrics::{
    Aggregation, Description, Instrument, MetricSettings, StreamSettings, TemporalityPreference, View,
};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, exponential_histogram_data_point, number_data_point};
use proptest::prelude::*;

use super::{Bench, a, text};

const THREADS: usize = 3;
const BOUNDARIES: [f64; 3] = [-1.0, 0.0, 4.0];

/// What happens.
#[derive(Clone, Debug)]
enum Step {
    /// A thread measures a value of a series. Values are quarters, so that sums of them are exact in any order.
    Measure {
        thread: usize,
        series: u8,
        quarters: i16,
        is_bound: bool,
    },
    Collect,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let measure =
        (0..THREADS, 0..6u8, -40..400i16, any::<bool>()).prop_map(|(thread, series, quarters, is_bound)| {
            Step::Measure {
                thread,
                series,
                quarters,
                is_bound,
            }
        });
    proptest::collection::vec(prop_oneof![8 => measure, 1 => Just(Step::Collect)], 0..80)
}

/// Attributes of a series, in one of several orders; three of the six are one.
fn record(instrument: &Instrument<f64>, series: u8, value: f64, is_bound: bool) {
    let all = [a("n", i64::from(series % 4)), a("kind", "x"), a("is", true)];
    let attributes = match series {
        4 | 5 => [all[1], all[2], all[0]],
        _ => all,
    };
    match is_bound {
        true => instrument.bind(&attributes).record(value),
        false => instrument.record(value, &attributes),
    }
}

fn name(series: u8) -> String {
    format!("is=true,kind=x,n={}", series % 4)
}

/// Values of each series, by which everything that is told of it can be said.
type Model = BTreeMap<String, Vec<f64>>;

/// What is told of one series.
#[derive(Debug, PartialEq)]
enum Told {
    Sum(f64),
    Last(f64),
    Explicit {
        sum: Option<f64>,
        min: f64,
        max: f64,
        counts: Vec<u64>,
    },
    Exponential {
        sum: Option<f64>,
        min: f64,
        max: f64,
        zeros: u64,
        positive: u64,
        negative: u64,
    },
}

fn told_by_model(values: &[f64], aggregation: &Aggregation) -> Told {
    let sum = values.iter().sum();
    let min = values.iter().copied().fold(f64::INFINITY, f64::min);
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let count = |is: &dyn Fn(f64) -> bool| values.iter().filter(|value| is(**value)).count() as u64;
    let positive_sum = (min >= 0.0).then_some(sum);
    match aggregation {
        Aggregation::LastValue => Told::Last(*values.last().unwrap()),
        Aggregation::ExplicitBuckets { .. } => Told::Explicit {
            sum: positive_sum,
            min,
            max,
            counts: vec![
                count(&|value| value <= -1.0),
                count(&|value| value > -1.0 && value <= 0.0),
                count(&|value| value > 0.0 && value <= 4.0),
                count(&|value| value > 4.0),
            ],
        },
        Aggregation::Exponential { .. } => Told::Exponential {
            sum: positive_sum,
            min,
            max,
            zeros: count(&|value| value == 0.0),
            positive: count(&|value| value > 0.0),
            negative: count(&|value| value < 0.0),
        },
        _ => Told::Sum(sum),
    }
}

fn told(metrics: &[Metric]) -> BTreeMap<String, Told> {
    let mut found = BTreeMap::new();
    let value = |value: Option<number_data_point::Value>| match value {
        Some(number_data_point::Value::AsDouble(value)) => value,
        other => panic!("{other:?}"),
    };
    let buckets = |buckets: &Option<exponential_histogram_data_point::Buckets>| {
        buckets
            .as_ref()
            .map_or(0, |buckets| buckets.bucket_counts.iter().sum())
    };
    for metric in metrics {
        let points: Vec<(String, Told)> = match metric.data.as_ref().unwrap() {
            Data::Sum(data) => {
                let points = data.data_points.iter();
                points
                    .map(|point| (text(&point.attributes), Told::Sum(value(point.value))))
                    .collect()
            }
            Data::Gauge(data) => {
                let points = data.data_points.iter();
                points
                    .map(|point| (text(&point.attributes), Told::Last(value(point.value))))
                    .collect()
            }
            Data::Histogram(data) => {
                let points = data.data_points.iter();
                points
                    .map(|point| {
                        assert_eq!(point.count, point.bucket_counts.iter().sum::<u64>());
                        let told = Told::Explicit {
                            sum: point.sum,
                            min: point.min.unwrap(),
                            max: point.max.unwrap(),
                            counts: point.bucket_counts.clone(),
                        };
                        (text(&point.attributes), told)
                    })
                    .collect()
            }
            Data::ExponentialHistogram(data) => {
                let points = data.data_points.iter();
                points
                    .map(|point| {
                        let (positive, negative) = (buckets(&point.positive), buckets(&point.negative));
                        assert_eq!(point.count, point.zero_count + positive + negative);
                        let told = Told::Exponential {
                            sum: point.sum,
                            min: point.min.unwrap(),
                            max: point.max.unwrap(),
                            zeros: point.zero_count,
                            positive,
                            negative,
                        };
                        (text(&point.attributes), told)
                    })
                    .collect()
            }
            Data::Summary(_) => panic!("no SDK makes summaries"),
        };
        for (attributes, told) in points {
            assert!(found.insert(attributes, told).is_none(), "a series is told twice");
        }
    }
    found
}

fn check(steps: &[Step], aggregation: &Aggregation, is_delta: bool) {
    let bench = Bench::new(MetricSettings {
        temporality: match is_delta {
            true => TemporalityPreference::Delta,
            false => TemporalityPreference::Cumulative,
        },
        views: vec![View {
            stream: StreamSettings {
                aggregation: aggregation.clone(),
                ..StreamSettings::default()
            },
            ..View::default()
        }],
        ..MetricSettings::default()
    });
    // A sum of a histogram goes up alone: negative values are dropped.
    let is_sum = *aggregation == Aggregation::Sum;
    let histogram = bench.meter.histogram::<f64>(&Description::new("m"));
    let mut model = Model::new();
    let mut updated = Vec::new();
    let check = |model: &mut Model, updated: &mut Vec<String>| {
        let told = told(&bench.metrics());
        let wanted: BTreeMap<String, Told> = model
            .iter()
            .filter(|(series, _)| !is_delta || updated.contains(series))
            .map(|(series, values)| (series.clone(), told_by_model(values, aggregation)))
            .collect();
        assert_eq!(told, wanted, "{aggregation:?}, delta: {is_delta}");
        updated.clear();
        if is_delta {
            model.clear();
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (give, take) = std::sync::mpsc::sync_channel::<(u8, f64, bool)>(1);
                let (answer, answered) = std::sync::mpsc::sync_channel(1);
                let histogram = &histogram;
                scope.spawn(move || {
                    for (series, value, is_bound) in take {
                        record(histogram, series, value, is_bound);
                        answer.send(()).unwrap();
                    }
                });
                (give, answered)
            })
            .collect();
        for (time, step) in steps.iter().enumerate() {
            bench.set_time(100 + time as u64);
            match step {
                Step::Collect => check(&mut model, &mut updated),
                Step::Measure {
                    thread,
                    series,
                    quarters,
                    is_bound,
                } => {
                    let value = f64::from(*quarters) / 4.0;
                    let (give, answered) = &threads[*thread];
                    give.send((*series, value, *is_bound)).unwrap();
                    answered.recv().unwrap();
                    if !is_sum || value >= 0.0 {
                        model.entry(name(*series)).or_default().push(value);
                        updated.push(name(*series));
                    }
                }
            }
        }
        check(&mut model, &mut updated);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_collected_is_what_was_measured(steps in steps(), is_delta in any::<bool>()) {
        let explicit = Aggregation::ExplicitBuckets {
            boundaries: Some(BOUNDARIES.to_vec()),
            record_min_max: true,
        };
        for aggregation in [Aggregation::Sum, Aggregation::LastValue, explicit, Aggregation::exponential()] {
            check(&steps, &aggregation, is_delta);
        }
    }
}

#[test]
fn threads_that_measure_while_others_collect_lose_nothing() {
    const MEASUREMENTS: u64 = 100_000;
    for temporality in [TemporalityPreference::Cumulative, TemporalityPreference::Delta] {
        let bench = Bench::new(MetricSettings {
            temporality,
            ..MetricSettings::default()
        });
        let counter = bench.meter.counter::<u64>(&Description::new("c"));
        let value = |line: &String| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        let mut sum = 0;
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        for n in 0..MEASUREMENTS {
                            counter.record(1, &[a("n", (n % 10) as i64)]);
                        }
                    })
                })
                .collect();
            while threads.iter().any(|thread| !thread.is_finished()) {
                let told: u64 = bench.collect().iter().map(value).sum();
                sum = told
                    + if temporality == TemporalityPreference::Delta {
                        sum
                    } else {
                        0
                    };
            }
        });
        let told: u64 = bench.collect().iter().map(value).sum();
        sum = told
            + if temporality == TemporalityPreference::Delta {
                sum
            } else {
                0
            };
        assert_eq!(sum, THREADS as u64 * MEASUREMENTS);
    }
}
