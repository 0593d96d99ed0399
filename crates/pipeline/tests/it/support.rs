//! A receiver with a sink that remembers, and clients plain enough to send what no SDK would.

use std::collections::VecDeque;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use cupola_export::otlp::grpc_path;
use cupola_export::rpc_status::RpcStatus;
use cupola_export::{Accepted, Outlook, SendError, Sink};
use cupola_pipeline::receivers::otlp::{OtlpReceiver, OtlpReceiverConfig, RunningReceiver};
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, Signal};
use http::header::{CONTENT_TYPE, HeaderMap};
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tonic::transport::Endpoint;
use tower::{Service, ServiceExt};

pub(crate) const SIGNALS: [Signal; 3] = [Signal::Logs, Signal::Metrics, Signal::Traces];
pub(crate) const PROTOBUF: &str = "application/x-protobuf";
pub(crate) const JSON: &str = "application/json";

/// Remembers what it takes, and answers as told.
#[derive(Default)]
pub(crate) struct Capture {
    batches: Mutex<Vec<Batch>>,
    answers: Mutex<VecDeque<Result<Accepted, SendError>>>,
    /// While set, every call waits.
    pub(crate) gate: Mutex<Option<Arc<Notify>>>,
    pub(crate) entered: Notify,
    /// While set, everything is refused, and receivers are told so beforehand.
    pub(crate) closed: Mutex<Option<SendError>>,
}

#[async_trait]
impl Sink for Capture {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let answer = self
            .answers
            .lock()
            .pop_front()
            .unwrap_or_else(|| Ok(Accepted::all()));
        if answer.is_ok() {
            self.batches.lock().push(batch);
        }
        let gate = self.gate.lock().clone();
        self.entered.notify_one();
        if let Some(gate) = gate {
            gate.notified().await;
        }
        answer
    }

    fn outlook(&self, _signal: Signal) -> Outlook {
        self.closed.lock().clone().map_or(Outlook::Open, Outlook::Refused)
    }
}

impl Capture {
    pub(crate) fn batches(&self) -> Vec<Batch> {
        self.batches.lock().clone()
    }

    /// What has been taken since the last call.
    pub(crate) fn drain(&self) -> Vec<Batch> {
        std::mem::take(&mut *self.batches.lock())
    }

    /// The answer to the next batch.
    pub(crate) fn answer(&self, answer: Result<Accepted, SendError>) {
        self.answers.lock().push_back(answer);
    }
}

pub(crate) struct Receiver {
    pub(crate) running: RunningReceiver,
    pub(crate) sink: Arc<Capture>,
    pub(crate) memory: MemoryBudget,
    pub(crate) client: reqwest::Client,
}

/// The defaults, on ports the system chooses.
pub(crate) fn config() -> OtlpReceiverConfig {
    let mut config = OtlpReceiverConfig::default();
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    if let Some(grpc) = &mut config.grpc {
        grpc.endpoint = local;
    }
    if let Some(http) = &mut config.http {
        http.endpoint = local;
    }
    config
}

pub(crate) async fn start() -> Receiver {
    start_with(config(), MemoryBudget::new(256 * 1024 * 1024)).await
}

pub(crate) async fn start_with(config: OtlpReceiverConfig, memory: MemoryBudget) -> Receiver {
    let sink = Arc::new(Capture::default());
    let running = OtlpReceiver::start(config, sink.clone(), memory.clone())
        .await
        .unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    Receiver {
        running,
        sink,
        memory,
        client,
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn content_type(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }

    /// The `google.rpc.Status` in the body, in the encoding the answer says it has.
    pub(crate) fn rpc_status(&self) -> RpcStatus {
        let status = match self.content_type() {
            PROTOBUF => RpcStatus::decode(&self.body),
            JSON => RpcStatus::from_json(&self.body),
            other => panic!("an error with content type {other:?}: {self:?}"),
        };
        let status = status.unwrap_or_else(|| panic!("no Status in {self:?}"));
        assert!(!status.message.is_empty(), "a Status without a message: {self:?}");
        assert_ne!(status.code, 0, "an error with the code OK: {self:?}");
        status
    }
}

impl Receiver {
    pub(crate) fn http_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.http_addr.unwrap())
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, self.http_url(path)).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer {
            status,
            headers,
            body: answer.bytes().await.unwrap(),
        }
    }

    pub(crate) async fn post(&self, path: &str, content_type: &str, body: impl Into<Bytes>) -> Answer {
        self.request("POST", path, &[("content-type", content_type)], body)
            .await
    }

    pub(crate) async fn grpc(&self, signal: Signal, message: &[u8]) -> GrpcAnswer {
        self.grpc_with(signal, &[], frame(false, message)).await
    }

    /// A call with its body as given, length prefix and all.
    pub(crate) async fn grpc_with(
        &self,
        signal: Signal,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> GrpcAnswer {
        grpc_call(self.running.grpc_addr.unwrap(), grpc_path(signal), headers, body).await
    }
}

/// What a gRPC call came to.
#[derive(Debug)]
pub(crate) struct GrpcAnswer {
    pub(crate) http_status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) status: tonic::Status,
    /// Of a successful call.
    pub(crate) message: Bytes,
}

impl GrpcAnswer {
    /// The details that travel in `grpc-status-details-bin`.
    pub(crate) fn details(&self) -> RpcStatus {
        RpcStatus::decode(self.status.details()).unwrap()
    }
}

/// A message behind its five-byte prefix.
pub(crate) fn frame(compressed: bool, message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(u8::from(compressed));
    framed.put_u32(message.len() as u32);
    framed.put_slice(message);
    framed.freeze()
}

pub(crate) async fn grpc_call(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> GrpcAnswer {
    let mut request = http::Request::post(format!("http://{address}{path}"));
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header(CONTENT_TYPE, "application/grpc");
    }
    for (name, value) in headers.iter().chain(&[("te", "trailers")]) {
        request = request.header(*name, *value);
    }
    let (head, body, trailers) = h2_call(address, request.body(body).unwrap()).await;
    let status = tonic::Status::from_header_map(&trailers)
        .or_else(|| tonic::Status::from_header_map(&head.headers))
        .expect("every gRPC answer has a status");
    let mut message = body;
    if status.code() == tonic::Code::Ok {
        assert_eq!(message.get_u8(), 0, "the answer is not compressed");
        assert_eq!(message.get_u32() as usize, message.remaining());
    }
    GrpcAnswer {
        http_status: head.status.as_u16(),
        headers: head.headers,
        status,
        message,
    }
}

/// One request over HTTP/2 with prior knowledge: head, body and trailers of the answer.
pub(crate) async fn h2_call(
    address: SocketAddr,
    request: http::Request<Bytes>,
) -> (http::response::Parts, Bytes, HeaderMap) {
    let mut channel = Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let request = request.map(|body| tonic::body::Body::new(Full::new(body)));
    let answer = channel.ready().await.unwrap().call(request).await.unwrap();
    let (head, body) = answer.into_parts();
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    (head, collected.to_bytes(), trailers)
}

pub(crate) fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    Bytes::from(encoder.finish().unwrap())
}

pub(crate) fn deflate(bytes: &[u8]) -> Bytes {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    Bytes::from(encoder.finish().unwrap())
}

pub(crate) fn zstd(bytes: &[u8]) -> Bytes {
    Bytes::from(zstd::bulk::compress(bytes, 1).unwrap())
}

pub(crate) fn path(signal: Signal) -> &'static str {
    cupola_export::otlp::http_path(signal)
}
