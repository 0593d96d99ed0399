//! What is known of who sent a batch, from the receiver that it came to, to whoever asks for it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use cupola_pipeline::graph::{Context, Extensions, Pipelines};
use cupola_telemetry::{Batch, Client};
use http::header::{AUTHORIZATION, CONTENT_TYPE};

use super::{BASIC, BCRYPT, address, start};
use crate::graph::bench_components::{Bench, bodies, context, logs, tenant_logs};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn attribute(batch: &Batch, key: &str) -> Option<String> {
    let resource = batch.logs().resources().next()?;
    let record = resource.scopes().next()?.records().next()?;
    let value = record.attributes.get(key)?;
    value.as_str().map(str::to_owned)
}

/// Receivers over HTTP, the path, media type, and a body of one item.
const RECEIVERS: [(&str, &str, &str, &str, &str); 3] = [
    (
        "otlp",
        "http",
        "/v1/logs",
        "application/json",
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a"}}]}]}]}"#,
    ),
    (
        "loki",
        "http",
        "/loki/api/v1/push",
        "application/json",
        r#"{"streams":[{"stream":{"a":"b"},"values":[["1700000000000000000","a"]]}]}"#,
    ),
    (
        "zipkin",
        "http",
        "/api/v2/spans",
        "application/json",
        r#"[{"traceId":"0000000000000000000000000000000a","id":"000000000000000b","name":"a"}]"#,
    ),
];

#[tokio::test]
async fn a_receiver_keeps_the_headers_of_those_who_send_if_it_is_told_to() {
    for kept in [true, false] {
        let bench = Bench::default();
        let of = format!("endpoint: '127.0.0.1:0', include_metadata: {kept}");
        let configuration = format!(
            "receivers:\n  otlp: {{protocols: {{grpc: {{{of}}}, http: {{{of}}}}}}}\n  loki: {{protocols: {{http: {{{of}}}}}}}\n  \
             zipkin: {{{of}}}\nexporters: {{keep: }}\n\
             service:\n  pipelines:\n    logs: {{receivers: [otlp, loki], exporters: [keep]}}\n    \
             traces: {{receivers: [zipkin], exporters: [keep]}}\n"
        );
        let pipelines = start(&bench, &configuration).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for (receiver, protocol, path, kind, body) in RECEIVERS {
            let url = format!("http://{}{path}", address(&pipelines, receiver, protocol));
            let request = client.post(url).header(CONTENT_TYPE, kind).body(body);
            let answer = request
                .header("X-Team", "blue")
                .header("x-team", "red")
                .send()
                .await
                .unwrap();
            assert!(answer.status().is_success(), "{receiver}: {}", answer.status());
            let arrived = bench.arrived("keep").pop().unwrap();
            let from = arrived
                .client()
                .unwrap_or_else(|| panic!("{receiver} knows nobody"));
            assert_eq!(from.address(), Some(LOCALHOST), "{receiver}");
            let expected: &[&str] = if kept { &["blue", "red"] } else { &[] };
            assert_eq!(from.metadata("x-team"), expected, "{receiver}");
        }
        pipelines.shutdown().await;
    }
}

#[tokio::test]
async fn what_an_agent_is_told_goes_on_in_headers_attributes_routes_and_groups() {
    let (middle, far) = (Bench::default(), Bench::default());
    let listens = "endpoint: '127.0.0.1:0', include_metadata: true";
    let receiving = start(
        &far,
        &format!(
            "receivers: {{otlp: {{protocols: {{grpc: {{{listens}}}}}}}}}\nexporters: {{keep: }}\n\
             service: {{pipelines: {{logs: {{receivers: [otlp], exporters: [keep]}}}}}}\n"
        ),
    )
    .await;
    let queue = tempfile::tempdir().unwrap();
    let configuration = r#"
receivers: {otlp: {protocols: {http: {LISTENS, auth: {authenticator: basicauth}}}}}
extensions:
  file_storage:
  basicauth: {htpasswd: {inline: 'USERS'}}
  headers_setter:
    headers:
      - {key: x-squad, from_context: X-Team}
      - {key: x-user, from_attribute: username}
      - {key: x-none, from_context: X-None}
processors:
  attributes:
    actions:
      - {action: insert, key: team, from_context: metadata.x-team}
      - {action: insert, key: user, from_context: auth.username}
      - {action: insert, key: from, from_context: client.address}
  batch: {metadata_keys: [X-Team], timeout: 1ms}
connectors:
  routing:
    default_pipelines: [logs/other]
    table: [{condition: 'request["X-Team"] == "blue"', pipelines: [logs/blue]}]
exporters:
  keep:
  otlp:
    endpoint: FAR
    tls: {insecure: true}
    auth: {authenticator: headers_setter}
    sending_queue: {storage: file_storage}
service:
  pipelines:
    logs: {receivers: [otlp], processors: [attributes], exporters: [routing]}
    logs/blue: {receivers: [routing], exporters: [otlp]}
    logs/other: {receivers: [routing], processors: [batch], exporters: [keep]}
"#;
    let configuration = configuration
        .replace("LISTENS", listens)
        .replace("USERS", BCRYPT)
        .replace("FAR", &address(&receiving, "otlp", "grpc").to_string());
    let storage = ("file_storage".parse().unwrap(), queue.path().to_owned());
    let around = Context {
        extensions: Arc::new(Extensions {
            storage: [storage].into(),
        }),
        ..context()
    };
    let agent = Pipelines::start(middle.plan(&configuration), around)
        .await
        .unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/v1/logs", address(&agent, "otlp", "http"));
    for (team, body) in [("blue", "of blue"), ("red", "of red")] {
        let request = client
            .post(&url)
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header("X-Team", team);
        let request = request
            .header(AUTHORIZATION, BASIC)
            .body(logs(&[body]).payload().clone());
        assert!(request.send().await.unwrap().status().is_success());
    }
    // Through a queue on disk, and headers of another name.
    let arrived = loop {
        match far.arrived("keep").pop() {
            Some(arrived) => break arrived,
            None => tokio::task::yield_now().await,
        }
    };
    assert_eq!(bodies(std::slice::from_ref(&arrived)), ["of blue"]);
    let from = arrived.client().unwrap();
    assert_eq!(from.metadata("x-squad"), ["blue"]);
    assert_eq!(from.metadata("x-user"), ["agent"]);
    assert_eq!(
        (from.metadata("x-none").len(), from.metadata("x-team").len()),
        (0, 0)
    );
    for (key, value) in [("team", "blue"), ("user", "agent"), ("from", "127.0.0.1")] {
        assert_eq!(attribute(&arrived, key).as_deref(), Some(value), "{key}");
    }
    // Beyond `batch` only its keys are known.
    let other = middle.arrived("keep").pop().unwrap();
    assert_eq!(
        (
            bodies(std::slice::from_ref(&other)),
            attribute(&other, "team").as_deref()
        ),
        (vec!["of red".to_owned()], Some("red"))
    );
    let from = other.client().unwrap();
    assert_eq!((from.address(), from.identity("username")), (None, None));
    assert_eq!(from.metadata("x-team"), ["red"]);
    assert_eq!(from.metadata("authorization").len(), 0);
    agent.shutdown().await;
    receiving.shutdown().await;
}

#[tokio::test]
async fn batches_are_gathered_by_the_values_of_the_keys() {
    let bench = Bench::default();
    let pipelines = start(
        &bench,
        "receivers: {push: }\nexporters: {keep: }\nprocessors: {batch: {metadata_keys: [x-team], timeout: 1h, send_batch_size: 2}}\n\
         service: {pipelines: {logs: {receivers: [push], processors: [batch], exporters: [keep]}}}\n",
    )
    .await;
    let of = |team: &str, body: &str| {
        let client = Client::at(LOCALHOST).with_metadata([("x-team", team), ("x-request", body)]);
        let batch = tenant_logs("a", &[body]).with_client(Some(Arc::new(client)));
        bench.push("push", batch)
    };
    let sent =
        futures::future::join_all([of("blue", "1"), of("red", "2"), of("blue", "3"), of("red", "4")]).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    let mut arrived: Vec<_> = bench
        .arrived("keep")
        .iter()
        .map(|batch| {
            (
                batch.client().unwrap().metadata("x-team").to_vec(),
                bodies(std::slice::from_ref(batch)),
            )
        })
        .collect();
    arrived.sort();
    let texts = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
    assert_eq!(
        arrived,
        [
            (vec!["blue".to_owned()], texts(["1", "3"])),
            (vec!["red".to_owned()], texts(["2", "4"]))
        ]
    );
    pipelines.shutdown().await;
}
