//! The servicegraph connector: calls are found whatever the order of their spans, and equal those of a plain search;
//! what finds no partner is counted; nothing waits without bound.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cupola_export::{Accepted, Component, Sink};
use cupola_generator::{Generator, GeneratorConfig};
use cupola_pipeline::connectors::servicegraph::{ServiceGraph, ServiceGraphConfig};
use cupola_telemetry::{Batch, TenantId, encode};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Held, Point, START, find, outputs, points, spans, surroundings};
use crate::support::Capture;

struct Fixture {
    connector: ServiceGraph,
    sink: Arc<Capture>,
    clock: Arc<Held>,
}

fn start(json: Value) -> Fixture {
    let config: ServiceGraphConfig = serde_json::from_value(json).unwrap();
    let (sink, clock) = (Arc::new(Capture::default()), Held::new());
    let connector = ServiceGraph::new(&config, outputs(&[("metrics", &sink)]), surroundings(&clock)).unwrap();
    Fixture {
        connector,
        sink,
        clock,
    }
}

const CLIENT: i32 = 3;
const SERVER: i32 = 2;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

/// One span; `parent` zero is none. It takes as many milliseconds as its id says.
fn span(service: &str, kind: i32, id: u8, parent: u8, attributes: &[(&str, &str)]) -> Batch {
    let mut traces = encode::TracesEncoder::new();
    {
        let mut resource = traces.resource_spans();
        resource.resource().attribute("service.name", service);
        let mut scope = resource.scope_spans();
        let mut span = scope.span();
        span.trace_id(&[7; 16]).span_id(&[id; 8]).kind(kind);
        if parent != 0 {
            span.parent_span_id(&[parent; 8]);
        }
        span.start_time_unix_nano(START)
            .end_time_unix_nano(START + u64::from(id) * 1_000_000);
        for (key, value) in attributes {
            span.attribute(key, *value);
        }
        if attributes.contains(&("failed", "yes")) {
            span.status().code(2);
        }
    }
    traces.finish(TenantId::default_tenant())
}

impl Fixture {
    async fn send(&self, batch: Batch) {
        assert_eq!(self.connector.send(batch).await, Ok(Accepted::all()));
    }

    /// `name{labels} count sum` of what there is, without counts of nothing.
    async fn lines(&self) -> Vec<String> {
        assert!(self.connector.flush().await);
        let points: Vec<Point> = self.sink.drain().iter().flat_map(points).collect();
        let mut lines: Vec<String> = points
            .iter()
            .filter(|point| point.count > 0)
            .map(|point| {
                let name = point.name.strip_prefix("traces_service_graph_").unwrap();
                format!("{name}{{{}}} {} {}", point.labels, point.count, point.sum)
            })
            .collect();
        lines.sort();
        lines
    }

    fn collected(&self, name: &str) -> f64 {
        let mut samples = Vec::new();
        self.connector.collect(&mut samples);
        samples.iter().find(|sample| sample.name == name).unwrap().value
    }
}

#[tokio::test]
async fn both_sides_make_a_call_in_either_order() {
    for swapped in [false, true] {
        let fixture = start(json!({ "dimensions": ["region"] }));
        let mut batches = vec![
            span("front", CLIENT, 1, 9, &[("region", "eu")]),
            span("cart", SERVER, 2, 1, &[("region", "us"), ("failed", "yes")]),
        ];
        if swapped {
            batches.reverse();
        }
        for batch in batches {
            fixture.send(batch).await;
        }
        let labels = "client=front,client_region=eu,connection_type=,server=cart,server_region=us";
        let expected = [
            format!("request_client_seconds{{{labels}}} 1 0.001"),
            format!("request_failed_total{{{labels}}} 1 0"),
            format!("request_server_seconds{{{labels}}} 1 0.002"),
            format!("request_total{{{labels}}} 1 0"),
        ];
        assert_eq!(fixture.lines().await, expected);
        assert_eq!(
            fixture.collected("cupola_connector_servicegraph_waiting_spans"),
            0.0
        );
    }
}

#[tokio::test]
async fn messages_databases_users_and_silent_peers_have_their_connection_types() {
    let fixture = start(json!({ "virtual_node_extra_label": true }));
    fixture.send(span("shop", PRODUCER, 1, 9, &[])).await;
    fixture.send(span("mail", CONSUMER, 2, 1, &[])).await;
    fixture
        .send(span("shop", CLIENT, 3, 9, &[("db.name", "orders")]))
        .await;
    fixture.send(span("shop", SERVER, 4, 0, &[])).await;
    fixture
        .send(span("shop", CLIENT, 5, 4, &[("peer.service", "bank")]))
        .await;
    fixture.clock.advance(Duration::from_secs(2));
    fixture.connector.expire();
    let requests: Vec<String> = fixture
        .lines()
        .await
        .into_iter()
        .filter(|line| line.contains("_seconds"))
        .collect();
    let expected = [
        "request_client_seconds{client=shop,connection_type=database,server=orders,virtual_node=} 1 0.003",
        "request_client_seconds{client=shop,connection_type=messaging_system,server=mail,virtual_node=} 1 0.001",
        "request_client_seconds{client=shop,connection_type=virtual_node,server=bank,virtual_node=server} 1 0.005",
        "request_server_seconds{client=shop,connection_type=database,server=orders,virtual_node=} 1 0.003",
        "request_server_seconds{client=shop,connection_type=messaging_system,server=mail,virtual_node=} 1 0.002",
        "request_server_seconds{client=shop,connection_type=virtual_node,server=bank,virtual_node=server} 1 0.005",
        "request_server_seconds{client=user,connection_type=virtual_node,server=shop,virtual_node=client} 1 0.004",
    ];
    assert_eq!(requests, expected);
}

#[tokio::test]
async fn what_finds_no_partner_or_no_room_is_counted_as_such() {
    let fixture = start(json!({ "store": { "max_items": 1, "ttl": "2s" } }));
    fixture.send(span("a", CLIENT, 1, 9, &[])).await;
    fixture.send(span("b", SERVER, 3, 2, &[])).await;
    // The same side again: the first will find nobody any more.
    fixture.send(span("c", CLIENT, 1, 9, &[])).await;
    fixture.clock.advance(Duration::from_millis(1999));
    fixture.connector.expire();
    assert_eq!(
        fixture.collected("cupola_connector_servicegraph_waiting_spans"),
        1.0
    );
    fixture.clock.advance(Duration::from_millis(1));
    fixture.connector.expire();
    let expected = [
        "dropped_spans_total{client=,connection_type=,server=b} 1 0",
        "unpaired_spans_total{client=a,connection_type=,server=} 1 0",
        "unpaired_spans_total{client=c,connection_type=,server=} 1 0",
    ];
    assert_eq!(fixture.lines().await, expected);
    let names = ["dropped_spans", "expired_edges", "total_edges"];
    let counts = names.map(|name| fixture.collected(&format!("otelcol_connector_servicegraph_{name}")));
    assert_eq!(counts, [1.0, 2.0, 0.0]);
}

#[tokio::test(start_paused = true)]
async fn the_end_gives_up_waiting_and_sends_all() {
    let fixture = start(json!({}));
    fixture
        .send(span("shop", CLIENT, 5, 4, &[("peer.service", "bank")]))
        .await;
    fixture.connector.shutdown().await;
    let points: Vec<Point> = fixture.sink.drain().iter().flat_map(points).collect();
    assert!(points.iter().any(|point| point.labels.contains("server=bank")));
    assert!(
        fixture
            .connector
            .send(span("a", CLIENT, 1, 9, &[]))
            .await
            .unwrap_err()
            .is_retryable()
    );
}

#[test]
fn mistakes_are_refused_by_their_keys() {
    for (json, key) in [
        (json!({ "store": { "max_items": 0 } }), "store.max_items"),
        (json!({ "store": { "ttl": "0s" } }), "store.ttl"),
        (
            json!({ "latency_histogram_buckets": ["2s", "2s"] }),
            "latency_histogram_buckets",
        ),
        (
            json!({ "latency_histogram_buckets": ["2s"], "exponential_histogram_max_size": 160 }),
            "exponential_histogram_max_size",
        ),
    ] {
        let config: ServiceGraphConfig = serde_json::from_value(json).unwrap();
        let error = config.validate().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{key}: ")), "{error}");
    }
}

/// Count, failed, sum of the server's seconds, by tenant, client and server.
type Calls = BTreeMap<(String, String, String), (u64, u64, f64)>;

/// All calls between spans, found by looking through all of them for each.
fn search(all: &[(TenantId, Vec<KeyValue>, Span)]) -> Calls {
    let mut calls = Calls::new();
    let seconds =
        |span: &Span| span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano) as f64 / 1e9;
    let service = |resource: &[KeyValue]| find(resource, "service.name").unwrap();
    let failed = |span: &Span| span.status.as_ref().is_some_and(|status| status.code == 2);
    let mut add = |tenant: &TenantId, client: String, server: String, failed: bool, seconds: f64| {
        let call = calls.entry((tenant.to_string(), client, server)).or_default();
        call.0 += 1;
        call.1 += u64::from(failed);
        call.2 += seconds;
    };
    for (tenant, resource, span) in all {
        match span.kind() {
            SpanKind::Client | SpanKind::Producer => {
                let database = ["db.name", "db.namespace"];
                if let Some(name) = database.iter().find_map(|key| find(&span.attributes, key)) {
                    add(tenant, service(resource), name, failed(span), seconds(span));
                    continue;
                }
                let server = all.iter().find(|(of, _, server)| {
                    of == tenant
                        && matches!(server.kind(), SpanKind::Server | SpanKind::Consumer)
                        && server.trace_id == span.trace_id
                        && server.parent_span_id == span.span_id
                });
                let peer = ["peer.service", "db.system", "db.system.name"];
                let peer = peer.iter().find_map(|key| find(&span.attributes, key));
                match (server, peer) {
                    (Some((_, of, server)), _) => add(
                        tenant,
                        service(resource),
                        service(of),
                        failed(span) || failed(server),
                        seconds(server),
                    ),
                    (None, Some(peer)) => add(tenant, service(resource), peer, failed(span), seconds(span)),
                    (None, None) => {}
                }
            }
            SpanKind::Server | SpanKind::Consumer if span.parent_span_id.is_empty() => {
                add(
                    tenant,
                    "user".to_owned(),
                    service(resource),
                    failed(span),
                    seconds(span),
                );
            }
            _ => {}
        }
    }
    calls
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn calls_equal_those_of_a_plain_search(seed in any::<u64>(), sizes in proptest::collection::vec(1usize..80, 1..6), reverse in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let tenants = ["a", "b"].map(|tenant| TenantId::parse(tenant).unwrap()).to_vec();
            let mut generator = Generator::new(GeneratorConfig { seed, tenants, services: 5, ..GeneratorConfig::default() });
            let fixture = start(json!({}));
            let mut batches: Vec<Batch> = sizes.into_iter().map(|size| generator.traces(size)).collect();
            if reverse {
                batches.reverse();
            }
            let mut all = Vec::new();
            for batch in batches {
                all.extend(spans(&batch).into_iter().map(|(resource, span)| (batch.tenant().clone(), resource, span)));
                fixture.send(batch).await;
            }
            fixture.connector.shutdown().await;
            let mut found = Calls::new();
            for batch in fixture.sink.drain() {
                for point in points(&batch) {
                    let label = |name: &str| point.labels.split(',').find_map(|pair| pair.strip_prefix(name)).unwrap().to_owned();
                    if point.name.contains("unpaired") {
                        continue;
                    }
                    let call = found.entry((batch.tenant().to_string(), label("client="), label("server="))).or_default();
                    match point.name.as_str() {
                        "traces_service_graph_request_total" => call.0 += point.count,
                        "traces_service_graph_request_failed_total" => call.1 += point.count,
                        "traces_service_graph_request_server_seconds" => {
                            call.2 += point.sum;
                            assert!(point.exemplars.iter().all(|(_, _, value)| *value <= point.sum + 1e-9));
                        }
                        _ => {}
                    }
                }
            }
            let expected = search(&all);
            assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
            for (key, (count, failed, seconds)) in &expected {
                let call = found[key];
                assert_eq!((call.0, call.1), (*count, *failed), "{key:?}");
                assert!((call.2 - seconds).abs() < 1e-9 * seconds.max(1.0));
            }
        });
    }
}
