//! Deltas and cumulative values: what comes out is what a reference adds up or takes apart, and nothing is lost in a refusal.

use std::collections::BTreeMap;
use std::sync::Arc;

use cupola_export::{Component, SendError, Sink};
use cupola_pipeline::processors::cumulativetodelta::{CumulativeToDelta, CumulativeToDeltaConfig};
use cupola_pipeline::processors::deltatocumulative::{DeltaToCumulative, DeltaToCumulativeConfig};
use cupola_telemetry::view::{MetricData, NumberValue};
use cupola_telemetry::{Batch, Signal, TenantId, encode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{check_canonical, generated, with_held_clock};
use crate::ottl::Still;
use crate::support::Capture;

fn to_cumulative(config: Value) -> (DeltaToCumulative, Arc<Capture>) {
    let config: DeltaToCumulativeConfig = serde_json::from_value(config).unwrap();
    let sink = Arc::new(Capture::default());
    (
        DeltaToCumulative::new(&config, sink.clone(), Arc::new(Still)).unwrap(),
        sink,
    )
}

fn to_delta(config: Value) -> (CumulativeToDelta, Arc<Capture>) {
    let config: CumulativeToDeltaConfig = serde_json::from_value(config).unwrap();
    let sink = Arc::new(Capture::default());
    (
        CumulativeToDelta::new(&config, sink.clone(), Arc::new(Still)).unwrap(),
        sink,
    )
}

/// A point of a stream: as many as `counts` fell into each bucket; a sum says how many in all.
#[derive(Clone, Debug)]
struct Step {
    stream: u8,
    start: u64,
    time: u64,
    counts: Vec<u64>,
    scale: i32,
    offset: i32,
}

fn batch(steps: &[Step], temporality: i32) -> Batch {
    let mut encoder = encode::MetricsEncoder::new();
    for step in steps {
        let mut resource = encoder.resource_metrics();
        resource.resource().attribute("service.name", "cart");
        let mut scope = resource.scope_metrics();
        let total: u64 = step.counts.iter().sum();
        let stream = i64::from(step.stream);
        {
            let mut metric = scope.metric();
            metric.name("sum");
            let mut sum = metric.sum();
            sum.aggregation_temporality(temporality).is_monotonic(true);
            let mut point = sum.point();
            point
                .start_time_unix_nano(step.start)
                .time_unix_nano(step.time)
                .value(total as i64);
            // The order of attributes is of no meaning.
            match step.time % 2 {
                0 => point.attribute("stream", stream).attribute("b", "c"),
                _ => point.attribute("b", "c").attribute("stream", stream),
            };
        }
        {
            let mut metric = scope.metric();
            metric.name("histogram");
            let mut histogram = metric.histogram();
            histogram.aggregation_temporality(temporality);
            let mut point = histogram.point();
            point
                .start_time_unix_nano(step.start)
                .time_unix_nano(step.time)
                .count(total)
                .sum(total as f64);
            point.explicit_bounds((1..step.counts.len()).map(|bound| bound as f64));
            point
                .bucket_counts(step.counts.iter().copied())
                .attribute("stream", stream);
        }
        let mut metric = scope.metric();
        metric.name("exponential");
        let mut histogram = metric.exponential_histogram();
        histogram.aggregation_temporality(temporality);
        let mut point = histogram.point();
        point
            .start_time_unix_nano(step.start)
            .time_unix_nano(step.time)
            .count(total)
            .sum(total as f64);
        point.scale(step.scale).attribute("stream", stream);
        point
            .positive()
            .offset(step.offset)
            .bucket_counts(step.counts.iter().copied());
    }
    encoder.finish(TenantId::default_tenant())
}

/// What the points of a batch say, in order: metric, stream, start, time, count, sum, buckets by lower index and scale.
type Row = (String, i64, u64, u64, u64, Vec<u64>, i32, BTreeMap<i32, u64>);

/// Start, count, buckets with explicit bounds, scale and exponential buckets of a stream so far.
type Sum = (u64, u64, Vec<u64>, i32, BTreeMap<i32, u64>);

fn rows(batches: &[Batch], temporality: i32) -> Vec<Row> {
    let mut rows = Vec::new();
    let stream = |attributes: cupola_telemetry::view::Attributes<'_>| match attributes.get("stream") {
        Some(cupola_telemetry::view::AnyValue::Int(stream)) => stream,
        other => panic!("{other:?}"),
    };
    for batch in batches {
        check_canonical(batch);
        let scopes = batch.metrics().resources().flat_map(|resource| resource.scopes());
        for metric in scopes.flat_map(|scope| scope.metrics()) {
            let name = metric.name.to_owned();
            match metric.data().unwrap() {
                MetricData::Sum {
                    points,
                    temporality: t,
                    monotonic,
                } => {
                    assert!(t == temporality && monotonic);
                    for point in points {
                        let Some(NumberValue::Int(value)) = point.value else {
                            panic!()
                        };
                        let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
                        rows.push((
                            name.clone(),
                            stream(point.attributes),
                            start,
                            time,
                            value as u64,
                            vec![],
                            0,
                            BTreeMap::new(),
                        ));
                    }
                }
                MetricData::Histogram {
                    points,
                    temporality: t,
                } => {
                    assert_eq!(t, temporality);
                    for point in points {
                        assert_eq!(point.sum, Some(point.count as f64));
                        let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
                        let counts = point.bucket_counts.collect();
                        rows.push((
                            name.clone(),
                            stream(point.attributes),
                            start,
                            time,
                            point.count,
                            counts,
                            0,
                            BTreeMap::new(),
                        ));
                    }
                }
                MetricData::ExponentialHistogram {
                    points,
                    temporality: t,
                } => {
                    assert_eq!(t, temporality);
                    for point in points {
                        assert_eq!(point.sum, Some(point.count as f64));
                        let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
                        let buckets = point.positive.map_or(BTreeMap::new(), |buckets| {
                            let counts = buckets.bucket_counts.enumerate();
                            counts
                                .filter(|(_, n)| *n > 0)
                                .map(|(i, n)| (buckets.offset + i as i32, n))
                                .collect()
                        });
                        rows.push((
                            name.clone(),
                            stream(point.attributes),
                            start,
                            time,
                            point.count,
                            vec![],
                            point.scale,
                            buckets,
                        ));
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
    rows
}

fn at_scale(buckets: &BTreeMap<i32, u64>, from: i32, to: i32) -> BTreeMap<i32, u64> {
    let mut all = BTreeMap::new();
    for (index, count) in buckets {
        *all.entry(index >> (from - to)).or_default() += count;
    }
    all
}

/// Steps of some streams, each later than the one before.
fn some_steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0u8..3, prop::collection::vec(0u64..5, 4), 0i32..3, -5i32..5);
    prop::collection::vec(step, 1..30).prop_map(|steps| {
        let step = |(index, (stream, counts, scale, offset)): (usize, (u8, Vec<u64>, i32, i32))| Step {
            stream,
            start: 10 + index as u64,
            time: 11 + index as u64,
            counts,
            scale,
            offset,
        };
        steps.into_iter().enumerate().map(step).collect()
    })
}

async fn send_all(
    sink: &impl Sink,
    capture: &Capture,
    steps: &[Step],
    size: usize,
    temporality: i32,
    refuse: usize,
) {
    for (index, part) in steps.chunks(size).enumerate() {
        if index % 4 == refuse {
            // Refused once: it comes again, and nothing has been counted.
            capture.answer(Err(SendError::retryable("full")));
            sink.send(batch(part, temporality)).await.unwrap_err();
        }
        sink.send(batch(part, temporality)).await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn deltas_are_added_up(steps in some_steps(), size in 1usize..5, refuse in 0usize..8) {
        let found = with_held_clock(async {
            let (processor, sink) = to_cumulative(json!({}));
            send_all(&processor, &sink, &steps, size, 1, refuse).await;
            rows(&sink.batches(), 2)
        });
        let mut sums: BTreeMap<u8, Sum> = BTreeMap::new();
        let mut expected = Vec::new();
        for step in &steps {
            let total: u64 = step.counts.iter().sum();
            let own: BTreeMap<i32, u64> = (0..).map(|i| step.offset + i).zip(step.counts.iter().copied()).filter(|(_, n)| *n > 0).collect();
            let sum = sums.entry(step.stream).or_insert((step.start, 0, vec![0; 4], step.scale, BTreeMap::new()));
            sum.1 += total;
            sum.2.iter_mut().zip(&step.counts).for_each(|(sum, count)| *sum += count);
            let scale = sum.3.min(step.scale);
            let mut all = at_scale(&sum.4, sum.3, scale);
            for (index, count) in at_scale(&own, step.scale, scale) {
                *all.entry(index).or_default() += count;
            }
            (sum.3, sum.4) = (scale, all);
            let stream = i64::from(step.stream);
            expected.push(("sum".to_owned(), stream, sum.0, step.time, sum.1, vec![], 0, BTreeMap::new()));
            expected.push(("histogram".to_owned(), stream, sum.0, step.time, sum.1, sum.2.clone(), 0, BTreeMap::new()));
            expected.push(("exponential".to_owned(), stream, sum.0, step.time, sum.1, vec![], sum.3, sum.4.clone()));
        }
        prop_assert_eq!(found, expected);
    }

    /// Added up and taken apart, deltas are what they were, at the scale that was reached.
    #[test]
    fn taking_apart_what_was_added_up_gives_the_deltas(steps in some_steps(), size in 1usize..5, refuse in 0usize..8) {
        let (deltas, scales) = with_held_clock(async {
            let (adding, added) = to_cumulative(json!({}));
            send_all(&adding, &added, &steps, size, 1, 9).await;
            let (taking, taken) = to_delta(json!({ "initial_value": "keep" }));
            for (index, batch) in added.drain().into_iter().enumerate() {
                if index % 4 == refuse {
                    taken.answer(Err(SendError::retryable("full")));
                    taking.send(batch.clone()).await.unwrap_err();
                }
                taking.send(batch).await.unwrap();
            }
            let rows = rows(&taken.batches(), 1);
            let scales: Vec<i32> = rows.iter().map(|row| row.6).collect();
            (rows, scales)
        });
        let plain = rows(&[batch(&steps, 1)], 1);
        prop_assert_eq!(deltas.len(), plain.len());
        let mut last: BTreeMap<(String, i64), u64> = BTreeMap::new();
        for ((found, plain), scale) in deltas.iter().zip(&plain).zip(scales) {
            let key = (found.0.clone(), found.1);
            prop_assert_eq!(found.2, last.get(&key).copied().unwrap_or(plain.2));
            last.insert(key, found.3);
            prop_assert_eq!((&found.0, found.1, found.3, found.4, &found.5), (&plain.0, plain.1, plain.3, plain.4, &plain.5));
            prop_assert_eq!(&found.7, &at_scale(&plain.7, plain.6, scale));
        }
    }

    /// Generated metrics of any kind lose no point but those that are counted, and stay canonical.
    #[test]
    fn points_are_conserved_or_counted(seed: u64) {
        with_held_clock(async {
            let batch = generated(Signal::Metrics, seed, 300);
            for initial in ["keep", "drop", "auto"] {
                let (processor, sink) = to_delta(json!({ "initial_value": initial }));
                processor.send(batch.clone()).await.unwrap();
                processor.send(batch.clone()).await.unwrap();
                let left: usize = sink.batches().iter().map(Batch::items).sum();
                sink.batches().iter().for_each(check_canonical);
                let mut samples = Vec::new();
                processor.collect(&mut samples);
                let dropped = samples.iter().filter(|sample| sample.labels.iter().any(|(key, _)| *key == "error"));
                let dropped: f64 = dropped.map(|sample| sample.value).sum();
                assert_eq!(left + dropped as usize, 2 * batch.items());
            }
        });
    }
}

fn step(stream: u8, start: u64, time: u64, count: u64) -> Step {
    Step {
        stream,
        start,
        time,
        counts: vec![count, 0],
        scale: 0,
        offset: 0,
    }
}

fn sums(batches: &[Batch], temporality: i32) -> Vec<(u64, u64, u64)> {
    let rows = rows(batches, temporality)
        .into_iter()
        .filter(|row| row.0 == "sum");
    rows.map(|row| (row.2, row.3, row.4)).collect()
}

#[test]
fn late_points_and_too_many_streams_are_dropped_and_counted() {
    with_held_clock(async {
        // Each step is a point of three streams: a sum and two histograms.
        let (processor, sink) = to_cumulative(json!({ "max_streams": 3 }));
        for step in [
            step(1, 10, 20, 1),
            step(1, 20, 30, 2),
            step(1, 20, 30, 2),
            step(1, 5, 40, 2),
            step(2, 20, 30, 1),
        ] {
            processor.send(batch(&[step], 1)).await.unwrap();
        }
        assert_eq!(sums(&sink.batches(), 2), [(10, 20, 1), (10, 30, 3)]);
        let mut samples = Vec::new();
        processor.collect(&mut samples);
        let dropped = |reason: &str| {
            let wanted = ("error", reason.to_owned());
            samples
                .iter()
                .find(|sample| sample.labels.contains(&wanted))
                .map(|sample| sample.value)
        };
        assert_eq!(
            [dropped("out_of_order"), dropped("older_start"), dropped("limit")],
            [Some(3.0); 3]
        );
    });
}

#[test]
fn counting_that_began_anew_is_seen() {
    with_held_clock(async {
        let (processor, sink) = to_delta(json!({ "initial_value": "drop" }));
        for step in [
            step(1, 10, 20, 5),
            step(1, 10, 30, 7),
            step(1, 32, 40, 3),
            step(1, 32, 40, 3),
            step(1, 32, 50, 3),
        ] {
            processor.send(batch(&[step], 2)).await.unwrap();
        }
        assert_eq!(sums(&sink.batches(), 1), [(20, 30, 2), (32, 40, 3), (40, 50, 0)]);
        // Of those that began after this processor, the first value is new too.
        let (auto, sink) = to_delta(json!({}));
        let now = crate::ottl::NOW;
        auto.send(batch(
            &[step(1, now - 10, now + 20, 5), step(2, now + 10, now + 20, 5)],
            2,
        ))
        .await
        .unwrap();
        assert_eq!(sums(&sink.batches(), 1), [(now + 10, now + 20, 5)]);
    });
}

#[test]
fn only_the_metrics_that_are_named_are_converted() {
    with_held_clock(async {
        let kinds = |config: Value| async {
            let (processor, sink) = to_delta(config);
            processor.send(batch(&[step(1, 1, 2, 1)], 2)).await.unwrap();
            let batches = sink.batches();
            let scopes = batches
                .iter()
                .flat_map(|batch| batch.metrics().resources())
                .flat_map(|resource| resource.scopes());
            let delta = scopes.flat_map(|scope| scope.metrics()).filter_map(|metric| {
                let temporality = match metric.data().unwrap() {
                    MetricData::Sum { temporality, .. } | MetricData::Histogram { temporality, .. } => {
                        temporality
                    }
                    MetricData::ExponentialHistogram { temporality, .. } => temporality,
                    _ => 0,
                };
                (temporality == 1).then(|| metric.name.to_owned())
            });
            delta.collect::<Vec<_>>()
        };
        let keep = "keep";
        let named = json!({ "initial_value": keep, "include": { "metrics": ["^s", "hist"], "match_type": "regexp" }, "exclude": { "metrics": ["histogram"], "match_type": "strict" } });
        assert_eq!(kinds(named).await, ["sum"]);
        let typed = json!({ "initial_value": keep, "include": { "metric_types": ["histogram"] } });
        assert_eq!(kinds(typed).await, ["histogram"]);
        assert_eq!(
            kinds(json!({ "initial_value": keep, "exclude": { "metric_types": ["sum"] } })).await,
            ["histogram", "exponential"]
        );
        let untyped: CumulativeToDeltaConfig =
            serde_json::from_value(json!({ "include": { "metrics": ["a"] } })).unwrap();
        assert!(
            untyped
                .validate()
                .unwrap_err()
                .to_string()
                .starts_with("include.match_type: ")
        );
    });
}
