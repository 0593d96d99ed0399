//! The routing, forward and failover connectors: every item goes where it belongs, and to nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cupola_export::{Accepted, Component, SendError, Sink};
use cupola_generator::{Generator, GeneratorConfig};
use cupola_pipeline::connectors::failover::{Failover, FailoverConfig};
use cupola_pipeline::connectors::forward::{Forward, ForwardConfig};
use cupola_pipeline::connectors::routing::{Routing, RoutingConfig};
use cupola_telemetry::{Batch, Signal, TenantId, encode};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};

use super::{Held, outputs};
use crate::support::Capture;

struct Fixture {
    connector: Routing,
    sinks: BTreeMap<&'static str, Arc<Capture>>,
}

const PIPELINES: [&str; 3] = ["logs/a", "logs/b", "logs/other"];

fn routing(json: Value) -> Fixture {
    let config: RoutingConfig = serde_json::from_value(json).unwrap();
    let sinks: BTreeMap<_, _> = PIPELINES.map(|name| (name, Arc::new(Capture::default()))).into();
    let named: Vec<_> = sinks.iter().map(|(name, sink)| (*name, sink)).collect();
    let connector = Routing::new(&config, Signal::Logs, outputs(&named), Held::new()).unwrap();
    Fixture { connector, sinks }
}

impl Fixture {
    /// Bodies that each pipeline got, in order.
    fn bodies(&self) -> BTreeMap<&'static str, Vec<String>> {
        let bodies = self.sinks.iter().map(|(name, sink)| {
            let batches = sink.drain();
            let records = batches.iter().flat_map(records);
            (*name, records.map(|(_, body, _)| body).collect::<Vec<_>>())
        });
        bodies.filter(|(_, bodies)| !bodies.is_empty()).collect()
    }

    fn collected(&self, name: &str) -> f64 {
        let mut samples = Vec::new();
        self.connector.collect(&mut samples);
        samples.iter().find(|sample| sample.name == name).unwrap().value
    }
}

/// Service, body and severity of each record of a batch, which must be canonical.
fn records(batch: &Batch) -> Vec<(String, String, i32)> {
    let again =
        Batch::decode_protobuf(batch.signal(), batch.tenant().clone(), batch.payload().clone()).unwrap();
    assert_eq!(&again, batch);
    let request = ExportLogsServiceRequest::decode(batch.payload().clone()).unwrap();
    let mut records = Vec::new();
    for resource in request.resource_logs {
        let attributes = resource.resource.unwrap_or_default().attributes;
        let service = super::find(&attributes, "service.name").unwrap_or_default();
        for record in resource
            .scope_logs
            .into_iter()
            .flat_map(|scope| scope.log_records)
        {
            records.push((
                service.clone(),
                super::text(record.body.as_ref()),
                record.severity_number,
            ));
        }
    }
    records
}

/// Bodies `SERVICE-SEVERITY`, of two services and severities 1 to 3, of a tenant.
fn logs(tenant: &str) -> Batch {
    let mut logs = encode::LogsEncoder::new();
    for service in ["a", "b"] {
        let mut resource = logs.resource_logs();
        resource.resource().attribute("service.name", service);
        let mut scope = resource.scope_logs();
        for severity in 1..=3 {
            let mut record = scope.record();
            record
                .severity_number(severity)
                .body(&format!("{service}-{severity}"));
        }
    }
    logs.finish(TenantId::parse(tenant).unwrap())
}

fn expected(rows: &[(&'static str, &[&str])]) -> BTreeMap<&'static str, Vec<String>> {
    rows.iter()
        .map(|(name, bodies)| (*name, bodies.iter().map(|body| (*body).to_owned()).collect()))
        .collect()
}

#[tokio::test]
async fn rows_are_gone_through_in_order_and_the_rest_goes_to_the_default() {
    let fixture = routing(json!({
        "default_pipelines": ["logs/other"],
        "table": [
            { "context": "log", "condition": "severity_number == 1", "pipelines": ["logs/a"] },
            { "statement": "route() where attributes[\"service.name\"] == \"b\"", "pipelines": ["logs/b"] },
        ],
    }));
    assert_eq!(fixture.connector.send(logs("t")).await, Ok(Accepted::all()));
    let rows: [(_, &[&str]); 3] = [
        ("logs/a", &["a-1", "b-1"]),
        ("logs/b", &["b-2", "b-3"]),
        ("logs/other", &["a-2", "a-3"]),
    ];
    assert_eq!(fixture.bodies(), expected(&rows));
    assert_eq!(fixture.collected("cupola_connector_routing_default_items"), 2.0);
}

#[tokio::test]
async fn what_is_copied_goes_on() {
    let fixture = routing(json!({
        "default_pipelines": ["logs/other"],
        "table": [
            { "condition": "log.severity_number >= 2", "pipelines": ["logs/a"], "action": "copy" },
            { "condition": "log.severity_number == 3", "pipelines": ["logs/a", "logs/b"] },
        ],
    }));
    fixture.connector.send(logs("t")).await.unwrap();
    let rows: [(_, &[&str]); 3] = [
        ("logs/a", &["a-2", "a-3", "b-2", "b-3", "a-3", "b-3"]),
        ("logs/b", &["a-3", "b-3"]),
        ("logs/other", &["a-1", "a-2", "b-1", "b-2"]),
    ];
    assert_eq!(fixture.bodies(), expected(&rows));
}

#[tokio::test]
async fn without_a_default_what_no_row_matches_is_counted() {
    let fixture = routing(json!({
        "table": [
            { "condition": "log.severity_number == 1", "pipelines": ["logs/a"], "action": "copy" },
            { "condition": "log.severity_number <= 2", "pipelines": ["logs/b"] },
        ],
    }));
    fixture.connector.send(logs("t")).await.unwrap();
    assert_eq!(fixture.collected("cupola_connector_routing_dropped_items"), 2.0);
    assert_eq!(fixture.connector.activity().matched(), 6);
}

#[tokio::test]
async fn tenants_are_routed_by_the_request() {
    let fixture = routing(json!({
        "table": [
            { "context": "request", "condition": "request[\"X-Scope-OrgID\"] == \"acme\"", "pipelines": ["logs/a"] },
            { "condition": "request[\"x-scope-orgid\"] != \"evil\"", "pipelines": ["logs/b"] },
        ],
    }));
    for tenant in ["acme", "other", "evil"] {
        fixture.connector.send(logs(tenant)).await.unwrap();
    }
    let tenants = |name| {
        let batches = fixture.sinks[name].batches();
        batches
            .iter()
            .map(|batch| batch.tenant().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (tenants("logs/a"), tenants("logs/b")),
        (vec!["acme".to_owned()], vec!["other".to_owned()])
    );
    // All of a batch matched: it is handed on as it came.
    assert_eq!(fixture.collected("cupola_connector_routing_dropped_items"), 6.0);
}

#[tokio::test]
async fn a_part_that_is_refused_for_a_while_makes_the_sender_keep_all() {
    let config = json!({ "default_pipelines": ["logs/other"], "table": [
        { "condition": "log.severity_number == 1", "pipelines": ["logs/a"] },
    ] });
    let fixture = routing(config.clone());
    fixture.sinks["logs/a"].answer(Err(SendError::retryable("not now")));
    assert!(
        fixture
            .connector
            .send(logs("t"))
            .await
            .unwrap_err()
            .is_retryable()
    );
    let fixture = routing(config);
    fixture.sinks["logs/a"].answer(Err(SendError::permanent("never")));
    assert_eq!(
        fixture.connector.send(logs("t")).await,
        Ok(Accepted::partial(2, "never"))
    );
}

#[tokio::test]
async fn failing_conditions_refuse_the_batch_or_do_not_hold() {
    let mut config = json!({ "default_pipelines": ["logs/other"], "table": [
        { "context": "log", "condition": "Len(severity_number) == 1", "pipelines": ["logs/a"] },
    ] });
    let error = routing(config.clone())
        .connector
        .send(logs("t"))
        .await
        .unwrap_err();
    assert!(!error.is_retryable(), "{error}");
    config["error_mode"] = json!("ignore");
    let fixture = routing(config);
    fixture.connector.send(logs("t")).await.unwrap();
    assert_eq!(fixture.bodies()["logs/other"].len(), 6);
    assert_eq!(fixture.collected("cupola_connector_routing_errors"), 6.0);
}

#[test]
fn mistakes_are_refused_by_their_keys() {
    let row = |row: Value| json!({ "table": [row] });
    for (json, expected) in [
        (json!({}), "table: needs"),
        (row(json!({ "condition": "true" })), "table[0].pipelines: "),
        (row(json!({ "pipelines": ["logs/a"] })), "table[0]: needs a"),
        (
            row(json!({ "condition": "true", "pipelines": ["logs/x"] })),
            "table[0].pipelines: no pipeline `logs/x`",
        ),
        (
            row(json!({ "condition": "nam ==", "pipelines": ["logs/a"] })),
            "table[0].condition: ",
        ),
        (
            row(json!({ "statement": "set(a, 1)", "pipelines": ["logs/a"] })),
            "table[0].statement: only `route()`",
        ),
        (
            row(
                json!({ "context": "request", "condition": "request[\"X-Tenant\"] > \"a\"", "pipelines": ["logs/a"] }),
            ),
            "table[0].condition: expected",
        ),
        (
            row(json!({ "context": "span", "condition": "name == \"a\"", "pipelines": ["logs/a"] })),
            "table[0].condition: there is no context `span`",
        ),
    ] {
        let config: RoutingConfig = serde_json::from_value(json).unwrap();
        let sink = Arc::new(Capture::default());
        let outputs = outputs(&[("logs/a", &sink)]);
        let error = Routing::new(&config, Signal::Logs, outputs, Held::new())
            .err()
            .unwrap()
            .to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn forwarding_gives_the_same_bytes_to_all() {
    let sinks = [(), ()].map(|()| Arc::new(Capture::default()));
    let named = outputs(&[("logs/a", &sinks[0]), ("logs/b", &sinks[1])]);
    let forward = Forward::new(&ForwardConfig::default(), named, Held::new()).unwrap();
    forward.send(logs("t")).await.unwrap();
    for sink in &sinks {
        assert_eq!(sink.drain(), [logs("t")]);
    }
    sinks[1].answer(Err(SendError::retryable("not now")));
    assert!(forward.send(logs("t")).await.unwrap_err().is_retryable());
}

fn failover(levels: Value) -> (Failover, [Arc<Capture>; 3]) {
    let config: FailoverConfig = serde_json::from_value(json!({ "priority_levels": levels })).unwrap();
    let sinks = [(), (), ()].map(|()| Arc::new(Capture::default()));
    let named: Vec<_> = PIPELINES.into_iter().zip(&sinks).collect();
    let failover = Failover::new(&config, Signal::Logs, outputs(&named), Held::new()).unwrap();
    (failover, sinks)
}

#[tokio::test(start_paused = true)]
async fn a_lower_priority_takes_over_and_the_higher_one_comes_back_by_itself() {
    let (failover, sinks) = failover(json!([["logs/a"], ["logs/b"], ["logs/other"]]));
    let refuse = |index: usize| sinks[index].answer(Err(SendError::retryable("down")));
    let taken = || sinks.each_ref().map(|sink| sink.drain().len());
    failover.send(logs("t")).await.unwrap();
    assert_eq!((taken(), failover.level()), ([1, 0, 0], 0));
    refuse(0);
    failover.send(logs("t")).await.unwrap();
    assert_eq!((taken(), failover.level()), ([0, 1, 0], 1));
    // The higher one is left alone for a while, even though it is well.
    tokio::time::advance(Duration::from_secs(599)).await;
    failover.send(logs("t")).await.unwrap();
    assert_eq!((taken(), failover.level()), ([0, 1, 0], 1));
    // It is tried, fails, and the batch is not lost by that.
    tokio::time::advance(Duration::from_secs(1)).await;
    refuse(0);
    failover.send(logs("t")).await.unwrap();
    assert_eq!((taken(), failover.level()), ([0, 1, 0], 1));
    tokio::time::advance(Duration::from_secs(600)).await;
    failover.send(logs("t")).await.unwrap();
    assert_eq!((taken(), failover.level()), ([1, 0, 0], 0));
    // Everything is down: the sender keeps it, and nothing is decided by that.
    (0..3).for_each(refuse);
    assert!(failover.send(logs("t")).await.unwrap_err().is_retryable());
    assert_eq!((taken(), failover.level()), ([0, 0, 0], 0));
    // The lower ones fail: the higher one is asked before the sender has to keep it.
    refuse(0);
    failover.send(logs("t")).await.unwrap();
    refuse(1);
    refuse(2);
    failover.send(logs("t")).await.unwrap();
    assert_eq!((taken(), failover.level()), ([1, 1, 0], 0));
}

#[tokio::test]
async fn a_level_holds_as_long_as_one_of_its_pipelines_does() {
    let (failover, sinks) = failover(json!([["logs/a", "logs/b"], ["logs/other"]]));
    sinks[0].answer(Err(SendError::retryable("down")));
    failover.send(logs("t")).await.unwrap();
    assert_eq!(sinks.each_ref().map(|sink| sink.drain().len()), [0, 1, 0]);
    let mut samples = Vec::new();
    failover.collect(&mut samples);
    let missed = samples
        .iter()
        .find(|sample| sample.name == "cupola_connector_failover_missed_items");
    assert_eq!(missed.unwrap().value, 6.0);
    for sink in &sinks[..2] {
        sink.answer(Err(SendError::permanent("never")));
    }
    assert!(!failover.send(logs("t")).await.unwrap_err().is_retryable());
    assert_eq!(failover.level(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn routing_conserves_items(seed in any::<u64>(), count in 1usize..80, threshold in 1i32..20, move_first in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut generator = Generator::new(GeneratorConfig { seed, services: 3, ..GeneratorConfig::default() });
            let batch = generator.logs(count);
            let all = records(&batch);
            let service = all[0].0.clone();
            let fixture = routing(json!({
                "default_pipelines": ["logs/other"],
                "table": [
                    { "context": "log", "condition": format!("severity_number > {threshold}"), "pipelines": ["logs/a"],
                      "action": if move_first { "move" } else { "copy" } },
                    { "condition": format!("attributes[\"service.name\"] == \"{service}\""), "pipelines": ["logs/b"] },
                ],
            }));
            fixture.connector.send(batch).await.unwrap();
            let mut expected: [Vec<_>; 3] = Default::default();
            for record in all {
                let severe = record.2 > threshold;
                if severe {
                    expected[0].push(record.clone());
                }
                if severe && move_first {
                    continue;
                }
                expected[if record.0 == service { 1 } else { 2 }].push(record);
            }
            for (name, expected) in PIPELINES.iter().zip(expected) {
                let got: Vec<_> = fixture.sinks[name].drain().iter().flat_map(records).collect();
                assert_eq!(got, expected, "{name}");
            }
        });
    }
}
