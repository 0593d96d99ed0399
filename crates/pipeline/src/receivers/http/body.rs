//! Reading a request's body into memory. Owns the order of things: the limit and the memory budget are
//! asked before a byte is kept. Bodies are copied out of the connection's buffers into one allocation of
//! their own size, because a batch may be kept for long and must not keep a connection's buffer with it.

use std::fmt::Display;
use std::time::Duration;

use bytes::{Buf, Bytes};
use cupola_telemetry::memory::Reservation;
use http_body::Body;
use http_body_util::BodyExt;

use super::refusal::Refusal;

/// First allocation for a body of known length; when it is full, the rest is believed and the second is for the
/// whole. Most bodies take one. What has not been written to is not memory yet, and so not reserved.
const FIRST_BYTES: usize = 1024 * 1024;
/// Reserved ahead of what has arrived: as much again, within these bounds. A client which announces much and sends
/// little holds little.
const AHEAD_BYTES_MIN: usize = 4 * 1024;
const AHEAD_BYTES_MAX: usize = 64 * 1024;
/// What is read and thrown away of a refused HTTP/1 body, so that the client gets to read the answer
/// instead of a reset connection.
const DRAIN_BYTES_MAX: usize = 32 * 1024 * 1024;
/// As much as clients of gRPC send in one message unless they are told otherwise.
const DRAIN_STREAM_BYTES_MAX: usize = 4 * 1024 * 1024;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// A buffer whose contents are reserved before they are copied.
pub(crate) struct Buffer<'m> {
    bytes: Vec<u8>,
    /// Announced length, if there is one; growth stops there.
    expected: Option<usize>,
    bytes_max: usize,
    memory: &'m mut Reservation,
    /// Of `memory`, for this buffer.
    reserved: usize,
}

impl<'m> Buffer<'m> {
    pub(crate) fn new(
        expected: Option<usize>,
        bytes_max: usize,
        memory: &'m mut Reservation,
    ) -> Result<Buffer<'m>, Refusal> {
        if expected.is_some_and(|expected| expected > bytes_max) {
            return Err(Refusal::TooLarge { bytes_max });
        }
        Ok(Buffer {
            bytes: Vec::new(),
            expected,
            bytes_max,
            memory,
            reserved: 0,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        let length = self.bytes.len() + chunk.len();
        if length > self.bytes_max {
            return Err(Refusal::TooLarge {
                bytes_max: self.bytes_max,
            });
        }
        let ceiling = self.expected.unwrap_or(self.bytes_max).max(length);
        self.reserve(length, ceiling)?;
        if length > self.bytes.capacity() {
            let wanted = match (self.expected, self.bytes.capacity()) {
                (Some(_), 0) => FIRST_BYTES,
                (Some(expected), _) => expected,
                // Of unknown length and in one piece, as most small bodies are: exactly that piece.
                (None, 0) => length,
                (None, capacity) => capacity.saturating_mul(2),
            };
            let capacity = wanted.clamp(length, ceiling);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    fn reserve(&mut self, length: usize, ceiling: usize) -> Result<(), Refusal> {
        if length <= self.reserved {
            return Ok(());
        }
        let ahead = match (self.expected, self.reserved) {
            (None, 0) => 0,
            _ => length.clamp(AHEAD_BYTES_MIN, AHEAD_BYTES_MAX),
        };
        let reserved = length.saturating_add(ahead).min(ceiling);
        if !self.memory.try_grow(reserved - self.reserved) {
            return Err(Refusal::OverMemory);
        }
        self.reserved = reserved;
        Ok(())
    }

    /// The body. What stays reserved is its length.
    pub(crate) fn finish(self) -> Bytes {
        let body = into_bytes(self.bytes);
        self.memory.shrink(self.reserved.saturating_sub(body.len()));
        body
    }
}

/// Gives up capacity that is more than an eighth too large: the bytes may be kept for long.
pub(crate) fn into_bytes(mut bytes: Vec<u8>) -> Bytes {
    if bytes.capacity() - bytes.len() > bytes.len() / 8 {
        bytes.shrink_to_fit();
    }
    Bytes::from(bytes)
}

/// The next piece of a body; `None` at its end.
pub(crate) async fn next_chunk<B>(body: &mut B) -> Result<Option<Bytes>, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(Refusal::invalid("body", format!("the body broke off: {error}"))),
            Some(Ok(frame)) => {
                // Trailers say nothing here.
                if let Ok(data) = frame.into_data()
                    && data.has_remaining()
                {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// The whole body of an HTTP request.
pub(crate) async fn read<B>(
    body: &mut B,
    bytes_max: usize,
    memory: &mut Reservation,
    timeout: Duration,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let expected = body
        .size_hint()
        .exact()
        .map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    let mut buffer = Buffer::new(expected, bytes_max, memory)?;
    let reading = async {
        while let Some(chunk) = next_chunk(body).await? {
            buffer.push(&chunk)?;
        }
        Ok(buffer.finish())
    };
    tokio::time::timeout(timeout, reading)
        .await
        .map_err(|_| Refusal::Slow(timeout))?
}

/// Reads on, keeping nothing, until the end or a bound: of a connection of HTTP/1, which is closed beyond it.
pub(crate) async fn drain<B>(body: &mut B)
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    drain_within(body, DRAIN_BYTES_MAX).await;
}

/// The same of a stream of HTTP/2, which is reset beyond a smaller bound: what arrives of it after that counts against its
/// connection, which ends when it is too much, and with it the requests that were taken.
pub(crate) async fn drain_stream<B>(body: &mut B)
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    drain_within(body, DRAIN_STREAM_BYTES_MAX).await;
}

async fn drain_within<B>(body: &mut B, bytes_max: usize)
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let reading = async {
        let mut drained = 0;
        while let Ok(Some(chunk)) = next_chunk(body).await {
            drained += chunk.len();
            if drained > bytes_max {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME_MAX, reading).await;
}
