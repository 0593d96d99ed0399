//! Rules 8, 14 and 15: where requests go, over which HTTP, and the form of every error.

use bytes::Bytes;
use cupola_export::SendError;
use cupola_export::otlp::grpc_path;
use cupola_telemetry::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;

use crate::payloads::{bodies, request};
use crate::support::{JSON, PROTOBUF, config, frame, grpc_call, h2_call, start, start_with};

#[tokio::test]
async fn c08_every_error_body_is_a_status_in_the_encoding_of_the_request() {
    let mut config = config();
    config.http.as_mut().unwrap().body_bytes_max = 1000;
    let receiver = start_with(config, cupola_telemetry::memory::MemoryBudget::unlimited()).await;
    for kind in [PROTOBUF, JSON] {
        let with = |encoding| [("content-type", kind), ("content-encoding", encoding)];
        let large = vec![b' '; 2000];
        let cases = [
            (
                400,
                Code::InvalidArgument,
                receiver.post("/v1/logs", kind, "\u{1}").await,
            ),
            (404, Code::NotFound, receiver.post("/v1/nothing", kind, "").await),
            (
                405,
                Code::Unimplemented,
                receiver
                    .request("PUT", "/v1/logs", &[("content-type", kind)], "")
                    .await,
            ),
            (
                413,
                Code::ResourceExhausted,
                receiver.post("/v1/logs", kind, large).await,
            ),
            (
                415,
                Code::Unimplemented,
                receiver.request("POST", "/v1/logs", &with("br"), "x").await,
            ),
        ];
        for (status, code, answer) in cases {
            assert_eq!(
                (answer.status, answer.content_type()),
                (status, kind),
                "{answer:?}"
            );
            assert_eq!(answer.rpc_status().code, code as i32, "{answer:?}");
        }
        receiver.sink.answer(Err(SendError::retryable("busy")));
        let body = if kind == JSON {
            Bytes::from(one_log_json())
        } else {
            request(Signal::Logs)
        };
        let answer = receiver.post("/v1/logs", kind, body).await;
        assert_eq!((answer.status, answer.content_type()), (503, kind));
        assert_eq!(answer.rpc_status().code, Code::Unavailable as i32);
    }
    // Where the request has no encoding of ours, JSON, which people can read.
    let unknown = receiver.post("/v1/logs", "text/plain", "hello").await;
    assert_eq!((unknown.status, unknown.content_type()), (415, JSON));
    assert_eq!(unknown.rpc_status().code, Code::InvalidArgument as i32);
    let browser = receiver.request("GET", "/", &[], "").await;
    assert_eq!((browser.status, browser.content_type()), (404, JSON));
    browser.rpc_status();
}

fn one_log_json() -> &'static str {
    r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"one"}}]}]}]}"#
}

#[tokio::test]
async fn c14_http1_connections_are_kept_alive() {
    let receiver = start().await;
    let mut stream = tokio::net::TcpStream::connect(receiver.running.http_addr.unwrap())
        .await
        .unwrap();
    for round in 0..3 {
        let body = one_log_json();
        let head = format!(
            "POST /v1/logs HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .await
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n{}") {
            assert_ne!(
                stream.read_buf(&mut answer).await.unwrap(),
                0,
                "closed in round {round}"
            );
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
    assert_eq!(bodies(&receiver.sink.drain()).len(), 3);
}

#[tokio::test]
async fn c14_http1_bodies_may_be_chunked() {
    let receiver = start().await;
    let mut stream = tokio::net::TcpStream::connect(receiver.running.http_addr.unwrap())
        .await
        .unwrap();
    let head = "POST /v1/logs HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
                Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in one_log_json().as_bytes().chunks(7) {
        stream
            .write_all(format!("{:x}\r\n", piece.len()).as_bytes())
            .await
            .unwrap();
        stream.write_all(piece).await.unwrap();
        stream.write_all(b"\r\n").await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(bodies(&receiver.sink.drain()), ["one"]);
}

#[tokio::test]
async fn c14_http2_is_served_with_prior_knowledge() {
    let receiver = start().await;
    let address = receiver.running.http_addr.unwrap();
    let call = http::Request::post(format!("http://{address}/v1/logs"))
        .header("content-type", PROTOBUF)
        .body(request(Signal::Logs))
        .unwrap();
    let (head, body, _) = h2_call(address, call).await;
    assert_eq!(
        (head.status.as_u16(), head.version, &body[..]),
        (200, http::Version::HTTP_2, &b""[..])
    );
    assert_eq!(head.headers["content-type"], PROTOBUF);
    assert_eq!(bodies(&receiver.sink.drain()), ["one", "two", "three"]);
}

#[tokio::test]
async fn c14_either_port_serves_both_transports() {
    let receiver = start().await;
    let http = receiver.running.http_addr.unwrap();
    let answer = grpc_call(
        http,
        grpc_path(Signal::Logs),
        &[],
        frame(false, &request(Signal::Logs)),
    )
    .await;
    assert_eq!(answer.status.code(), Code::Ok);
    assert_eq!(bodies(&receiver.sink.drain()).len(), 3);

    let grpc = receiver.running.grpc_addr.unwrap();
    let answer = receiver
        .client
        .post(format!("http://{grpc}/v1/logs"))
        .header("content-type", JSON)
        .body(one_log_json())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(bodies(&receiver.sink.drain()), ["one"]);
}

#[tokio::test]
async fn c15_wrong_method_wrong_type_and_unknown_path_are_405_415_and_404() {
    let receiver = start().await;
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = receiver.request(method, "/v1/traces", &[], "").await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("POST")),
            "{method}"
        );
    }
    for kind in ["text/plain", "application/xml", "application/jsonx", ""] {
        let answer = receiver.post("/v1/traces", kind, request(Signal::Traces)).await;
        assert_eq!(answer.status, 415, "{kind}");
    }
    for path in ["/", "/v1", "/v1/log", "/v1/logs/", "/v2/logs", "/v1/LOGS"] {
        let answer = receiver.post(path, PROTOBUF, request(Signal::Logs)).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    assert!(receiver.sink.batches().is_empty());
}

#[tokio::test]
async fn c15_grpc_has_its_own_words_for_it() {
    let receiver = start().await;
    let address = receiver.running.grpc_addr.unwrap();
    let body = frame(false, &request(Signal::Logs));
    let answer = grpc_call(
        address,
        "/opentelemetry.proto.collector.logs.v1.LogsService/Import",
        &[],
        body.clone(),
    )
    .await;
    assert_eq!(
        (answer.http_status, answer.status.code()),
        (200, Code::Unimplemented)
    );

    let answer = receiver
        .grpc_with(Signal::Logs, &[("grpc-encoding", "snappy")], frame(true, b"x"))
        .await;
    assert_eq!(answer.status.code(), Code::Unimplemented);
    assert_eq!(
        answer.headers["grpc-accept-encoding"],
        "identity,gzip,zstd,deflate"
    );

    let answer = receiver
        .grpc_with(Signal::Logs, &[("content-type", "application/grpc+json")], body)
        .await;
    assert_eq!(answer.status.code(), Code::InvalidArgument);
    assert!(receiver.sink.batches().is_empty());
}
