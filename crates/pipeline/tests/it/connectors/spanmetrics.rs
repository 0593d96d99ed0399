//! The spanmetrics connector: counts, durations and exemplars equal those of a plain count over decoded spans; nothing
//! is lost by what a pipeline refuses for a while; series are bounded, expire and begin anew.

mod properties;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cupola_export::{Accepted, Component, SendError, Sink};
use cupola_pipeline::connectors::spanmetrics::{SpanMetrics, SpanMetricsConfig};
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, TenantId, encode};
use serde_json::{Value, json};

use super::{Held, Point, START, outputs, points, surroundings};
use crate::support::Capture;

fn config(json: Value) -> SpanMetricsConfig {
    let config: SpanMetricsConfig = serde_json::from_value(json).unwrap();
    config.validate().unwrap();
    config
}

struct Fixture {
    connector: SpanMetrics,
    sink: Arc<Capture>,
    clock: Arc<Held>,
}

fn start(json: Value) -> Fixture {
    let (sink, clock) = (Arc::new(Capture::default()), Held::new());
    let connector = SpanMetrics::new(
        &config(json),
        outputs(&[("metrics", &sink)]),
        surroundings(&clock),
    )
    .unwrap();
    Fixture {
        connector,
        sink,
        clock,
    }
}

impl Fixture {
    async fn send(&self, batch: Batch) {
        assert_eq!(self.connector.send(batch).await, Ok(Accepted::all()));
    }

    /// All points that have been sent since the last call, by metric and labels.
    fn points(&self) -> BTreeMap<(String, String), Point> {
        let points = self.sink.drain().iter().flat_map(points).collect::<Vec<_>>();
        let mut by_key = BTreeMap::new();
        for point in points {
            let key = (point.name.clone(), point.labels.clone());
            let time = point.time;
            if let Some(before) = by_key.insert(key, point) {
                assert!(is_zero(&before) && before.time < time, "a series twice");
            }
        }
        by_key
    }

    fn refuse(&self) {
        self.sink.answer(Err(SendError::retryable("not now")));
    }
}

/// The point with which a new cumulative series begins.
fn is_zero(point: &Point) -> bool {
    point.temporality == 2 && point.time == point.start && point.count == 0 && point.sum == 0.0
}

/// One span of `service` that took so many milliseconds.
fn span(service: &str, name: &str, milliseconds: u64) -> Batch {
    let mut traces = encode::TracesEncoder::new();
    {
        let mut resource = traces.resource_spans();
        resource.resource().attribute("service.name", service);
        let mut scope = resource.scope_spans();
        let mut span = scope.span();
        span.trace_id(&[7; 16]).span_id(&[8; 8]).name(name).kind(2);
        span.start_time_unix_nano(START)
            .end_time_unix_nano(START + milliseconds * 1_000_000)
            .attribute("http.method", "GET")
            .attribute("size", 3i64);
        span.event().name("exception").attribute("exception.type", "E");
    }
    traces.finish(TenantId::default_tenant())
}

#[tokio::test]
async fn without_a_word_about_names_they_are_those_that_grafana_asks_for() {
    let fixture = start(json!({}));
    fixture.send(span("cart", "GET /", 5)).await;
    assert!(fixture.connector.flush().await);
    let points = fixture.points();
    let labels = "service=cart,span_kind=SPAN_KIND_SERVER,span_name=GET /,status_code=STATUS_CODE_UNSET";
    let names: Vec<&str> = points.keys().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "traces_spanmetrics_calls_total",
        "traces_spanmetrics_latency",
        "traces_spanmetrics_size_total",
    ];
    assert_eq!(names, expected);
    let latency = &points[&(expected[1].to_owned(), labels.to_owned())];
    let bounds = [
        0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384,
    ];
    assert_eq!(latency.bounds, bounds);
    assert_eq!((latency.count, latency.sum, latency.buckets[2]), (1, 0.005, 1));
    assert_eq!(latency.unit, "");
    assert_eq!(latency.exemplars, [(vec![7; 16], vec![8; 8], 0.005)]);
    assert_eq!((latency.temporality, latency.start), (2, START));
}

#[tokio::test]
async fn with_the_collectors_settings_names_and_buckets_are_the_collectors() {
    let fixture = start(json!({
        "namespace": "span.metrics",
        "dimensions": [{ "name": "http.method" }, { "name": "size" }, { "name": "env", "default": "prod" }, { "name": "none" }],
        "calls_dimensions": [{ "name": "of.calls", "default": "c" }],
        "histogram": { "dimensions": [{ "name": "of.durations", "default": "d" }] },
        "exclude_dimensions": ["status.code"],
        "events": { "enabled": true, "dimensions": [{ "name": "exception.type" }] },
        "resource_metrics_key_attributes": ["service.name"],
    }));
    fixture.send(span("cart", "GET /", 5)).await;
    assert!(fixture.connector.flush().await);
    let points = fixture.points();
    let keys: Vec<String> = points
        .keys()
        .map(|(name, labels)| format!("{name}{{{labels}}}"))
        .collect();
    let end = "service.name=cart,size=3,span.kind=SPAN_KIND_SERVER,span.name=GET /";
    assert_eq!(
        keys,
        [
            format!("span.metrics.calls{{env=prod,http.method=GET,of.calls=c,{end}}}"),
            format!("span.metrics.duration{{env=prod,http.method=GET,of.durations=d,{end}}}"),
            format!("span.metrics.events{{env=prod,exception.type=E,http.method=GET,{end}}}"),
        ]
    );
    let duration = points.values().nth(1).unwrap();
    assert_eq!(
        (duration.unit.as_str(), duration.bounds[0], duration.bounds[15]),
        ("ms", 2.0, 15_000.0)
    );
    assert_eq!(
        (duration.sum, duration.buckets[2], duration.exemplars.len()),
        (5.0, 1, 0)
    );
    assert_eq!(duration.resource, "service.name=cart");
}

#[tokio::test]
async fn the_resource_is_carried_under_the_collectors_names_and_a_sampled_span_stands_for_more() {
    let fixture = start(json!({ "naming": "collector", "enable_metrics_sampling_method": true }));
    let mut traces = encode::TracesEncoder::new();
    for host in ["a", "b", "a"] {
        let mut resource = traces.resource_spans();
        resource
            .resource()
            .attribute("host.name", host)
            .attribute("service.name", "cart");
        let mut scope = resource.scope_spans();
        let mut span = scope.span();
        span.name("x")
            .trace_state("ot=th:c")
            .end_time_unix_nano(3_000_000);
    }
    fixture.send(traces.finish(TenantId::default_tenant())).await;
    assert!(fixture.connector.flush().await);
    let all: Vec<Point> = fixture.sink.drain().iter().flat_map(points).collect();
    let mut calls: Vec<(&str, u64)> = all
        .iter()
        .filter(|point| point.name == "traces.span.metrics.calls")
        .map(|point| (point.resource.as_str(), point.count))
        .collect();
    calls.sort_unstable();
    assert_eq!(
        calls,
        [
            ("host.name=a,service.name=cart", 8),
            ("host.name=b,service.name=cart", 4)
        ]
    );
    let durations = all
        .iter()
        .filter(|point| point.name == "traces.span.metrics.duration");
    let mut durations: Vec<(u64, f64, u64)> = durations
        .map(|point| (point.count, point.sum, point.buckets[1]))
        .collect();
    durations.sort_by_key(|(count, ..)| *count);
    assert_eq!(durations, [(4, 12.0, 4), (8, 24.0, 8)]);
    assert!(
        all.iter()
            .all(|point| point.labels.contains("sampling.method=extrapolated"))
    );
}

#[tokio::test]
async fn series_beyond_the_bound_share_one_and_are_counted() {
    let fixture = start(json!({ "aggregation_cardinality_limit": 2 }));
    for name in ["a", "b", "c", "d", "a"] {
        fixture.send(span("cart", name, 5)).await;
    }
    assert!(fixture.connector.flush().await);
    let points = fixture.points();
    let calls: Vec<(&str, u64)> = points
        .values()
        .filter(|point| point.name == "traces_spanmetrics_calls_total")
        .map(|point| (point.labels.split(',').next().unwrap(), point.count))
        .collect();
    assert_eq!(calls.len(), 3);
    assert!(calls.contains(&("otel.metric.overflow=true", 2)), "{calls:?}");
    let mut samples = Vec::new();
    fixture.connector.collect(&mut samples);
    let value = |name: &str| samples.iter().find(|sample| sample.name == name).unwrap().value;
    assert_eq!(value("cupola_connector_overflowed_measurements"), 6.0);
    assert_eq!(value("cupola_connector_series"), 9.0);
    assert_eq!(value("cupola_component_last_input_seconds"), START as f64 / 1e9);
}

#[tokio::test]
async fn memory_that_is_not_there_is_not_taken() {
    let (sink, clock) = (Arc::new(Capture::default()), Held::new());
    let mut surroundings = surroundings(&clock);
    surroundings.memory = MemoryBudget::new(30_000);
    let memory = surroundings.memory.clone();
    let connector =
        SpanMetrics::new(&config(json!({})), outputs(&[("metrics", &sink)]), surroundings).unwrap();
    for index in 0..500 {
        connector
            .send(span("cart", &format!("name {index}"), 5))
            .await
            .unwrap();
    }
    assert!(memory.used() < 40_000, "{memory:?}");
    assert!(connector.flush().await);
    let all: Vec<Point> = sink.drain().iter().flat_map(points).collect();
    let calls = all
        .iter()
        .filter(|point| point.name == "traces_spanmetrics_calls_total");
    assert_eq!(calls.map(|point| point.count).sum::<u64>(), 500);
}

#[tokio::test]
async fn an_idle_series_goes_after_it_was_delivered_and_comes_back_with_a_new_start() {
    let fixture = start(json!({ "metrics_expiration": "5m" }));
    fixture.send(span("cart", "a", 5)).await;
    fixture.clock.advance(Duration::from_secs(600));
    // Not delivered yet: kept, however long it is idle.
    fixture.refuse();
    assert!(!fixture.connector.flush().await);
    fixture.clock.advance(Duration::from_secs(600));
    assert!(fixture.connector.flush().await);
    let calls = |points: BTreeMap<(String, String), Point>| {
        let calls = points.into_values().find(|point| point.name.contains("calls"));
        calls.map(|point| (point.start - START, point.time - START, point.count))
    };
    let second = 1_000_000_000;
    assert_eq!(calls(fixture.points()), Some((0, 1200 * second, 1)));
    assert!(fixture.connector.flush().await);
    assert_eq!(calls(fixture.points()), None);
    fixture.send(span("cart", "a", 5)).await;
    fixture.clock.advance(Duration::from_secs(60));
    assert!(fixture.connector.flush().await);
    assert_eq!(calls(fixture.points()), Some((1200 * second, 1260 * second, 1)));
}

#[tokio::test]
async fn a_new_series_begins_with_zero_so_that_its_first_increase_is_seen() {
    let fixture = start(json!({}));
    fixture.send(span("cart", "a", 5)).await;
    for refused in [true, false] {
        fixture.clock.advance(Duration::from_secs(60));
        if refused {
            fixture.refuse();
        }
        assert_eq!(fixture.connector.flush().await, !refused);
    }
    let second = 1_000_000_000;
    let moments = |fixture: &Fixture| {
        let batches = fixture.sink.drain();
        let points = batches
            .iter()
            .flat_map(points)
            .filter(|point| point.name.ends_with("latency"));
        points
            .map(|point| (point.start - START, point.time - START, point.count))
            .collect::<Vec<_>>()
    };
    assert_eq!(moments(&fixture), [(0, 0, 0), (0, 120 * second, 1)]);
    fixture.clock.advance(Duration::from_secs(60));
    assert!(fixture.connector.flush().await);
    assert_eq!(moments(&fixture), [(0, 180 * second, 1)]);
}

#[tokio::test]
async fn deltas_that_were_refused_are_merged_back_with_their_window() {
    let fixture = start(json!({ "aggregation_temporality": "AGGREGATION_TEMPORALITY_DELTA" }));
    let minute = Duration::from_secs(60);
    fixture.send(span("cart", "a", 5)).await;
    fixture.clock.advance(minute);
    fixture.refuse();
    assert!(!fixture.connector.flush().await);
    fixture.send(span("cart", "a", 50)).await;
    fixture.send(span("cart", "b", 50)).await;
    fixture.clock.advance(minute);
    assert!(fixture.connector.flush().await);
    let found: Vec<(u64, u64, u64)> = fixture
        .points()
        .into_values()
        .filter(|point| point.name.contains("latency"))
        .map(|point| (point.start - START, point.time - START, point.count))
        .collect();
    let nanos = minute.as_nanos() as u64;
    assert_eq!(found, [(0, 2 * nanos, 2), (nanos, 2 * nanos, 1)]);
    fixture.clock.advance(minute);
    assert!(fixture.connector.flush().await);
    assert_eq!(fixture.points().len(), 0);
}

#[tokio::test]
async fn what_comes_while_a_flush_is_refused_is_joined_with_it() {
    for exponential in [false, true] {
        let histogram = if exponential {
            json!({ "exponential": {} })
        } else {
            json!({})
        };
        let fixture = start(json!({
            "aggregation_temporality": "AGGREGATION_TEMPORALITY_DELTA",
            "histogram": histogram,
            "exemplars": { "max_per_data_point": 3 },
        }));
        for milliseconds in [5, 50] {
            fixture.send(span("cart", "a", milliseconds)).await;
        }
        fixture.clock.advance(Duration::from_secs(60));
        fixture.refuse();
        let gate = Arc::new(tokio::sync::Notify::new());
        *fixture.sink.gate.lock() = Some(gate.clone());
        let meanwhile = async {
            fixture.sink.entered.notified().await;
            fixture.send(span("cart", "a", 5)).await;
            fixture.send(span("cart", "a", 0)).await;
            *fixture.sink.gate.lock() = None;
            gate.notify_one();
        };
        let (flushed, ()) = tokio::join!(fixture.connector.flush(), meanwhile);
        assert!(!flushed);
        assert!(fixture.connector.flush().await);
        let points = fixture.points();
        let of = |name: &str| points.values().find(|point| point.name.contains(name)).unwrap();
        assert_eq!((of("calls").count, of("calls").start), (4, START));
        let latency = of("latency");
        assert_eq!((latency.count, latency.zero_count), (4, u64::from(exponential)));
        assert!((latency.sum - 0.060).abs() < 1e-12);
        let buckets: Vec<u64> = latency
            .buckets
            .iter()
            .copied()
            .filter(|count| *count > 0)
            .collect();
        assert_eq!(buckets, if exponential { vec![2, 1] } else { vec![1, 2, 1] });
        let values: BTreeSet<u64> = latency
            .exemplars
            .iter()
            .map(|(_, _, value)| (value * 1e3) as u64)
            .collect();
        assert_eq!(values, [0, 5, 50].into());
    }
}

#[tokio::test]
async fn many_series_are_several_batches_of_which_only_the_refused_come_again() {
    let fixture = start(
        json!({ "aggregation_temporality": "AGGREGATION_TEMPORALITY_DELTA", "histogram": { "disable": true } }),
    );
    let names: Vec<String> = (0..12_000).map(|index| format!("name {index}")).collect();
    let mut traces = encode::TracesEncoder::new();
    for name in &names {
        traces.resource_spans().scope_spans().span().name(name);
    }
    fixture.send(traces.finish(TenantId::default_tenant())).await;
    fixture.sink.answer(Ok(Accepted::all()));
    fixture.refuse();
    assert!(!fixture.connector.flush().await);
    let first = fixture.sink.drain();
    assert_eq!(
        first.iter().map(Batch::items).collect::<Vec<_>>(),
        [10_000, 4_000]
    );
    assert!(fixture.connector.flush().await);
    let all: Vec<Point> = first
        .iter()
        .chain(&fixture.sink.drain())
        .flat_map(points)
        .collect();
    let calls: BTreeSet<&str> = all
        .iter()
        .filter(|point| point.name == "traces_spanmetrics_calls_total" && point.count == 1)
        .map(|point| point.labels.as_str())
        .collect();
    assert_eq!((all.len(), calls.len()), (24_000, 12_000));
    assert!(
        calls
            .iter()
            .all(|labels| labels.starts_with("service=unknown_service"))
    );
}

#[tokio::test]
async fn of_several_pipelines_only_the_one_that_refused_gets_a_delta_again() {
    let (first, second, clock) = (
        Arc::new(Capture::default()),
        Arc::new(Capture::default()),
        Held::new(),
    );
    let config = config(json!({ "aggregation_temporality": "AGGREGATION_TEMPORALITY_DELTA" }));
    let outputs = outputs(&[("metrics/1", &first), ("metrics/2", &second)]);
    let connector = SpanMetrics::new(&config, outputs, surroundings(&clock)).unwrap();
    connector.send(span("cart", "a", 5)).await.unwrap();
    second.answer(Err(SendError::retryable("not now")));
    assert!(!connector.flush().await);
    assert!(connector.flush().await);
    assert_eq!(first.drain(), second.drain());
}

#[tokio::test(start_paused = true)]
async fn it_flushes_on_its_timer_and_at_the_end_as_often_as_it_takes() {
    let fixture = start(json!({ "metrics_flush_interval": "15s" }));
    fixture.send(span("cart", "a", 5)).await;
    tokio::time::sleep(Duration::from_secs(14)).await;
    assert!(fixture.sink.drain().is_empty());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(fixture.points().len(), 3);
    fixture.send(span("cart", "b", 5)).await;
    fixture.refuse();
    fixture.connector.shutdown().await;
    assert_eq!(fixture.points().len(), 6);
    assert!(
        fixture
            .connector
            .send(span("cart", "c", 5))
            .await
            .unwrap_err()
            .is_retryable()
    );
}

#[test]
fn mistakes_are_refused_by_their_keys() {
    for (json, key) in [
        (
            json!({ "dimensions": [{ "name": "service" }] }),
            "dimensions[0].name",
        ),
        (
            json!({ "dimensions": [{ "name": "a.b" }, { "name": "a_b" }] }),
            "dimensions[1].name",
        ),
        (
            json!({ "histogram": { "explicit": {}, "exponential": {} } }),
            "histogram",
        ),
        (
            json!({ "histogram": { "explicit": { "buckets": ["2s", "1s"] } } }),
            "histogram.explicit.buckets",
        ),
        (
            json!({ "naming": "tempo", "histogram": { "unit": "ms" } }),
            "histogram.unit",
        ),
        (json!({ "naming": "tempo", "namespace": "a" }), "namespace"),
        (json!({ "events": { "enabled": true } }), "events.dimensions"),
    ] {
        let config: SpanMetricsConfig = serde_json::from_value(json).unwrap();
        let error = config.validate().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{key}: ")), "{error}");
    }
    assert!(serde_json::from_value::<SpanMetricsConfig>(json!({ "dimension": [] })).is_err());
}
