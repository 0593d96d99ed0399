//! Instruments of the API of OpenTelemetry: the same program over our provider and over that of its SDK has the same points.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cupola_sdk::Context;
use cupola_sdk::core::Settings;
use cupola_sdk::core::settings::BaggageKeys;
use cupola_sdk::layer::LayerOptions;
use cupola_sdk::opentelemetry::{MeterProvider, TracerProvider};
use cupola_sdk::testing::Capture;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry::trace::{TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Array, InstrumentationScope, KeyValue, Value};
use opentelemetry_proto::tonic::common::v1::KeyValue as ProtoPair;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint};
use proptest::prelude::*;

use crate::opentelemetry_peer::{self as peer, Of};

/// Measures with everything there is.
fn measure(meter: &Meter, numbers: &[i16]) {
    let u64_counter = meter
        .u64_counter("u64.counter")
        .with_unit("By")
        .with_description("bytes")
        .build();
    let f64_counter = meter.f64_counter("f64.counter").build();
    let i64_up_down = meter.i64_up_down_counter("i64.up_down").build();
    let f64_up_down = meter.f64_up_down_counter("f64.up_down").build();
    let u64_gauge = meter.u64_gauge("u64.gauge").build();
    let i64_gauge = meter.i64_gauge("i64.gauge").build();
    let f64_gauge = meter.f64_gauge("f64.gauge").with_unit("Cel").build();
    let u64_histogram = meter.u64_histogram("u64.histogram").build();
    let advised = meter
        .f64_histogram("advised")
        .with_boundaries(vec![-10.0, 0.0, 1000.0])
        .build();
    for number in numbers {
        let attributes = [
            KeyValue::new("parity", number % 2 == 0),
            KeyValue::new("digits", i64::from(number.unsigned_abs() / 10_000)),
            KeyValue::new("list", Value::Array(Array::I64(vec![1, 2]))),
            KeyValue::new("name", "text"),
            KeyValue::new("half", 0.5),
        ];
        let (int, double) = (i64::from(*number), f64::from(*number));
        let positive = u64::from(number.unsigned_abs());
        u64_counter.add(positive, &attributes);
        f64_counter.add(double.abs(), &attributes[..1]);
        i64_up_down.add(int, &attributes[..2]);
        f64_up_down.add(double, &[]);
        u64_gauge.record(positive, &attributes[..1]);
        i64_gauge.record(int, &attributes[..1]);
        f64_gauge.record(double, &attributes[..1]);
        u64_histogram.record(positive, &attributes[..1]);
        advised.record(double, &attributes[..1]);
    }
    let last = numbers.last().copied().unwrap_or(1);
    let unsigned = u64::from(last.unsigned_abs());
    let attributes = [KeyValue::new("observed", true)];
    let of = attributes.clone();
    let counter = meter.u64_observable_counter("u64.observable_counter");
    counter
        .with_callback(move |observer| observer.observe(unsigned, &of))
        .build();
    let counter = meter.f64_observable_counter("f64.observable_counter");
    counter
        .with_callback(move |observer| observer.observe(f64::from(last).abs(), &[]))
        .build();
    let of = attributes.clone();
    let up_down = meter.i64_observable_up_down_counter("i64.observable_up_down");
    up_down
        .with_callback(move |observer| observer.observe(i64::from(last), &of))
        .build();
    let up_down = meter.f64_observable_up_down_counter("f64.observable_up_down");
    up_down
        .with_callback(move |observer| observer.observe(f64::from(last), &[]))
        .build();
    let gauge = meter.u64_observable_gauge("u64.observable_gauge").with_unit("1");
    gauge
        .with_callback(move |observer| observer.observe(unsigned, &[]))
        .build();
    let gauge = meter.i64_observable_gauge("i64.observable_gauge");
    gauge
        .with_callback(move |observer| observer.observe(i64::from(last), &[]))
        .build();
    let gauge = meter.f64_observable_gauge("f64.observable_gauge");
    let gauge = gauge.with_callback(move |observer| observer.observe(f64::from(last), &attributes));
    gauge
        .with_callback(move |observer| observer.observe(f64::from(last), &[]))
        .build();
}

fn attributes(of: &mut [ProtoPair]) -> String {
    of.sort_by(|one, other| one.key.cmp(&other.key));
    format!("{of:?}")
}

fn numbers(points: &mut [NumberDataPoint]) -> Vec<String> {
    let mut all: Vec<String> = points
        .iter_mut()
        .map(|point| format!("{} {:?}", attributes(&mut point.attributes), point.value))
        .collect();
    all.sort();
    all
}

/// Without times and exemplars.
fn normalised(metrics: Vec<Of<Metric>>) -> Vec<String> {
    let mut all: Vec<String> = metrics
        .into_iter()
        .map(|(scope, schema, metric)| {
            let data = match metric.data.unwrap() {
                Data::Gauge(mut gauge) => format!("gauge {:#?}", numbers(&mut gauge.data_points)),
                Data::Sum(mut sum) => format!(
                    "sum {} {} {:#?}",
                    sum.aggregation_temporality,
                    sum.is_monotonic,
                    numbers(&mut sum.data_points)
                ),
                Data::Histogram(mut histogram) => {
                    let points = histogram.data_points.iter_mut().map(|point| {
                        let of = attributes(&mut point.attributes);
                        let (bounds, counts) = (&point.explicit_bounds, &point.bucket_counts);
                        let (sum, min, max) = (point.sum, point.min, point.max);
                        format!(
                            "{of} {} {sum:?} {min:?} {max:?} {bounds:?} {counts:?}",
                            point.count
                        )
                    });
                    let mut points: Vec<String> = points.collect();
                    points.sort();
                    format!("histogram {} {points:#?}", histogram.aggregation_temporality)
                }
                other => panic!("{other:?}"),
            };
            let (name, unit, description) = (metric.name, metric.unit, metric.description);
            format!("{scope:?} {schema} {name} {unit} {description}: {data}")
        })
        .collect();
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn all_instruments_have_the_points_that_they_have_over_the_sdk_of_opentelemetry(
        numbers in prop::collection::vec(any::<i16>(), 1..20),
    ) {
        let scope = InstrumentationScope::builder("shop").with_version("1").with_schema_url("https://schema").build();
        let (provider, kept) = peer::meter_provider();
        measure(&provider.meter_with_scope(scope.clone()), &numbers);
        provider.force_flush().unwrap();
        let capture = Capture::new();
        measure(&MeterProvider::new(capture.sdk().clone()).meter_with_scope(scope), &numbers);
        // Histograms whose values may be negative have no sum in ours, as the specification has it.
        let with_sum = |metrics: Vec<String>| -> Vec<String> {
            metrics.into_iter().filter(|metric| !metric.contains(" advised ")).collect()
        };
        let (ours, theirs) = (normalised(peer::metrics(&capture)), normalised(kept.all()));
        prop_assert_eq!(ours.len(), theirs.len());
        prop_assert_eq!(with_sum(ours).join("\n"), with_sum(theirs).join("\n"));
    }
}

#[test]
fn advice_on_boundaries_is_taken() {
    let capture = Capture::new();
    let meter = MeterProvider::new(capture.sdk().clone()).meter("shop");
    let histogram = meter
        .f64_histogram("advised")
        .with_boundaries(vec![1.0, 2.0])
        .build();
    [0.5, 1.0, 1.5, 9.0]
        .iter()
        .for_each(|value| histogram.record(*value, &[]));
    let (_, _, metric) = peer::metrics(&capture).remove(0);
    let Some(Data::Histogram(histogram)) = metric.data else {
        panic!("{metric:?}");
    };
    let point = &histogram.data_points[0];
    assert_eq!(
        (&point.explicit_bounds[..], &point.bucket_counts[..]),
        (&[1.0, 2.0][..], &[2, 1, 1][..])
    );
}

#[test]
fn exemplars_have_the_span_and_baggage_makes_series_where_it_is_wanted() {
    let mut settings = Settings::default();
    settings.baggage.metrics = BaggageKeys::These(vec!["tenant.id".to_owned()]);
    let capture = Capture::with(settings, LayerOptions::default());
    let meter = MeterProvider::new(capture.sdk().clone()).meter("shop");
    let tracer = TracerProvider::new(capture.sdk().clone()).tracer("shop");
    let counter = meter.u64_counter("orders").build();
    let span_id = Context::root()
        .with_member("tenant.id", "north")
        .unwrap()
        .run(|| {
            tracer.in_span("order", |context| {
                counter.add(1, &[KeyValue::new("kind", "gift")]);
                context.span().span_context().span_id().to_bytes().to_vec()
            })
        });
    let (_, _, metric) = peer::metrics(&capture).remove(0);
    let Some(Data::Sum(sum)) = metric.data else {
        panic!("{metric:?}");
    };
    let point = &sum.data_points[0];
    let mut keys: Vec<&str> = point.attributes.iter().map(|pair| pair.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["kind", "tenant.id"]);
    assert_eq!(point.exemplars[0].span_id, span_id);
}

#[test]
fn callbacks_are_asked_at_each_collection() {
    let capture = Capture::new();
    let meter = MeterProvider::new(capture.sdk().clone()).meter("shop");
    let asked = Arc::new(AtomicU64::new(0));
    let count = asked.clone();
    let gauge = meter.u64_observable_gauge("asked");
    gauge
        .with_callback(move |observer| observer.observe(count.fetch_add(1, Ordering::Relaxed), &[]))
        .build();
    for n in 1..=3 {
        assert_eq!(peer::metrics(&capture).len(), 1);
        assert_eq!(asked.load(Ordering::Relaxed), n);
    }
}
