//! One batch on its way: attempts, pauses between them, and what becomes of it in the end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use cupola_telemetry::Batch;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Core, Phase};
use crate::{Accepted, SendError};

/// Pause before a dead letter that could not be written is tried again.
const DEAD_LETTER_PAUSE: Duration = Duration::from_secs(5);

/// How the attempts ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Delivered(Accepted, u32),
    /// Refused for good, or tried for too long.
    GivenUp {
        reason: String,
        /// It may be taken another day.
        retryable: bool,
        attempts: u32,
    },
    /// The end came first.
    Interrupted,
}

/// What became of a batch.
#[derive(Debug)]
pub(super) enum Settled {
    Done(Result<Accepted, SendError>),
    Interrupted,
}

impl Core {
    /// Tries until the batch is taken, refused, too old, or the end comes.
    pub(super) async fn deliver(&self, batch: &Batch) -> Outcome {
        let mut phase = self.phase.subscribe();
        let delaying = self
            .limiter
            .as_ref()
            .and_then(|limiter| Some((limiter, limiter.delaying()?)));
        if let Some((limiter, scope)) = delaying {
            tokio::select! {
                biased;
                () = limiter.wait(batch, scope) => {}
                () = reached(&mut phase, self.last_phase()) => return Outcome::Interrupted,
            }
        }
        let mut first: Option<(Instant, SendError)> = None;
        let mut attempts: u32 = 0;
        loop {
            let closing = *phase.borrow() >= Phase::Closing;
            let turn = async {
                match closing {
                    true => None,
                    false => Some(self.health.turn().await),
                }
            };
            let turn = tokio::select! {
                biased;
                turn = turn => turn,
                () = reached(&mut phase, Phase::Closing) => match self.last_phase() {
                    Phase::Ended => continue,
                    _ => return Outcome::Interrupted,
                },
                () = self.expiry(first.as_ref()) => return given_up(first, attempts),
            };
            let started = first.as_ref().map_or_else(Instant::now, |(started, _)| *started);
            let error = match self.attempt(batch).await {
                Ok(accepted) => {
                    self.health.succeeded(self.waiting_items());
                    return Outcome::Delivered(accepted, attempts + 1);
                }
                Err(error) => error,
            };
            attempts = attempts.saturating_add(1);
            let retry_after = match &error {
                SendError::Retryable { retry_after, .. } => *retry_after,
                SendError::Permanent { .. } => None,
            };
            let (reason, retryable) = (error.reason(), error.is_retryable());
            self.health
                .failed(reason, retryable, retry_after, self.waiting_items());
            drop(turn);
            let wait = self.retry.wait(attempts - 1, retry_after, rand::random::<f64>());
            let limit = self.retry.max_elapsed_time;
            let too_late = !limit.is_zero() && started.elapsed().saturating_add(wait) > limit;
            first = Some((started, error));
            if !retryable || !self.retry.enabled || (too_late && !self.health.is_parked()) {
                return given_up(first, attempts);
            }
            if *phase.borrow() >= Phase::Closing {
                return Outcome::Interrupted;
            }
            let pause = async {
                match (retry_after, self.health.is_parked()) {
                    // Never earlier than asked for.
                    (Some(_), _) => tokio::time::sleep(wait).await,
                    // The turns have their own pace.
                    (None, true) => {}
                    (None, false) => self.health.pause(wait).await,
                }
            };
            tokio::select! {
                biased;
                () = pause => {}
                // One more attempt for what would be lost.
                () = reached(&mut phase, Phase::Closing) => if retry_after.is_some() || self.last_phase() != Phase::Ended {
                    return Outcome::Interrupted;
                },
            }
            self.counters.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Comes when a batch has been tried for too long.
    async fn expiry(&self, first: Option<&(Instant, SendError)>) {
        match first {
            Some((started, _)) if !self.retry.max_elapsed_time.is_zero() => {
                tokio::time::sleep_until(*started + self.retry.max_elapsed_time).await;
            }
            _ => std::future::pending().await,
        }
    }

    /// One attempt, in a task of its own: a sink that panics takes its batch with it and nothing else.
    async fn attempt(&self, batch: &Batch) -> Result<Accepted, SendError> {
        let (sink, batch) = (self.sink.clone(), batch.clone());
        let mut task = JoinSet::new();
        task.spawn(async move { sink.send(batch).await });
        let answered = match self.timeout.is_zero() {
            true => task.join_next().await,
            false => match tokio::time::timeout(self.timeout, task.join_next()).await {
                Ok(answered) => answered,
                Err(_) => {
                    let seconds = self.timeout.as_secs_f64();
                    return Err(SendError::retryable(format!("no answer within {seconds} s")));
                }
            },
        };
        match answered {
            Some(Ok(result)) => result,
            Some(Err(error)) if error.is_panic() => {
                tracing::error!(exporter = self.id, %error, "exporter panicked");
                Err(SendError::permanent(
                    "the exporter panicked, which is a fault in Cupola",
                ))
            }
            _ => Err(SendError::retryable("the attempt was cut short")),
        }
    }

    fn waiting_items(&self) -> u64 {
        self.queue.as_ref().map_or(0, |queue| queue.gate().held().items)
    }

    /// Counts the outcome, and puts away what was not taken. A sender that waits still has its batch, and is told.
    pub(super) async fn settle(&self, batch: Batch, outcome: Outcome, sender_waits: bool) -> Settled {
        let (signal, items) = (batch.signal(), batch.items() as u64);
        match outcome {
            Outcome::Interrupted => Settled::Interrupted,
            Outcome::Delivered(accepted, attempts) => {
                let rejected = accepted.rejected.min(items);
                let mut unnamed = rejected;
                for refused in &accepted.refused {
                    unnamed = unnamed.saturating_sub(refused.items() as u64);
                    if !self.put_away(refused.clone(), &accepted.message, attempts).await {
                        return Settled::Interrupted;
                    }
                }
                if unnamed > 0 {
                    self.counters.lost.add(signal, unnamed);
                    tracing::error!(
                        exporter = self.id,
                        items = unnamed,
                        reason = accepted.message,
                        "items refused by the destination, which does not say which"
                    );
                }
                self.counters.sent.add(signal, items - rejected);
                self.counters.send_failed.add(signal, rejected);
                Settled::Done(Ok(accepted))
            }
            Outcome::GivenUp {
                reason,
                retryable: true,
                ..
            } if sender_waits && self.dead_letters.is_none() => {
                self.counters.send_failed.add(signal, items);
                Settled::Done(Err(SendError::retryable(reason)))
            }
            Outcome::GivenUp {
                reason,
                retryable,
                attempts,
            } => {
                if !self.put_away(batch, &reason, attempts).await {
                    return Settled::Interrupted;
                }
                self.counters.send_failed.add(signal, items);
                let kept = self.dead_letters.is_some();
                Settled::Done(Err(match retryable && !kept {
                    true => SendError::retryable(reason),
                    // It is here now: not to be sent again.
                    false => SendError::permanent(reason),
                }))
            }
        }
    }

    /// To the dead letters, or into the count of what is lost; `false` if the end came first.
    pub(super) async fn put_away(&self, batch: Batch, reason: &str, attempts: u32) -> bool {
        let (signal, items) = (batch.signal(), batch.items() as u64);
        let Some(letters) = &self.dead_letters else {
            self.counters.lost.add(signal, items);
            tracing::error!(
                exporter = self.id,
                signal = signal.as_str(),
                items,
                reason,
                "items lost"
            );
            return true;
        };
        let mut phase = self.phase.subscribe();
        while letters.put(batch.clone(), reason, attempts).await.is_err() {
            tokio::select! {
                biased;
                () = reached(&mut phase, Phase::Closing) => return false,
                () = tokio::time::sleep(DEAD_LETTER_PAUSE) => {}
            }
        }
        tracing::warn!(
            exporter = self.id,
            signal = signal.as_str(),
            items,
            reason,
            "items put into the dead letters"
        );
        true
    }
}

fn given_up(first: Option<(Instant, SendError)>, attempts: u32) -> Outcome {
    let (reason, retryable) = match &first {
        Some((_, error)) => (error.reason().to_owned(), error.is_retryable()),
        None => (String::new(), true),
    };
    Outcome::GivenUp {
        reason,
        retryable,
        attempts,
    }
}

async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    if phase.wait_for(|phase| *phase >= wanted).await.is_err() {
        // The exporter is gone, and this with it.
        std::future::pending::<()>().await;
    }
}
