//! Rules 12 and 13: refusals that ask to come again, and those that do not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use cupola_export::SendError;
use cupola_telemetry::Signal;
use cupola_telemetry::memory::MemoryBudget;
use prost::Message;
use tonic::Code;

use crate::payloads::{bodies, logs_of, request};
use crate::support::{PROTOBUF, SIGNALS, config, frame, gzip, path, start, start_with};

#[tokio::test]
async fn c12_overload_is_503_with_retry_after_and_unavailable_with_retry_info() {
    let receiver = start().await;
    let busy = |retry_after| {
        Err(SendError::Retryable {
            reason: "busy".to_owned(),
            retry_after,
        })
    };
    // What the sink asks for, rounded up to whole seconds over HTTP; a second where it does not say.
    let waits = [
        (
            Some(Duration::from_millis(2500)),
            "3",
            Duration::from_millis(2500),
        ),
        (Some(Duration::from_secs(30)), "30", Duration::from_secs(30)),
        (None, "1", Duration::from_secs(1)),
    ];
    for signal in SIGNALS {
        for (asked, header, delay) in waits {
            receiver.sink.answer(busy(asked));
            let answer = receiver.post(path(signal), PROTOBUF, request(signal)).await;
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some(header)));
            assert_eq!(answer.rpc_status().retry_delay, Some(delay));

            receiver.sink.answer(busy(asked));
            let answer = receiver.grpc(signal, &request(signal)).await;
            assert_eq!(answer.status.code(), Code::Unavailable);
            assert_eq!(answer.status.message(), "busy");
            let details = answer.details();
            assert_eq!(
                (details.code, details.retry_delay),
                (Code::Unavailable as i32, Some(delay))
            );
        }
    }
    let refused = receiver
        .running
        .stats()
        .grpc
        .traces
        .refused_items
        .load(Ordering::Relaxed);
    assert_eq!(refused, 9);
    assert!(receiver.sink.batches().is_empty());
}

#[tokio::test]
async fn c12_a_body_beyond_the_memory_budget_is_refused_before_it_is_held() {
    let receiver = start_with(config(), MemoryBudget::new(1024 * 1024)).await;
    let large = logs_of(&[&"x".repeat(2 * 1024 * 1024)]).encode_to_vec();
    let small = request(Signal::Logs);

    let answer = receiver.post("/v1/logs", PROTOBUF, large.clone()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    let headers = [("content-type", PROTOBUF), ("content-encoding", "gzip")];
    let answer = receiver.request("POST", "/v1/logs", &headers, gzip(&large)).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    let answer = receiver.grpc_with(Signal::Logs, &[], frame(false, &large)).await;
    assert_eq!(answer.status.code(), Code::Unavailable);
    assert_eq!(answer.details().retry_delay, Some(Duration::from_secs(1)));
    assert!(receiver.memory.peak() <= 1024 * 1024);
    assert_eq!(receiver.memory.used(), 0, "a refused request holds nothing");

    // And as soon as there is room, all is well.
    assert_eq!(
        receiver.post("/v1/logs", PROTOBUF, small.clone()).await.status,
        200
    );
    let held = receiver.memory.try_reserve(1024 * 1024).unwrap();
    assert_eq!(
        receiver.post("/v1/logs", PROTOBUF, small.clone()).await.status,
        503
    );
    assert_eq!(
        receiver.grpc(Signal::Logs, &small).await.status.code(),
        Code::Unavailable
    );
    drop(held);
    assert_eq!(receiver.grpc(Signal::Logs, &small).await.status.code(), Code::Ok);
    assert_eq!(bodies(&receiver.sink.drain()).len(), 6);
    let stats = receiver.running.stats();
    assert_eq!(stats.http.logs.requests_over_memory.load(Ordering::Relaxed), 3);
    assert_eq!(stats.grpc.logs.requests_over_memory.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn c12_what_would_be_refused_is_refused_before_it_is_read() {
    let receiver = start().await;
    for signal in SIGNALS {
        *receiver.sink.closed.lock() = Some(SendError::Retryable {
            reason: "memory is short".to_owned(),
            retry_after: Some(Duration::from_secs(2)),
        });
        // No protobuf: whoever reads it has another answer.
        let garbage = vec![0xff; 100_000];
        let answer = receiver.post(path(signal), PROTOBUF, garbage.clone()).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")));
        let answer = receiver.grpc_with(signal, &[], frame(false, &garbage)).await;
        assert_eq!(
            (answer.status.code(), answer.status.message()),
            (Code::Unavailable, "memory is short")
        );
        assert_eq!(answer.details().retry_delay, Some(Duration::from_secs(2)));
        *receiver.sink.closed.lock() = None;
        assert_eq!(
            receiver
                .post(path(signal), PROTOBUF, request(signal))
                .await
                .status,
            200
        );
        for transport in [&receiver.running.stats().http, &receiver.running.stats().grpc] {
            let stats = transport.signal(signal);
            assert_eq!(stats.requests_unread.load(Ordering::Relaxed), 1);
            assert_eq!(stats.requests_invalid.load(Ordering::Relaxed), 0);
        }
        let unread = receiver
            .running
            .stats()
            .grpc
            .signal(signal)
            .wire_bytes
            .load(Ordering::Relaxed);
        assert_eq!(unread, 0);
    }
    assert_eq!(receiver.memory.used(), 0);
}

#[tokio::test]
async fn c13_a_permanent_error_is_400_and_invalid_argument() {
    let receiver = start().await;
    for signal in SIGNALS {
        receiver.sink.answer(Err(SendError::permanent("no such tenant")));
        let answer = receiver.post(path(signal), PROTOBUF, request(signal)).await;
        assert_eq!((answer.status, answer.header("retry-after")), (400, None));
        assert_eq!(answer.rpc_status().message, "no such tenant");
        receiver.sink.answer(Err(SendError::permanent("no such tenant")));
        let answer = receiver.grpc(signal, &request(signal)).await;
        assert_eq!(
            (answer.status.code(), answer.status.message()),
            (Code::InvalidArgument, "no such tenant")
        );
        assert!(answer.details().retry_delay.is_none());
    }
    assert_eq!(
        receiver
            .running
            .stats()
            .http
            .metrics
            .failed_items
            .load(Ordering::Relaxed),
        3
    );
}
