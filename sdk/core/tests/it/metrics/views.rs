//! Views: what they match, and what they make of it.

use cupola_sdk_core::metrics::{
    Aggregation, AttributeKeys, Description, HistogramPreference, Kind, MetricSettings, Selector,
    StreamSettings, View,
};
use cupola_sdk_core::recorder::Scope;

use super::{Bench, a};

fn of(name: &str) -> Selector {
    Selector {
        name: Some(name.to_owned()),
        ..Selector::default()
    }
}

fn dropping(selector: Selector) -> View {
    View {
        selector,
        stream: StreamSettings {
            aggregation: Aggregation::Drop,
            ..StreamSettings::default()
        },
    }
}

fn keys(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

#[test]
fn a_view_matches_what_has_everything_that_it_selects() {
    let some = |text: &str| Some(text.to_owned());
    let cases = [
        (Selector::default(), true),
        (of("*"), true),
        (of("http.*"), true),
        (of("HTTP.requests"), true),
        (of("http.request?"), true),
        (of("http.request"), false),
        (
            Selector {
                kind: Some(Kind::Counter),
                ..Selector::default()
            },
            true,
        ),
        (
            Selector {
                kind: Some(Kind::Gauge),
                ..Selector::default()
            },
            false,
        ),
        (
            Selector {
                unit: some("{request}"),
                ..Selector::default()
            },
            true,
        ),
        (
            Selector {
                unit: some("By"),
                ..Selector::default()
            },
            false,
        ),
        (
            Selector {
                meter_name: some("shop"),
                ..Selector::default()
            },
            true,
        ),
        (
            Selector {
                meter_name: some("bench"),
                ..Selector::default()
            },
            false,
        ),
        (
            Selector {
                meter_version: some("2"),
                ..Selector::default()
            },
            true,
        ),
        (
            Selector {
                meter_version: some("1"),
                ..Selector::default()
            },
            false,
        ),
        (
            Selector {
                meter_schema_url: some("https://schema"),
                ..Selector::default()
            },
            true,
        ),
        (
            Selector {
                meter_schema_url: some(""),
                ..Selector::default()
            },
            false,
        ),
        (
            Selector {
                kind: Some(Kind::Counter),
                unit: some("By"),
                ..of("http.requests")
            },
            false,
        ),
    ];
    for (selector, is_matched) in cases {
        let bench = Bench::with_views([dropping(selector.clone())]);
        let meter = bench.meters.meter(Scope::of("shop", "2", "https://schema", &[]));
        let description = Description {
            unit: "{request}",
            ..Description::new("http.requests")
        };
        let counter = meter.counter::<u64>(&description);
        counter.record(1, &[]);
        assert_eq!(counter.is_enabled(), !is_matched, "{selector:?}");
        assert_eq!(bench.collect().is_empty(), is_matched, "{selector:?}");
    }
}

#[test]
fn a_view_gives_a_name_a_description_and_the_attributes_that_count() {
    let view = |attributes| View {
        selector: of("requests"),
        stream: StreamSettings {
            name: Some("renamed".to_owned()),
            description: Some("described".to_owned()),
            attributes,
            ..StreamSettings::default()
        },
    };
    let cases = [
        (
            AttributeKeys::Only(keys(&["a"])),
            "renamed{a=1} sum+ cumulative 10..10 = 6",
        ),
        (
            AttributeKeys::Without(keys(&["b"])),
            "renamed{a=1} sum+ cumulative 10..10 = 6",
        ),
        (
            AttributeKeys::Only(Vec::new()),
            "renamed{} sum+ cumulative 10..10 = 6",
        ),
    ];
    for (attributes, wanted) in cases {
        let bench = Bench::with_views([view(attributes)]);
        let counter = bench.meter.counter::<u64>(&Description::new("requests"));
        for b in [1, 2, 1] {
            counter.record(1, &[a("a", 1), a("b", b)]);
            counter.bind(&[a("b", b), a("a", 1)]).record(1);
        }
        let metrics = bench.metrics();
        assert_eq!(super::lines(&metrics), [wanted]);
        assert_eq!(metrics[0].description, "described");
    }
}

#[test]
fn each_view_that_matches_makes_a_stream_and_an_instrument_without_one_has_its_own() {
    let whole = View {
        selector: of("duration"),
        ..View::default()
    };
    let sum = View {
        selector: of("duration"),
        stream: StreamSettings {
            name: Some("duration.sum".to_owned()),
            aggregation: Aggregation::Sum,
            ..StreamSettings::default()
        },
    };
    let bench = Bench::with_views([whole.clone(), sum, whole]);
    let description = Description {
        boundaries: Some(&[1.0]),
        ..Description::new("duration")
    };
    bench.meter.histogram::<f64>(&description).record(0.5, &[]);
    bench
        .meter
        .counter::<u64>(&Description::new("other"))
        .record(1, &[]);
    assert_eq!(
        bench.collect(),
        [
            "duration.sum{} sum+ cumulative 10..10 = 0.5",
            "duration{} histogram cumulative 10..10 = 1 sum 0.5 min 0.5 max 0.5 [1, 0] to [1.0]",
            "other{} sum+ cumulative 10..10 = 1",
        ]
    );
    assert_eq!(bench.problems(), [""; 0]);
}

#[test]
fn views_that_make_one_name_of_two_metrics_say_so() {
    let renamed = |name: &str| View {
        selector: of(name),
        stream: StreamSettings {
            name: Some("both".to_owned()),
            ..StreamSettings::default()
        },
    };
    let bench = Bench::with_views([renamed("a"), renamed("b")]);
    bench.meter.counter::<u64>(&Description::new("a")).record(1, &[]);
    bench.meter.gauge::<u64>(&Description::new("b")).record(2, &[]);
    assert_eq!(
        bench.collect(),
        ["both{} gauge 0..10 = 2", "both{} sum+ cumulative 10..10 = 1"]
    );
    assert_eq!(bench.problems().len(), 1);
}

#[test]
fn a_view_of_several_instruments_cannot_name_them() {
    let view = View {
        selector: of("*"),
        stream: StreamSettings {
            name: Some("all".to_owned()),
            attributes: AttributeKeys::Only(Vec::new()),
            ..StreamSettings::default()
        },
    };
    let bench = Bench::with_views([view]);
    bench
        .meter
        .counter::<u64>(&Description::new("c"))
        .record(1, &[a("a", 1)]);
    assert_eq!(bench.collect(), ["c{} sum+ cumulative 10..10 = 1"]);
    assert!(bench.problems()[0].contains("several instruments"));
}

#[test]
fn a_view_that_makes_histograms_of_observations_is_left_out() {
    for aggregation in [Aggregation::explicit(), Aggregation::exponential()] {
        let stream = StreamSettings {
            aggregation,
            ..StreamSettings::default()
        };
        let bench = Bench::with_views([View {
            stream,
            ..View::default()
        }]);
        let counter = bench.meter.observable_counter::<u64>(&Description::new("c"));
        bench
            .meter
            .register(move |observer| observer.observe(&counter, 1, &[]));
        assert_eq!(bench.collect(), ["c{} sum+ cumulative 10..10 = 1"]);
        assert!(bench.problems()[0].contains("does not fit"));
    }
}

#[test]
fn boundaries_are_those_of_the_view_then_those_advised_then_the_usual() {
    let explicit = |boundaries: Option<&[f64]>| Aggregation::ExplicitBuckets {
        boundaries: boundaries.map(Into::into),
        record_min_max: false,
    };
    let cases = [
        (
            explicit(Some(&[3.0])),
            Some(&[1.0, 2.0][..]),
            "1 sum 1.5 [1, 0] to [3.0]",
            0,
        ),
        (
            explicit(None),
            Some(&[1.0, 2.0][..]),
            "1 sum 1.5 [0, 1, 0] to [1.0, 2.0]",
            0,
        ),
        (explicit(Some(&[])), None, "1 sum 1.5 [1] to []", 0),
        (
            explicit(Some(&[2.0, 1.0])),
            Some(&[4.0][..]),
            "1 sum 1.5 [1, 0] to [4.0]",
            1,
        ),
        (
            explicit(Some(&[f64::NAN])),
            Some(&[4.0][..]),
            "1 sum 1.5 [1, 0] to [4.0]",
            1,
        ),
    ];
    for (aggregation, boundaries, wanted, problems) in cases {
        let stream = StreamSettings {
            aggregation,
            ..StreamSettings::default()
        };
        let bench = Bench::with_views([View {
            stream,
            ..View::default()
        }]);
        let description = Description {
            boundaries,
            ..Description::new("h")
        };
        bench.meter.histogram::<f64>(&description).record(1.5, &[]);
        assert_eq!(
            bench.collect(),
            [format!("h{{}} histogram cumulative 10..10 = {wanted}")]
        );
        assert_eq!(bench.problems().len(), problems);
    }
    let bench = Bench::with_views([]);
    let description = Description {
        boundaries: Some(&[1.0, 1.0]),
        ..Description::new("h")
    };
    bench.meter.histogram::<f64>(&description).record(1.5, &[]);
    assert!(bench.collect()[0].ends_with("10000.0]"));
    assert!(bench.problems()[0].contains("boundaries"));
}

#[test]
fn attributes_that_an_instrument_advises_count_where_no_view_says() {
    let description = Description {
        attributes: Some(&["a"]),
        ..Description::new("c")
    };
    let view = View {
        stream: StreamSettings {
            attributes: AttributeKeys::Without(Vec::new()),
            ..StreamSettings::default()
        },
        ..View::default()
    };
    for (views, wanted) in [(vec![], "c{a=1}"), (vec![view], "c{a=1,b=2}")] {
        let bench = Bench::with_views(views);
        bench
            .meter
            .counter::<u64>(&description)
            .record(1, &[a("b", 2), a("a", 1)]);
        assert_eq!(bench.collect(), [format!("{wanted} sum+ cumulative 10..10 = 1")]);
    }
}

#[test]
fn histograms_may_be_exponential_by_default_and_any_instrument_by_a_view() {
    let bench = Bench::new(MetricSettings {
        histogram: HistogramPreference::Exponential,
        views: vec![View {
            selector: of("u"),
            stream: StreamSettings {
                aggregation: Aggregation::Exponential {
                    max_size: 4,
                    max_scale: 3,
                    record_min_max: false,
                },
                ..StreamSettings::default()
            },
        }],
        ..MetricSettings::default()
    });
    let histogram = bench.meter.histogram::<f64>(&Description::new("h"));
    for value in [0.0, 1.0, 2.0, 4.0] {
        histogram.record(value, &[]);
    }
    let updown = bench.meter.up_down_counter::<i64>(&Description::new("u"));
    for value in [0, -1, 2, 8] {
        updown.record(value, &[]);
    }
    let lines = bench.collect();
    // Three powers of two a hundred buckets apart, at most 160 of them: (1, 4] at 64 a doubling.
    assert!(
        lines[0].starts_with(
            "h{} exponential cumulative 10..10 = 4 sum 7.0 min 0.0 max 4.0 scale 6 zeros 1 +[1, 0"
        ),
        "{}",
        lines[0]
    );
    assert!(lines[0].ends_with("1] from -1"));
    assert_eq!(
        lines[1],
        "u{} exponential cumulative 10..10 = 4 scale 0 zeros 1 +[1, 0, 1] from 0 -[1] from -1"
    );
}
