//! The work on one partition, in the order of its messages: read, hand over, mark. A message is marked after the sink has
//! taken what is in it, or after it was kept as a dead letter; until then nothing behind it is.
//!
//! Messages that wait together are handed over as one batch. If that is refused for good, each is handed over by itself, so
//! that one that cannot be taken does not cost the others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cupola_export::{Accepted, SendError};
use cupola_telemetry::memory::Reservation;
use cupola_telemetry::{Batch, Signal, TenantId};
use tokio::time::Instant;

use super::decode::{Decoded, decode};
use super::evidence::Unreadable;
use super::group::Shared;
use super::headers;
use super::partition::{Group, Message, Partition};
use crate::receivers::http::refusal::Refusal;
use crate::receivers::http::stats::{SignalStats, count};

/// Until memory is asked for again.
const MEMORY_PATIENCE: Duration = Duration::from_millis(100);
/// Until a dead letter is written again.
const LETTER_PATIENCE: Duration = Duration::from_secs(1);

/// Why the work does not go on.
enum End {
    /// The receiver ends.
    Closing,
    /// A message cannot be taken, and is not to be passed over.
    Stopped,
}

/// What a message came to.
struct Piece {
    offset: i64,
    batch: Batch,
}

/// What was made of a message.
enum Read {
    Batch {
        batch: Batch,
        memory: Reservation,
        /// The message, where a part of it was left out.
        left_out: Option<Unreadable>,
    },
    Unreadable(Unreadable),
    /// Nothing now.
    OverMemory,
}

/// What became of a batch.
enum Sent {
    Taken(Accepted),
    /// For good, or for longer than one waits.
    Refused {
        reason: String,
        attempts: u32,
        permanent: bool,
    },
}

pub(super) struct Worker {
    partition: Arc<Partition>,
    shared: Arc<Shared>,
}

impl Worker {
    pub(super) fn new(partition: Arc<Partition>, shared: Arc<Shared>) -> Worker {
        Worker { partition, shared }
    }

    /// Until the partition is lost or the receiver ends.
    pub(super) async fn run(self) {
        let lost = self.partition.lost.clone();
        tokio::select! {
            biased;
            () = lost.cancelled() => {}
            () = self.work() => {}
        }
    }

    async fn work(&self) {
        loop {
            let group = tokio::select! {
                biased;
                () = self.shared.closing.cancelled() => return,
                group = self.partition.take() => group,
            };
            // There may be room again.
            self.shared.changed.notify_one();
            match self.work_on(group).await {
                Ok(()) => {}
                Err(End::Closing) => return,
                Err(End::Stopped) => {
                    self.partition.stop();
                    self.shared.changed.notify_one();
                    return;
                }
            }
        }
    }

    async fn work_on(&self, group: Group) -> Result<(), End> {
        let Group {
            messages,
            memory: _memory,
        } = group;
        let mut made = self.shared.memory.reservation();
        let mut run: Vec<Piece> = Vec::new();
        for message in messages {
            let offset = message.offset;
            let read = self.read(&message);
            let (batch, memory, evidence) = loop {
                match self.decoded(&message, &read) {
                    Read::Unreadable(evidence) => break (None, None, Some(evidence)),
                    Read::Batch {
                        batch,
                        memory,
                        left_out,
                    } => break (Some(batch), Some(memory), left_out),
                    // Nobody waits for memory while holding what others wait for.
                    Read::OverMemory if !run.is_empty() => {
                        self.hand_over(std::mem::take(&mut run)).await?;
                        made.shrink(made.bytes());
                    }
                    Read::OverMemory => self.wait_for_memory().await?,
                }
            };
            let joins = run.last().zip(batch.as_ref()).is_none_or(|(last, batch)| {
                last.batch.signal() == batch.signal() && last.batch.tenant() == batch.tenant()
            });
            if evidence.is_some() || !joins {
                self.hand_over(std::mem::take(&mut run)).await?;
                made.shrink(made.bytes());
            }
            if let Some(evidence) = evidence {
                self.keep_unreadable(evidence).await?;
            }
            match batch {
                Some(batch) => run.push(Piece { offset, batch }),
                None => self.done(offset),
            }
            if let Some(memory) = memory {
                made.absorb(memory);
            }
        }
        self.hand_over(run).await
    }

    /// What a message is about and whose it is, and its bytes; or why that cannot be said.
    fn read(&self, message: &Message) -> Result<(Signal, TenantId, Bytes), (Signal, String)> {
        let topic = &self.partition.topic;
        let Some(signal) = self.partition.signal(message.signal) else {
            let reason = match message.signal {
                Some(signal) => format!("nothing takes {signal} from the topic {topic}"),
                None => {
                    format!("the topic {topic} has several signals, and the message does not say which it is")
                }
            };
            return Err((Signal::Logs, reason));
        };
        let stats = &self.shared.stats[signal as usize];
        count(&stats.requests, 1);
        // A null says nothing.
        let payload = message.payload.clone().unwrap_or_default();
        count(&stats.wire_bytes, payload.len() as u64);
        match &message.tenant {
            Ok(tenant) => Ok((signal, tenant.clone(), payload)),
            Err(problem) => Err((signal, problem.clone())),
        }
    }

    fn decoded(&self, message: &Message, read: &Result<(Signal, TenantId, Bytes), (Signal, String)>) -> Read {
        let unreadable = |signal, reason| Unreadable::new(&self.partition, message, signal, reason);
        let (signal, tenant, payload) = match read {
            Ok((signal, tenant, payload)) => (*signal, tenant.clone(), payload.clone()),
            Err((signal, reason)) => return Read::Unreadable(unreadable(*signal, reason.clone())),
        };
        let stats = &self.shared.stats[signal as usize];
        let mut memory = self.shared.memory.reservation();
        if message.payload.is_none() {
            let batch = Batch::from_canonical(signal, tenant, payload, 0);
            return Read::Batch {
                batch,
                memory,
                left_out: None,
            };
        }
        let encoding = self.shared.encodings[signal as usize];
        match decode(encoding, signal, tenant, payload, &mut memory) {
            Ok(Decoded { batch, left_out }) => {
                // The others are handed over; the message that they stand in is kept.
                let left_out = left_out.map(|(items, problem)| {
                    count(&stats.failed_items, items);
                    unreadable(signal, format!("{items} items were left out: {problem}"))
                });
                let batch = headers::add(batch, &message.headers);
                memory.shrink(memory.bytes().saturating_sub(batch.payload().len()));
                Read::Batch {
                    batch,
                    memory,
                    left_out,
                }
            }
            Err(Refusal::OverMemory) => {
                count(&stats.requests_over_memory, 1);
                Read::OverMemory
            }
            Err(refusal) => {
                count_unreadable(stats, &refusal);
                Read::Unreadable(unreadable(signal, refusal.to_string()))
            }
        }
    }

    /// Hands over messages together, or by themselves if one of them cannot be taken.
    async fn hand_over(&self, run: Vec<Piece>) -> Result<(), End> {
        let Some((last, (whole, _memory))) = run.last().map(|piece| piece.offset).zip(self.join(&run)) else {
            return self.hand_over_each(run).await;
        };
        match self.send(&whole).await? {
            Sent::Refused { permanent: true, .. } if run.len() > 1 => return self.hand_over_each(run).await,
            sent => self.settle(whole, last, sent).await?,
        }
        self.done(last);
        Ok(())
    }

    async fn hand_over_each(&self, run: Vec<Piece>) -> Result<(), End> {
        for Piece { offset, batch } in run {
            let sent = self.send(&batch).await?;
            self.settle(batch, offset, sent).await?;
            self.done(offset);
        }
        Ok(())
    }

    /// All as one batch, and the memory that it takes; none where there is none for it.
    fn join(&self, run: &[Piece]) -> Option<(Batch, Reservation)> {
        let copied = if run.len() > 1 { run } else { &[] };
        let bytes = copied.iter().map(|piece| piece.batch.payload().len()).sum();
        let memory = self.shared.memory.try_reserve(bytes)?;
        let batches: Vec<Batch> = run.iter().map(|piece| piece.batch.clone()).collect();
        Some((Batch::concat(&batches)?, memory))
    }

    /// Keeps what was not taken, unless the partition is to stand still for it.
    async fn settle(&self, batch: Batch, offset: i64, sent: Sent) -> Result<(), End> {
        match sent {
            Sent::Taken(accepted) => self.keep_rejected(&batch, accepted).await,
            Sent::Refused {
                reason,
                attempts,
                permanent,
            } => {
                if !self.passes_over(permanent) {
                    return Err(self.stands_still(offset, &reason));
                }
                count(
                    &self.shared.stats[batch.signal() as usize].failed_items,
                    batch.items() as u64,
                );
                self.keep(batch, &reason, attempts).await
            }
        }
    }

    /// Tries until the batch is taken, refused for good, or, where it may be passed over, for as long as is said.
    async fn send(&self, batch: &Batch) -> Result<Sent, End> {
        let items = batch.items() as u64;
        if items == 0 {
            return Ok(Sent::Taken(Accepted::all()));
        }
        let stats = &self.shared.stats[batch.signal() as usize];
        count(&stats.payload_bytes, batch.payload().len() as u64);
        let begun = Instant::now();
        let mut attempt: u32 = 0;
        loop {
            let (reason, retry_after) = match self.shared.sink.send(batch.clone()).await {
                Ok(mut accepted) => {
                    accepted.rejected = accepted.rejected.min(items);
                    count(&stats.accepted_items, items - accepted.rejected);
                    count(&stats.failed_items, accepted.rejected);
                    return Ok(Sent::Taken(accepted));
                }
                Err(SendError::Permanent { reason }) => {
                    let attempts = attempt + 1;
                    return Ok(Sent::Refused {
                        reason,
                        attempts,
                        permanent: true,
                    });
                }
                Err(SendError::Retryable { reason, retry_after }) => (reason, retry_after),
            };
            count(&stats.refused_items, items);
            let retry = &self.shared.retry;
            let wait = retry.wait(attempt, retry_after, rand::random());
            attempt = attempt.saturating_add(1);
            let limit = retry.max_elapsed_time;
            let ends = !retry.enabled || (!limit.is_zero() && begun.elapsed() + wait > limit);
            if ends && self.passes_over(false) {
                return Ok(Sent::Refused {
                    reason,
                    attempts: attempt,
                    permanent: false,
                });
            }
            tracing::debug!(
                topic = self.partition.topic,
                partition = self.partition.number,
                reason,
                ?wait,
                "refused for now, trying again"
            );
            self.pause(wait).await?;
        }
    }

    /// Whether `message_marking` has messages passed over that were refused.
    fn passes_over(&self, permanent: bool) -> bool {
        let marking = &self.shared.config.message_marking;
        match permanent {
            true => !marking.after || marking.on_permanent_error.unwrap_or(marking.on_error),
            false => marking.after && marking.on_error,
        }
    }

    fn stands_still(&self, offset: i64, reason: &str) -> End {
        tracing::error!(
            topic = self.partition.topic,
            partition = self.partition.number,
            offset,
            reason,
            "a message cannot be taken, its partition stands still: correct what refuses it, or set message_marking.on_permanent_error"
        );
        End::Stopped
    }

    fn done(&self, offset: i64) {
        self.partition.done(offset);
        self.shared.changed.notify_one();
    }

    /// Keeps what the sink named of what it refused in a batch that it took.
    async fn keep_rejected(&self, batch: &Batch, accepted: Accepted) -> Result<(), End> {
        if accepted.rejected > 0 && accepted.refused.is_empty() {
            tracing::warn!(
                topic = self.partition.topic,
                items = accepted.rejected,
                of = batch.items(),
                reason = accepted.message,
                "items were refused for good, nobody says which"
            );
        }
        for refused in accepted.refused {
            self.keep(refused, &accepted.message, 1).await?;
        }
        Ok(())
    }

    /// Tells of a message that cannot be read and keeps it, unless the partition is to stand still for it.
    async fn keep_unreadable(&self, evidence: Unreadable) -> Result<(), End> {
        let Unreadable {
            offset,
            reason,
            batch,
        } = evidence;
        count(&self.shared.counts.poison, 1);
        if !self.passes_over(true) {
            return Err(self.stands_still(offset, &reason));
        }
        tracing::warn!(
            topic = self.partition.topic,
            partition = self.partition.number,
            offset,
            reason,
            "a message cannot be read, it is kept as a dead letter"
        );
        self.keep(batch, &reason, 1).await
    }

    /// Returns when the letter is durable.
    async fn keep(&self, batch: Batch, reason: &str, attempts: u32) -> Result<(), End> {
        while self
            .shared
            .letters
            .put(batch.clone(), reason, attempts)
            .await
            .is_err()
        {
            self.pause(LETTER_PATIENCE).await?;
        }
        Ok(())
    }

    async fn wait_for_memory(&self) -> Result<(), End> {
        count(&self.shared.counts.over_memory, 1);
        self.pause(MEMORY_PATIENCE).await
    }

    async fn pause(&self, wait: Duration) -> Result<(), End> {
        tokio::select! {
            () = self.shared.closing.cancelled() => Err(End::Closing),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }
}

fn count_unreadable(stats: &SignalStats, refusal: &Refusal) {
    match refusal {
        Refusal::TooLarge { .. } => count(&stats.requests_too_large, 1),
        _ => count(&stats.requests_invalid, 1),
    }
}
