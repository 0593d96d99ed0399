//! Items are counted exactly, are valid, and have the stated number of attributes.

use std::collections::HashSet;
use std::time::Duration;

use cupola_generator::{Generator, GeneratorConfig, START_UNIX_NANO_MAX, ndjson};
use cupola_telemetry::{Batch, Signal};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;

use crate::{generator, metrics, records, spans};

#[test]
fn batches_hold_exactly_as_many_items_as_asked_for() {
    let mut generator = generator(21);
    for count in [1, 7, 512, 1_000] {
        let (logs, traces, points) = (
            generator.logs(count),
            generator.traces(count),
            generator.points(count),
        );
        assert_eq!([logs.items(), traces.items(), points.items()], [count; 3]);
        assert_eq!(records(&logs).len(), count);
        assert_eq!(spans(&traces).len(), count);
        assert_eq!(count_points(&points), count);
    }
}

#[test]
fn items_have_eight_to_twenty_distinct_attributes() {
    let mut generator = generator(22);
    let logs = records(&generator.logs(5_000));
    let spans = spans(&generator.traces(5_000));
    let of_logs = logs.iter().map(|(_, record)| &record.attributes);
    for attributes in of_logs.chain(spans.iter().map(|(_, span)| &span.attributes)) {
        assert!((8..=20).contains(&attributes.len()), "{attributes:?}");
        let keys: HashSet<_> = attributes.iter().map(|attribute| &attribute.key).collect();
        assert_eq!(keys.len(), attributes.len(), "{attributes:?}");
    }
}

#[test]
fn all_kinds_of_metrics_appear_and_counters_never_fall() {
    let mut generator = generator(23);
    let series = generator.series();
    let mut kinds = HashSet::new();
    let mut last: Vec<u64> = Vec::new();
    for _ in 0..3 {
        let mut counts = Vec::new();
        let sweep = metrics(&generator.points(series));
        let metrics = sweep
            .resource_metrics
            .into_iter()
            .flat_map(|resource| resource.scope_metrics);
        for metric in metrics.flat_map(|scope| scope.metrics) {
            let data = metric.data.unwrap();
            kinds.insert(std::mem::discriminant(&data));
            if let Data::Histogram(histogram) = data {
                for point in histogram.data_points {
                    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                    assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
                    counts.push(point.count);
                }
            }
        }
        assert!(last.iter().zip(&counts).all(|(before, after)| before <= after));
        last = counts;
    }
    assert_eq!(kinds.len(), 5);
}

#[test]
fn batches_are_canonical_as_they_are() {
    let mut generator = generator(24);
    for signal in Signal::ALL {
        let batch = generator.batch(signal, 500);
        let decoded =
            Batch::decode_protobuf(signal, batch.tenant().clone(), batch.payload().clone()).unwrap();
        assert_eq!(decoded.items(), batch.items());
        // The same allocation: nothing had to be rewritten.
        assert_eq!(decoded.payload().as_ptr(), batch.payload().as_ptr());
    }
}

#[test]
fn ndjson_has_one_object_for_each_item() {
    let mut generator = generator(25);
    for signal in Signal::ALL {
        let mut text = Vec::new();
        ndjson::write(&generator.batch(signal, 200), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().count(), 200);
        assert!(
            text.lines()
                .all(|line| line.starts_with('{') && line.ends_with('}'))
        );
    }
}

#[test]
fn no_configuration_makes_it_fail() {
    let mut generator = Generator::new(GeneratorConfig {
        services: 2,
        pods: 2,
        start_unix_nano: u64::MAX,
        logs_per_second: f64::MIN_POSITIVE,
        spans_per_second: 0.0,
        metric_interval: Duration::MAX,
        ..GeneratorConfig::default()
    });
    for signal in Signal::ALL {
        // More points than there are series, so that the clock of metrics moves.
        for _ in 0..3 {
            assert_eq!(generator.batch(signal, 5_000).items(), 5_000);
        }
        assert!(generator.now(signal) >= START_UNIX_NANO_MAX);
    }
}

fn count_points(batch: &Batch) -> usize {
    let decoded = metrics(batch);
    let metrics = decoded
        .resource_metrics
        .iter()
        .flat_map(|resource| &resource.scope_metrics);
    metrics
        .flat_map(|scope| &scope.metrics)
        .map(|metric| match metric.data.as_ref().unwrap() {
            Data::Gauge(data) => data.data_points.len(),
            Data::Sum(data) => data.data_points.len(),
            Data::Histogram(data) => data.data_points.len(),
            Data::ExponentialHistogram(data) => data.data_points.len(),
            Data::Summary(data) => data.data_points.len(),
        })
        .sum()
}
