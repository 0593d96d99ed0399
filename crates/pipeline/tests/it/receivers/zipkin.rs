//! The Zipkin receiver, fed by hand and by a real client.

use std::sync::Arc;

use cupola_export::{Accepted, SendError};
use cupola_pipeline::receivers::zipkin::{RunningZipkin, ZipkinReceiver, ZipkinReceiverConfig};
use cupola_telemetry::Batch;
use prost::Message;
use serde_json::{Value, json};

use super::{attributes, post, programs, retryable, sink};
use crate::support::{Capture, gzip};

/// `zipkin.proto3`, independent of what the receiver reads it with.
mod proto {
    use std::collections::HashMap;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ListOfSpans {
        #[prost(message, repeated, tag = "1")]
        pub(super) spans: Vec<Span>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Span {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) trace_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) parent_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "3")]
        pub(super) id: Vec<u8>,
        #[prost(int32, tag = "4")]
        pub(super) kind: i32,
        #[prost(string, tag = "5")]
        pub(super) name: String,
        #[prost(fixed64, tag = "6")]
        pub(super) timestamp: u64,
        #[prost(uint64, tag = "7")]
        pub(super) duration: u64,
        #[prost(message, optional, tag = "8")]
        pub(super) local: Option<Endpoint>,
        #[prost(message, optional, tag = "9")]
        pub(super) remote: Option<Endpoint>,
        #[prost(message, repeated, tag = "10")]
        pub(super) annotations: Vec<Annotation>,
        #[prost(map = "string, string", tag = "11")]
        pub(super) tags: HashMap<String, String>,
        #[prost(bool, tag = "12")]
        pub(super) debug: bool,
        #[prost(bool, tag = "13")]
        pub(super) shared: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Endpoint {
        #[prost(string, tag = "1")]
        pub(super) service_name: String,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) ipv4: Vec<u8>,
        #[prost(bytes = "vec", tag = "3")]
        pub(super) ipv6: Vec<u8>,
        #[prost(int32, tag = "4")]
        pub(super) port: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Annotation {
        #[prost(fixed64, tag = "1")]
        pub(super) timestamp: u64,
        #[prost(string, tag = "2")]
        pub(super) value: String,
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

struct Zipkin {
    running: RunningZipkin,
    sink: Arc<Capture>,
}

impl Zipkin {
    async fn start(config: &str) -> Zipkin {
        let config = format!("endpoint: 127.0.0.1:0\n{config}");
        let config = cupola_config::yaml::from_str::<ZipkinReceiverConfig>(&config).unwrap();
        let (sink, memory) = sink();
        let running = ZipkinReceiver::start(config, sink.clone(), memory).await.unwrap();
        Zipkin { running, sink }
    }

    fn url(&self) -> String {
        format!("http://{}/api/v2/spans", self.running.addr)
    }

    fn spans(&self) -> Vec<Value> {
        self.sink.drain().iter().flat_map(spans).collect()
    }
}

pub(super) fn spans(batch: &Batch) -> Vec<Value> {
    let mut all = Vec::new();
    for resource in batch.traces().resources() {
        for scope in resource.scopes() {
            for span in scope.spans() {
                let events = span
                    .events
                    .map(|event| json!([event.time_unix_nano, event.name, attributes(event.attributes)]));
                let status = span.status.map(|status| json!([status.code, status.message]));
                all.push(json!({
                    "resource": attributes(resource.resource().attributes),
                    "scope": [scope.scope().name, scope.scope().version],
                    "ids": [hex::encode(span.trace_id), hex::encode(span.span_id), hex::encode(span.parent_span_id)],
                    "state": span.trace_state,
                    "name": span.name,
                    "kind": span.kind,
                    "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "attributes": attributes(span.attributes),
                    "events": events.collect::<Vec<_>>(),
                    "status": status,
                }));
            }
        }
    }
    all
}

fn two_spans() -> Value {
    json!([
        {
            "traceId": "0102030405060708090A0b0c0d0e0f10", "id": "0a0b0c0d0e0f1011", "parentId": "1", "kind": "SERVER",
            "name": "get /items", "timestamp": 1_700_000_000_000_001u64, "duration": 250, "shared": true, "debug": true,
            "localEndpoint": {"serviceName": "cart", "ipv4": "10.0.0.1", "port": 8080},
            "remoteEndpoint": {"serviceName": "shop", "ipv6": "2001:db8::1"},
            "annotations": [
                {"timestamp": 1_700_000_000_000_010u64, "value": "cache miss"},
                {"timestamp": 1_700_000_000_000_020u64, "value": "\"retry\":{\"attempt\":2,\"why\":\"timeout\"}"},
            ],
            "tags": {"http.status_code": "503", "error": "unavailable", "otel.scope.name": "lib", "w3c.tracestate": "a=b"},
        },
        {"traceId": "ab", "id": "cd", "tags": {"ok": "true", "ratio": "0.5", "otel.status_code": "OK"}, "timestamp": 5},
    ])
}

/// What two spans become, tags as they are with `parse`d values.
fn expected(status_code: Value, ok: Value, ratio: Value) -> Vec<Value> {
    vec![
        json!({
            "resource": {}, "scope": ["", ""], "ids": ["000000000000000000000000000000ab", "00000000000000cd", ""],
            "state": "", "name": "", "kind": 1, "start": 5000, "end": 5000,
            "attributes": {"ok": ok, "ratio": ratio}, "events": [], "status": [1, ""],
        }),
        json!({
            "resource": {"service.name": "cart"}, "scope": ["lib", ""],
            "ids": ["0102030405060708090a0b0c0d0e0f10", "0a0b0c0d0e0f1011", "0000000000000001"],
            "state": "a=b", "name": "get /items", "kind": 2,
            "start": 1_700_000_000_000_001_000u64, "end": 1_700_000_000_000_251_000u64,
            "attributes": {"http.status_code": status_code, "net.host.ip": "10.0.0.1", "net.host.port": 8080,
                "net.peer.ip": "2001:db8::1", "peer.service": "shop", "zipkin.debug": true, "zipkin.shared": true},
            "events": [[1_700_000_000_000_010_000u64, "cache miss", {}],
                [1_700_000_000_000_020_000u64, "retry", {"attempt": 2, "why": "timeout"}]],
            "status": [2, "unavailable"],
        }),
    ]
}

#[tokio::test]
async fn spans_in_json_arrive_field_for_field() {
    let zipkin = Zipkin::start("").await;
    let text = two_spans().to_string().into_bytes();
    for (headers, body) in [
        (vec![JSON], text.clone()),
        (vec![JSON, ("content-encoding", "gzip")], gzip(&text).to_vec()),
    ] {
        let answer = post(zipkin.url(), &headers, body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(
            zipkin.spans(),
            expected(json!("503"), json!("true"), json!("0.5"))
        );
    }
    let typed = Zipkin::start("parse_string_tags: true").await;
    assert_eq!(post(typed.url(), &[JSON], text).await.status, 202);
    assert_eq!(typed.spans(), expected(json!(503), json!(true), json!(0.5)));
}

#[tokio::test]
async fn spans_in_protobuf_arrive_field_for_field() {
    use proto::{Annotation, Endpoint, ListOfSpans, Span};
    let zipkin = Zipkin::start("").await;
    let tags = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    };
    let annotation = |micros: u64, value: &str| Annotation {
        timestamp: 1_700_000_000_000_000 + micros,
        value: value.to_owned(),
    };
    let message = ListOfSpans {
        spans: vec![
            Span {
                trace_id: (1..=16).collect(),
                id: (10..=17).collect(),
                parent_id: vec![0, 0, 0, 0, 0, 0, 0, 1],
                kind: 2,
                name: "get /items".to_owned(),
                timestamp: 1_700_000_000_000_001,
                duration: 250,
                local: Some(Endpoint {
                    service_name: "cart".to_owned(),
                    ipv4: vec![10, 0, 0, 1],
                    port: 8080,
                    ..Endpoint::default()
                }),
                remote: Some(Endpoint {
                    service_name: "shop".to_owned(),
                    ipv6: vec![0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                    ..Endpoint::default()
                }),
                annotations: vec![
                    annotation(10, "cache miss"),
                    annotation(20, "\"retry\":{\"attempt\":2,\"why\":\"timeout\"}"),
                ],
                tags: tags(&[
                    ("http.status_code", "503"),
                    ("error", "unavailable"),
                    ("otel.scope.name", "lib"),
                    ("w3c.tracestate", "a=b"),
                ]),
                debug: true,
                shared: true,
            },
            Span {
                trace_id: vec![0, 0, 0, 0, 0, 0, 0, 0xab],
                id: vec![0, 0, 0, 0, 0, 0, 0, 0xcd],
                timestamp: 5,
                tags: tags(&[("ok", "true"), ("ratio", "0.5"), ("otel.status_code", "OK")]),
                ..Span::default()
            },
        ],
    };
    let answer = post(
        zipkin.url(),
        &[PROTOBUF, ("x-scope-orgid", "team-a")],
        message.encode_to_vec(),
    )
    .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(zipkin.sink.batches()[0].tenant().as_str(), "team-a");
    assert_eq!(
        zipkin.spans(),
        expected(json!("503"), json!("true"), json!("0.5"))
    );
}

#[tokio::test]
async fn refusals_say_whether_to_come_again_and_take_nothing_good_with_them() {
    let zipkin = Zipkin::start("max_request_body_size: 2000").await;
    let mut some = two_spans();
    some[0]["id"] = json!("not hex");
    let answer = post(zipkin.url(), &[JSON], some.to_string()).await;
    assert_eq!(answer.status, 400);
    assert!(String::from_utf8_lossy(&answer.body).contains("not hex"));
    assert_eq!(zipkin.spans().len(), 1);

    let body = two_spans().to_string();
    zipkin.sink.answer(Err(retryable()));
    let answer = post(zipkin.url(), &[JSON], body.clone()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("3")));
    zipkin.sink.answer(Err(SendError::permanent("no")));
    assert_eq!(post(zipkin.url(), &[JSON], body.clone()).await.status, 400);
    zipkin.sink.answer(Ok(Accepted::partial(1, "too old")));
    assert_eq!(post(zipkin.url(), &[JSON], body.clone()).await.status, 400);
    assert_eq!(post(zipkin.url(), &[JSON], "{").await.status, 400);
    assert_eq!(post(zipkin.url(), &[PROTOBUF], "nonsense").await.status, 400);
    assert_eq!(post(zipkin.url(), &[JSON], vec![b' '; 2001]).await.status, 413);
    let bomb = gzip(&vec![b' '; 1_000_000]).to_vec();
    assert_eq!(
        post(zipkin.url(), &[JSON, ("content-encoding", "gzip")], bomb)
            .await
            .status,
        413
    );
    assert_eq!(
        post(zipkin.url(), &[("content-type", "application/x-thrift")], body)
            .await
            .status,
        415
    );
    let mut samples = Vec::new();
    zipkin.running.collect(&mut samples);
    let count = |name: &str| samples.iter().find(|sample| sample.name == name).unwrap().value;
    assert_eq!(count("otelcol_receiver_refused_spans"), 2.0);
    assert_eq!(count("otelcol_receiver_accepted_spans"), 2.0);
    assert_eq!(count("otelcol_receiver_failed_spans"), 4.0);
    zipkin.running.shutdown().await;
}

#[tokio::test]
async fn zipkin_js_is_understood() {
    let zipkin = Zipkin::start("").await;
    let url = format!("http://{}", zipkin.running.addr);
    if !programs::client("zipkin.mjs", &[&url, "v2"]).await {
        return;
    }
    let spans = zipkin.spans();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    let span = &spans[0];
    assert_eq!(span["resource"], json!({"service.name": "cart"}));
    assert_eq!(
        (&span["name"], &span["kind"], &span["status"]),
        (&json!("get"), &json!(3), &json!([2, "unavailable"]))
    );
    assert!(span["end"].as_u64() > span["start"].as_u64());
    assert_eq!(span["events"][0][1], "retried");
    let expected = json!({"http.path": "/items", "http.status_code": "503", "peer.service": "stock",
        "net.peer.ip": "10.1.2.3", "net.peer.port": 8080});
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&span["attributes"][key], value, "{span:#}");
    }
    assert_eq!(span["ids"][0].as_str().unwrap().len(), 32);
}
