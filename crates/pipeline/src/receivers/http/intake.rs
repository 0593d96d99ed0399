//! From a request to batches in the sink: read, unfold, convert, hand over, count. What all receivers that are pushed
//! to share. Owns the limits and the accounting of memory; what a body means is a function that it is given.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{CONTENT_TYPE, HeaderValue};
use ::http::{HeaderMap, Request, Response, StatusCode};
use bytes::Bytes;
use cupola_export::{Accepted, Outlook, Sample, SendError, Sink};
use cupola_telemetry::memory::{MemoryBudget, Reservation};
use cupola_telemetry::{Batch, Client, Signal, TenantId};
use http_body::Body;
use tokio::sync::Semaphore;

use super::body::{into_bytes, read};
use super::decompress::{Compression, decompress};
use super::headers::{advise, finish_body, tenant};
use super::pool::on_pool;
use super::refusal::Refusal;
use super::response::ResponseBody;
use super::stats::{SignalStats, StatSample, count};

/// Largest bodies converted where they were read.
const INLINE_BYTES_MAX: usize = 64 * 1024;
/// OTLP may be this many times as large as the body that it is made of: labels that a body names once are repeated.
const GROWTH_MAX: usize = 8;
/// Room is reserved in steps of this size.
const STEP_BYTES: usize = 16 * 1024;

/// What one signal of a receiver needs to take requests.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) signal: Signal,
    /// `http` or `grpc`, for the counters.
    pub(crate) transport: &'static str,
    pub(crate) body_bytes_max: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) memory: MemoryBudget,
    pub(crate) stats: SignalStats,
    sink: NoDebug,
    /// A place for each processor.
    cpu: Arc<Semaphore>,
}

/// That a request may be read, and whether it is then let in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Admission {
    is_promised: bool,
}

impl Admission {
    pub(crate) fn mark(self, batch: Batch) -> Batch {
        batch.with_admission(self.is_promised)
    }
}

/// Asks what comes after a receiver whether a request is to be read.
pub(crate) fn admit(sink: &dyn Sink, signal: Signal, stats: &SignalStats) -> Result<Admission, Refusal> {
    match sink.outlook(signal) {
        Outlook::Refused(refusal) => {
            count(&stats.requests_unread, 1);
            Err(Refusal::Sink(refusal))
        }
        outlook => Ok(Admission {
            is_promised: outlook == Outlook::Open,
        }),
    }
}

struct NoDebug(Arc<dyn Sink>);

impl std::fmt::Debug for NoDebug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sink")
    }
}

/// Memory for what is made of a body.
pub(crate) struct Room<'m> {
    memory: &'m mut Reservation,
    reserved: usize,
    bytes_max: usize,
}

impl<'m> Room<'m> {
    pub(crate) fn new(memory: &'m mut Reservation, bytes_max: usize) -> Room<'m> {
        Room {
            memory,
            reserved: 0,
            bytes_max,
        }
    }

    /// Makes sure that `bytes` in all, and as much again for a growing buffer, are reserved.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), Refusal> {
        if bytes > self.bytes_max {
            return Err(Refusal::invalid(
                "body",
                format!(
                    "the request unfolds to more than {} bytes of OTLP; send smaller ones",
                    self.bytes_max
                ),
            ));
        }
        let wanted = bytes.saturating_mul(2).next_multiple_of(STEP_BYTES);
        if bytes > self.reserved / 2 {
            if !self.memory.try_grow(wanted - self.reserved) {
                return Err(Refusal::OverMemory);
            }
            self.reserved = wanted;
        }
        Ok(())
    }
}

/// What a body came to: batches, and what the receiver wants to know for its answer.
pub(crate) type Converted<T> = Result<(Vec<Batch>, T), Refusal>;

impl Intake {
    pub(crate) fn new(
        signal: Signal,
        transport: &'static str,
        limits: (usize, Duration),
        sink: Arc<dyn Sink>,
        memory: MemoryBudget,
    ) -> Intake {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Intake {
            signal,
            transport,
            body_bytes_max: limits.0,
            body_timeout: limits.1,
            memory,
            stats: SignalStats::default(),
            sink: NoDebug(sink),
            cpu: Arc::new(Semaphore::new(processors)),
        }
    }

    /// Whether a request is let in before it is read; or why it would be refused once it is.
    pub(crate) fn admit(&self) -> Result<Admission, Refusal> {
        admit(&*self.sink.0, self.signal, &self.stats)
    }

    /// Takes one request all the way. Returns after the sink has taken responsibility for every batch.
    pub(crate) async fn take<T, B>(
        &self,
        request: &mut Request<B>,
        compression: Option<Compression>,
        convert: impl FnOnce(Bytes, TenantId, &mut Room<'_>) -> Converted<T> + Send + 'static,
    ) -> Result<(Accepted, T), Refusal>
    where
        T: Send + 'static,
        B: Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let tenant = tenant(request.headers())?;
        let client = client(request);
        let admission = self.admit()?;
        let mut memory = self.memory.reservation();
        let body = read(
            request.body_mut(),
            self.body_bytes_max,
            &mut memory,
            self.body_timeout,
        )
        .await?;
        count(&self.stats.wire_bytes, body.len() as u64);
        let from = (tenant, client, admission);
        self.take_body(body, from, compression, memory, convert).await
    }

    /// The same for a body that was [admitted](Self::admit) and read; `memory` holds it. `from` says whose it is, who sent it, and what
    /// was said beforehand.
    pub(crate) async fn take_body<T: Send + 'static>(
        &self,
        body: Bytes,
        from: (TenantId, Option<Arc<Client>>, Admission),
        compression: Option<Compression>,
        memory: Reservation,
        convert: impl FnOnce(Bytes, TenantId, &mut Room<'_>) -> Converted<T> + Send + 'static,
    ) -> Result<(Accepted, T), Refusal> {
        let (tenant, client, admission) = from;
        let ((batches, extra), _memory) = self.convert(body, tenant, compression, memory, convert).await?;
        let mut accepted = Accepted::all();
        for batch in batches {
            accepted.merge(
                self.send(admission.mark(batch.with_client(client.clone())))
                    .await?,
            );
        }
        Ok((accepted, extra))
    }

    /// What a body comes to, and the memory that holds it.
    pub(crate) async fn convert<T: Send + 'static>(
        &self,
        body: Bytes,
        tenant: TenantId,
        compression: Option<Compression>,
        mut memory: Reservation,
        convert: impl FnOnce(Bytes, TenantId, &mut Room<'_>) -> Converted<T> + Send + 'static,
    ) -> Result<((Vec<Batch>, T), Reservation), Refusal> {
        let bytes_max = self.body_bytes_max;
        let unfolded = compression.map_or(0, |compression| compression.unfolded_bytes(&body));
        let inline = unfolded.max(body.len()) <= INLINE_BYTES_MAX;
        let work = move || {
            let body = match compression {
                Some(compression) => {
                    into_bytes(decompress(compression, &body, bytes_max, &mut memory)?.bytes)
                }
                None => body,
            };
            let mut room = Room::new(&mut memory, bytes_max.saturating_mul(GROWTH_MAX));
            let converted = convert(body, tenant, &mut room)?;
            Ok((converted, memory))
        };
        match inline {
            true => work(),
            false => on_pool(&self.cpu, work).await,
        }
    }

    /// Hands over one batch, and counts.
    async fn send(&self, batch: Batch) -> Result<Accepted, Refusal> {
        let items = batch.items() as u64;
        if items == 0 {
            return Ok(Accepted::all());
        }
        count(&self.stats.payload_bytes, batch.payload().len() as u64);
        let answer = self.hand_over(batch).await;
        self.counted(items, answer)
    }

    /// One attempt. Of it nothing is counted but that nobody waited for its answer.
    pub(crate) async fn hand_over(&self, batch: Batch) -> Result<Accepted, SendError> {
        let waiting = self.stats.waiting(batch.items() as u64);
        let answer = self.sink.0.send(batch).await;
        waiting.answered();
        answer
    }

    /// Counts what became of so many items.
    pub(crate) fn counted(
        &self,
        items: u64,
        answer: Result<Accepted, SendError>,
    ) -> Result<Accepted, Refusal> {
        match answer {
            Ok(mut accepted) => {
                accepted.rejected = accepted.rejected.min(items);
                count(&self.stats.accepted_items, items - accepted.rejected);
                count(&self.stats.failed_items, accepted.rejected);
                Ok(accepted)
            }
            Err(error) => {
                let retryable = matches!(error, SendError::Retryable { .. });
                let counter = match retryable {
                    true => &self.stats.refused_items,
                    false => &self.stats.failed_items,
                };
                count(counter, items);
                Err(Refusal::Sink(error))
            }
        }
    }

    /// Counts a refusal, and reads on what a client of HTTP/1 is still writing, so that it gets to read the answer.
    pub(crate) async fn refused<B>(&self, refusal: &Refusal, request: Request<B>)
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        self.count_refusal(refusal);
        // Whoever is too slow is not waited for.
        if !matches!(refusal, Refusal::Slow(_)) {
            finish_body(request).await;
        }
    }

    pub(crate) fn count_refusal(&self, refusal: &Refusal) {
        match refusal {
            Refusal::Invalid { .. } | Refusal::ContentEncoding(_) => count(&self.stats.requests_invalid, 1),
            Refusal::TooLarge { .. } => count(&self.stats.requests_too_large, 1),
            Refusal::OverMemory => count(&self.stats.requests_over_memory, 1),
            Refusal::Slow(_) => count(&self.stats.requests_slow, 1),
            _ => {}
        }
    }

    /// What is counted, with the label `transport`.
    pub(crate) fn collect(&self, samples: &mut Vec<Sample>) {
        let mut counts: Vec<StatSample> = Vec::new();
        self.stats.collect(self.transport, self.signal, &mut counts);
        samples.extend(counts.into_iter().map(Sample::from));
    }
}

/// Who sent a request, as the server has found out.
pub(crate) fn client<B>(request: &Request<B>) -> Option<Arc<Client>> {
    request.extensions().get().cloned()
}

/// An answer of plain text.
pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<ResponseBody> {
    let mut answer = Response::new(ResponseBody::new(body.into()));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<ResponseBody> {
    let mut answer = Response::new(ResponseBody::default());
    *answer.status_mut() = status;
    answer
}

/// A refusal as text, with `Retry-After` where the same request may be taken later.
pub(crate) fn refusal(refusal: &Refusal) -> Response<ResponseBody> {
    let mut answer = text(refusal.http_status(), format!("{refusal}\n"));
    advise(refusal, answer.headers_mut());
    answer
}

/// The media type that a request names, in lower case and without parameters, and the parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> (String, String) {
    let text = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
    match text.split_once(';') {
        Some((kind, parameters)) => (kind.trim().to_owned(), parameters.trim().to_owned()),
        None => (text.trim().to_owned(), String::new()),
    }
}

/// Like [`headers::compression`](super::headers::compression), with Snappy's blocks too.
pub(crate) fn compression_or_snappy(headers: &HeaderMap) -> Result<Option<Compression>, Refusal> {
    use ::http::header::CONTENT_ENCODING;
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"snappy") => {
            Ok(Some(Compression::Snappy))
        }
        _ => super::headers::compression(headers),
    }
}

pub(crate) fn now_unix_nano() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}
