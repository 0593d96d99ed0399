//! Tenants, counters, slow clients, shutdown.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cupola_export::otlp::grpc_path;
use cupola_export::rpc_status::RpcStatus;
use cupola_pipeline::receivers::otlp::{CONNECTIONS_MAX, OtlpReceiver, ReceiverError};
use cupola_telemetry::Signal;
use cupola_telemetry::memory::MemoryBudget;
use futures::{StreamExt, stream};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tonic::Code;
use tonic::transport::Endpoint;
use tower::{Service, ServiceExt};

use crate::payloads::{bodies, request};
use crate::support::{Capture, PROTOBUF, config, frame, gzip, start, start_with};

const TENANT: &str = "x-scope-orgid";

#[tokio::test]
async fn the_tenant_is_the_one_in_the_header_or_the_default() {
    let receiver = start().await;
    let body = request(Signal::Logs);
    receiver.post("/v1/logs", PROTOBUF, body.clone()).await;
    receiver.grpc(Signal::Logs, &body).await;
    let batches = receiver.sink.drain();
    assert_eq!(batches.len(), 2);
    assert!(batches.iter().all(|batch| batch.tenant().as_str() == "default"));

    for name in ["team-a", "!_.*'()-", &"x".repeat(150)] {
        let headers = [("content-type", PROTOBUF), (TENANT, name)];
        assert_eq!(
            receiver
                .request("POST", "/v1/logs", &headers, body.clone())
                .await
                .status,
            200
        );
        let answer = receiver
            .grpc_with(Signal::Logs, &[(TENANT, name)], frame(false, &body))
            .await;
        assert_eq!(answer.status.code(), Code::Ok);
        let batches = receiver.sink.drain();
        assert_eq!(batches.len(), 2);
        assert!(batches.iter().all(|batch| batch.tenant().as_str() == name));
    }
}

#[tokio::test]
async fn an_invalid_tenant_is_refused() {
    let receiver = start().await;
    let body = request(Signal::Logs);
    for name in ["", "..", "a/b", "a|b", &"x".repeat(151)] {
        let headers = [("content-type", PROTOBUF), (TENANT, name)];
        let answer = receiver.request("POST", "/v1/logs", &headers, body.clone()).await;
        assert_eq!(
            (answer.status, answer.rpc_status().violations[0].field.as_str()),
            (400, TENANT),
            "{name:?}"
        );
        let answer = receiver
            .grpc_with(Signal::Logs, &[(TENANT, name)], frame(false, &body))
            .await;
        assert_eq!(answer.status.code(), Code::InvalidArgument, "{name:?}");
    }
    let twice = [("content-type", PROTOBUF), (TENANT, "a"), (TENANT, "b")];
    assert_eq!(
        receiver.request("POST", "/v1/logs", &twice, body).await.status,
        400
    );
    assert!(receiver.sink.batches().is_empty());
}

#[tokio::test]
async fn what_is_received_is_counted_by_transport_and_signal() {
    let receiver = start().await;
    let body = request(Signal::Traces);
    let compressed = gzip(&body);
    let headers = [("content-type", PROTOBUF), ("content-encoding", "gzip")];
    receiver
        .request("POST", "/v1/traces", &headers, compressed.clone())
        .await;
    receiver.grpc(Signal::Traces, &body).await;
    receiver.grpc(Signal::Traces, &body).await;
    receiver.post("/v1/traces", PROTOBUF, "\u{1}").await;
    receiver.post("/nowhere", PROTOBUF, "").await;

    let samples = receiver.running.stats().samples();
    let value = |name: &str, transport: &str, signal: Option<Signal>| {
        let mut found = samples
            .iter()
            .filter(|sample| sample.name == name && sample.transport == transport && sample.signal == signal);
        let sample = found.next().unwrap_or_else(|| panic!("no {name}"));
        assert!(found.next().is_none(), "{name} twice");
        sample.value
    };
    assert_eq!(value("otelcol_receiver_accepted_spans", "http", None), 3);
    assert_eq!(value("otelcol_receiver_accepted_spans", "grpc", None), 6);
    assert_eq!(value("otelcol_receiver_accepted_log_records", "grpc", None), 0);
    let traces = Some(Signal::Traces);
    assert_eq!(value("cupola_receiver_requests_total", "http", traces), 2);
    assert_eq!(value("cupola_receiver_requests_invalid_total", "http", traces), 1);
    assert_eq!(
        value("cupola_receiver_wire_bytes_total", "http", traces),
        compressed.len() as u64 + 1
    );
    assert_eq!(
        value("cupola_receiver_payload_bytes_total", "http", traces),
        body.len() as u64
    );
    assert_eq!(value("cupola_receiver_requests_unknown_total", "http", None), 1);
}

#[tokio::test]
async fn c12_a_body_that_does_not_arrive_in_time_is_refused_so_that_it_comes_again() {
    let mut config = config();
    config.body_timeout = Duration::from_millis(200);
    let receiver = start_with(config, MemoryBudget::unlimited()).await;
    let mut stream = TcpStream::connect(receiver.running.http_addr.unwrap())
        .await
        .unwrap();
    let head = "POST /v1/logs HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
                Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    assert_eq!(receiver.memory.used(), 0);
    let slow = &receiver.running.stats().http.logs.requests_slow;
    assert_eq!(slow.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn c12_a_message_that_does_not_arrive_in_time_is_refused_so_that_it_comes_again() {
    let mut config = config();
    config.body_timeout = Duration::from_millis(200);
    let receiver = start_with(config, MemoryBudget::unlimited()).await;
    let mut channel = Endpoint::from_shared(format!("http://{}", receiver.running.grpc_addr.unwrap()))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let whole = frame(false, &request(Signal::Logs));
    let half = Frame::data(whole.slice(..whole.len() / 2));
    let body = StreamBody::new(stream::iter([Ok::<_, Infallible>(half)]).chain(stream::pending()));
    let call = http::Request::post(grpc_path(Signal::Logs))
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(body))
        .unwrap();
    let answer = channel.ready().await.unwrap().call(call).await.unwrap();
    let status = tonic::Status::from_header_map(answer.headers()).unwrap();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let details = RpcStatus::decode(status.details()).unwrap();
    assert_eq!(details.retry_delay, Some(Duration::from_secs(1)));
    assert!(receiver.sink.batches().is_empty());
    assert_eq!(receiver.memory.used(), 0);
    let slow = &receiver.running.stats().grpc.logs.requests_slow;
    assert_eq!(slow.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn who_announces_much_and_sends_little_holds_little() {
    let receiver = start().await;
    let mut stream = TcpStream::connect(receiver.running.http_addr.unwrap())
        .await
        .unwrap();
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nHost: test\r\nContent-Type: {PROTOBUF}\r\nContent-Length: {}\r\n\r\n",
        20 * 1024 * 1024
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    while receiver.memory.used() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(
        receiver.memory.peak() <= 8 * 1024,
        "{} bytes",
        receiver.memory.peak()
    );
    // Nor does more than it takes for what has come.
    let sent = 3 * 1024 * 1024;
    stream.write_all(&vec![0; sent]).await.unwrap();
    while receiver.memory.used() <= sent {
        tokio::task::yield_now().await;
    }
    assert!(
        receiver.memory.peak() <= sent + 128 * 1024,
        "{} bytes",
        receiver.memory.peak()
    );
    drop(stream);
    while receiver.memory.used() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_begins_the_preface_of_http2_and_leaves_it_at_that_is_let_go() {
    let mut config = config();
    config.body_timeout = Duration::from_millis(200);
    let receiver = start_with(config, MemoryBudget::unlimited()).await;
    let connect = |address: Option<SocketAddr>| TcpStream::connect(address.unwrap());
    // A whole preface, or a request shorter than one, is no reason to go.
    let ping = b"\0\0\x08\x06\0\0\0\0\0 a ping ";
    let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..], ping].concat();
    let get = b"GET / HTTP/1.1\r\n\r\n";
    assert!(get.len() < preface.len());
    let mut calls = connect(receiver.running.http_addr).await.unwrap();
    calls.write_all(&preface).await.unwrap();
    read_until(&mut calls, b" a ping ").await;
    let mut requests = connect(receiver.running.http_addr).await.unwrap();
    requests.write_all(get).await.unwrap();
    read_until(&mut requests, b"}").await;

    for address in [receiver.running.grpc_addr, receiver.running.http_addr] {
        let mut stream = connect(address).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
        let mut answer = Vec::new();
        // A reset will do too: what it sent has not been read.
        let ended = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "the connection stays open");
        assert!(answer.is_empty());
    }
    calls.write_all(ping).await.unwrap();
    read_until(&mut calls, b" a ping ").await;
    requests.write_all(get).await.unwrap();
    read_until(&mut requests, b"}").await;
}

/// Reads on until `bytes` are among what has come.
async fn read_until(stream: &mut TcpStream, bytes: &[u8]) {
    let mut read = Vec::new();
    while !read.windows(bytes.len()).any(|window| window == bytes) {
        assert_ne!(
            stream.read_buf(&mut read).await.unwrap(),
            0,
            "closed after {read:?}"
        );
    }
}

#[tokio::test]
async fn what_a_request_said_is_not_told_back_at_length() {
    let receiver = start().await;
    let long = "\u{7f}".repeat(20_000);
    let body = format!(r#"{{"resourceLogs":"{}"}}"#, "\u{7f}".repeat(1_000_000));
    let path = format!("/{}", "x".repeat(20_000));
    let method = "X".repeat(1_000);
    let quoted = format!("text/plain; x=\"{}\"", "é".repeat(5_000));
    let answers = [
        receiver.post("/v1/logs", "application/json", body).await,
        receiver.post(&path, PROTOBUF, "").await,
        receiver.request(&method, "/v1/logs", &[], "").await,
        receiver.post("/v1/logs", &quoted, "").await,
    ];
    for answer in answers {
        assert!((400..500).contains(&answer.status));
        assert!(answer.body.len() < 4_000, "{} bytes", answer.body.len());
    }
    let answer = receiver
        .grpc_with(
            Signal::Logs,
            &[("grpc-encoding", &"z".repeat(20_000))],
            frame(true, b"x"),
        )
        .await;
    assert_eq!(answer.status.code(), Code::Unimplemented);
    assert!(answer.status.message().len() < 1_000);

    receiver
        .sink
        .answer(Err(cupola_export::SendError::permanent(long)));
    let answer = receiver.grpc(Signal::Logs, &request(Signal::Logs)).await;
    assert_eq!(answer.status.code(), Code::InvalidArgument);
    assert!(answer.status.message().len() < 2_000);
    assert!(answer.status.details().len() < 4_000);
}

#[tokio::test]
async fn more_connections_than_can_be_served_are_refused_as_a_setting() {
    let mut config = config();
    config.connections_max = CONNECTIONS_MAX + 1;
    let started = OtlpReceiver::start(config, Arc::new(Capture::default()), MemoryBudget::unlimited()).await;
    assert!(matches!(started, Err(ReceiverError::Config(_))));
}

#[tokio::test]
async fn a_client_that_asks_before_sending_is_refused_before_sending() {
    let receiver = start().await;
    let mut stream = TcpStream::connect(receiver.running.http_addr.unwrap())
        .await
        .unwrap();
    let head = "POST /v1/logs HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\n\
                Content-Type: application/json\r\nContent-Length: 100000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn beyond_the_most_connections_the_next_waits_its_turn() {
    let mut config = config();
    config.connections_max = 1;
    let receiver = start_with(config, MemoryBudget::unlimited()).await;
    let first = TcpStream::connect(receiver.running.http_addr.unwrap())
        .await
        .unwrap();
    while receiver.running.stats().http.connections.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let body = request(Signal::Logs);
    let second = receiver.grpc(Signal::Logs, &body);
    tokio::pin!(second);
    let early = tokio::time::timeout(Duration::from_millis(100), second.as_mut()).await;
    assert!(early.is_err(), "served beyond the limit");
    let waited = &receiver.running.stats().grpc.connections_waited;
    assert_eq!(waited.load(Ordering::Relaxed), 1);
    drop(first);
    assert_eq!(second.await.status.code(), Code::Ok);
}

#[tokio::test]
async fn shutdown_finishes_requests_in_flight_and_takes_no_new_ones() {
    let receiver = start().await;
    let gate = Arc::new(Notify::new());
    *receiver.sink.gate.lock() = Some(gate.clone());
    let grpc_addr = receiver.running.grpc_addr.unwrap();
    let receiver = Arc::new(receiver);
    let call = {
        let receiver = receiver.clone();
        tokio::spawn(async move { receiver.grpc(Signal::Logs, &request(Signal::Logs)).await })
    };
    receiver.sink.entered.notified().await;
    let post = {
        let receiver = receiver.clone();
        tokio::spawn(async move { receiver.post("/v1/logs", PROTOBUF, request(Signal::Logs)).await })
    };
    receiver.sink.entered.notified().await;
    // An idle connection must not hold up shutdown.
    let mut idle = TcpStream::connect(receiver.running.http_addr.unwrap())
        .await
        .unwrap();

    let shutdown = {
        let receiver = receiver.clone();
        tokio::spawn(async move { receiver.running.shutdown().await })
    };
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
    // The idle connection was closed, so the receiver is stopping: it takes no new ones.
    while let Ok(mut stream) = TcpStream::connect(grpc_addr).await {
        // The listener's queue may hold a last one; it is closed unread.
        let mut byte = [0];
        assert!(!matches!(stream.read(&mut byte).await, Ok(1..)));
    }
    assert!(!shutdown.is_finished(), "requests are still in flight");
    gate.notify_waiters();
    assert_eq!(call.await.unwrap().status.code(), Code::Ok);
    assert_eq!(post.await.unwrap().status, 200);
    shutdown.await.unwrap();
    assert_eq!(bodies(&receiver.sink.drain()).len(), 6);
    assert_eq!(
        receiver.running.stats().http.connections.load(Ordering::Relaxed),
        0
    );
}

#[tokio::test]
async fn shutdown_cuts_off_what_does_not_finish() {
    let mut config = config();
    config.shutdown_timeout = Duration::from_millis(100);
    let receiver = Arc::new(start_with(config, MemoryBudget::unlimited()).await);
    *receiver.sink.gate.lock() = Some(Arc::new(Notify::new()));
    let mut stream = TcpStream::connect(receiver.running.http_addr.unwrap())
        .await
        .unwrap();
    let body = request(Signal::Logs);
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nHost: test\r\nContent-Type: {PROTOBUF}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    receiver.sink.entered.notified().await;
    receiver.running.shutdown().await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    assert!(
        read.is_err() || answer.is_empty(),
        "no answer without an acknowledgement"
    );
    assert_eq!(receiver.memory.used(), 0);
}

#[tokio::test]
async fn shutdown_ends_calls_too() {
    let mut config = config();
    config.shutdown_timeout = Duration::from_millis(100);
    let receiver = Arc::new(start_with(config, MemoryBudget::unlimited()).await);
    *receiver.sink.gate.lock() = Some(Arc::new(Notify::new()));
    let mut channel = Endpoint::from_shared(format!("http://{}", receiver.running.grpc_addr.unwrap()))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let call = http::Request::post(grpc_path(Signal::Logs))
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(Full::new(frame(
            false,
            &request(Signal::Logs),
        ))))
        .unwrap();
    let call = tokio::spawn(async move { channel.ready().await.unwrap().call(call).await });
    receiver.sink.entered.notified().await;
    assert!(receiver.memory.used() > 0);
    receiver.running.shutdown().await;
    assert_eq!(receiver.memory.used(), 0, "the call is still being worked on");
    assert!(
        call.await.unwrap().is_err(),
        "no answer without an acknowledgement"
    );
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let receiver = start().await;
    let mut config = config();
    config.grpc.as_mut().unwrap().endpoint = receiver.running.grpc_addr.unwrap();
    let started = OtlpReceiver::start(config, Arc::new(Capture::default()), MemoryBudget::unlimited()).await;
    let Err(ReceiverError::Listen {
        endpoint, transport, ..
    }) = started
    else {
        panic!("the port was free")
    };
    assert_eq!((Some(endpoint), transport), (receiver.running.grpc_addr, "gRPC"));
}

#[tokio::test]
async fn items_whose_sender_did_not_wait_for_the_answer_are_counted() {
    let receiver = start().await;
    receiver.post("/v1/logs", PROTOBUF, request(Signal::Logs)).await;
    let items = receiver.sink.drain()[0].items() as u64;
    receiver.sink.entered.notified().await;
    let unanswered = &receiver.running.stats().http.logs.unanswered_items;
    assert_eq!(unanswered.load(Ordering::Relaxed), 0);
    *receiver.sink.gate.lock() = Some(Arc::new(Notify::new()));
    tokio::select! {
        _ = receiver.post("/v1/logs", PROTOBUF, request(Signal::Logs)) => panic!("the sink does not answer"),
        () = receiver.sink.entered.notified() => {}
    }
    let counted = async {
        while unanswered.load(Ordering::Relaxed) != items {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), counted)
        .await
        .unwrap();
}
