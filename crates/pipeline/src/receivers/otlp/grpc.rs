//! OTLP/gRPC: three unary methods. Owns the framing of messages, which is five bytes in front of each, and
//! the trailers of the answer. Written by hand instead of on a generated service so that a message is
//! refused for its size, or for want of memory, before it is read, and is read into one buffer of its own
//! size that becomes the batch.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use std::fmt::Display;
use std::sync::Arc;

use ::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use ::http::{Method, Request, Response, Version};
use bytes::{BufMut, Bytes, BytesMut};
use cupola_export::Accepted;
use cupola_export::otlp::{grpc_path, response};
use cupola_telemetry::{Client, Signal};
use http_body::Body;

use super::ingest::{self, Encoding, count_refusal};
use super::server::Server;
use super::stats::{SignalStats, count};
use crate::receivers::http::body::{Buffer, drain_stream, next_chunk};
use crate::receivers::http::decompress::Compression;
use crate::receivers::http::guard::Guard;
use crate::receivers::http::headers::tenant;
use crate::receivers::http::refusal::{Refusal, quote};
use crate::receivers::http::response::ResponseBody;

const PREFIX_BYTES: usize = 5;
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// Whether a request is gRPC, whatever port it came to.
pub(super) fn is_grpc<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2 && content_type(request).starts_with("application/grpc")
}

fn content_type<B>(request: &Request<B>) -> &str {
    request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// Serves one call. Always answers in gRPC's terms.
pub(super) async fn serve<B>(
    server: &Server,
    guard: &Guard,
    peer: &Arc<Client>,
    bytes_max: usize,
    request: Request<B>,
) -> Response<ResponseBody>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let client = match guard.admit(peer, request.headers()).await {
        Ok(client) => client,
        Err(refusal) => return failure(&refusal),
    };
    let transport = &server.ingest().stats().grpc;
    let path = request.uri().path();
    let signal = [Signal::Logs, Signal::Metrics, Signal::Traces]
        .into_iter()
        .find(|signal| grpc_path(*signal) == path);
    let refusal = match signal {
        None => Refusal::UnknownMethod(quote(path)),
        Some(_) if request.method() != Method::POST => Refusal::NotPost(quote(request.method().as_str())),
        Some(_) if !is_protobuf(content_type(&request)) => {
            Refusal::GrpcContentType(quote(content_type(&request)))
        }
        Some(signal) => {
            let stats = transport.signal(signal);
            count(&stats.requests, 1);
            match export(server, signal, client, bytes_max, request, stats).await {
                Ok(accepted) => return success(&accepted),
                Err(refusal) => {
                    count_refusal(stats, &refusal);
                    return failure(&refusal);
                }
            }
        }
    };
    count(&transport.requests_unknown, 1);
    failure(&refusal)
}

fn is_protobuf(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    matches!(kind, "application/grpc" | "application/grpc+proto")
}

async fn export<B>(
    server: &Server,
    signal: Signal,
    client: Arc<Client>,
    bytes_max: usize,
    request: Request<B>,
    stats: &SignalStats,
) -> Result<Accepted, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let (head, mut body) = request.into_parts();
    let read = read_request(
        server,
        signal,
        client,
        bytes_max,
        (&head.headers, &mut body),
        stats,
    )
    .await;
    match read {
        Ok(request) => server.ingest().take(request, stats).await,
        Err(refusal) => {
            if !matches!(refusal, Refusal::Slow(_)) {
                drain_stream(&mut body).await;
            }
            Err(refusal)
        }
    }
}

async fn read_request<B>(
    server: &Server,
    signal: Signal,
    client: Arc<Client>,
    bytes_max: usize,
    (headers, body): (&HeaderMap, &mut B),
    stats: &SignalStats,
) -> Result<ingest::Request, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let tenant = tenant(headers)?;
    let compression = match headers.get(&GRPC_ENCODING).map(HeaderValue::to_str) {
        None => None,
        Some(Ok(text)) => Compression::parse(text)?,
        Some(Err(_)) => return Err(Refusal::ContentEncoding("?".to_owned())),
    };
    let admission = server.ingest().admit(signal, stats)?;
    let mut memory = server.ingest().reservation();
    let timeout = server.body_timeout();
    let reading = read_message(body, bytes_max, &mut memory);
    let (compressed, body) = tokio::time::timeout(timeout, reading)
        .await
        .map_err(|_| Refusal::Slow(timeout))??;
    if compressed && compression.is_none() {
        return Err(Refusal::invalid(
            "grpc-encoding",
            "the message is compressed, but no encoding is named",
        ));
    }
    Ok(ingest::Request {
        signal,
        tenant,
        client,
        admission,
        encoding: Encoding::Protobuf,
        compression: compression.filter(|_| compressed),
        body,
        gzip: None,
        bytes_max,
        memory,
    })
}

/// The one message of a unary call, and whether it is compressed.
async fn read_message<B>(
    body: &mut B,
    bytes_max: usize,
    memory: &mut cupola_telemetry::memory::Reservation,
) -> Result<(bool, Bytes), Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let broken = |what: &str| Refusal::invalid("message", what);
    let mut prefix = [0; PREFIX_BYTES];
    let mut missing = &mut prefix[..];
    let mut chunk = Bytes::new();
    while !missing.is_empty() {
        chunk = next_chunk(body)
            .await?
            .ok_or_else(|| broken("the call has no message"))?;
        let length = missing.len().min(chunk.len());
        missing.put_slice(&chunk.split_to(length));
    }
    let [flag, length @ ..] = prefix;
    let compressed = match flag {
        0 => false,
        1 => true,
        _ => return Err(broken("the message prefix is malformed")),
    };
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    let mut buffer = Buffer::new(Some(length), bytes_max, memory)?;
    loop {
        if buffer.len() + chunk.len() > length {
            return Err(broken("the call has more than one message"));
        }
        buffer.push(&chunk)?;
        match next_chunk(body).await? {
            Some(next) => chunk = next,
            None => break,
        }
    }
    if buffer.len() < length {
        return Err(broken("the message broke off"));
    }
    Ok((compressed, buffer.finish()))
}

/// An empty message behind its prefix: the answer to nearly every call.
static EMPTY_MESSAGE: [u8; PREFIX_BYTES] = [0; PREFIX_BYTES];

fn success(accepted: &Accepted) -> Response<ResponseBody> {
    let message = response::encode(accepted);
    let data = if message.is_empty() {
        Bytes::from_static(&EMPTY_MESSAGE)
    } else {
        let mut data = BytesMut::with_capacity(PREFIX_BYTES + message.len());
        data.put_u8(0);
        data.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        data.put_slice(&message);
        data.freeze()
    };
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let mut answer = Response::new(ResponseBody::with_trailers(data, trailers));
    answer.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    answer
}

fn failure(refusal: &Refusal) -> Response<ResponseBody> {
    let mut answer = refusal.grpc_status().into_http::<ResponseBody>();
    if matches!(refusal, Refusal::ContentEncoding(_)) {
        answer.headers_mut().insert(
            GRPC_ACCEPT_ENCODING,
            HeaderValue::from_static("identity,gzip,zstd,deflate"),
        );
    }
    answer
}

/// A body in pieces of the size its first byte says; for fuzzing.
#[cfg(fuzzing)]
pub(crate) fn fuzz_grpc_message(data: &[u8]) {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body::Frame;

    const BYTES_MAX: usize = 1 << 20;

    struct Pieces {
        left: Bytes,
        size: usize,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let size = self.size.min(self.left.len());
            if size == 0 {
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Ok(Frame::data(self.left.split_to(size)))))
        }
    }

    let Some((first, message)) = data.split_first() else {
        return;
    };
    let mut body = Pieces {
        left: Bytes::copy_from_slice(message),
        size: usize::from(*first).max(1),
    };
    let budget = cupola_telemetry::memory::MemoryBudget::new(4 * BYTES_MAX);
    let mut memory = budget.reservation();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    if let Ok((_, read)) = runtime.block_on(read_message(&mut body, BYTES_MAX, &mut memory)) {
        assert_eq!(
            read,
            message[PREFIX_BYTES..],
            "the message is what is behind its prefix"
        );
    }
    drop(memory);
    assert_eq!(budget.used(), 0);
}
