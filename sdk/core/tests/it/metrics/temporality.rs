//! What is told since it began, what since the last collection, and from when to when.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use cupola_sdk_core::metrics::{Description, MetricSettings, TemporalityPreference};

use super::{Bench, a};
use crate::forked::in_child;

fn bench(temporality: TemporalityPreference) -> Bench {
    Bench::new(MetricSettings {
        temporality,
        ..MetricSettings::default()
    })
}

#[test]
fn the_preference_decides_by_kind() {
    let cases = [
        (TemporalityPreference::Cumulative, "CCCCC"),
        (TemporalityPreference::Delta, "DDCDC"),
        (TemporalityPreference::LowMemory, "DDCCC"),
    ];
    for (temporality, wanted) in cases {
        let bench = bench(temporality);
        let named = Description::new;
        bench.meter.counter::<u64>(&named("a.counter")).record(1, &[]);
        bench.meter.histogram::<u64>(&named("b.histogram")).record(1, &[]);
        bench
            .meter
            .up_down_counter::<i64>(&named("c.updown"))
            .record(1, &[]);
        let counter = bench.meter.observable_counter::<u64>(&named("d.counter"));
        let updown = bench.meter.observable_up_down_counter::<i64>(&named("e.updown"));
        bench.meter.register(move |observer| {
            observer.observe(&counter, 1, &[]);
            observer.observe(&updown, 1, &[]);
        });
        let kinds: String = bench
            .collect()
            .iter()
            .map(|line| if line.contains(" delta ") { 'D' } else { 'C' })
            .collect();
        assert_eq!(kinds, wanted, "{temporality:?}");
    }
}

#[test]
fn cumulative_series_begin_with_their_first_measurement_and_are_told_for_ever() {
    let bench = bench(TemporalityPreference::Cumulative);
    let counter = bench.meter.counter::<u64>(&Description::new("c"));
    assert_eq!(bench.collect_at(15), [""; 0], "nothing was measured");
    bench.set_time(20);
    counter.record(1, &[a("n", 1)]);
    assert_eq!(bench.collect_at(30), ["c{n=1} sum+ cumulative 20..30 = 1"]);
    bench.set_time(40);
    counter.record(2, &[a("n", 1)]);
    counter.record(5, &[a("n", 2)]);
    let wanted = [
        "c{n=1} sum+ cumulative 20..50 = 3",
        "c{n=2} sum+ cumulative 40..50 = 5",
    ];
    assert_eq!(bench.collect_at(50), wanted);
    let wanted = [
        "c{n=1} sum+ cumulative 20..60 = 3",
        "c{n=2} sum+ cumulative 40..60 = 5",
    ];
    assert_eq!(bench.collect_at(60), wanted);
}

#[test]
fn delta_series_begin_with_the_last_collection_and_are_told_when_they_were_measured() {
    let bench = bench(TemporalityPreference::Delta);
    let counter = bench.meter.counter::<u64>(&Description::new("c"));
    bench.set_time(20);
    counter.record(1, &[a("n", 1)]);
    assert_eq!(bench.collect_at(30), ["c{n=1} sum+ delta 10..30 = 1"]);
    bench.set_time(40);
    counter.record(2, &[a("n", 1)]);
    counter.record(5, &[a("n", 2)]);
    let wanted = ["c{n=1} sum+ delta 30..50 = 2", "c{n=2} sum+ delta 30..50 = 5"];
    assert_eq!(bench.collect_at(50), wanted);
    assert_eq!(bench.collect_at(60), [""; 0]);
    counter.record(0, &[a("n", 2)]);
    assert_eq!(bench.collect_at(70), ["c{n=2} sum+ delta 60..70 = 0"]);
}

#[test]
fn gauges_tell_the_newest_value_of_all_threads() {
    let bench = bench(TemporalityPreference::Delta);
    let gauge = bench.meter.gauge::<u64>(&Description::new("g"));
    let in_thread = |time, value| {
        bench.set_time(time);
        std::thread::scope(|scope| {
            scope.spawn(|| gauge.record(value, &[]));
        });
    };
    bench.set_time(20);
    gauge.record(1, &[]);
    in_thread(21, 2);
    assert_eq!(bench.collect_at(30), ["g{} gauge 0..30 = 2"]);
    in_thread(35, 4);
    bench.set_time(36);
    gauge.record(3, &[]);
    assert_eq!(bench.collect_at(40), ["g{} gauge 0..40 = 3"]);
    assert_eq!(
        bench.collect_at(50),
        ["g{} gauge 0..50 = 3"],
        "it still stands there"
    );
}

/// An observable counter and an observable gauge with these values, changed from outside.
fn observed(bench: &Bench) -> Arc<Mutex<Vec<(i64, u64)>>> {
    let values: Arc<Mutex<Vec<(i64, u64)>>> = Arc::default();
    let counter = bench.meter.observable_counter::<u64>(&Description::new("c"));
    let seen = values.clone();
    bench.meter.register(move |observer| {
        for (n, value) in seen.lock().unwrap().iter() {
            observer.observe(&counter, *value, &[a("n", *n)]);
        }
    });
    values
}

#[test]
fn cumulative_observations_are_told_as_they_are_from_the_collection_before_their_first() {
    let bench = bench(TemporalityPreference::Cumulative);
    let values = observed(&bench);
    *values.lock().unwrap() = vec![(1, 100)];
    assert_eq!(bench.collect_at(20), ["c{n=1} sum+ cumulative 10..20 = 100"]);
    *values.lock().unwrap() = vec![(1, 150), (2, 7)];
    let wanted = [
        "c{n=1} sum+ cumulative 10..30 = 150",
        "c{n=2} sum+ cumulative 20..30 = 7",
    ];
    assert_eq!(bench.collect_at(30), wanted);
    // One is not observed any more, the other has begun anew.
    *values.lock().unwrap() = vec![(1, 5)];
    assert_eq!(bench.collect_at(40), ["c{n=1} sum+ cumulative 30..40 = 5"]);
    *values.lock().unwrap() = vec![(1, 6), (2, 9)];
    let wanted = [
        "c{n=1} sum+ cumulative 30..50 = 6",
        "c{n=2} sum+ cumulative 40..50 = 9",
    ];
    assert_eq!(bench.collect_at(50), wanted);
}

#[test]
fn delta_observations_are_told_as_what_they_have_grown() {
    let bench = bench(TemporalityPreference::Delta);
    let values = observed(&bench);
    *values.lock().unwrap() = vec![(1, 100)];
    assert_eq!(bench.collect_at(20), ["c{n=1} sum+ delta 10..20 = 100"]);
    *values.lock().unwrap() = vec![(1, 150), (2, 7)];
    let wanted = ["c{n=1} sum+ delta 20..30 = 50", "c{n=2} sum+ delta 20..30 = 7"];
    assert_eq!(bench.collect_at(30), wanted);
    *values.lock().unwrap() = vec![(1, 150)];
    assert_eq!(bench.collect_at(40), ["c{n=1} sum+ delta 30..40 = 0"]);
    // Less than before: it has begun anew.
    *values.lock().unwrap() = vec![(1, 20), (2, 9)];
    let wanted = ["c{n=1} sum+ delta 40..50 = 20", "c{n=2} sum+ delta 40..50 = 9"];
    assert_eq!(bench.collect_at(50), wanted);
    *values.lock().unwrap() = vec![(1, 21)];
    assert_eq!(bench.collect_at(60), ["c{n=1} sum+ delta 50..60 = 1"]);
}

#[test]
fn a_callback_that_fails_once_does_not_make_deltas_begin_anew() {
    let bench = bench(TemporalityPreference::Delta);
    let value = Arc::new(AtomicU64::new(100));
    let seen = value.clone();
    let counter = bench.meter.observable_counter::<u64>(&Description::new("c"));
    bench.meter.register(move |observer| {
        let value = seen.load(Ordering::Relaxed);
        assert!(value != 0, "nothing to see");
        observer.observe(&counter, value, &[]);
    });
    assert_eq!(bench.collect_at(20), ["c{} sum+ delta 10..20 = 100"]);
    value.store(0, Ordering::Relaxed);
    assert_eq!(bench.collect_at(30), [""; 0]);
    value.store(130, Ordering::Relaxed);
    assert_eq!(bench.collect_at(40), ["c{} sum+ delta 30..40 = 30"]);
    assert!(
        bench.problems()[0].contains("nothing to see"),
        "{:?}",
        bench.problems()
    );
}

#[test]
fn a_child_begins_anew_and_repeats_nothing_of_its_parent() {
    for temporality in [TemporalityPreference::Cumulative, TemporalityPreference::Delta] {
        let bench = bench(temporality);
        let counter = bench.meter.counter::<u64>(&Description::new("c"));
        let bound = counter.bind(&[a("n", 1)]);
        let histogram = bench.meter.histogram::<f64>(&Description {
            boundaries: Some(&[]),
            ..Description::new("h")
        });
        counter.record(1, &[a("n", 1)]);
        assert_eq!(bench.collect_at(20).len(), 1);
        bench.set_time(30);
        counter.record(10, &[a("n", 1)]);
        histogram.record(1.0, &[]);

        let said = in_child(|| {
            let none = bench.collect_at(35).join(";");
            bench.set_time(40);
            counter.record(2, &[a("n", 1)]);
            bound.record(3);
            histogram.record(5.0, &[]);
            let first = bench.collect_at(50).join(";");
            let new = bench.meter.counter::<u64>(&Description::new("new"));
            new.record(1, &[]);
            counter.record(1, &[a("n", 1)]);
            format!("{none}|{first}|{}", bench.collect_at(60).join(";"))
        });
        let own = bench.collect_at(70);
        match temporality {
            TemporalityPreference::Cumulative => {
                assert_eq!(
                    said,
                    "|c{n=1} sum+ cumulative 40..50 = 5;\
                     h{} histogram cumulative 40..50 = 1 sum 5.0 min 5.0 max 5.0 [1] to []|\
                     c{n=1} sum+ cumulative 40..60 = 6;\
                     h{} histogram cumulative 40..60 = 1 sum 5.0 min 5.0 max 5.0 [1] to [];\
                     new{} sum+ cumulative 50..60 = 1"
                );
                assert_eq!(own[0], "c{n=1} sum+ cumulative 10..70 = 11");
            }
            _ => {
                assert_eq!(
                    said,
                    "|c{n=1} sum+ delta 35..50 = 5;\
                     h{} histogram delta 35..50 = 1 sum 5.0 min 5.0 max 5.0 [1] to []|\
                     c{n=1} sum+ delta 50..60 = 1;new{} sum+ delta 50..60 = 1"
                );
                assert_eq!(own[0], "c{n=1} sum+ delta 20..70 = 10");
            }
        }
        assert_eq!(own.len(), 2, "{own:?}");
    }
}

#[test]
fn a_child_that_measures_before_it_collects_begins_with_its_first_measurement() {
    let bench = bench(TemporalityPreference::Delta);
    let counter = bench.meter.counter::<u64>(&Description::new("c"));
    counter.record(1, &[]);
    let said = in_child(|| {
        bench.set_time(30);
        counter.record(2, &[]);
        bench.collect_at(40).join(";")
    });
    assert_eq!(said, "c{} sum+ delta 30..40 = 2");
}

#[test]
fn a_child_measures_although_its_parent_was_collecting_and_measuring() {
    let bench = bench(TemporalityPreference::Cumulative);
    let counter = bench.meter.counter::<u64>(&Description::new("c"));
    let (begun, end) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
    let is_parent = std::process::id();
    std::thread::scope(|scope| {
        let barriers = Arc::new((begun, end));
        let waiting = barriers.clone();
        bench.meter.register(move |_| {
            if std::process::id() == is_parent {
                waiting.0.wait();
                waiting.1.wait();
            }
        });
        scope.spawn(|| {
            counter.record(1, &[]);
            bench.collect()
        });
        barriers.0.wait();
        // The state is locked by the thread that collects, which the child does not have.
        let said = in_child(|| {
            bench.meter.counter::<u64>(&Description::new("d")).record(1, &[]);
            counter.record(2, &[]);
            bench.collect().join(";")
        });
        barriers.1.wait();
        assert_eq!(
            said,
            "c{} sum+ cumulative 10..10 = 2;d{} sum+ cumulative 10..10 = 1"
        );
    });
}
