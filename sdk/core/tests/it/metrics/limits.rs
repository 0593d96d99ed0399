//! Bounds: on the series of a stream, and on the bytes of a batch.

use cupola_sdk_core::metrics::{
    AttributeKeys, Description, MetricSettings, Selector, StreamSettings, TemporalityPreference, View,
};

use super::{Bench, a};

fn bench(temporality: TemporalityPreference, cardinality_limit: usize) -> Bench {
    Bench::new(MetricSettings {
        temporality,
        cardinality_limit,
        ..MetricSettings::default()
    })
}

fn sum_of(lines: &[String]) -> u64 {
    let value = |line: &String| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    lines.iter().map(value).sum()
}

#[test]
fn as_many_series_as_the_limit_are_told_apart_and_the_others_are_one() {
    let bench = bench(TemporalityPreference::Cumulative, 3);
    let counter = bench.meter.counter::<u64>(&Description::new("c"));
    for n in 0..3 {
        counter.record(1, &[a("n", n)]);
    }
    assert_eq!(bench.collect().len(), 3, "no overflow at the limit");
    for n in (0..10).rev() {
        counter.record(1, &[a("n", n)]);
        counter.bind(&[a("n", n)]).record(1);
    }
    let wanted = [
        "c{n=0} sum+ cumulative 10..10 = 3",
        "c{n=1} sum+ cumulative 10..10 = 3",
        "c{n=2} sum+ cumulative 10..10 = 3",
        "c{otel.metric.overflow=true} sum+ cumulative 10..10 = 14",
    ];
    assert_eq!(bench.collect(), wanted);
    let problems = bench.problems();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("more than 3 series"));
}

#[test]
fn the_series_of_what_is_beyond_the_limit_is_one_also_if_an_application_makes_it() {
    for first in [1, 2] {
        let bench = bench(TemporalityPreference::Cumulative, 2);
        let counter = bench.meter.counter::<u64>(&Description::new("c"));
        for n in 0..5 {
            if n == first {
                counter.record(1, &[a("otel.metric.overflow", true)]);
            }
            counter.record(1, &[a("n", n)]);
        }
        let lines = bench.collect();
        assert_eq!(
            lines.iter().filter(|line| line.contains("overflow")).count(),
            1,
            "{lines:?}"
        );
        assert_eq!(sum_of(&lines), 6);
    }
}

#[test]
fn by_default_there_are_two_thousand_and_no_measurement_is_lost_between_threads() {
    for temporality in [TemporalityPreference::Cumulative, TemporalityPreference::Delta] {
        let bench = bench(temporality, MetricSettings::default().cardinality_limit);
        let counter = bench.meter.counter::<u64>(&Description::new("c"));
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let counter = &counter;
                scope.spawn(move || {
                    for n in 0..3000 {
                        counter.record(1, &[a("n", n * (1 + thread % 2))]);
                    }
                });
            }
        });
        let lines = bench.collect();
        assert_eq!(lines.len(), 2001);
        assert_eq!(sum_of(&lines), 9000);
        let next = bench.collect();
        assert_eq!(
            next.len(),
            if temporality == TemporalityPreference::Delta {
                0
            } else {
                2001
            }
        );
    }
}

#[test]
fn delta_series_make_room_for_others_at_each_collection() {
    let bench = bench(TemporalityPreference::Delta, 2);
    let counter = bench.meter.counter::<u64>(&Description::new("c"));
    for first in [0, 10] {
        for n in first..first + 2 {
            counter.record(1, &[a("n", n)]);
        }
        let lines = bench.collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with(&format!("c{{n={first}}}")), "{lines:?}");
    }
}

#[test]
fn of_observations_the_first_are_told_apart() {
    for temporality in [TemporalityPreference::Cumulative, TemporalityPreference::Delta] {
        let bench = bench(temporality, 2);
        let counter = bench.meter.observable_counter::<u64>(&Description::new("c"));
        bench.meter.register(move |observer| {
            for n in 0..5u64 {
                observer.observe(&counter, 10 + n, &[a("n", n as i64)]);
            }
        });
        let lines = bench.collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("c{n=0}") && lines[0].ends_with("= 10"));
        assert!(lines[1].starts_with("c{n=1}") && lines[1].ends_with("= 11"));
        assert!(
            lines[2].contains("overflow") && lines[2].ends_with("= 39"),
            "{}",
            lines[2]
        );
    }
}

#[test]
fn a_view_has_a_limit_of_its_own_which_counts_what_it_keeps() {
    let bench = Bench::with_views([View {
        selector: Selector {
            name: Some("c".to_owned()),
            ..Selector::default()
        },
        stream: StreamSettings {
            attributes: AttributeKeys::Without(vec!["request".to_owned()]),
            cardinality_limit: Some(1),
            ..StreamSettings::default()
        },
    }]);
    let counter = bench.meter.counter::<u64>(&Description::new("c"));
    for n in 0..20_000 {
        counter.record(1, &[a("request", n), a("route", "/")]);
    }
    assert_eq!(bench.collect(), ["c{route=/} sum+ cumulative 10..10 = 20000"]);
    counter.record(1, &[a("route", "/other")]);
    assert_eq!(bench.collect().len(), 2);
}

#[test]
fn observations_that_become_the_same_are_added_and_others_replaced() {
    let bench = Bench::with_views([View {
        selector: Selector {
            name: Some("kept".to_owned()),
            ..Selector::default()
        },
        stream: StreamSettings {
            attributes: AttributeKeys::Only(vec!["cpu".to_owned()]),
            ..StreamSettings::default()
        },
    }]);
    let kept = bench
        .meter
        .observable_up_down_counter::<i64>(&Description::new("kept"));
    let whole = bench
        .meter
        .observable_up_down_counter::<i64>(&Description::new("whole"));
    bench.meter.register(move |observer| {
        for (core, value) in [(1, 10), (2, 20)] {
            observer.observe(&kept, value, &[a("cpu", 0), a("core", core)]);
            observer.observe(&whole, value, &[a("cpu", 0)]);
        }
    });
    assert_eq!(
        bench.collect(),
        [
            "kept{cpu=0} sum cumulative 10..10 = 30",
            "whole{cpu=0} sum cumulative 10..10 = 20"
        ]
    );
}

#[test]
fn batches_are_as_large_as_they_may_be_and_no_point_is_lost_or_twice() {
    let bench = Bench::new(MetricSettings {
        batch_bytes: 2000,
        ..MetricSettings::default()
    });
    for metric in ["one", "two"] {
        let counter = bench.meter.counter::<u64>(&Description::new(metric));
        for n in 0..100 {
            counter.record(1, &[a("n", n)]);
        }
    }
    let batches = bench.batches();
    assert!(batches.len() > 3, "{}", batches.len());
    assert!(batches.iter().all(|batch| batch.payload().len() < 2300));
    assert_eq!(batches.iter().map(|batch| batch.items()).sum::<usize>(), 200);
    let lines = bench.collect();
    let distinct: std::collections::HashSet<_> = lines.iter().collect();
    assert_eq!((lines.len(), distinct.len()), (200, 200));
}
