//! The count connector: counts equal those of a plain count, and none is lost by a refusal.

use std::collections::BTreeMap;
use std::sync::Arc;

use cupola_export::{Accepted, Component, SendError, Sink};
use cupola_generator::{Generator, GeneratorConfig};
use cupola_pipeline::connectors::count::{Count, CountConfig};
use cupola_telemetry::{Batch, Signal, TenantId, encode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Held, START, find, outputs, points, spans, surroundings};
use crate::support::Capture;

struct Fixture {
    connector: Count,
    sink: Arc<Capture>,
    clock: Arc<Held>,
}

fn start(json: Value) -> Fixture {
    let config: CountConfig = serde_json::from_value(json).unwrap();
    let (sink, clock) = (Arc::new(Capture::default()), Held::new());
    let connector = Count::new(&config, outputs(&[("metrics", &sink)]), surroundings(&clock)).unwrap();
    Fixture {
        connector,
        sink,
        clock,
    }
}

impl Fixture {
    async fn send(&self, batch: Batch) {
        self.clock.advance(std::time::Duration::from_secs(1));
        assert_eq!(self.connector.send(batch).await, Ok(Accepted::all()));
    }

    /// Sums by metric, resource and labels.
    fn sums(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for point in self.sink.drain().iter().flat_map(points) {
            assert_eq!(point.temporality, 1);
            assert!(START <= point.start && point.start < point.time);
            let key = format!("{} {{{}}} {{{}}}", point.name, point.resource, point.labels);
            *sums.entry(key).or_default() += point.count;
        }
        sums
    }
}

fn logs() -> Batch {
    let mut logs = encode::LogsEncoder::new();
    for host in ["a", "b"] {
        let mut resource = logs.resource_logs();
        resource.resource().attribute("host.name", host);
        let mut scope = resource.scope_logs();
        for severity in 1..=4 {
            let mut record = scope.record();
            record.severity_number(severity);
            if severity > 2 {
                record.attribute("env", "prod");
            }
        }
    }
    logs.finish(TenantId::default_tenant())
}

#[tokio::test]
async fn everything_is_counted_unless_conditions_and_attributes_say_what() {
    let fixture = start(json!({}));
    fixture.send(logs()).await;
    let expected = [
        ("log.record.count {host.name=a} {}", 4),
        ("log.record.count {host.name=b} {}", 4),
    ];
    assert_eq!(
        fixture.sums(),
        expected.map(|(key, count)| (key.to_owned(), count)).into()
    );
    let fixture = start(json!({ "logs": {
        "severe": { "conditions": ["severity_number == 4", "severity_number == 3"] },
        "by.env": { "attributes": [{ "key": "env" }] },
        "by.all": { "attributes": [{ "key": "env", "default_value": "none" }, { "key": "shard", "default_value": 3 }] },
        "by.host": { "conditions": ["severity_number == 1"], "attributes": [{ "key": "host.name" }] },
        "failing": { "conditions": ["Len(severity_number) == 1"] },
    } }));
    fixture.send(logs()).await;
    let found: Vec<String> = fixture
        .sums()
        .into_iter()
        .filter(|(key, _)| key.contains("{host.name=a}"))
        .map(|(key, count)| format!("{key} {count}"))
        .collect();
    let expected = [
        "by.all {host.name=a} {env=none,shard=3} 2",
        "by.all {host.name=a} {env=prod,shard=3} 2",
        "by.env {host.name=a} {env=prod} 2",
        "by.host {host.name=a} {host.name=a} 1",
        "severe {host.name=a} {} 2",
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn each_event_is_one_and_conditions_see_it() {
    let mut traces = encode::TracesEncoder::new();
    {
        let mut resource = traces.resource_spans();
        let mut scope = resource.scope_spans();
        for names in [&["a", "b"][..], &[], &["a", "a", "c"]] {
            let mut span = scope.span();
            for name in names {
                span.event().name(name);
            }
        }
    }
    let fixture = start(json!({ "spanevents": { "a": { "conditions": ["name == \"a\""] }, "all": {} } }));
    fixture.send(traces.finish(TenantId::default_tenant())).await;
    let expected = [("a {} {}", 3), ("all {} {}", 5), ("trace.span.count {} {}", 3)];
    assert_eq!(
        fixture.sums(),
        expected.map(|(key, count)| (key.to_owned(), count)).into()
    );
}

#[tokio::test]
async fn what_is_refused_goes_with_the_next() {
    let fixture = start(json!({}));
    fixture.sink.answer(Err(SendError::retryable("not now")));
    fixture.send(logs()).await;
    assert!(fixture.sums().is_empty());
    fixture.send(logs()).await;
    assert_eq!(fixture.sums().values().copied().collect::<Vec<_>>(), [8, 8]);
    fixture.sink.answer(Err(SendError::retryable("not now")));
    fixture.send(logs()).await;
    fixture.connector.shutdown().await;
    assert_eq!(fixture.sums().values().copied().collect::<Vec<_>>(), [4, 4]);
}

#[test]
fn mistakes_are_refused_by_their_keys() {
    for (json, expected) in [
        (
            json!({ "logs": { "a": { "conditions": ["nam == 1"] } } }),
            "logs.a.conditions: `nam` is no path",
        ),
        (
            json!({ "metrics": { "a": { "attributes": [{ "key": "k" }] } } }),
            "metrics.a.attributes: ",
        ),
        (
            json!({ "spans": { "a": { "attributes": [{ "key": "" }] } } }),
            "spans.a.attributes[0].key: ",
        ),
    ] {
        let config: CountConfig = serde_json::from_value(json).unwrap();
        let error = config.validate().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn counts_equal_a_plain_count(seed in any::<u64>(), sizes in proptest::collection::vec((1usize..60, any::<bool>()), 1..5)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut generator = Generator::new(GeneratorConfig { seed, services: 3, ..GeneratorConfig::default() });
            let fixture = start(json!({ "spans": {
                "servers": { "conditions": ["kind == SPAN_KIND_SERVER"], "attributes": [{ "key": "http.request.method", "default_value": "none" }] },
                "all": {},
            } }));
            let mut expected: BTreeMap<String, u64> = BTreeMap::new();
            let mut add = |name: &str, label: String, count: u64| {
                if count > 0 {
                    *expected.entry(format!("{name}{label}")).or_default() += count;
                }
            };
            for (size, refused) in sizes {
                if refused {
                    fixture.sink.answer(Err(SendError::retryable("not now")));
                }
                let batch = generator.traces(size);
                for (_, span) in spans(&batch) {
                    add("all", String::new(), 1);
                    add("trace.span.event.count", String::new(), span.events.len() as u64);
                    if span.kind == 2 {
                        let method = find(&span.attributes, "http.request.method").unwrap_or("none".to_owned());
                        add("servers", format!("http.request.method={method}"), 1);
                    }
                }
                fixture.send(batch).await;
                let batch = generator.points(size);
                add("metric.datapoint.count", String::new(), batch.items() as u64);
                let metrics = batch.metrics().resources().flat_map(|resource| resource.scopes());
                add("metric.count", String::new(), metrics.map(|scope| scope.metrics().count() as u64).sum());
                assert_eq!(batch.signal(), Signal::Metrics);
                fixture.send(batch).await;
            }
            fixture.connector.shutdown().await;
            let mut found: BTreeMap<String, u64> = BTreeMap::new();
            for point in fixture.sink.drain().iter().flat_map(points) {
                *found.entry(format!("{}{}", point.name, point.labels)).or_default() += point.count;
            }
            assert_eq!(found, expected);
        });
    }
}
