//! A receiver of OTLP over HTTP that keeps what comes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use tokio::sync::Notify;

/// Longest that is waited for anything.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) trace: Vec<u8>,
    pub(crate) id: Vec<u8>,
    pub(crate) parent: Vec<u8>,
    pub(crate) name: String,
    pub(crate) kind: i32,
    pub(crate) is_failed: bool,
    pub(crate) attributes: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) trace: Vec<u8>,
    pub(crate) body: String,
    pub(crate) attributes: BTreeMap<String, String>,
}

#[derive(Default)]
struct Kept {
    spans: Mutex<Vec<Span>>,
    logs: Mutex<Vec<Log>>,
    came: Notify,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) endpoint: String,
    kept: Arc<Kept>,
}

impl Receiver {
    /// Listens until the test ends.
    pub(crate) async fn start() -> Receiver {
        let kept = Arc::new(Kept::default());
        let routes = Router::new()
            .route("/v1/traces", post(traces))
            .route("/v1/logs", post(logs))
            .route("/v1/metrics", post(|| async {}))
            .with_state(kept.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Receiver { endpoint, kept }
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.kept.spans.lock().unwrap().clone()
    }

    pub(crate) fn logs(&self) -> Vec<Log> {
        self.kept.logs.lock().unwrap().clone()
    }

    /// Waits for spans and logs that fulfil a condition.
    pub(crate) async fn wait(&self, what: &str, is_fulfilled: impl Fn(&[Span], &[Log]) -> bool) {
        let wait = async {
            loop {
                let came = self.kept.came.notified();
                if is_fulfilled(&self.spans(), &self.logs()) {
                    return;
                }
                came.await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("{what} did not come: {:#?}\n{:#?}", self.spans(), self.logs());
        }
    }
}

async fn traces(State(kept): State<Arc<Kept>>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut spans = kept.spans.lock().unwrap();
    for resource in request.resource_spans {
        let service = service(resource.resource);
        for span in resource.scope_spans.into_iter().flat_map(|all| all.spans) {
            spans.push(Span {
                service: service.clone(),
                trace: span.trace_id,
                id: span.span_id,
                parent: span.parent_span_id,
                name: span.name,
                kind: span.kind,
                is_failed: span.status.is_some_and(|status| status.code == 2),
                attributes: texts(span.attributes),
            });
        }
    }
    drop(spans);
    kept.came.notify_waiters();
}

async fn logs(State(kept): State<Arc<Kept>>, body: Bytes) {
    let request = ExportLogsServiceRequest::decode(body).unwrap();
    let mut logs = kept.logs.lock().unwrap();
    let scopes = request.resource_logs.into_iter().flat_map(|all| all.scope_logs);
    for log in scopes.flat_map(|all| all.log_records) {
        logs.push(Log {
            trace: log.trace_id,
            body: text(log.body.and_then(|body| body.value)),
            attributes: texts(log.attributes),
        });
    }
    drop(logs);
    kept.came.notify_waiters();
}

fn service(resource: Option<Resource>) -> String {
    let mut attributes = texts(resource.unwrap_or_default().attributes);
    attributes.remove("service.name").unwrap()
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let pairs = attributes
        .into_iter()
        .map(|pair| (pair.key, text(pair.value.and_then(|value| value.value))));
    pairs.collect()
}

fn text(value: Option<Value>) -> String {
    match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}
