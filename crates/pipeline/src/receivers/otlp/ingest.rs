//! From a body to a batch in the sink: decompress, validate, hand over, count. What both transports share.
//! Owns where the processor time is spent: small bodies inline, large ones on the blocking pool, as many at
//! a time as there are processors.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use cupola_export::{Accepted, SendError, Sink};
use cupola_telemetry::memory::{MemoryBudget, Reservation};
use cupola_telemetry::{Batch, Client, DecodeError, DecodeLimits, Problem, Signal, TenantId};
use tokio::sync::Semaphore;

use super::stats::{ReceiverStats, SignalStats, count};
use crate::receivers::http::body::into_bytes;
use crate::receivers::http::decompress::{Compression, decompress};
use crate::receivers::http::intake::{Admission, admit};
use crate::receivers::http::pool::on_pool;
use crate::receivers::http::refusal::Refusal;

/// Largest bodies worked on where they were read, before and after decompression. 256 KiB of OTLP are unfolded and
/// validated in about a millisecond; JSON takes longer.
const INLINE_BYTES_MAX: usize = 256 * 1024;
const INLINE_JSON_BYTES_MAX: usize = 32 * 1024;
/// A compressed body is kept beside what it unfolds to if it takes at most one part in this many of it.
const GZIP_PART_MAX: usize = 2;

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
    pub(super) client: Arc<Client>,
    pub(super) admission: Admission,
    pub(super) encoding: Encoding,
    pub(super) compression: Option<Compression>,
    pub(super) body: Bytes,
    /// The body as it was before it was unfolded, where that is worth keeping.
    pub(super) gzip: Option<Bytes>,
    /// Limit after decompression.
    pub(super) bytes_max: usize,
    /// Of `body`; grows with what is made of it and is held until the sink has answered.
    pub(super) memory: Reservation,
}

pub(super) struct Ingest {
    sink: Arc<dyn Sink>,
    memory: MemoryBudget,
    stats: Arc<ReceiverStats>,
    /// A place for each processor.
    cpu: Arc<Semaphore>,
}

impl Ingest {
    pub(super) fn new(sink: Arc<dyn Sink>, memory: MemoryBudget, stats: Arc<ReceiverStats>) -> Ingest {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ingest {
            sink,
            memory,
            stats,
            cpu: Arc::new(Semaphore::new(processors)),
        }
    }

    pub(super) fn stats(&self) -> &ReceiverStats {
        &self.stats
    }

    pub(super) fn reservation(&self) -> Reservation {
        self.memory.reservation()
    }

    /// Whether a request is let in before it is read; or why it would be refused once it is.
    pub(super) fn admit(&self, signal: Signal, stats: &SignalStats) -> Result<Admission, Refusal> {
        admit(&*self.sink, signal, stats)
    }

    /// Takes one request that was [let in](Self::admit) all the way. Returns after the sink has taken responsibility.
    pub(super) async fn take(&self, request: Request, stats: &SignalStats) -> Result<Accepted, Refusal> {
        count(&stats.wire_bytes, request.body.len() as u64);
        let (client, admission) = (request.client.clone(), request.admission);
        let (batch, _memory) = self.decode(request).await?;
        let batch = admission.mark(batch.with_client(Some(client)));
        let items = batch.items() as u64;
        count(&stats.payload_bytes, batch.payload().len() as u64);
        if items == 0 {
            return Ok(Accepted::all());
        }
        let waiting = stats.waiting(items);
        let answer = self.sink.send(batch).await;
        waiting.answered();
        match answer {
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

    async fn decode(&self, mut request: Request) -> Result<(Batch, Reservation), Refusal> {
        let inline = request.inline_bytes_max();
        if request.unfolded_bytes() <= inline {
            match request.unfold(inline.min(request.bytes_max)) {
                Ok(()) => return decode(request),
                // It said less than it is.
                Err(Refusal::TooLarge { .. }) if inline < request.bytes_max => {}
                Err(refusal) => return Err(refusal),
            }
        }
        on_pool(&self.cpu, move || decode(request)).await
    }
}

impl Request {
    fn inline_bytes_max(&self) -> usize {
        match self.encoding {
            Encoding::Json => INLINE_JSON_BYTES_MAX,
            Encoding::Protobuf => INLINE_BYTES_MAX,
        }
    }

    /// How large the body is, or says that it will be.
    fn unfolded_bytes(&self) -> usize {
        let unfolded = self
            .compression
            .map_or(0, |compression| compression.unfolded_bytes(&self.body));
        unfolded.max(self.body.len())
    }

    /// Puts what a compressed body unfolds to in its place. After a failure all is as before.
    fn unfold(&mut self, bytes_max: usize) -> Result<(), Refusal> {
        let Some(compression) = self.compression else {
            return Ok(());
        };
        let unfolded = decompress(compression, &self.body, bytes_max, &mut self.memory);
        let unfolded = unfolded.map(|unfolded| {
            let can_go_on = unfolded.is_one_gzip_member && self.encoding == Encoding::Protobuf;
            let body = mem::replace(&mut self.body, into_bytes(unfolded.bytes));
            let is_small = body.len() <= self.body.len() / GZIP_PART_MAX;
            self.gzip = (can_go_on && is_small).then_some(body);
            self.compression = None;
        });
        let kept = self.body.len() + self.gzip.as_ref().map_or(0, Bytes::len);
        self.memory.shrink(self.memory.bytes().saturating_sub(kept));
        unfolded
    }
}

fn decode(mut request: Request) -> Result<(Batch, Reservation), Refusal> {
    request.unfold(request.bytes_max)?;
    let Request {
        signal,
        tenant,
        encoding,
        body,
        gzip,
        bytes_max,
        mut memory,
        ..
    } = request;
    let held = memory.bytes();
    let limits = DecodeLimits {
        bytes_max,
        memory: &mut memory,
    };
    let batch = match encoding {
        Encoding::Protobuf => {
            let address = body.as_ptr();
            let batch = Batch::decode_protobuf_within(signal, tenant, body, limits).map_err(refuse)?;
            if batch.payload().as_ptr() != address {
                // Rewritten into canonical form; the body is gone.
                memory.shrink(held);
                batch
            } else if let Some(gzip) = gzip {
                batch.with_gzip(gzip)
            } else {
                batch
            }
        }
        Encoding::Json if body.is_empty() => Batch::from_canonical(signal, tenant, Bytes::new(), 0),
        Encoding::Json => {
            let batch = Batch::decode_json_within(signal, tenant, &body, limits).map_err(refuse)?;
            drop(body);
            memory.shrink(held);
            batch
        }
    };
    Ok((batch, memory))
}

fn refuse(error: DecodeError) -> Refusal {
    match error.problem {
        Problem::TooLarge { bytes_max } => Refusal::TooLarge { bytes_max },
        Problem::OverMemory => Refusal::OverMemory,
        _ => Refusal::invalid(error.path.clone(), error),
    }
}

/// Counts a refusal that has no items to count.
pub(super) fn count_refusal(stats: &SignalStats, refusal: &Refusal) {
    match refusal {
        Refusal::Invalid { .. } | Refusal::ContentEncoding(_) => count(&stats.requests_invalid, 1),
        Refusal::TooLarge { .. } => count(&stats.requests_too_large, 1),
        Refusal::OverMemory => count(&stats.requests_over_memory, 1),
        Refusal::Slow(_) => count(&stats.requests_slow, 1),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use cupola_telemetry::encode::LogsEncoder;

    use super::*;

    /// A request of log records for the store, and the memory it is held in.
    fn request(compression: Option<Compression>, body: Vec<u8>) -> Request {
        let mut memory = MemoryBudget::unlimited().reservation();
        memory.grow(body.len());
        Request {
            signal: Signal::Logs,
            tenant: TenantId::default_tenant(),
            client: Arc::default(),
            admission: Admission::default(),
            encoding: Encoding::Protobuf,
            compression,
            body: body.into(),
            gzip: None,
            bytes_max: 20 * 1024 * 1024,
            memory,
        }
    }

    fn gzip(contents: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(contents).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_a_small_body_unfolds_to_decides_where_it_is_worked_on() {
        let mut large = request(Some(Compression::Gzip), gzip(&vec![0; 10 * INLINE_BYTES_MAX]));
        assert!(large.body.len() < INLINE_BYTES_MAX / 10);
        assert!(large.unfolded_bytes() > INLINE_BYTES_MAX);
        // Nor does a lie get it further than the limit.
        let mut lying = large.body.to_vec();
        let size_at = lying.len() - 4;
        lying[size_at..].copy_from_slice(&100u32.to_le_bytes());
        let mut lying = request(Some(Compression::Gzip), lying);
        assert!(lying.unfolded_bytes() <= INLINE_BYTES_MAX);
        let held = lying.memory.bytes();
        assert!(matches!(
            lying.unfold(INLINE_BYTES_MAX),
            Err(Refusal::TooLarge { .. })
        ));
        assert_eq!(
            (lying.memory.bytes(), lying.compression),
            (held, Some(Compression::Gzip))
        );

        let gzip = large.body.clone();
        assert!(large.unfold(large.bytes_max).is_ok());
        assert_eq!(large.body.len(), 10 * INLINE_BYTES_MAX);
        assert_eq!(large.memory.bytes(), 10 * INLINE_BYTES_MAX + gzip.len());
        assert_eq!(large.gzip, Some(gzip));
        let plain = request(None, vec![0; INLINE_BYTES_MAX]);
        assert_eq!(plain.unfolded_bytes(), plain.inline_bytes_max());
    }

    #[test]
    fn a_batch_goes_on_compressed_only_if_every_reader_finds_all_of_it() {
        let text = |length| vec![b'x'; length];
        let logs = |body: &[u8]| {
            let mut logs = LogsEncoder::new();
            logs.resource_logs()
                .scope_logs()
                .record()
                .body(str::from_utf8(body).unwrap());
            logs.finish(TenantId::default_tenant()).payload().to_vec()
        };
        let decoded = |body: Vec<u8>| decode(request(Some(Compression::Gzip), body)).unwrap();

        let payload = logs(&text(10_000));
        let whole = gzip(&payload);
        let (batch, memory) = decoded(whole.clone());
        assert_eq!(batch.gzip().map(|gzip| &gzip[..]), Some(&whole[..]));
        assert_eq!(batch.bytes_held(), payload.len() + whole.len());
        assert_eq!(memory.bytes(), batch.bytes_held());

        let two_members = [gzip(&[]), whole].concat();
        let incompressible: String = (0..2_000u32)
            .map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761)))
            .collect();
        // Not canonical: the schema URL of the resource stands there twice.
        let twice = [&payload[..], &[0x0a, 6, 0x1a, 1, b'a', 0x1a, 1, b'b']].concat();
        for body in [two_members, gzip(&logs(incompressible.as_bytes())), gzip(&twice)] {
            let (batch, memory) = decoded(body);
            assert_eq!(batch.gzip(), None);
            assert_eq!(memory.bytes(), batch.payload().len());
        }
    }
}
