//! The Jaeger receiver, fed by hand and by a real client.

mod agent;
mod thrift;

use std::sync::Arc;

use bytes::Bytes;
use cupola_export::SendError;
use cupola_pipeline::receivers::jaeger::{JaegerReceiver, JaegerReceiverConfig, RunningJaeger};
use prost::Message;
use serde_json::json;

use super::zipkin::spans;
use super::{post, programs, retryable, sink};
use crate::support::{Capture, GrpcAnswer, frame, grpc_call, gzip};

/// `jaeger.api_v2`, independent of what the receiver reads it with.
mod proto {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct PostSpansRequest {
        #[prost(message, optional, tag = "1")]
        pub(super) batch: Option<Batch>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Batch {
        #[prost(message, repeated, tag = "1")]
        pub(super) spans: Vec<Span>,
        #[prost(message, optional, tag = "2")]
        pub(super) process: Option<Process>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Process {
        #[prost(string, tag = "1")]
        pub(super) service_name: String,
        #[prost(message, repeated, tag = "2")]
        pub(super) tags: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct KeyValue {
        #[prost(string, tag = "1")]
        pub(super) key: String,
        #[prost(int32, tag = "2")]
        pub(super) kind: i32,
        #[prost(string, tag = "3")]
        pub(super) text: String,
        #[prost(bool, tag = "4")]
        pub(super) flag: bool,
        #[prost(int64, tag = "5")]
        pub(super) integer: i64,
        #[prost(double, tag = "6")]
        pub(super) double: f64,
        #[prost(bytes = "vec", tag = "7")]
        pub(super) bytes: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Log {
        #[prost(message, optional, tag = "1")]
        pub(super) timestamp: Option<Time>,
        #[prost(message, repeated, tag = "2")]
        pub(super) fields: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Time {
        #[prost(int64, tag = "1")]
        pub(super) seconds: i64,
        #[prost(int32, tag = "2")]
        pub(super) nanos: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct SpanRef {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) trace_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) span_id: Vec<u8>,
        #[prost(int32, tag = "3")]
        pub(super) kind: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Span {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) trace_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) span_id: Vec<u8>,
        #[prost(string, tag = "3")]
        pub(super) operation_name: String,
        #[prost(message, repeated, tag = "4")]
        pub(super) references: Vec<SpanRef>,
        #[prost(uint32, tag = "5")]
        pub(super) flags: u32,
        #[prost(message, optional, tag = "6")]
        pub(super) start: Option<Time>,
        #[prost(message, optional, tag = "7")]
        pub(super) duration: Option<Time>,
        #[prost(message, repeated, tag = "8")]
        pub(super) tags: Vec<KeyValue>,
        #[prost(message, repeated, tag = "9")]
        pub(super) logs: Vec<Log>,
        #[prost(message, optional, tag = "10")]
        pub(super) process: Option<Process>,
        #[prost(string, repeated, tag = "12")]
        pub(super) warnings: Vec<String>,
    }
}

use proto::*;

const METHOD: &str = "/jaeger.api_v2.CollectorService/PostSpans";
const THRIFT: (&str, &str) = ("content-type", "application/x-thrift");

struct Jaeger {
    running: RunningJaeger,
    sink: Arc<Capture>,
}

impl Jaeger {
    async fn start() -> Jaeger {
        let config = "protocols: {grpc: {endpoint: '127.0.0.1:0'}, thrift_http: {endpoint: '127.0.0.1:0'}}";
        let config = cupola_config::yaml::from_str::<JaegerReceiverConfig>(config).unwrap();
        let (sink, memory) = sink();
        let running = JaegerReceiver::start(config, sink.clone(), memory).await.unwrap();
        Jaeger { running, sink }
    }

    async fn call(&self, headers: &[(&str, &str)], body: Bytes) -> GrpcAnswer {
        grpc_call(self.running.grpc_addr.unwrap(), METHOD, headers, body).await
    }

    fn url(&self) -> String {
        format!("http://{}/api/traces", self.running.thrift_http_addr.unwrap())
    }
}

fn text(key: &str, text: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        text: text.to_owned(),
        ..KeyValue::default()
    }
}

/// A span with a process of its own, as it comes by itself.
pub(super) fn lone_span() -> Vec<u8> {
    request().batch.unwrap().spans[0].encode_to_vec()
}

fn request() -> PostSpansRequest {
    let time = |nanos| {
        Some(Time {
            seconds: 1_700_000_000,
            nanos,
        })
    };
    let trace: Vec<u8> = (1..=16).collect();
    let other = SpanRef {
        trace_id: vec![9; 16],
        span_id: vec![8; 8],
        kind: 1,
    };
    let parent = SpanRef {
        trace_id: trace.clone(),
        span_id: vec![7; 8],
        kind: 0,
    };
    let own = Process {
        service_name: "stock".to_owned(),
        tags: Vec::new(),
    };
    let span = Span {
        trace_id: trace,
        span_id: vec![1; 8],
        operation_name: "pay".to_owned(),
        references: vec![other, parent],
        flags: 1,
        start: time(5),
        duration: Some(Time {
            seconds: 0,
            nanos: 250,
        }),
        tags: vec![
            text("span.kind", "client"),
            text("otel.scope.name", "lib"),
            text("w3c.tracestate", "a=b"),
            text("plain", "ü"),
            KeyValue {
                key: "ok".to_owned(),
                kind: 1,
                flag: true,
                ..KeyValue::default()
            },
            KeyValue {
                key: "items".to_owned(),
                kind: 2,
                integer: -3,
                ..KeyValue::default()
            },
            KeyValue {
                key: "ratio".to_owned(),
                kind: 3,
                double: 0.5,
                ..KeyValue::default()
            },
            KeyValue {
                key: "raw".to_owned(),
                kind: 4,
                bytes: vec![1, 2],
                ..KeyValue::default()
            },
            KeyValue {
                key: "error".to_owned(),
                kind: 1,
                flag: true,
                ..KeyValue::default()
            },
        ],
        logs: vec![Log {
            timestamp: time(6),
            fields: vec![text("event", "retry"), text("why", "timeout")],
        }],
        process: None,
        warnings: vec!["clock skew".to_owned()],
    };
    let second = Span {
        span_id: vec![2; 8],
        trace_id: vec![3; 16],
        process: Some(own),
        ..Span::default()
    };
    let process = Process {
        service_name: "cart".to_owned(),
        tags: vec![text("hostname", "a"), text("region", "north")],
    };
    PostSpansRequest {
        batch: Some(Batch {
            spans: vec![span, second],
            process: Some(process),
        }),
    }
}

#[tokio::test]
async fn spans_over_grpc_arrive_field_for_field() {
    let jaeger = Jaeger::start().await;
    let message = request().encode_to_vec();
    for (headers, body) in [
        (vec![], frame(false, &message)),
        (
            vec![("grpc-encoding", "gzip"), ("x-scope-orgid", "team-a")],
            frame(true, &gzip(&message)),
        ),
    ] {
        let answer = jaeger.call(&headers, body).await;
        assert_eq!(answer.status.code(), tonic::Code::Ok, "{answer:?}");
        let batches = jaeger.sink.drain();
        assert_eq!(
            batches[0].tenant().as_str(),
            if headers.is_empty() { "default" } else { "team-a" }
        );
        let expected = [
            json!({
                "resource": {"service.name": "cart", "host.name": "a", "region": "north"}, "scope": ["lib", ""],
                "ids": ["0102030405060708090a0b0c0d0e0f10", "0101010101010101", "0707070707070707"], "state": "a=b",
                "name": "pay", "kind": 3, "start": 1_700_000_000_000_000_005u64, "end": 1_700_000_000_000_000_255u64,
                "attributes": {"plain": "ü", "ok": true, "items": -3, "ratio": 0.5, "raw": "Bytes([1, 2])",
                    "jaeger.warnings": "clock skew"},
                "events": [[1_700_000_000_000_000_006u64, "retry", {"why": "timeout"}]], "status": [2, ""],
            }),
            json!({
                "resource": {"service.name": "stock"}, "scope": ["", ""],
                "ids": ["03030303030303030303030303030303", "0202020202020202", ""], "state": "", "name": "", "kind": 1,
                "start": 0, "end": 0, "attributes": {}, "events": [], "status": null,
            }),
        ];
        assert_eq!(spans(&batches[0]), expected);
        let data = batches[0].traces();
        let first = data
            .resources()
            .next()
            .unwrap()
            .scopes()
            .next()
            .unwrap()
            .spans()
            .next()
            .unwrap();
        let links: Vec<_> = first
            .links
            .map(|link| (link.trace_id.to_vec(), link.span_id.to_vec()))
            .collect();
        assert_eq!(links, [(vec![9; 16], vec![8; 8])]);
        assert_eq!(first.flags, 1);
    }
}

#[tokio::test]
async fn refusals_say_whether_to_come_again_and_take_nothing_good_with_them() {
    let jaeger = Jaeger::start().await;
    let message = request().encode_to_vec();
    let send = async |body: Bytes| jaeger.call(&[], body).await.status;
    jaeger.sink.answer(Err(retryable()));
    let status = send(frame(false, &message)).await;
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(!status.details().is_empty(), "it says when to come again");
    jaeger.sink.answer(Err(SendError::permanent("no")));
    assert_eq!(
        send(frame(false, &message)).await.code(),
        tonic::Code::InvalidArgument
    );
    assert_eq!(
        send(frame(false, b"nonsense")).await.code(),
        tonic::Code::InvalidArgument
    );
    assert_eq!(
        send(frame(true, &message)).await.code(),
        tonic::Code::Unimplemented
    );
    assert_eq!(
        send(Bytes::from_static(b"ab")).await.code(),
        tonic::Code::InvalidArgument
    );
    let large = send(frame(false, &vec![0; 5 * 1024 * 1024])).await;
    assert_eq!(large.code(), tonic::Code::ResourceExhausted);
    let other = grpc_call(
        jaeger.running.grpc_addr.unwrap(),
        "/jaeger.api_v2.Other/Call",
        &[],
        frame(false, b""),
    )
    .await;
    assert_eq!(other.status.code(), tonic::Code::Unimplemented);
    let mut nameless = request();
    nameless.batch.as_mut().unwrap().spans[0].span_id.clear();
    assert_eq!(
        send(frame(false, &nameless.encode_to_vec())).await.code(),
        tonic::Code::InvalidArgument
    );
    assert_eq!(spans(&jaeger.sink.drain()[0]).len(), 1);

    // An empty batch: a process without anything, no spans.
    let empty = [12, 0, 1, 0, 15, 0, 2, 12, 0, 0, 0, 0, 0];
    assert_eq!(post(jaeger.url(), &[THRIFT], empty.to_vec()).await.status, 202);
    assert_eq!(post(jaeger.url(), &[THRIFT], "nonsense").await.status, 400);
    // A list of spans that claims more than there is.
    assert_eq!(
        post(
            jaeger.url(),
            &[THRIFT],
            vec![15, 0, 2, 12, 0x7f, 0xff, 0xff, 0xff, 0]
        )
        .await
        .status,
        400
    );
    assert_eq!(
        post(jaeger.url(), &[("content-type", "application/json")], "{}")
            .await
            .status,
        415
    );
    let one = [
        12, 0, 1, 0, 15, 0, 2, 12, 0, 0, 0, 1, 10, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 10, 0, 3, 0, 0, 0, 0, 0, 0,
        0, 2, 0, 0,
    ];
    jaeger.sink.answer(Err(retryable()));
    let answer = post(jaeger.url(), &[THRIFT], one.to_vec()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("3")));
    assert_eq!(post(jaeger.url(), &[THRIFT], one.to_vec()).await.status, 202);
    assert_eq!(spans(&jaeger.sink.drain()[0])[0]["ids"][1], "0000000000000002");
    jaeger.running.shutdown().await;
}

#[tokio::test]
async fn the_jaeger_client_is_understood_over_http() {
    let jaeger = Jaeger::start().await;
    let url = format!("http://{}", jaeger.running.thrift_http_addr.unwrap());
    if !programs::client("jaeger.mjs", &[&url]).await {
        return;
    }
    clients_spans_arrived(&jaeger.sink);
}

/// What every client that is run sends.
fn clients_spans_arrived(sink: &Capture) {
    let mut all: Vec<_> = sink.drain().iter().flat_map(spans).collect();
    all.sort_by_key(|span| span["name"].to_string());
    assert_eq!(all.len(), 2, "{all:#?}");
    let (root, child) = (&all[0], &all[1]);
    assert_eq!(
        (&root["name"], &root["kind"], &child["kind"]),
        (&json!("checkout"), &json!(2), &json!(3))
    );
    assert_eq!(root["resource"]["service.name"], "cart");
    assert_eq!(root["resource"]["region"], "north");
    assert_eq!(child["ids"][0], root["ids"][0]);
    assert_eq!(child["ids"][2], root["ids"][1]);
    for (key, value) in json!({"items": 3, "ratio": 0.5, "ok": true}).as_object().unwrap() {
        assert_eq!(root["attributes"][key].as_f64(), value.as_f64(), "{root:#}");
    }
    assert_eq!(child["status"], json!([2, ""]));
    assert_eq!(child["events"][0][1], "retry");
    assert!(root["end"].as_u64() >= child["end"].as_u64());
}
