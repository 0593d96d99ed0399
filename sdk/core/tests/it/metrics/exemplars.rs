//! Exemplars: which measurements may be one, what they have, and how many there are.

use cupola_sdk_core::SpanContext;
use cupola_sdk_core::baggage::Baggage;
use cupola_sdk_core::metrics::{
    AttributeKeys, Context, Description, ExemplarFilter, HistogramPreference, MetricSettings, StreamSettings,
    View,
};
use cupola_telemetry::{SpanId, TraceId};

use super::{Bench, a, exemplars, text, value_of};

fn bench(exemplars: ExemplarFilter) -> Bench {
    Bench::new(MetricSettings {
        exemplars,
        ..MetricSettings::default()
    })
}

fn span(is_sampled: bool) -> SpanContext {
    let mut span = SpanContext::none();
    span.trace_id = TraceId([7; 16]);
    span.span_id = SpanId([8; 8]);
    span.flags = span.flags.with_sampled(is_sampled);
    span
}

static NO_BAGGAGE: Baggage = Baggage::none();

fn within(span: &SpanContext) -> Context<'_> {
    Context {
        span,
        baggage: &NO_BAGGAGE,
    }
}

#[test]
fn the_filter_decides_by_the_span() {
    let cases = [
        (ExemplarFilter::AlwaysOff, 0, 0, 0),
        (ExemplarFilter::TraceBased, 1, 0, 0),
        (ExemplarFilter::AlwaysOn, 1, 1, 1),
    ];
    for (filter, sampled, not_sampled, without) in cases {
        let (yes, no, none) = (span(true), span(false), SpanContext::none());
        for (span, wanted) in [(&yes, sampled), (&no, not_sampled), (&none, without)] {
            let bench = bench(filter);
            let counter = bench.meter.counter::<u64>(&Description::new("c"));
            counter.record_in(3, &[a("n", 1)], &within(span));
            counter.bind(&[a("n", 2)]).record_in(4, &within(span));
            assert_eq!(
                exemplars(&bench.metrics()).len(),
                2 * wanted,
                "{filter:?} {span:?}"
            );
        }
        let bench = bench(filter);
        bench.meter.counter::<u64>(&Description::new("c")).record(1, &[]);
        assert_eq!(exemplars(&bench.metrics()).len(), without);
    }
}

#[test]
fn an_exemplar_has_its_value_time_span_and_the_attributes_that_the_series_has_not() {
    let view = View {
        stream: StreamSettings {
            attributes: AttributeKeys::Only(vec!["route".to_owned()]),
            ..StreamSettings::default()
        },
        ..View::default()
    };
    let bench = Bench::with_views([view]);
    let (span, attributes) = (span(true), [a("user", "u1"), a("route", "/"), a("size", 3)]);
    let counter = bench.meter.counter::<u64>(&Description::new("c"));
    let gauge = bench.meter.gauge::<f64>(&Description::new("g"));
    bench.set_time(11);
    counter.record_in(5, &attributes, &within(&span));
    gauge.bind(&attributes).record_in(0.5, &within(&span));
    bench.set_time(20);
    let metrics = bench.metrics();
    assert!(super::lines(&metrics)[0].starts_with("c{route=/} "));
    let found = exemplars(&metrics);
    assert_eq!(found.len(), 2);
    for (exemplar, value) in found.iter().zip([5.0, 0.5]) {
        assert_eq!(value_of(exemplar), value);
        assert_eq!(exemplar.time_unix_nano, 11);
        assert_eq!(
            (&*exemplar.trace_id, &*exemplar.span_id),
            (&[7; 16][..], &[8; 8][..])
        );
        assert_eq!(text(&exemplar.filtered_attributes), "size=3,user=u1");
    }
    assert_eq!(exemplars(&bench.metrics()).len(), 0, "each is told once");
}

#[test]
fn a_histogram_with_buckets_has_one_of_each_and_one_without_has_some() {
    let bench = Bench::new(MetricSettings {
        histogram: HistogramPreference::ExplicitBuckets,
        ..MetricSettings::default()
    });
    let histogram = bench.meter.histogram::<f64>(&Description {
        boundaries: Some(&[10.0, 20.0, 30.0]),
        ..Description::new("h")
    });
    let span = span(true);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (histogram, span) = (&histogram, &span);
            scope.spawn(move || {
                for n in 0..500 {
                    let value = f64::from(n % 25 + thread);
                    histogram.record_in(value, &[], &within(span));
                }
            });
        }
    });
    let mut values: Vec<f64> = exemplars(&bench.metrics()).iter().map(value_of).collect();
    values.sort_by(f64::total_cmp);
    assert_eq!(values.len(), 3, "{values:?}");
    assert!(
        values[0] <= 10.0 && values[1] > 10.0 && values[1] <= 20.0 && values[2] > 20.0,
        "{values:?}"
    );
}

#[test]
fn an_exponential_histogram_has_twenty_and_a_sum_as_many_as_threads_can_measure_at_once() {
    let bench = Bench::new(MetricSettings {
        histogram: HistogramPreference::Exponential,
        exemplars: ExemplarFilter::AlwaysOn,
        ..MetricSettings::default()
    });
    let histogram = bench.meter.histogram::<f64>(&Description::new("h"));
    let counter = bench.meter.counter::<u64>(&Description::new("c"));
    for n in 0..1000 {
        histogram.record(f64::from(n), &[]);
    }
    assert_eq!(exemplars(&bench.metrics()).len(), 20);
    for _ in 0..1000 {
        counter.record(1, &[]);
    }
    let threads = std::thread::available_parallelism().unwrap().get().min(16);
    assert_eq!(exemplars(&bench.metrics()).len(), threads);
}
