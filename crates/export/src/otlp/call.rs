//! One unary gRPC call with a message that is encoded, and perhaps compressed, already: it goes to the connection without
//! being copied. Owns the frame of gRPC messages and where an answer's status stands. Refuses to judge a status.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http::{Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tonic::client::GrpcService;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::Compression;

/// In front of a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// Answers are a few bytes; what is beyond this is not kept.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Of zstd: memory that an answer may ask for, as a power of two. 8 MiB is what every encoder keeps to.
const ANSWER_WINDOW_LOG_MAX: u32 = 23;
/// `grpc-timeout` has eight digits at the most.
const TIMEOUT_DIGITS_MAX: u128 = 99_999_999;

/// What a destination said.
#[derive(Debug)]
pub(super) enum Answer {
    /// The message, unfolded; empty if it could not be read.
    Success(Bytes),
    Failure(Status),
}

/// There was no answer: the connection could not be made, or broke.
pub(super) type Broken = Box<dyn Error + Send + Sync>;

/// Calls `path` with a message that is in the form of `compression`.
pub(super) async fn unary(
    mut channel: Channel,
    path: &'static str,
    headers: HeaderMap,
    compression: Compression,
    message: Bytes,
    timeout: Duration,
) -> Result<Answer, Broken> {
    let mut request = Request::post(path).body(tonic::body::Body::new(Message::new(compression, message)))?;
    *request.headers_mut() = headers;
    let headers = request.headers_mut();
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-timeout", grpc_timeout(timeout));
    headers.insert(
        "grpc-accept-encoding",
        HeaderValue::from_static("identity,gzip,zstd"),
    );
    if let Some(encoding) = compression.encoding() {
        headers.insert("grpc-encoding", HeaderValue::from_static(encoding));
    }
    poll_fn(|context| channel.poll_ready(context)).await?;
    let (head, mut body) = channel.call(request).await?.into_parts();
    // An answer without a message has its status in front.
    if let Some(status) = Status::from_header_map(&head.headers) {
        return Ok(answer(status, &head.headers, &[]));
    }
    if head.status != StatusCode::OK {
        return Ok(Answer::Failure(status_of_http(head.status)));
    }
    let mut message = BytesMut::new();
    let mut trailers = None;
    while let Some(frame) = body.frame().await.transpose()? {
        match frame.into_data() {
            Ok(data) if message.len() + data.len() <= ANSWER_BYTES_MAX => message.extend_from_slice(&data),
            Ok(_) => {}
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    // A stream that was cut off cleanly looks like an end; only a status says that the call was answered.
    match trailers.as_ref().and_then(Status::from_header_map) {
        Some(status) => Ok(answer(status, &head.headers, &message)),
        None => Err("the answer ended without a status".into()),
    }
}

fn answer(status: Status, headers: &HeaderMap, message: &[u8]) -> Answer {
    if status.code() != Code::Ok {
        return Answer::Failure(status);
    }
    // The call succeeded; a message that cannot be read changes nothing about that.
    Answer::Success(unframe(headers, message).unwrap_or_default())
}

/// The one message of a body.
fn unframe(headers: &HeaderMap, body: &[u8]) -> io::Result<Bytes> {
    let Some(([compressed, length @ ..], rest)) = body.split_first_chunk::<PREFIX_BYTES>() else {
        return Ok(Bytes::new());
    };
    let length = u32::from_be_bytes(*length) as usize;
    let message = rest.get(..length).ok_or(io::ErrorKind::UnexpectedEof)?;
    if *compressed == 0 {
        return Ok(Bytes::copy_from_slice(message));
    }
    let encoding = headers.get("grpc-encoding").map(HeaderValue::as_bytes);
    let mut unfolded = Vec::new();
    let limit = ANSWER_BYTES_MAX as u64;
    match encoding {
        Some(b"gzip") => flate2::read::GzDecoder::new(message)
            .take(limit)
            .read_to_end(&mut unfolded)?,
        Some(b"zstd") => {
            let mut decoder = zstd::stream::read::Decoder::new(message)?;
            decoder.window_log_max(ANSWER_WINDOW_LOG_MAX)?;
            decoder.take(limit).read_to_end(&mut unfolded)?
        }
        _ => return Err(io::ErrorKind::Unsupported.into()),
    };
    Ok(unfolded.into())
}

/// Of an answer that is not gRPC's.
/// <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>
fn status_of_http(status: StatusCode) -> Status {
    let code = match status {
        StatusCode::BAD_REQUEST => Code::Internal,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        _ => Code::Unknown,
    };
    Status::new(code, format!("HTTP status {status}"))
}

/// In the finest unit whose number has few enough digits.
fn grpc_timeout(timeout: Duration) -> HeaderValue {
    let units = [
        (timeout.as_nanos(), 'n'),
        (timeout.as_micros(), 'u'),
        (timeout.as_millis(), 'm'),
    ];
    let fitting = units
        .into_iter()
        .find(|(number, _)| *number <= TIMEOUT_DIGITS_MAX);
    let (number, unit) = fitting.unwrap_or((u128::from(timeout.as_secs()).min(TIMEOUT_DIGITS_MAX), 'S'));
    HeaderValue::try_from(format!("{number}{unit}")).unwrap_or(HeaderValue::from_static("60S"))
}

/// A body of one message: its prefix, and the bytes as they are.
struct Message {
    chunks: VecDeque<Bytes>,
}

impl Message {
    fn new(compression: Compression, message: Bytes) -> Message {
        let mut prefix = BytesMut::with_capacity(PREFIX_BYTES);
        prefix.put_u8(u8::from(compression != Compression::None));
        // Requests are bounded far below this.
        prefix.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        Message {
            chunks: VecDeque::from([prefix.freeze(), message]),
        }
    }
}

impl Body for Message {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.chunks.pop_front().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.chunks.iter().map(|chunk| chunk.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_eight_digits_at_the_most() {
        for (timeout, expected) in [
            (Duration::from_millis(5), "5000000n"),
            (Duration::from_secs(5), "5000000u"),
            (Duration::from_secs(3600), "3600000m"),
            (Duration::from_secs(200_000), "200000S"),
            (Duration::MAX, "99999999S"),
        ] {
            assert_eq!(grpc_timeout(timeout), expected);
        }
    }

    #[test]
    fn a_message_is_read_as_its_prefix_says() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut gzip, b"said").unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::bulk::compress(b"said", 1).unwrap();
        let framed =
            |flag: u8, message: &[u8]| [&[flag][..], &(message.len() as u32).to_be_bytes(), message].concat();
        let headers = |encoding| HeaderMap::from_iter([("grpc-encoding".parse().unwrap(), encoding)]);
        let read = |encoding, body: &[u8]| unframe(&headers(HeaderValue::from_static(encoding)), body).ok();
        let said = Some(Bytes::from_static(b"said"));
        assert_eq!(read("gzip", &framed(0, b"said")), said);
        assert_eq!(read("gzip", &framed(1, &gzip)), said);
        assert_eq!(read("zstd", &framed(1, &zstd)), said);
        assert_eq!(read("snappy", &framed(1, b"said")), None);
        assert_eq!(read("gzip", &framed(1, b"said")), None);
        assert_eq!(read("gzip", &framed(0, b"said")[..7]), None);
        assert_eq!(read("gzip", b""), Some(Bytes::new()));
        let large = zstd::bulk::compress(&vec![0; 10 * ANSWER_BYTES_MAX], 1).unwrap();
        assert_eq!(
            read("zstd", &framed(1, &large)).map(|it| it.len()),
            Some(ANSWER_BYTES_MAX)
        );
    }
}
