//! From a body to a batch in the sink: decompress, validate, hand over, count. What both transports share.
//! Owns where the processor time is spent: small bodies inline, large ones on the blocking pool, as many at
//! a time as there are processors.

use std::sync::Arc;

use ::http::HeaderMap;
use bytes::Bytes;
use cupola_export::otlp::TENANT_HEADER;
use cupola_export::{Accepted, SendError, Sink};
use cupola_telemetry::memory::{MemoryBudget, Reservation};
use cupola_telemetry::{Batch, DecodeError, Signal, TenantId};
use tokio::sync::Semaphore;

use super::body::into_bytes;
use super::decompress::{Compression, decompress};
use super::refusal::Refusal;
use super::stats::{ReceiverStats, SignalStats, count};

/// Largest bodies worked on where they were read, in bytes as they came. 256 KiB of OTLP are validated in
/// well under a millisecond; unfolding takes longer and JSON longer still.
const INLINE_BYTES_MAX: usize = 256 * 1024;
const INLINE_COMPRESSED_BYTES_MAX: usize = 32 * 1024;
const INLINE_JSON_BYTES_MAX: usize = 32 * 1024;

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

/// One request, read and not yet looked at.
pub(super) struct Request {
    pub(super) signal: Signal,
    pub(super) tenant: TenantId,
    pub(super) encoding: Encoding,
    pub(super) compression: Option<Compression>,
    pub(super) body: Bytes,
    /// Limit after decompression.
    pub(super) bytes_max: usize,
    /// Of `body`; grows with what is made of it and is held until the sink has answered.
    pub(super) memory: Reservation,
}

pub(super) struct Ingest {
    sink: Arc<dyn Sink>,
    memory: MemoryBudget,
    stats: Arc<ReceiverStats>,
    cpu: Semaphore,
}

impl Ingest {
    pub(super) fn new(sink: Arc<dyn Sink>, memory: MemoryBudget, stats: Arc<ReceiverStats>) -> Ingest {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ingest {
            sink,
            memory,
            stats,
            cpu: Semaphore::new(processors),
        }
    }

    pub(super) fn stats(&self) -> &ReceiverStats {
        &self.stats
    }

    pub(super) fn reservation(&self) -> Reservation {
        self.memory.reservation()
    }

    /// Takes one request all the way. Returns after the sink has taken responsibility.
    pub(super) async fn take(&self, request: Request, stats: &SignalStats) -> Result<Accepted, Refusal> {
        count(&stats.wire_bytes, request.body.len() as u64);
        let (batch, _memory) = self.decode(request).await?;
        let items = batch.items() as u64;
        count(&stats.payload_bytes, batch.payload().len() as u64);
        if items == 0 {
            return Ok(Accepted::all());
        }
        match self.sink.send(batch).await {
            Ok(mut accepted) => {
                accepted.rejected = accepted.rejected.min(items);
                count(&stats.accepted_items, items - accepted.rejected);
                count(&stats.failed_items, accepted.rejected);
                Ok(accepted)
            }
            Err(error) => {
                let retryable = matches!(error, SendError::Retryable { .. });
                count(
                    if retryable {
                        &stats.refused_items
                    } else {
                        &stats.failed_items
                    },
                    items,
                );
                Err(Refusal::Sink(error))
            }
        }
    }

    async fn decode(&self, request: Request) -> Result<(Batch, Reservation), Refusal> {
        let inline = match (request.compression, request.encoding) {
            (Some(_), _) => INLINE_COMPRESSED_BYTES_MAX,
            (None, Encoding::Json) => INLINE_JSON_BYTES_MAX,
            (None, Encoding::Protobuf) => INLINE_BYTES_MAX,
        };
        if request.body.len() <= inline {
            return decode(request);
        }
        let _permit = self.cpu.acquire().await.map_err(|_| Refusal::Closing)?;
        match tokio::task::spawn_blocking(move || decode(request)).await {
            Ok(decoded) => decoded,
            // A bug of ours, which the same bytes would meet again.
            Err(error) if error.is_panic() => {
                Err(Refusal::invalid("body", "the body could not be processed"))
            }
            // The runtime is going down.
            Err(_) => Err(Refusal::Closing),
        }
    }
}

fn decode(request: Request) -> Result<(Batch, Reservation), Refusal> {
    let Request {
        signal,
        tenant,
        encoding,
        compression,
        mut body,
        bytes_max,
        mut memory,
    } = request;
    if let Some(compression) = compression {
        let before = memory.bytes();
        let unfolded = decompress(compression, &body, bytes_max, &mut memory)?;
        body = into_bytes(unfolded);
        memory.shrink(before);
    }
    let length = body.len();
    let batch = match encoding {
        Encoding::Protobuf => {
            let address = body.as_ptr();
            let batch = Batch::decode_protobuf(signal, tenant, body).map_err(refuse)?;
            if batch.payload().as_ptr() != address {
                // Rewritten into canonical form: the bytes exist already, so they are only accounted for.
                memory.grow(batch.payload().len());
                memory.shrink(length);
            }
            batch
        }
        Encoding::Json => {
            if !memory.try_grow(length) {
                return Err(Refusal::OverMemory);
            }
            let batch = if body.is_empty() {
                Batch::from_canonical(signal, tenant, Bytes::new(), 0)
            } else {
                Batch::decode_json(signal, tenant, &body).map_err(refuse)?
            };
            memory.shrink(length);
            batch
        }
    };
    Ok((batch, memory))
}

fn refuse(error: DecodeError) -> Refusal {
    Refusal::Invalid {
        field: error.path.clone(),
        description: error.to_string(),
    }
}

/// The tenant a request names, or the default one.
pub(super) fn tenant(headers: &HeaderMap) -> Result<TenantId, Refusal> {
    let mut values = headers.get_all(TENANT_HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(TenantId::default_tenant());
    };
    if values.next().is_some() {
        return Err(Refusal::invalid(
            TENANT_HEADER,
            "the request names more than one tenant",
        ));
    }
    let text = value
        .to_str()
        .map_err(|_| Refusal::invalid(TENANT_HEADER, "the tenant id is not ASCII text"))?;
    TenantId::parse(text).map_err(|error| Refusal::invalid(TENANT_HEADER, error))
}

/// Counts a refusal that has no items to count.
pub(super) fn count_refusal(stats: &SignalStats, refusal: &Refusal) {
    match refusal {
        Refusal::Invalid { .. } | Refusal::ContentEncoding(_) => count(&stats.requests_invalid, 1),
        Refusal::TooLarge { .. } => count(&stats.requests_too_large, 1),
        Refusal::OverMemory => count(&stats.requests_over_memory, 1),
        _ => {}
    }
}
