//! Rules 9 to 11: what cannot be read, and what is too large.

use bytes::{Bytes, BytesMut};
use cupola_telemetry::Signal;
use cupola_telemetry::memory::MemoryBudget;
use prost::Message;
use tonic::Code;

use crate::payloads::{bodies, logs_of, noise, request};
use crate::support::{
    JSON, PROTOBUF, Receiver, SIGNALS, config, deflate, frame, gzip, path, start, start_with, zstd,
};

const MIB: usize = 1024 * 1024;

async fn encoded(receiver: &Receiver, encoding: &str, body: impl Into<Bytes>) -> crate::support::Answer {
    let headers = [("content-type", PROTOBUF), ("content-encoding", encoding)];
    receiver.request("POST", "/v1/logs", &headers, body).await
}

#[tokio::test]
async fn c09_an_undecodable_body_is_400_and_says_what_is_wrong() {
    let receiver = start().await;
    for signal in SIGNALS {
        let mut truncated = request(signal).to_vec();
        truncated.truncate(truncated.len() - 1);
        let cases = [
            (PROTOBUF, Bytes::from(truncated)),
            (PROTOBUF, Bytes::from_static(b"hello, world")),
            (JSON, Bytes::from_static(b"{")),
            (JSON, Bytes::from_static(b"[]")),
            (JSON, Bytes::from_static(b"hello, world")),
        ];
        for (kind, body) in cases {
            let answer = receiver.post(path(signal), kind, body).await;
            assert_eq!(answer.status, 400, "{answer:?}");
            let status = answer.rpc_status();
            assert_eq!(status.violations.len(), 1, "a BadRequest detail: {status:?}");
            assert!(!status.violations[0].description.is_empty());
        }
        let answer = receiver.grpc(signal, b"hello, world").await;
        assert_eq!(answer.status.code(), Code::InvalidArgument);
        assert_eq!(answer.details().violations.len(), 1);
    }
    assert!(receiver.sink.batches().is_empty());
}

#[tokio::test]
async fn c09_corrupt_compression_is_400() {
    let receiver = start().await;
    let plain = request(Signal::Logs);
    let mut flipped = gzip(&plain).to_vec();
    // In the checksum: every byte unfolds, and the whole is still wrong.
    let at = flipped.len() - 6;
    flipped[at] ^= 0xff;
    let cases = [
        ("gzip", Bytes::from_static(b"not gzip at all")),
        ("gzip", gzip(&plain).slice(..20)),
        ("gzip", Bytes::from(flipped)),
        ("gzip", Bytes::from([&gzip(&plain)[..], b"trailing"].concat())),
        ("zstd", Bytes::from_static(b"not zstd at all")),
        ("zstd", zstd(&plain).slice(..20)),
        ("zstd", gzip(&plain)),
        ("deflate", deflate(&plain).slice(..20)),
    ];
    for (encoding, body) in cases {
        let answer = encoded(&receiver, encoding, body.clone()).await;
        assert_eq!(answer.status, 400, "{encoding}: {answer:?}");
        assert_eq!(answer.rpc_status().violations[0].field, "body");
        let answer = receiver
            .grpc_with(Signal::Logs, &[("grpc-encoding", encoding)], frame(true, &body))
            .await;
        assert_eq!(
            answer.status.code(),
            Code::InvalidArgument,
            "{encoding}: {answer:?}"
        );
    }
    assert!(receiver.sink.batches().is_empty());
}

#[tokio::test]
async fn c10_size_is_limited_before_decompression() {
    let receiver = start().await;
    let fits = Bytes::from(logs_of(&[&noise(20 * MIB - 200)]).encode_to_vec());
    let beyond = Bytes::from(logs_of(&[&noise(20 * MIB)]).encode_to_vec());
    assert!(fits.len() <= 20 * MIB && beyond.len() > 20 * MIB);
    assert_eq!(receiver.post("/v1/logs", PROTOBUF, fits).await.status, 200);
    let answer = receiver.post("/v1/logs", PROTOBUF, beyond.clone()).await;
    assert_eq!(answer.status, 413);
    assert!(answer.rpc_status().retry_delay.is_none());

    // Without an announced length too.
    let chunks = futures::stream::iter(
        beyond
            .chunks(65536)
            .map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()))
            .collect::<Vec<_>>(),
    );
    let answer = receiver
        .client
        .post(receiver.http_url("/v1/logs"))
        .header("content-type", PROTOBUF)
        .body(reqwest::Body::wrap_stream(chunks))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(receiver.memory.used(), 0);
}

#[tokio::test]
async fn c10_size_is_limited_after_decompression() {
    let receiver = start().await;
    let fits = logs_of(&[&"x".repeat(20 * MIB - 200)]).encode_to_vec();
    let beyond = logs_of(&[&"x".repeat(20 * MIB)]).encode_to_vec();
    let streamed = Bytes::from(zstd::stream::encode_all(&beyond[..], 1).unwrap());
    assert_eq!(encoded(&receiver, "gzip", gzip(&fits)).await.status, 200);
    assert_eq!(encoded(&receiver, "zstd", zstd(&fits)).await.status, 200);
    for (encoding, body) in [
        ("gzip", gzip(&beyond)),
        ("zstd", zstd(&beyond)),
        ("zstd", streamed),
    ] {
        let answer = encoded(&receiver, encoding, body).await;
        assert_eq!(answer.status, 413, "{encoding}");
        answer.rpc_status();
    }
}

#[tokio::test]
async fn c10_size_is_limited_of_what_json_becomes() {
    let receiver = start().await;
    // Two bytes of JSON are eight of protobuf.
    let zeros = vec!["0"; 3 * MIB].join(",");
    let point = format!(r#"{{"bucketCounts":[{zeros}]}}"#);
    let metric = format!(r#"{{"histogram":{{"dataPoints":[{point}]}}}}"#);
    let body = format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}"#);
    assert_eq!(receiver.post("/v1/metrics", JSON, body).await.status, 413);
    assert!(receiver.memory.peak() < 100 * MIB);
    assert_eq!(receiver.memory.used(), 0);
}

#[tokio::test]
async fn c10_a_decompression_bomb_costs_no_more_than_the_limit() {
    // Zeros: with the size they claim at their end, with a modest lie there, as many small members, and as
    // zstd with and without the size up front.
    let zeros = vec![0; 64 * MIB];
    let honest = gzip(&zeros);
    let mut modest = honest.to_vec();
    let size_at = modest.len() - 4;
    modest[size_at..].copy_from_slice(&100u32.to_le_bytes());
    let bombs = [
        ("gzip", honest),
        ("gzip", Bytes::from(modest)),
        ("gzip", Bytes::from(gzip(&zeros[..MIB]).repeat(1024))),
        ("zstd", zstd(&zeros)),
        ("zstd", Bytes::from(zstd(&zeros).repeat(16))),
        (
            "zstd",
            Bytes::from(zstd::stream::encode_all(&zeros[..], 1).unwrap()),
        ),
    ];
    for (encoding, bomb) in bombs {
        let receiver = start_with(config(), MemoryBudget::unlimited()).await;
        let bytes = bomb.len();
        assert!(bytes < 2 * MIB);
        let answer = encoded(&receiver, encoding, bomb).await;
        assert_eq!(answer.status, 413, "{encoding}: {answer:?}");
        let peak = receiver.memory.peak();
        assert!(
            peak <= 20 * MIB + bytes,
            "{encoding}: {peak} bytes for a body of {bytes}"
        );
        assert_eq!(receiver.memory.used(), 0);
    }
}

#[tokio::test]
async fn c11_grpc_messages_are_limited_to_4_mib_without_retry_info() {
    let receiver = start().await;
    let fits = logs_of(&[&noise(4 * MIB - 200)]).encode_to_vec();
    let beyond = logs_of(&[&noise(4 * MIB)]).encode_to_vec();
    assert!(fits.len() <= 4 * MIB && beyond.len() > 4 * MIB);
    assert_eq!(receiver.grpc(Signal::Logs, &fits).await.status.code(), Code::Ok);
    let unfolds = logs_of(&[&"x".repeat(4 * MIB)]).encode_to_vec();
    let answers = [
        receiver.grpc(Signal::Logs, &beyond).await,
        receiver
            .grpc_with(
                Signal::Logs,
                &[("grpc-encoding", "gzip")],
                frame(true, &gzip(&unfolds)),
            )
            .await,
        receiver
            .grpc_with(
                Signal::Logs,
                &[("grpc-encoding", "zstd")],
                frame(true, &zstd(&unfolds)),
            )
            .await,
    ];
    for answer in answers {
        assert_eq!(answer.status.code(), Code::ResourceExhausted, "{answer:?}");
        assert!(
            answer.status.details().is_empty(),
            "no RetryInfo: it will never fit"
        );
    }
    assert_eq!(bodies(&receiver.sink.drain()).len(), 1);
    assert_eq!(receiver.memory.used(), 0);
}

#[tokio::test]
async fn c11_the_grpc_limit_can_be_set() {
    let mut config = config();
    config.grpc.as_mut().unwrap().message_bytes_max = 8 * MIB;
    let receiver = start_with(config, MemoryBudget::unlimited()).await;
    let large = logs_of(&[&noise(7 * MIB)]).encode_to_vec();
    assert_eq!(receiver.grpc(Signal::Logs, &large).await.status.code(), Code::Ok);
    let larger = logs_of(&[&noise(9 * MIB)]).encode_to_vec();
    assert_eq!(
        receiver.grpc(Signal::Logs, &larger).await.status.code(),
        Code::ResourceExhausted
    );
}

#[tokio::test]
async fn c11_a_malformed_message_prefix_is_refused_clearly() {
    let receiver = start().await;
    let good = request(Signal::Logs);
    let mut twice = BytesMut::from(&frame(false, &good)[..]);
    twice.extend_from_slice(&frame(false, &good));
    let cases = [
        Bytes::new(),
        Bytes::from_static(&[0, 0, 0]),
        Bytes::from_static(&[7, 0, 0, 0, 0]),
        // Announces 100 bytes and sends three.
        Bytes::from_static(&[0, 0, 0, 0, 100, 1, 2, 3]),
        // Compressed with nothing.
        frame(true, &gzip(&good)),
        twice.freeze(),
    ];
    for body in cases {
        let answer = receiver.grpc_with(Signal::Logs, &[], body).await;
        assert_eq!(answer.status.code(), Code::InvalidArgument, "{answer:?}");
    }
    assert!(receiver.sink.batches().is_empty());
}
