//! Instruments: their names, their kinds, those that are asked for twice, and what of a measurement is refused.

use cupola_sdk_core::baggage::Baggage;
use cupola_sdk_core::metrics::{Context, Description, MetricSettings, StreamSettings, View};
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::settings::BaggageKeys;
use cupola_sdk_core::{Settings, SpanContext, Value};

use super::{Bench, a};

#[test]
fn each_kind_of_instrument_becomes_the_metric_that_it_is_made_for() {
    let bench = Bench::new(MetricSettings::default());
    let meter = &bench.meter;
    let named = Description::new;
    meter.counter::<u64>(&named("counter")).record(2, &[]);
    meter.counter::<f64>(&named("counter.f")).record(0.5, &[]);
    meter.up_down_counter::<i64>(&named("updown")).record(-3, &[]);
    meter.up_down_counter::<f64>(&named("updown.f")).record(-0.5, &[]);
    meter.gauge::<i64>(&named("gauge")).record(-1, &[]);
    meter.gauge::<u64>(&named("gauge.u")).record(1, &[]);
    meter.gauge::<f64>(&named("gauge.f")).record(1.5, &[]);
    let histogram = meter.histogram::<u64>(&named("histogram"));
    for value in [0, 5, 6, 20_000] {
        histogram.record(value, &[]);
    }
    let oc = meter.observable_counter::<u64>(&named("ocounter"));
    let ou = meter.observable_up_down_counter::<i64>(&named("oupdown"));
    let og = meter.observable_gauge::<f64>(&named("ogauge"));
    meter.counter::<u64>(&named("never.used"));
    meter.register(move |observer| {
        observer.observe(&oc, 7, &[]);
        observer.observe(&ou, -7, &[]);
        observer.observe(&og, 0.25, &[]);
    });
    let bounds = "[0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10000.0]";
    let counts = "[1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]";
    let wanted = [
        "counter.f{} sum+ cumulative 10..20 = 0.5",
        "counter{} sum+ cumulative 10..20 = 2",
        "gauge.f{} gauge 0..20 = 1.5",
        "gauge.u{} gauge 0..20 = 1",
        "gauge{} gauge 0..20 = -1",
        &format!(
            "histogram{{}} histogram cumulative 10..20 = 4 sum 20011.0 min 0.0 max 20000.0 {counts} to {bounds}"
        ),
        "ocounter{} sum+ cumulative 10..20 = 7",
        "ogauge{} gauge 0..20 = 0.25",
        "oupdown{} sum cumulative 10..20 = -7",
        "updown.f{} sum cumulative 10..20 = -0.5",
        "updown{} sum cumulative 10..20 = -3",
    ];
    assert_eq!(bench.collect_at(20), wanted);
    assert_eq!(bench.problems(), [""; 0]);
}

#[test]
fn an_instrument_with_a_name_that_is_none_does_nothing_and_says_why() {
    let bench = Bench::new(MetricSettings::default());
    let long = "a".repeat(256);
    for name in ["", "1st", "_a", "with space", "größe", long.as_str()] {
        let counter = bench.meter.counter::<u64>(&Description::new(name));
        assert!(!counter.is_enabled(), "{name}");
        counter.record(1, &[]);
        counter.bind(&[]).record(1);
    }
    for name in ["a", "A.b_c-d/e9", &long[1..]] {
        assert!(
            bench.meter.counter::<u64>(&Description::new(name)).is_enabled(),
            "{name}"
        );
    }
    assert_eq!(bench.collect(), [""; 0]);
    let problems = bench.problems();
    assert_eq!(problems.len(), 6);
    assert!(
        problems[1].contains("\"1st\"") && problems[1].contains("begin with a letter"),
        "{problems:?}"
    );
}

#[test]
fn units_and_descriptions_are_sent_as_they_are() {
    let bench = Bench::new(MetricSettings::default());
    let description = Description {
        unit: "{größe}",
        description: "how large",
        ..Description::new("c")
    };
    bench.meter.counter::<u64>(&description).record(1, &[]);
    let metrics = bench.metrics();
    assert_eq!(
        (metrics[0].unit.as_str(), metrics[0].description.as_str()),
        ("{größe}", "how large")
    );
}

#[test]
fn the_same_instrument_is_one_whoever_asks_for_it_and_however_it_is_spelled() {
    let bench = Bench::new(MetricSettings::default());
    for name in ["requests", "requests", "Requests"] {
        bench.meter.counter::<u64>(&Description::new(name)).record(1, &[]);
    }
    // Of another meter, it is another one.
    let other = bench.meters.meter(Scope::of("other", "", "", &[]));
    other.counter::<u64>(&Description::new("requests")).record(1, &[]);
    assert_eq!(
        bench.collect(),
        [
            "requests{} sum+ cumulative 10..10 = 1",
            "requests{} sum+ cumulative 10..10 = 3"
        ]
    );
    let problems = bench.problems();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("another spelling"), "{problems:?}");
}

#[test]
fn instruments_that_contradict_each_other_are_both_sent_and_said() {
    let bench = Bench::new(MetricSettings::default());
    let named = |unit| Description {
        unit,
        ..Description::new("size")
    };
    bench.meter.counter::<u64>(&named("By")).record(1, &[]);
    bench.meter.up_down_counter::<i64>(&named("By")).record(2, &[]);
    bench.meter.counter::<u64>(&named("kB")).record(3, &[]);
    bench.meter.counter::<f64>(&named("By")).record(4.0, &[]);
    assert_eq!(
        bench.collect(),
        [
            "size{} sum cumulative 10..10 = 2",
            "size{} sum+ cumulative 10..10 = 1",
            "size{} sum+ cumulative 10..10 = 3",
            "size{} sum+ cumulative 10..10 = 4.0",
        ]
    );
    let problems = bench.problems();
    assert_eq!(problems.len(), 3);
    assert!(problems[0].contains("differ in kind") && problems[0].contains("type up_down_counter"));
    assert!(problems[1].contains("differ in unit") && problems[1].contains("unit \"kB\""));
    assert!(problems[2].contains("type of number"), "{problems:?}");
}

#[test]
fn a_view_that_gives_one_description_settles_a_conflict() {
    let view = View {
        stream: StreamSettings {
            description: Some("one".to_owned()),
            ..StreamSettings::default()
        },
        ..View::default()
    };
    for (views, wanted) in [(vec![], 1), (vec![view], 0)] {
        let bench = Bench::with_views(views);
        for description in ["this", "that"] {
            let description = Description {
                description,
                ..Description::new("c")
            };
            bench.meter.counter::<u64>(&description).record(1, &[]);
        }
        assert_eq!(bench.problems().len(), wanted);
        assert_eq!(bench.collect().len(), wanted + 1);
    }
}

#[test]
fn numbers_that_would_spoil_a_series_are_dropped_counted_and_said_once() {
    let bench = Bench::new(MetricSettings::default());
    let counter = bench.meter.counter::<f64>(&Description::new("c"));
    let updown = bench.meter.up_down_counter::<f64>(&Description::new("u"));
    let gauge = bench.meter.gauge::<f64>(&Description::new("g"));
    for value in [1.0, f64::NAN, f64::INFINITY, -1.0, 2.0] {
        counter.record(value, &[]);
        counter.bind(&[]).record(value);
        updown.record(value, &[]);
        gauge.record(value, &[]);
    }
    assert_eq!(
        bench.collect(),
        [
            "c{} sum+ cumulative 10..10 = 6.0",
            "g{} gauge 0..10 = 2.0",
            "u{} sum cumulative 10..10 = 2.0"
        ]
    );
    assert_eq!(bench.meters.dropped(), 10);
    let problems = bench.problems();
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert!(
        problems
            .iter()
            .any(|problem| problem.contains("\"c\" only counts up"))
    );
}

#[test]
fn a_histogram_with_negative_values_has_no_sum() {
    let bench = Bench::new(MetricSettings::default());
    let description = Description {
        boundaries: Some(&[0.0]),
        ..Description::new("h")
    };
    let histogram = bench.meter.histogram::<f64>(&description);
    histogram.record(1.0, &[]);
    assert_eq!(
        bench.collect(),
        ["h{} histogram cumulative 10..10 = 1 sum 1.0 min 1.0 max 1.0 [0, 1] to [0.0]"]
    );
    histogram.record(-3.0, &[]);
    assert_eq!(
        bench.collect(),
        ["h{} histogram cumulative 10..10 = 2 min -3.0 max 1.0 [1, 1] to [0.0]"]
    );
}

#[test]
fn sums_end_at_the_largest_number_that_otlp_has() {
    let bench = Bench::new(MetricSettings::default());
    let counter = bench.meter.counter::<u64>(&Description::new("c"));
    counter.record(u64::MAX, &[]);
    counter.record(u64::MAX, &[]);
    assert_eq!(
        bench.collect(),
        [format!("c{{}} sum+ cumulative 10..10 = {}", i64::MAX)]
    );
}

#[test]
fn attributes_are_a_set_of_any_values_without_limits() {
    let bench = Bench::new(MetricSettings::default());
    let counter = bench.meter.counter::<u64>(&Description::new("c"));
    let long = "x".repeat(10_000);
    let values = [Value::Int(1), Value::String("two")];
    for attributes in [
        &[a("a", 1), a("b", "x")][..],
        &[a("b", "x"), a("a", 1)],
        &[a("a", true), a("b", "x"), a("", "no name"), a("a", 1)],
    ] {
        counter.record(1, attributes);
        counter.bind(attributes).record(1);
    }
    counter.record(1, &[a("a", "1")]);
    counter.record(1, &[a("a", 1.0)]);
    counter.record(1, &[a("long", long.as_str())]);
    for _ in 0..3 {
        counter.record(1, &[("list", Value::Array(&values))]);
    }
    let lines = bench.collect();
    assert_eq!(lines[0], "c{a=1,b=x} sum+ cumulative 10..10 = 6");
    assert_eq!(lines[1], "c{a=1.0} sum+ cumulative 10..10 = 1");
    assert_eq!(lines[2], "c{a=1} sum+ cumulative 10..10 = 1");
    assert!(
        lines[3].starts_with("c{list=") && lines[3].ends_with("= 3"),
        "{}",
        lines[3]
    );
    assert_eq!(lines[4], format!("c{{long={long}}} sum+ cumulative 10..10 = 1"));
    let many: Vec<String> = (0..200).map(|n| format!("key {n}")).collect();
    let many: Vec<_> = many.iter().map(|key| a(key, 1)).collect();
    counter.record(1, &many);
    let count = |line: &String| line.matches("key ").count();
    assert!(bench.collect().iter().any(|line| count(line) == 200));
}

#[test]
fn baggage_brings_the_attributes_that_are_allowed() {
    let mut settings = Settings::default();
    settings.baggage.metrics = BaggageKeys::These(vec!["tenant.id".to_owned()]);
    let bench = Bench::of(&settings);
    let counter = bench.meter.counter::<u64>(&Description::new("c"));
    let baggage = Baggage::none().with("tenant.id", "t1").unwrap();
    let baggage = baggage.with("user.id", "u1").unwrap();
    let context = Context {
        span: &SpanContext::none(),
        baggage: &baggage,
    };
    counter.record_in(1, &[a("a", 1)], &context);
    counter.record_in(1, &[a("tenant.id", "own")], &context);
    counter.record(1, &[a("a", 1)]);
    assert_eq!(
        bench.collect(),
        [
            "c{a=1,tenant.id=t1} sum+ cumulative 10..10 = 1",
            "c{a=1} sum+ cumulative 10..10 = 1",
            "c{tenant.id=own} sum+ cumulative 10..10 = 1",
        ]
    );
    settings.baggage.metrics = BaggageKeys::These(Vec::new());
    bench.meters.apply(&settings);
    counter.record_in(1, &[a("b", 1)], &context);
    assert!(
        bench
            .collect()
            .contains(&"c{b=1} sum+ cumulative 10..10 = 1".to_owned())
    );
}

#[test]
fn what_is_disabled_measures_and_asks_nothing_until_it_is_enabled() {
    let mut settings = Settings {
        is_disabled: true,
        ..Settings::default()
    };
    let bench = Bench::of(&settings);
    let counter = bench.meter.counter::<u64>(&Description::new("c"));
    let gauge = bench.meter.observable_gauge::<u64>(&Description::new("g"));
    bench
        .meter
        .register(move |observer| observer.observe(&gauge, 1, &[]));
    counter.record(1, &[]);
    assert!(!counter.is_enabled());
    assert_eq!(bench.batches().len(), 0);
    settings.is_disabled = false;
    bench.meters.apply(&settings);
    counter.record(2, &[]);
    assert!(counter.is_enabled());
    assert_eq!(
        bench.collect(),
        ["c{} sum+ cumulative 10..10 = 2", "g{} gauge 0..10 = 1"]
    );
}

#[test]
fn instruments_without_end_are_refused_at_a_bound() {
    let bench = Bench::new(MetricSettings::default());
    for n in 0..4096 {
        bench.meter.counter::<u64>(&Description::new(&format!("c{n}")));
    }
    let counter = bench.meter.counter::<u64>(&Description::new("one.more"));
    assert!(!counter.is_enabled());
    assert!(
        bench
            .meter
            .counter::<u64>(&Description::new("c4000"))
            .is_enabled()
    );
    assert_eq!(bench.problems().len(), 1);
}
