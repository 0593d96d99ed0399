//! The Loki receiver, fed by hand and by a real client.

use cupola_export::{Accepted, SendError};
use cupola_pipeline::receivers::loki::{LokiReceiver, LokiReceiverConfig, RunningLoki};
use cupola_telemetry::Batch;
use prost::Message;
use serde_json::{Value, json};

use super::{attributes, post, programs, retryable, sink, snappy, value};
use crate::support::{Capture, gzip};

/// `logproto.PushRequest`, independent of what the receiver reads it with.
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
    #[prost(uint64, tag = "3")]
    hash: u64,
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

const PUSH: &str = "/loki/api/v1/push";
const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

struct Loki {
    running: RunningLoki,
    sink: std::sync::Arc<Capture>,
}

impl Loki {
    async fn start(config: &str) -> Loki {
        let mut config: LokiReceiverConfig = cupola_config::yaml::from_str(config).unwrap();
        config.protocols.http.endpoint = Some("127.0.0.1:0".parse().unwrap());
        let (sink, memory) = sink();
        let running = LokiReceiver::start(config, sink.clone(), memory).await.unwrap();
        Loki { running, sink }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.addr)
    }
}

/// Every record of a batch with what belongs to it.
fn records(batch: &Batch) -> Vec<Value> {
    let mut records = Vec::new();
    for resource in batch.logs().resources() {
        for record in resource.scopes().flat_map(|scope| scope.records()) {
            assert!(record.observed_time_unix_nano > 0);
            records.push(json!({
                "resource": attributes(resource.resource().attributes),
                "time": record.time_unix_nano,
                "severity": [json!(record.severity_number), json!(record.severity_text)],
                "body": record.body.map(value),
                "attributes": attributes(record.attributes),
                "ids": [hex::encode(record.trace_id), hex::encode(record.span_id)],
            }));
        }
    }
    records
}

fn two_streams() -> (PushRequest, Vec<Value>) {
    let pair = |name: &str, value: &str| Pair {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let entry = |seconds, nanos, line: &str, metadata| Entry {
        timestamp: Some(Timestamp { seconds, nanos }),
        line: line.to_owned(),
        metadata,
    };
    let (trace, span) = ("0102030405060708090a0b0c0d0e0f10", "0102030405060708");
    let request = PushRequest {
        streams: vec![
            Stream {
                labels: r#"{service_name="cart", level="warn", __internal="x"}"#.to_owned(),
                entries: vec![
                    entry(1_700_000_000, 5, "first", vec![]),
                    entry(
                        1_700_000_001,
                        0,
                        "",
                        vec![
                            pair("trace_id", trace),
                            pair("span_id", span),
                            pair("level", "ERROR"),
                        ],
                    ),
                ],
                hash: 7,
            },
            Stream {
                labels: r#"{app="a\"b"}"#.to_owned(),
                entries: vec![entry(
                    2,
                    0,
                    "third",
                    vec![pair("trace_id", "odd"), pair("user", "ü")],
                )],
                hash: 0,
            },
            Stream {
                labels: "{}".to_owned(),
                entries: vec![],
                hash: 0,
            },
        ],
    };
    let expected = vec![
        json!({"resource": {"service.name": "cart"}, "time": 1_700_000_000_000_000_005u64, "severity": [13, "warn"],
            "body": "first", "attributes": {"service_name": "cart", "level": "warn"}, "ids": ["", ""]}),
        json!({"resource": {"service.name": "cart"}, "time": 1_700_000_001_000_000_000u64, "severity": [17, "ERROR"],
            "body": "", "attributes": {"service_name": "cart", "level": "warn", "level_extracted": "ERROR"}, "ids": [trace, span]}),
        json!({"resource": {}, "time": 2_000_000_000u64, "severity": [0, ""], "body": "third",
            "attributes": {"app": "a\"b", "trace_id": "odd", "user": "ü"}, "ids": ["", ""]}),
    ];
    (request, expected)
}

#[tokio::test]
async fn a_push_in_protobuf_arrives_entry_for_entry() {
    let loki = Loki::start("").await;
    let (request, expected) = two_streams();
    let body = snappy(&request.encode_to_vec());
    for headers in [
        vec![PROTOBUF],
        vec![PROTOBUF, ("content-encoding", "snappy")],
        vec![],
    ] {
        let answer = post(loki.url(PUSH), &headers, body.clone()).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        let batches = loki.sink.drain();
        assert_eq!(records(&batches[0]), expected);
        assert_eq!(batches[0].tenant().as_str(), "default");
        // What was written is what a reader of OTLP takes as it is.
        let again = Batch::decode_protobuf(
            batches[0].signal(),
            batches[0].tenant().clone(),
            batches[0].payload().clone(),
        );
        assert_eq!(again.unwrap(), batches[0]);
    }
}

#[tokio::test]
async fn a_push_in_json_arrives_entry_for_entry_for_its_tenant() {
    let loki = Loki::start("").await;
    let body = json!({"streams": [
        {"stream": {"service_name": "cart", "level": "info"}, "values": [
            ["1700000000000000005", "a \"line\""],
            ["1700000000000000006", "ü", {"user": "7"}],
        ]},
    ]});
    let expected = vec![
        json!({"resource": {"service.name": "cart"}, "time": 1_700_000_000_000_000_005u64, "severity": [9, "info"],
            "body": "a \"line\"", "attributes": {"service_name": "cart", "level": "info"}, "ids": ["", ""]}),
        json!({"resource": {"service.name": "cart"}, "time": 1_700_000_000_000_000_006u64, "severity": [9, "info"],
            "body": "ü", "attributes": {"service_name": "cart", "level": "info", "user": "7"}, "ids": ["", ""]}),
    ];
    let text = body.to_string().into_bytes();
    let tenant = ("x-scope-orgid", "team-a");
    for (headers, body) in [
        (vec![JSON, tenant], text.clone()),
        (
            vec![JSON, tenant, ("content-encoding", "gzip")],
            gzip(&text).to_vec(),
        ),
    ] {
        let answer = post(loki.url(PUSH), &headers, body).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        let batches = loki.sink.drain();
        assert_eq!(records(&batches[0]), expected);
        assert_eq!(batches[0].tenant().as_str(), "team-a");
    }
}

#[tokio::test]
async fn the_time_of_arrival_is_taken_where_the_settings_say_so() {
    let loki = Loki::start("use_incoming_timestamp: false").await;
    let body = r#"{"streams": [{"stream": {}, "values": [["5", "x"]]}]}"#;
    assert_eq!(post(loki.url(PUSH), &[JSON], body).await.status, 204);
    let batch = &loki.sink.drain()[0];
    let resource = batch.logs().resources().next().unwrap();
    let record = resource.scopes().next().unwrap().records().next().unwrap();
    assert_eq!(record.time_unix_nano, record.observed_time_unix_nano);
    assert!(record.time_unix_nano > 5);
}

#[tokio::test]
async fn a_stream_that_cannot_be_read_does_not_take_the_others_with_it() {
    let loki = Loki::start("").await;
    let (mut request, expected) = two_streams();
    request.streams[0].labels = "{level=}".to_owned();
    let answer = post(loki.url(PUSH), &[PROTOBUF], snappy(&request.encode_to_vec())).await;
    assert_eq!(answer.status, 400);
    assert!(
        String::from_utf8_lossy(&answer.body).contains("level="),
        "{answer:?}"
    );
    assert_eq!(records(&loki.sink.drain()[0]), expected[2..]);
    let mut samples = Vec::new();
    loki.running.collect(&mut samples);
    let count = |name: &str| samples.iter().find(|sample| sample.name == name).unwrap().value;
    assert_eq!(count("otelcol_receiver_accepted_log_records"), 1.0);
    assert_eq!(count("otelcol_receiver_failed_log_records"), 2.0);
}

#[tokio::test]
async fn refusals_say_whether_to_come_again() {
    let loki = Loki::start("protocols: {http: {max_request_body_size: 1000}}").await;
    let body = r#"{"streams": [{"stream": {}, "values": [["5", "x"]]}]}"#;
    loki.sink.answer(Err(retryable()));
    let answer = post(loki.url(PUSH), &[JSON], body).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("3")));
    loki.sink.answer(Err(SendError::permanent("no")));
    assert_eq!(post(loki.url(PUSH), &[JSON], body).await.status, 400);
    loki.sink.answer(Ok(Accepted::partial(1, "too old")));
    let answer = post(loki.url(PUSH), &[JSON], body).await;
    assert_eq!(answer.status, 400);
    assert!(String::from_utf8_lossy(&answer.body).contains("too old"));

    assert_eq!(post(loki.url(PUSH), &[JSON], "{").await.status, 400);
    assert_eq!(post(loki.url(PUSH), &[PROTOBUF], "nonsense").await.status, 400);
    assert_eq!(post(loki.url(PUSH), &[JSON], vec![b' '; 1001]).await.status, 413);
    let bomb = snappy(&vec![0; 1_000_000]);
    assert_eq!(
        post(loki.url(PUSH), &[PROTOBUF], bomb[..900].to_vec())
            .await
            .status,
        413
    );
    assert_eq!(post(loki.url("/other"), &[JSON], body).await.status, 404);
    assert_eq!(
        post(loki.url(PUSH), &[("content-type", "text/plain")], body)
            .await
            .status,
        415
    );
    assert_eq!(
        post(loki.url(PUSH), &[JSON, ("x-scope-orgid", "a/b")], body)
            .await
            .status,
        400
    );
    let ready = reqwest::get(loki.url("/ready")).await.unwrap();
    assert_eq!(ready.status().as_u16(), 200);
    loki.running.shutdown().await;
}

#[tokio::test]
async fn winston_loki_is_understood_in_both_formats() {
    let loki = Loki::start("").await;
    for format in ["json", "protobuf"] {
        if !programs::client("loki.mjs", &[&loki.url(""), format]).await {
            return;
        }
        let batches = loki.sink.drain();
        assert!(batches.iter().all(|batch| batch.tenant().as_str() == "team-a"));
        let mut lines: Vec<_> = batches.iter().flat_map(records).collect();
        lines.sort_by_key(|line| line["body"].to_string());
        let read: Vec<_> = lines
            .iter()
            .map(|line| {
                (
                    line["body"].clone(),
                    line["severity"][1].clone(),
                    line["resource"].clone(),
                )
            })
            .collect();
        let expected: Vec<_> = ["info", "warn", "error", "debug", "info"]
            .iter()
            .enumerate()
            .map(|(index, level)| {
                let body = json!(format!("line {index} ümlaut"));
                (body, json!(level), json!({"service.name": "cart"}))
            })
            .collect();
        assert_eq!(read, expected, "{format}");
    }
}
