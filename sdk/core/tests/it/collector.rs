//! A collector that takes OTLP over HTTP, and answers as a test wants it to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use cupola_export::otlp::{Compression, OtlpConfig, Protocol};
use cupola_telemetry::{Batch, Signal, TenantId};

use crate::recording::bodies;

/// Ends with it.
pub(crate) struct Collector {
    received: Arc<Mutex<Received>>,
    endpoint: String,
    _stop: tokio::sync::oneshot::Sender<()>,
}

type Answer = Box<dyn FnMut(usize) -> (StatusCode, String) + Send>;

/// What has come.
struct Received {
    /// Is told how many requests there were before.
    answer: Answer,
    requests: usize,
    /// Those of log records that were taken.
    batches: Vec<Batch>,
}

impl Collector {
    pub(crate) fn start(answer: impl FnMut(usize) -> (StatusCode, String) + Send + 'static) -> Collector {
        let received = Arc::new(Mutex::new(Received {
            answer: Box::new(answer),
            requests: 0,
            batches: Vec::new(),
        }));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let router = axum::Router::new().fallback(take).with_state(received.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    served = axum::serve(listener, router) => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Collector {
            received,
            endpoint,
            _stop: stop,
        }
    }

    pub(crate) fn answers(&self, answer: impl FnMut(usize) -> (StatusCode, String) + Send + 'static) {
        self.received.lock().unwrap().answer = Box::new(answer);
    }

    pub(crate) fn config(&self) -> OtlpConfig {
        config(&self.endpoint)
    }

    /// Bodies of the log records that were taken.
    pub(crate) fn logs(&self) -> Vec<String> {
        let received = self.received.lock().unwrap();
        bodies(&received.batches)
            .into_iter()
            .map(|(_, body)| body)
            .collect()
    }
}

pub(crate) fn config(endpoint: &str) -> OtlpConfig {
    OtlpConfig {
        compression: Compression::None,
        timeout: Duration::from_secs(5),
        ..OtlpConfig::new(Protocol::HttpProtobuf, endpoint)
    }
}

/// Takes everything.
pub(crate) fn takes(_: usize) -> (StatusCode, String) {
    (StatusCode::OK, String::new())
}

pub(crate) fn is_down(_: usize) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, "down".to_owned())
}

async fn take(State(received): State<Arc<Mutex<Received>>>, uri: Uri, body: Bytes) -> (StatusCode, String) {
    let signal = match uri.path() {
        "/v1/logs" => Signal::Logs,
        "/v1/metrics" => Signal::Metrics,
        "/v1/traces" => Signal::Traces,
        path => panic!("{path}"),
    };
    let mut received = received.lock().unwrap();
    let before = received.requests;
    received.requests += 1;
    let answer = (received.answer)(before);
    if answer.0.is_success() {
        let batch = Batch::decode_protobuf(signal, TenantId::default_tenant(), body);
        let batch = batch.unwrap();
        if signal == Signal::Logs {
            received.batches.push(batch);
        }
    }
    answer
}
