//! What was measured, decoded and as text, with exemplars; instruments with bound attributes too.

use cupola_sdk::core::Settings;
use cupola_sdk::core::metrics::{Description, HistogramPreference};
use cupola_sdk::core::recorder::Scope;
use cupola_sdk::layer::LayerOptions;
use cupola_sdk::opentelemetry::{MeterProvider, TracerProvider};
use cupola_sdk::testing::{Capture, CapturedBuckets, CapturedKind, CapturedMeasure};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::{Tracer as _, TracerProvider as _};

#[test]
fn metrics_are_decoded_with_their_series_and_exemplars_and_are_text_for_snapshots() {
    let capture = Capture::new();
    let meter = capture.sdk().meter(Scope::of("shop", "", "", &[]));
    let orders = meter.counter::<u64>(&Description::of("orders", "{order}", "Orders placed."));
    let stock = meter.up_down_counter::<i64>(&Description::new("stock"));
    let heat = meter.gauge::<f64>(&Description::of("heat", "Cel", ""));
    let took = meter.histogram::<f64>(&Description {
        boundaries: Some(&[0.1, 1.0]),
        ..Description::of("took", "s", "")
    });
    orders.record(2, &[("channel", "web".into())]);
    orders.record(1, &[("channel", "app".into())]);
    stock.record(-3, &[]);
    heat.record(21.5, &[("room", 7.into())]);
    for seconds in [0.05, 0.5, 0.25, 4.0] {
        took.record(seconds, &[]);
    }
    assert_eq!(
        capture.render_metrics(),
        "gauge \"heat\" Cel\n  21.5 room=7\n\
         counter \"orders\" {order}\n\
        \x20 1 channel=\"app\"\n\
        \x20 2 channel=\"web\"\n\
         up_down_counter \"stock\"\n  -3\n\
         histogram \"took\" s\n  count=4 sum=4.8 min=0.05 max=4.0 <=0.1:1 <=1.0:2 more:1\n"
    );
    let found = capture.metric("orders");
    assert_eq!(
        (found.scope.as_str(), found.description.as_str(), found.kind),
        ("shop", "Orders placed.", CapturedKind::Counter)
    );
    assert_eq!(found.points[1].value, 2);
    assert_eq!(found.points[1].attributes["channel"], "web");

    // What is measured later is in the next look, and what is not stays.
    orders.record(5, &[("channel", "web".into())]);
    assert_eq!(capture.metric("orders").points[1].value, 7);
    assert_eq!(capture.metric("stock").points[0].value, -3);
}

#[test]
fn exponential_histograms_have_their_buckets() {
    let mut settings = Settings::default();
    settings.metrics.histogram = HistogramPreference::Exponential;
    let capture = Capture::with(settings, LayerOptions::default());
    let meter = capture.sdk().meter(Scope::nameless());
    let took = meter.histogram::<f64>(&Description::new("took"));
    for number in [0.0, 4.0, 4.0] {
        took.record(number, &[]);
    }
    let found = capture.metric("took");
    assert_eq!(found.kind, CapturedKind::ExponentialHistogram);
    let CapturedMeasure::ExponentialHistogram {
        count,
        sum,
        zero_count,
        positive,
        negative,
        ..
    } = &found.points[0].value
    else {
        panic!("{found:?}")
    };
    assert_eq!((*count, *sum, *zero_count), (3, Some(8.0), 1));
    assert_eq!(positive.counts, [2]);
    assert_eq!(*negative, CapturedBuckets::default());
}

#[test]
fn instruments_of_the_api_with_bound_attributes_measure_as_others_do() {
    let capture = Capture::new();
    let meter = MeterProvider::new(capture.sdk().clone()).meter("shop");
    let tracer = TracerProvider::new(capture.sdk().clone()).tracer("shop");
    let attributes = [KeyValue::new("channel", "web")];
    let orders = meter.u64_counter("orders").build();
    let bound = orders.bind(&attributes);
    let stock = meter.i64_up_down_counter("stock").build().bind(&[]);
    let heat = meter.f64_gauge("heat").build().bind(&attributes);
    let took = meter
        .f64_histogram("took")
        .with_boundaries(vec![1.0])
        .build()
        .bind(&attributes);
    // Both ways it is one series.
    orders.add(1, &attributes);
    tracer.in_span("order", |_| bound.add(4));
    let exemplar = &capture.metric("orders").points[0].exemplars[0];
    assert_eq!(
        (exemplar.value, exemplar.span_id.as_str()),
        (4.0, "0000000000000002")
    );
    tracer.in_span("order", |_| bound.add(2));
    stock.add(2);
    stock.add(-5);
    heat.record(1.5);
    took.record(0.5);
    took.record(3.0);
    assert_eq!(
        capture.render_metrics(),
        "gauge \"heat\"\n  1.5 channel=\"web\"\n\
         counter \"orders\"\n  7 channel=\"web\"\n    exemplar 2.0 in 00000000000000000000000000000003-0000000000000004\n\
         up_down_counter \"stock\"\n  -3\n\
         histogram \"took\"\n  count=2 sum=3.5 min=0.5 max=3.0 <=1.0:1 more:1 channel=\"web\"\n"
    );
}
