//! What is pushed to Loki, read by types that are not ours. Loki itself cannot be had here: its module is under the AGPL
//! and is served by no package registry that tests may use, so the server is one of the test's own and the real peer counts
//! as skipped (`the_real_loki` says so).

use std::collections::BTreeMap;
use std::time::Duration;

use cupola_config::units::ByteSize;
use cupola_export::loki::{LokiConfig, LokiSink};
use cupola_export::{Accepted, SendError, Sink};
use cupola_telemetry::encode::LogsEncoder;
use cupola_telemetry::{Batch, TenantId};
use prost::Message as _;
use serde_json::{Value as Json, json};

use crate::support::{Recorded, Reply, Server, logs};

#[derive(Clone, PartialEq, prost::Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<Stream>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Stream {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    line: String,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Pair>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// Streams by their labels: time, line and metadata of each entry.
type Pushed = BTreeMap<String, Vec<(i64, String, BTreeMap<String, String>)>>;

fn read(request: &Recorded) -> Pushed {
    if request.header("content-type") == "application/json" {
        return read_json(&serde_json::from_slice(&request.body).unwrap());
    }
    assert_eq!(request.header("content-type"), "application/x-protobuf");
    assert_eq!(request.header("content-encoding"), "snappy");
    let plain = snap::raw::Decoder::new().decompress_vec(&request.body).unwrap();
    let push = PushRequest::decode(&plain[..]).unwrap();
    let entry = |entry: Entry| {
        let time = entry.timestamp.unwrap();
        let metadata = entry
            .metadata
            .into_iter()
            .map(|pair| (pair.name, pair.value))
            .collect();
        (
            time.seconds * 1_000_000_000 + i64::from(time.nanos),
            entry.line,
            metadata,
        )
    };
    push.streams
        .into_iter()
        .map(|stream| (stream.labels, stream.entries.into_iter().map(entry).collect()))
        .collect()
}

fn read_json(request: &Json) -> Pushed {
    let mut pushed = Pushed::new();
    for stream in request["streams"].as_array().unwrap() {
        let labels: BTreeMap<String, String> = serde_json::from_value(stream["stream"].clone()).unwrap();
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        let entry = |entry: &Json| {
            let metadata = entry.get(2).cloned().unwrap_or(json!({}));
            let time = entry[0].as_str().unwrap().parse().unwrap();
            (
                time,
                entry[1].as_str().unwrap().to_owned(),
                serde_json::from_value(metadata).unwrap(),
            )
        };
        let entries = stream["values"].as_array().unwrap().iter().map(entry).collect();
        pushed.insert(format!("{{{}}}", labels.join(", ")), entries);
    }
    pushed
}

fn config(server: &Server, settings: Json) -> LokiConfig {
    let mut settings = settings;
    settings["endpoint"] = format!("http://{}/loki/api/v1/push", server.address).into();
    serde_json::from_value(settings).unwrap()
}

/// Three records of one service, the later before the earlier, with hints of `resource` and `record`.
fn batch(resource_hints: &[(&str, &str)], record_hints: &[(&str, &str)]) -> Batch {
    let mut logs = LogsEncoder::new();
    {
        let mut resource = logs.resource_logs();
        {
            let mut about = resource.resource();
            about
                .attribute("service.name", "cart")
                .attribute("service.instance.id", "pod-1");
            about.attribute("cloud.region", "eu");
            for (key, value) in resource_hints {
                about.attribute(key, *value);
            }
        }
        let mut scope = resource.scope_logs();
        scope.scope().name("lib");
        for (time, number, body) in [
            (2_000_000_005_u64, 9, "second"),
            (1, 9, "fi\"rst\n"),
            (3, 18, "third"),
        ] {
            let mut record = scope.record();
            record.time_unix_nano(time).severity_number(number).body(body);
            record
                .attribute("http.route", "/cart")
                .trace_id(&[0xab; 16])
                .span_id(&[0xcd; 8]);
            for (key, value) in record_hints {
                record.attribute(key, *value);
            }
        }
    }
    logs.finish(TenantId::parse("team-a").unwrap())
}

#[test]
fn the_real_loki() {
    eprintln!("skipped: no package registry serves Loki");
}

#[tokio::test]
async fn both_encodings_say_the_same() {
    let server = Server::start([]).await;
    for encoding in ["protobuf", "json"] {
        let sink = LokiSink::new(&config(&server, json!({"encoding": encoding}))).unwrap();
        assert_eq!(sink.send(batch(&[], &[])).await, Ok(Accepted::all()));
    }
    let requests = server.requests();
    assert_eq!(requests[0].path, "/loki/api/v1/push");
    let pushed = read(&requests[0]);
    assert_eq!(pushed, read(&requests[1]));
    let labels =
        |level: &str| format!(r#"{{exporter="OTLP", instance="pod-1", job="cart", level="{level}"}}"#);
    let infos = &pushed[&labels("INFO")];
    assert_eq!(
        infos.iter().map(|(time, ..)| *time).collect::<Vec<_>>(),
        [1, 2_000_000_005]
    );
    let line: Json = serde_json::from_str(&infos[0].1).unwrap();
    let expected = json!({
        "body": "fi\"rst\n", "traceid": "ab".repeat(16), "spanid": "cd".repeat(8),
        "attributes": {"http.route": "/cart"},
        "resources": {"service.name": "cart", "service.instance.id": "pod-1", "cloud.region": "eu"},
        "instrumentation_scope": {"name": "lib"},
    });
    assert_eq!(line, expected);
    assert_eq!((pushed.len(), pushed[&labels("ERROR2")].len()), (2, 1));
}

#[tokio::test]
async fn hints_choose_labels_format_and_tenant_and_are_not_sent() {
    let server = Server::start([]).await;
    let sink = LokiSink::new(&config(
        &server,
        json!({"default_labels_enabled": {"exporter": false}}),
    ))
    .unwrap();
    let resource = [
        ("loki.resource.labels", "cloud.region, absent"),
        ("loki.tenant", "service.name"),
    ];
    let record = [("loki.attribute.labels", "http.route"), ("loki.format", "logfmt")];
    sink.send(batch(&resource, &record)).await.unwrap();
    let request = server.requests().remove(0);
    assert_eq!(request.header("x-scope-orgid"), "cart");
    let pushed = read(&request);
    let labels = r#"{cloud_region="eu", http_route="/cart", instance="pod-1", job="cart", level="INFO"}"#;
    let line = format!(
        r#"msg="fi\"rst\n" traceID={} spanID={} resource_service.name=cart resource_service.instance.id=pod-1 instrumentation_scope_name=lib"#,
        "ab".repeat(16),
        "cd".repeat(8)
    );
    assert_eq!(pushed[labels][0].1, line);

    let sink = LokiSink::new(&config(&server, json!({"tenant_header": true}))).unwrap();
    sink.send(batch(&[], &[("loki.format", "raw")])).await.unwrap();
    let request = server.requests().remove(1);
    assert_eq!(request.header("x-scope-orgid"), "team-a");
    assert!(read(&request).values().any(|entries| entries[0].1 == "fi\"rst\n"));
}

#[tokio::test]
async fn structured_metadata_has_what_is_neither_label_nor_body() {
    let server = Server::start([]).await;
    for encoding in ["protobuf", "json"] {
        let settings = json!({"structured_metadata": true, "encoding": encoding});
        let sink = LokiSink::new(&config(&server, settings)).unwrap();
        sink.send(batch(&[("loki.resource.labels", "cloud.region")], &[]))
            .await
            .unwrap();
        let pushed = read(&server.requests().pop().unwrap());
        let (_, line, metadata) = &pushed.values().find(|entries| entries.len() == 2).unwrap()[1];
        assert_eq!(line, "second");
        let expected = [
            ("http_route", "/cart"),
            ("scope_name", "lib"),
            ("service_instance_id", "pod-1"),
            ("service_name", "cart"),
            ("severity_number", "9"),
            ("span_id", "cdcdcdcdcdcdcdcd"),
            ("trace_id", "abababababababababababababababab"),
        ];
        let found: Vec<_> = metadata
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn large_batches_go_in_several_requests_and_nothing_is_left_out() {
    let server = Server::start([]).await;
    let mut config = config(&server, json!({}));
    config.max_batch_size_bytes = ByteSize(10_000);
    LokiSink::new(&config)
        .unwrap()
        .send(logs(3, 2, 20, 300))
        .await
        .unwrap();
    let requests = server.requests();
    assert!(requests.len() > 4);
    let lines: Vec<String> = requests
        .iter()
        .flat_map(|request| read(request).into_values().flatten())
        .map(|(_, line, _)| line)
        .collect();
    assert_eq!(lines.len(), 120);
    for (resource, scope, record) in [(0, 0, 0), (2, 1, 19)] {
        assert!(
            lines
                .iter()
                .any(|line| line.contains(&format!("{resource}/{scope}/{record} ")))
        );
    }
}

#[tokio::test]
async fn records_without_a_label_are_refused_by_themselves() {
    let server = Server::start([]).await;
    let none = json!({"default_labels_enabled": {"exporter": false, "job": false, "instance": false, "level": true}});
    let mut logs = LogsEncoder::new();
    {
        let mut resource = logs.resource_logs();
        let mut scope = resource.scope_logs();
        scope.record().body("labelled").severity_number(9);
        scope.record().body("not labelled");
    }
    let batch = logs.finish(TenantId::default_tenant());
    let accepted = LokiSink::new(&config(&server, none))
        .unwrap()
        .send(batch)
        .await
        .unwrap();
    assert_eq!((accepted.rejected, accepted.refused.len()), (1, 1));
    assert!(accepted.refused[0].to_json().contains("not labelled"));
    assert_eq!(read(&server.requests()[0]).len(), 1);
}

#[tokio::test]
async fn refusals_are_told_apart_and_settings_checked() {
    let busy = Reply::Http {
        status: 429,
        headers: vec![("retry-after", "3".to_owned())],
        body: bytes::Bytes::new(),
    };
    let server = Server::start([busy, Reply::http(500), Reply::http(400)]).await;
    let sink = LokiSink::new(&config(&server, json!({}))).unwrap();
    let busy = sink.send(batch(&[], &[])).await;
    assert!(
        matches!(busy, Err(SendError::Retryable { retry_after: Some(wait), .. }) if wait == Duration::from_secs(3))
    );
    assert!(matches!(
        sink.send(batch(&[], &[])).await,
        Err(SendError::Retryable { .. })
    ));
    assert!(matches!(
        sink.send(batch(&[], &[])).await,
        Err(SendError::Permanent { .. })
    ));
    assert!(LokiSink::new(&LokiConfig::default()).is_err());
    assert!(serde_json::from_value::<LokiConfig>(json!({"labels": {}})).is_err());
}
