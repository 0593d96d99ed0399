//! A server that answers by a script and remembers every request, for gRPC and HTTP alike, and batches to
//! send to it.

use std::collections::VecDeque;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use cupola_export::otlp::{Compression, OtlpConfig, OtlpSink, Protocol};
use cupola_export::retry::RetryConfig;
use cupola_export::rpc_status::RpcStatus;
use cupola_telemetry::{Batch, Signal, TenantId};
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Full};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use parking_lot::Mutex;
use prost::Message;
use tokio::net::TcpListener;

pub(crate) const PROTOCOLS: [Protocol; 3] = [Protocol::Grpc, Protocol::HttpProtobuf, Protocol::HttpJson];

/// One scripted answer.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Http {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Bytes,
    },
    Grpc(RpcStatus),
    /// Success, with this response message.
    GrpcMessage(Bytes),
    /// No answer at all.
    Silence,
}

impl Reply {
    pub(crate) fn http(status: u16) -> Reply {
        Reply::Http {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub(crate) fn grpc(code: i32) -> Reply {
        Reply::Grpc(RpcStatus::new(code, "scripted"))
    }

    /// A refusal that asks to come again, in the protocol's own terms.
    pub(crate) fn busy(protocol: Protocol) -> Reply {
        match protocol {
            Protocol::Grpc => Reply::grpc(tonic::Code::Unavailable as i32),
            _ => Reply::http(503),
        }
    }
}

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// As it came; over gRPC with the prefix.
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
}

impl Recorded {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body after decompression.
    pub(crate) fn plain(&self) -> Bytes {
        let (body, encoding) = if self.header("content-type") == "application/grpc" {
            let length = u32::from_be_bytes(self.body[1..5].try_into().unwrap());
            assert_eq!(self.body.len(), length as usize + 5);
            let compressed = self.body[0] == 1;
            (
                self.body.slice(5..),
                if compressed {
                    self.header("grpc-encoding")
                } else {
                    ""
                },
            )
        } else {
            (self.body.clone(), self.header("content-encoding"))
        };
        match encoding {
            "" => body,
            "gzip" => {
                let mut plain = Vec::new();
                flate2::read::MultiGzDecoder::new(&body[..])
                    .read_to_end(&mut plain)
                    .unwrap();
                Bytes::from(plain)
            }
            "zstd" => Bytes::from(zstd::stream::decode_all(&body[..]).unwrap()),
            other => panic!("compressed with {other:?}"),
        }
    }

    pub(crate) fn batch(&self) -> Batch {
        let signal = match self.path.as_str() {
            path if path.contains("logs") => Signal::Logs,
            path if path.contains("metrics") => Signal::Metrics,
            _ => Signal::Traces,
        };
        let tenant = TenantId::default_tenant();
        match self.header("content-type") {
            "application/json" => Batch::decode_json(signal, tenant, &self.plain()).unwrap(),
            _ => Batch::decode_protobuf(signal, tenant, self.plain()).unwrap(),
        }
    }
}

#[derive(Clone, Default)]
pub(crate) struct Script {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    requests: Arc<Mutex<Vec<Recorded>>>,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    script: Script,
}

impl Server {
    /// Answers by the script, and with success after its end.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server {
            address,
            script: Script::default(),
        };
        server.script.replies.lock().extend(replies);
        tokio::spawn(serve(listener, server.script.clone()));
        server
    }

    /// Closes the first `refused` connections without a word, noting the moment of each.
    pub(crate) async fn start_refusing(refused: usize) -> (Server, Arc<Mutex<Vec<Instant>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server {
            address,
            script: Script::default(),
        };
        let (script, moments) = (server.script.clone(), Arc::new(Mutex::new(Vec::new())));
        let noted = moments.clone();
        tokio::spawn(async move {
            for _ in 0..refused {
                let (connection, _) = listener.accept().await.unwrap();
                noted.lock().push(Instant::now());
                drop(connection);
            }
            serve(listener, script).await;
        });
        (server, moments)
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.script.requests.lock().clone()
    }

    pub(crate) fn sink(&self, protocol: Protocol) -> OtlpSink {
        OtlpSink::new(self.config(protocol)).unwrap()
    }

    /// Quick to retry, uncompressed.
    pub(crate) fn config(&self, protocol: Protocol) -> OtlpConfig {
        let mut config = OtlpConfig::new(protocol, format!("http://{}", self.address));
        config.compression = Compression::None;
        config.retry = RetryConfig {
            initial_interval: Duration::from_millis(10),
            max_interval: Duration::from_millis(50),
            max_elapsed_time: Duration::from_secs(10),
            ..RetryConfig::default()
        };
        config
    }
}

async fn serve(listener: TcpListener, script: Script) {
    let router = axum::Router::new().fallback(answer).with_state(script);
    axum::serve(listener, router).await.unwrap();
}

async fn answer(State(script): State<Script>, request: axum::extract::Request) -> Response {
    let at = Instant::now();
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let grpc = head
        .headers
        .get("content-type")
        .is_some_and(|kind| kind == "application/grpc");
    let json = head
        .headers
        .get("content-type")
        .is_some_and(|kind| kind == "application/json");
    let path = head.uri.path().to_owned();
    script.requests.lock().push(Recorded {
        path,
        headers: head.headers,
        body,
        at,
    });
    let reply = script.replies.lock().pop_front();
    match reply {
        None if grpc => grpc_message(Bytes::new()),
        None if json => http(
            200,
            &[("content-type", "application/json".to_owned())],
            Bytes::from_static(b"{}"),
        ),
        None => http(
            200,
            &[("content-type", "application/x-protobuf".to_owned())],
            Bytes::new(),
        ),
        Some(Reply::Http {
            status,
            headers,
            body,
        }) => http(status, &headers, body),
        Some(Reply::Grpc(status)) => {
            let details = Bytes::from(status.encode());
            let code = tonic::Code::from(status.code);
            tonic::Status::with_details(code, status.message, details).into_http()
        }
        Some(Reply::GrpcMessage(message)) => grpc_message(message),
        Some(Reply::Silence) => std::future::pending().await,
    }
}

fn http(status: u16, headers: &[(&'static str, String)], body: Bytes) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(Body::from(body)).unwrap()
}

fn grpc_message(message: Bytes) -> Response {
    let mut framed = vec![0];
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from(framed)).with_trailers(std::future::ready(Some(Ok(trailers))));
    Response::builder()
        .header("content-type", "application/grpc")
        .body(Body::new(body))
        .unwrap()
}

pub(crate) fn text(value: String) -> Option<AnyValue> {
    Some(AnyValue {
        value: Some(any_value::Value::StringValue(value)),
    })
}

pub(crate) fn resource(name: &str) -> Option<Resource> {
    let attribute = KeyValue {
        key: "service.name".to_owned(),
        value: text(name.to_owned()),
        ..KeyValue::default()
    };
    Some(Resource {
        attributes: vec![attribute],
        ..Resource::default()
    })
}

/// Log records of `resources × scopes × records`, each body padded to `bytes`.
pub(crate) fn logs(resources: usize, scopes: usize, records: usize, bytes: usize) -> Batch {
    let scope_logs = |resource: usize| {
        let scope = |scope: usize| ScopeLogs {
            scope: Some(InstrumentationScope {
                name: format!("scope-{scope}"),
                ..InstrumentationScope::default()
            }),
            log_records: (0..records)
                .map(|record| LogRecord {
                    body: text(format!("{resource}/{scope}/{record} {}", "x".repeat(bytes))),
                    ..LogRecord::default()
                })
                .collect(),
            schema_url: "https://example.com/schema".to_owned(),
        };
        (0..scopes).map(scope).collect()
    };
    let resource_logs = (0..resources)
        .map(|index| ResourceLogs {
            resource: resource(&format!("service-{index}")),
            scope_logs: scope_logs(index),
            schema_url: String::new(),
        })
        .collect();
    decode(Signal::Logs, &ExportLogsServiceRequest { resource_logs })
}

pub(crate) fn decode(signal: Signal, message: &impl Message) -> Batch {
    let payload = Bytes::from(message.encode_to_vec());
    Batch::decode_protobuf(signal, TenantId::default_tenant(), payload).unwrap()
}

/// Each log record with what it stands under: resource, scope, schema URL, body.
pub(crate) fn flat_logs(batches: &[Batch]) -> Vec<String> {
    let mut flat = Vec::new();
    for batch in batches {
        let request = ExportLogsServiceRequest::decode(batch.payload().clone()).unwrap();
        for resource in request.resource_logs {
            for scope in resource.scope_logs {
                for record in scope.log_records {
                    let (resource, scope_info) = (&resource.resource, &scope.scope);
                    flat.push(format!(
                        "{resource:?} {scope_info:?} {} {record:?}",
                        scope.schema_url
                    ));
                }
            }
        }
    }
    flat
}
