//! Rules 24 to 27: what is tried again, when, and what never.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use cupola_export::otlp::{Protocol, response};
use cupola_export::retry::RetryConfig;
use cupola_export::rpc_status::RpcStatus;
use cupola_export::{Accepted, SendError, Sink};
use cupola_telemetry::Signal;
use futures::future::join_all;
use tonic::Code;

use crate::support::{PROTOCOLS, Reply, Server, logs};

#[tokio::test]
async fn c24_http_retries_on_429_502_503_504_and_no_other() {
    let statuses = [
        300, 301, 302, 307, 400, 401, 403, 404, 405, 408, 409, 411, 413, 415, 418, 422, 425, 429, 431, 500,
        501, 502, 503, 504, 505, 507, 511, 599,
    ];
    for protocol in [Protocol::HttpProtobuf, Protocol::HttpJson] {
        for status in statuses {
            let server = Server::start([Reply::http(status)]).await;
            let result = server.sink(protocol).send(logs(1, 1, 3, 0)).await;
            let requests = server.requests();
            if [429, 502, 503, 504].contains(&status) {
                assert_eq!((result, requests.len()), (Ok(Accepted::all()), 2), "{status}");
                assert_eq!(requests[0].body, requests[1].body, "the same again");
            } else {
                assert!(
                    matches!(result, Err(SendError::Permanent { .. })),
                    "{status}: {result:?}"
                );
                assert_eq!(requests.len(), 1, "{status}");
            }
        }
    }
}

#[tokio::test]
async fn c24_grpc_retries_on_the_codes_of_the_specification_and_no_other() {
    let retryable = [
        Code::Cancelled,
        Code::DeadlineExceeded,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unavailable,
        Code::DataLoss,
    ];
    for number in 1..=16 {
        let code = Code::from(number);
        let server = Server::start([Reply::grpc(number)]).await;
        let result = server.sink(Protocol::Grpc).send(logs(1, 1, 3, 0)).await;
        if retryable.contains(&code) {
            assert_eq!(
                (result, server.requests().len()),
                (Ok(Accepted::all()), 2),
                "{code:?}"
            );
        } else {
            assert!(
                matches!(result, Err(SendError::Permanent { .. })),
                "{code:?}: {result:?}"
            );
            assert_eq!(server.requests().len(), 1, "{code:?}");
        }
    }
}

#[tokio::test]
async fn c24_grpc_retries_resource_exhausted_only_with_retry_info() {
    let mut status = RpcStatus::new(Code::ResourceExhausted as i32, "quota");
    status.retry_delay = Some(Duration::from_millis(20));
    let server = Server::start([Reply::Grpc(status)]).await;
    let result = server.sink(Protocol::Grpc).send(logs(1, 1, 3, 0)).await;
    assert_eq!((result, server.requests().len()), (Ok(Accepted::all()), 2));
}

#[tokio::test]
async fn c24_broken_connections_and_silence_are_retried() {
    for protocol in PROTOCOLS {
        let (server, _) = Server::start_refusing(2).await;
        assert_eq!(
            server.sink(protocol).send(logs(1, 1, 3, 0)).await,
            Ok(Accepted::all()),
            "{protocol:?}"
        );
        assert_eq!(server.requests().len(), 1);

        let server = Server::start([Reply::Silence]).await;
        let mut config = server.config(protocol);
        config.timeout = Duration::from_secs(1);
        let sink = cupola_export::otlp::OtlpSink::new(config).unwrap();
        assert_eq!(
            sink.send(logs(1, 1, 3, 0)).await,
            Ok(Accepted::all()),
            "{protocol:?}"
        );
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn c24_retrying_ends() {
    for protocol in PROTOCOLS {
        let server = Server::start((0..1000).map(|_| Reply::busy(protocol))).await;
        let mut config = server.config(protocol);
        config.retry.max_elapsed_time = Duration::from_secs(1);
        let sink = cupola_export::otlp::OtlpSink::new(config).unwrap();
        let result = sink.send(logs(1, 1, 3, 0)).await;
        assert!(matches!(result, Err(SendError::Retryable { .. })), "{result:?}");
        assert!((2..500).contains(&server.requests().len()));
        assert_eq!(sink.stats().failed.load(Ordering::Relaxed), 3);
        assert_eq!(sink.retry_stats().exhausted.load(Ordering::Relaxed), 1);

        let server = Server::start([Reply::busy(protocol)]).await;
        let mut config = server.config(protocol);
        config.retry = RetryConfig::disabled();
        let result = cupola_export::otlp::OtlpSink::new(config)
            .unwrap()
            .send(logs(1, 1, 3, 0))
            .await;
        assert!(matches!(result, Err(SendError::Retryable { .. })), "{result:?}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn c25_partial_success_is_never_retried_and_the_rejected_are_counted() {
    let outcome = Accepted::partial(2, "too old");
    for protocol in PROTOCOLS {
        let message = Bytes::from(response::encode(&outcome));
        let http = |kind: &str, body| Reply::Http {
            status: 200,
            headers: vec![("content-type", kind.to_owned())],
            body,
        };
        let reply = match protocol {
            Protocol::Grpc => Reply::GrpcMessage(message),
            Protocol::HttpProtobuf => http("application/x-protobuf", message),
            Protocol::HttpJson => http(
                "application/json",
                Bytes::from(response::to_json(Signal::Logs, &outcome)),
            ),
        };
        let server = Server::start([reply]).await;
        let sink = server.sink(protocol);
        assert_eq!(
            sink.send(logs(1, 1, 3, 0)).await,
            Ok(outcome.clone()),
            "{protocol:?}"
        );
        assert_eq!(server.requests().len(), 1);
        assert_eq!(sink.stats().rejected.load(Ordering::Relaxed), 2);
        assert_eq!(sink.stats().sent.load(Ordering::Relaxed), 1);
    }
}

/// Time between the first two attempts after `reply`.
async fn gap(protocol: Protocol, reply: Reply) -> Duration {
    let server = Server::start([reply]).await;
    assert_eq!(
        server.sink(protocol).send(logs(1, 1, 3, 0)).await,
        Ok(Accepted::all())
    );
    let requests = server.requests();
    requests[1].at.duration_since(requests[0].at)
}

fn retry_after(value: String) -> Reply {
    Reply::Http {
        status: 503,
        headers: vec![("retry-after", value)],
        body: Bytes::new(),
    }
}

#[tokio::test]
async fn c26_the_destinations_wish_is_honoured() {
    // Left alone, the sink would be back after 5 to 15 milliseconds.
    let asked = Duration::from_millis(600);
    let mut status = RpcStatus::new(Code::Unavailable as i32, "busy");
    status.retry_delay = Some(asked);
    assert!(gap(Protocol::Grpc, Reply::Grpc(status.clone())).await >= asked);
    // RetryInfo in the body counts over HTTP where there is no header.
    let body = Bytes::from(status.encode());
    let info = Reply::Http {
        status: 503,
        headers: vec![("content-type", "application/x-protobuf".to_owned())],
        body,
    };
    assert!(gap(Protocol::HttpProtobuf, info).await >= asked);

    for protocol in [Protocol::HttpProtobuf, Protocol::HttpJson] {
        let waited = gap(protocol, retry_after("1".to_owned())).await;
        assert!(waited >= Duration::from_secs(1), "{waited:?}");
        // A date has whole seconds: at least one lies between now and two from now.
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
        let waited = gap(protocol, retry_after(date)).await;
        assert!(waited >= Duration::from_millis(900), "{waited:?}");
    }
}

#[tokio::test]
async fn c26_otherwise_the_waits_grow_and_are_spread() {
    for protocol in PROTOCOLS {
        let waits = join_all((0..8).map(|_| async {
            let server = Server::start((0..4).map(|_| Reply::busy(protocol))).await;
            let mut config = server.config(protocol);
            config.retry.initial_interval = Duration::from_millis(100);
            config.retry.multiplier = 2.0;
            config.retry.max_interval = Duration::from_secs(10);
            let sink = cupola_export::otlp::OtlpSink::new(config).unwrap();
            assert_eq!(sink.send(logs(1, 1, 3, 0)).await, Ok(Accepted::all()));
            let at: Vec<Instant> = server.requests().iter().map(|request| request.at).collect();
            at.windows(2)
                .map(|pair| pair[1].duration_since(pair[0]))
                .collect::<Vec<_>>()
        }))
        .await;
        for waits in &waits {
            // 100, 200, 400, 800 milliseconds, each give or take a half.
            for (round, wait) in waits.iter().enumerate() {
                let least = Duration::from_millis(50 << round);
                assert!(*wait >= least, "attempt {round} after {wait:?}");
            }
        }
        let last: Vec<Duration> = waits.iter().map(|waits| waits[3]).collect();
        let spread = *last.iter().max().unwrap() - *last.iter().min().unwrap();
        assert!(
            spread > Duration::from_millis(80),
            "everybody came back together: {last:?}"
        );
    }
}

#[tokio::test]
async fn c26_reconnecting_is_spread() {
    for protocol in PROTOCOLS {
        // Eight clients lose their server at the same moment.
        let (server, moments) = Server::start_refusing(16).await;
        let mut config = server.config(protocol);
        config.retry.initial_interval = Duration::from_millis(400);
        config.retry.max_interval = Duration::from_millis(400);
        let sinks: Vec<_> = (0..8)
            .map(|_| cupola_export::otlp::OtlpSink::new(config.clone()).unwrap())
            .collect();
        let results = join_all(sinks.iter().map(|sink| sink.send(logs(1, 1, 3, 0)))).await;
        assert!(
            results.iter().all(|result| *result == Ok(Accepted::all())),
            "{results:?}"
        );
        let moments = moments.lock().clone();
        let (first, again) = (&moments[..8], &moments[8..]);
        let spread = |moments: &[Instant]| *moments.iter().max().unwrap() - *moments.iter().min().unwrap();
        assert!(
            spread(again) > Duration::from_millis(60),
            "{protocol:?}: {:?}, then {:?}",
            spread(first),
            spread(again)
        );
    }
}

#[tokio::test]
async fn c27_400_and_413_are_dropped_and_counted() {
    let replies = [
        (Protocol::HttpProtobuf, Reply::http(400)),
        (Protocol::HttpProtobuf, Reply::http(413)),
        (Protocol::HttpJson, Reply::http(400)),
        (Protocol::HttpJson, Reply::http(413)),
        (Protocol::Grpc, Reply::grpc(Code::InvalidArgument as i32)),
    ];
    for (protocol, reply) in replies {
        let server = Server::start([reply.clone(), reply]).await;
        let sink = server.sink(protocol);
        let result = sink.send(logs(1, 1, 3, 0)).await;
        assert!(matches!(result, Err(SendError::Permanent { .. })), "{result:?}");
        assert_eq!(server.requests().len(), 1, "{protocol:?}");
        assert_eq!(sink.stats().rejected.load(Ordering::Relaxed), 3);
        assert_eq!(sink.stats().sent.load(Ordering::Relaxed), 0);
        assert_eq!(sink.retry_stats().retries.load(Ordering::Relaxed), 0);
    }
}
