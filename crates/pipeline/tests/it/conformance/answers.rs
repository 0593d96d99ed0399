//! Rules 1 to 7: what is accepted, and what success looks like.

use std::net::SocketAddr;

use bytes::Bytes;
use cupola_export::Accepted;
use cupola_export::otlp::response;
use cupola_pipeline::receivers::otlp::OtlpReceiverConfig;
use cupola_telemetry::Signal;
use tonic::Code;

use crate::payloads::{bodies, logs_of, request};
use crate::support::{JSON, PROTOBUF, SIGNALS, deflate, frame, gzip, path, start, zstd};

#[tokio::test]
async fn c01_none_gzip_and_zstd_are_accepted_on_both_transports() {
    let receiver = start().await;
    for signal in SIGNALS {
        let plain = request(signal);
        let bodies = [
            ("identity", plain.clone()),
            ("gzip", gzip(&plain)),
            ("zstd", zstd(&plain)),
            // Not asked for by the specification, but the Python SDK offers it.
            ("deflate", deflate(&plain)),
        ];
        for (encoding, body) in bodies {
            let headers = [("content-type", PROTOBUF), ("content-encoding", encoding)];
            let answer = receiver
                .request("POST", path(signal), &headers, body.clone())
                .await;
            assert_eq!(answer.status, 200, "{encoding} over HTTP: {answer:?}");

            let compressed = encoding != "identity";
            let answer = receiver
                .grpc_with(signal, &[("grpc-encoding", encoding)], frame(compressed, &body))
                .await;
            assert_eq!(answer.status.code(), Code::Ok, "{encoding} over gRPC: {answer:?}");

            // A compressed call may still have an uncompressed message.
            let answer = receiver
                .grpc_with(signal, &[("grpc-encoding", encoding)], frame(false, &plain))
                .await;
            assert_eq!(answer.status.code(), Code::Ok, "{answer:?}");

            let batches = receiver.sink.drain();
            assert_eq!(batches.len(), 3);
            assert!(
                batches
                    .iter()
                    .all(|batch| batch.payload() == &plain && batch.signal() == signal)
            );
        }
    }
}

#[tokio::test]
async fn c01_gzip_of_several_members_and_zstd_of_several_frames_are_whole_bodies() {
    let receiver = start().await;
    let plain = request(Signal::Logs);
    let (front, back) = plain.split_at(plain.len() / 2);
    let streamed = zstd::stream::encode_all(&plain[..], 3).unwrap();
    let cases = [
        ("gzip", [gzip(front), gzip(back)].concat()),
        ("zstd", [zstd(front), zstd(back)].concat()),
        // Without its size in the header, as streaming encoders write it.
        ("zstd", streamed),
    ];
    for (encoding, body) in cases {
        let headers = [("content-type", PROTOBUF), ("content-encoding", encoding)];
        let answer = receiver.request("POST", "/v1/logs", &headers, body).await;
        assert_eq!(answer.status, 200, "{encoding}: {answer:?}");
        assert_eq!(receiver.sink.drain()[0].payload(), &plain);
    }
}

#[tokio::test]
async fn c02_each_signal_has_its_path_and_the_ports_are_4317_and_4318() {
    let defaults = OtlpReceiverConfig::default();
    assert_eq!(
        defaults.grpc.unwrap().endpoint,
        SocketAddr::from(([127, 0, 0, 1], 4317))
    );
    assert_eq!(
        defaults.http.unwrap().endpoint,
        SocketAddr::from(([127, 0, 0, 1], 4318))
    );

    let receiver = start().await;
    for (signal, path) in [
        (Signal::Traces, "/v1/traces"),
        (Signal::Metrics, "/v1/metrics"),
        (Signal::Logs, "/v1/logs"),
    ] {
        assert_eq!(receiver.post(path, PROTOBUF, request(signal)).await.status, 200);
        assert_eq!(
            receiver.grpc(signal, &request(signal)).await.status.code(),
            Code::Ok
        );
        let batches = receiver.sink.drain();
        assert_eq!(batches.len(), 2);
        assert!(
            batches
                .iter()
                .all(|batch| batch.signal() == signal && batch.items() == 3)
        );
    }
}

#[tokio::test]
async fn c03_protobuf_and_json_share_a_port_and_a_charset_does_no_harm() {
    let receiver = start().await;
    let json = receiver_json(&receiver).await;
    let cases = [
        (PROTOBUF, request(Signal::Logs)),
        ("application/x-protobuf; charset=utf-8", request(Signal::Logs)),
        (JSON, json.clone()),
        ("application/json; charset=utf-8", json.clone()),
        ("Application/JSON;charset=UTF-8", json),
    ];
    for (content_type, body) in cases {
        let answer = receiver.post("/v1/logs", content_type, body).await;
        assert_eq!(answer.status, 200, "{content_type}: {answer:?}");
        assert_eq!(
            bodies(&receiver.sink.drain()),
            ["one", "two", "three"],
            "{content_type}"
        );
    }
}

/// The request of three log records in JSON.
async fn receiver_json(receiver: &crate::support::Receiver) -> Bytes {
    receiver.post("/v1/logs", PROTOBUF, request(Signal::Logs)).await;
    Bytes::from(receiver.sink.drain()[0].to_json())
}

#[tokio::test]
async fn c04_the_answer_has_the_content_type_of_the_request() {
    let receiver = start().await;
    let json = receiver_json(&receiver).await;
    for (content_type, good) in [(PROTOBUF, request(Signal::Logs)), (JSON, json)] {
        let answer = receiver.post("/v1/logs", content_type, good).await;
        assert_eq!((answer.status, answer.content_type()), (200, content_type));
        let answer = receiver.post("/v1/logs", content_type, "\u{1}not OTLP").await;
        assert_eq!((answer.status, answer.content_type()), (400, content_type));
    }
}

#[tokio::test]
async fn c05_full_success_is_200_with_partial_success_unset() {
    let receiver = start().await;
    for signal in SIGNALS {
        let answer = receiver.post(path(signal), PROTOBUF, request(signal)).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]));
        let json = receiver.sink.drain().pop().unwrap().to_json();
        let answer = receiver.post(path(signal), JSON, json).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]));
        let answer = receiver.grpc(signal, &request(signal)).await;
        assert_eq!((answer.status.code(), &answer.message[..]), (Code::Ok, &b""[..]));
    }
}

#[tokio::test]
async fn c06_an_empty_request_succeeds_and_goes_nowhere() {
    let receiver = start().await;
    // Nothing at all, and an envelope with nothing in it.
    let envelope = logs_of(&[]);
    let envelope = prost::Message::encode_to_vec(&envelope);
    for signal in SIGNALS {
        for (content_type, body) in [(PROTOBUF, ""), (JSON, "{}"), (JSON, "")] {
            let answer = receiver.post(path(signal), content_type, body).await;
            assert_eq!(answer.status, 200, "{content_type} {body:?}: {answer:?}");
        }
        for encoding in ["gzip", "zstd"] {
            let headers = [("content-type", PROTOBUF), ("content-encoding", encoding)];
            assert_eq!(
                receiver.request("POST", path(signal), &headers, "").await.status,
                200
            );
        }
        assert_eq!(receiver.grpc(signal, b"").await.status.code(), Code::Ok);
    }
    assert_eq!(receiver.post("/v1/logs", PROTOBUF, envelope).await.status, 200);
    assert!(
        receiver.sink.batches().is_empty(),
        "no empty batch reaches the sink"
    );
}

#[tokio::test]
async fn c07_partial_success_carries_exact_rejected_count() {
    let receiver = start().await;
    let names = [
        (Signal::Logs, "rejectedLogRecords"),
        (Signal::Metrics, "rejectedDataPoints"),
        (Signal::Traces, "rejectedSpans"),
    ];
    for (signal, name) in names {
        let outcome = Accepted::partial(2, "too old");
        for _ in 0..3 {
            receiver.sink.answer(Ok(outcome.clone()));
        }
        let answer = receiver.post(path(signal), PROTOBUF, request(signal)).await;
        assert_eq!(answer.status, 200);
        // partial_success (1), of 11 bytes: rejected (1) = 2, error_message (2) = "too old".
        assert_eq!(&answer.body[..], b"\x0a\x0b\x08\x02\x12\x07too old");

        let json = receiver.sink.drain().pop().unwrap().to_json();
        let answer = receiver.post(path(signal), JSON, json).await;
        let value: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let expected = serde_json::json!({ "partialSuccess": { name: "2", "errorMessage": "too old" } });
        assert_eq!((answer.status, value), (200, expected));

        let answer = receiver.grpc(signal, &request(signal)).await;
        assert_eq!(answer.status.code(), Code::Ok);
        assert_eq!(response::decode(&answer.message).unwrap(), outcome);
    }
    assert_eq!(
        receiver
            .running
            .stats()
            .grpc
            .logs
            .accepted_items
            .load(std::sync::atomic::Ordering::Relaxed),
        1
    );
    assert_eq!(
        receiver
            .running
            .stats()
            .grpc
            .logs
            .failed_items
            .load(std::sync::atomic::Ordering::Relaxed),
        2
    );
}

#[tokio::test]
async fn c07_a_warning_is_a_message_with_nothing_rejected() {
    let receiver = start().await;
    let warning = Accepted::partial(0, "deprecated");
    receiver.sink.answer(Ok(warning.clone()));
    receiver.sink.answer(Ok(warning.clone()));
    let answer = receiver.post("/v1/logs", PROTOBUF, request(Signal::Logs)).await;
    assert_eq!(
        (answer.status, &answer.body[..]),
        (200, &b"\x0a\x0c\x12\x0adeprecated"[..])
    );
    let answer = receiver.grpc(Signal::Logs, &request(Signal::Logs)).await;
    assert_eq!(response::decode(&answer.message).unwrap(), warning);
}
