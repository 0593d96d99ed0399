//! A destination and those that take its place while it does not work.
//!
//! - A batch goes to the first of them that works. One that fails is tried again [`ATTEMPTS`] times in all, for
//!   [`ATTEMPTS_TIME`] at most, with pauses from a quarter of a second on; no answer within the time limit of an attempt is a
//!   failure. Then the batch goes to the next.
//! - One that has failed is left alone for [`Backend::fallback_interval`](super::Backend::fallback_interval). Then one batch tries
//!   it, once; if it is taken, all go there again. What went elsewhere meanwhile stays there.
//! - What the destination itself refuses for good goes to the next that takes it, rather than be lost, and does not count as a
//!   failure. If none does, it is refused. What a fallback refuses for good is tried again from the first on.
//! - If none works the batch is tried again later, by whoever keeps the queue.
//!
//! A batch may be at two destinations if the answer of the first came too late or got lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use cupola_export::failover::Failover;
use cupola_export::{Accepted, Component, Condition, Sample, SendError, Sink, Trouble};
use cupola_telemetry::Batch;
use tokio::time::Instant;

/// Attempts after which a destination counts as failing.
pub(super) const ATTEMPTS: u32 = 3;
/// No attempt begins later than this after the first.
pub(super) const ATTEMPTS_TIME: Duration = Duration::from_secs(5);
/// Longest pause after the first attempt; each is twice as long as the one before.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// The destination, its fallbacks, and how they fare.
pub(super) struct Levels {
    failover: Failover,
    levels: Vec<Arc<Level>>,
    /// Items that the destination refused for good and a fallback took.
    kept: AtomicU64,
}

/// What each level is made of: what it is, in a word, and what sends to it.
pub(super) type Built = (&'static str, Arc<dyn Component>);

/// What an attempt may take, and how soon another follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Of one attempt; zero for none.
    pub(super) timeout: Duration,
    /// After the first failure; not longer than [`PAUSE_MAX`].
    pub(super) pause: Duration,
    /// How long one that has failed is left alone.
    pub(super) interval: Duration,
}

impl Pace {
    /// Longest that a batch takes until it has been tried everywhere; zero for no bound.
    pub(super) fn longest(self, levels: usize) -> Duration {
        match self.timeout.is_zero() {
            true => Duration::ZERO,
            // A moment more, so that the answer of the last is not missed.
            false => (self.timeout + ATTEMPTS_TIME) * levels as u32 + Duration::from_secs(1),
        }
    }
}

impl Levels {
    /// The destination first.
    pub(super) fn new(built: Vec<Built>, pace: Pace) -> Levels {
        let last = built.len().saturating_sub(1);
        let level = |(index, (kind, sink))| {
            Arc::new(Level {
                kind,
                sink,
                pace,
                is_first: index == 0,
                // After the last the whole is tried again.
                attempts: if index == last { 1 } else { ATTEMPTS },
                retries: AtomicU64::new(0),
                condition: Mutex::default(),
            })
        };
        let levels: Vec<Arc<Level>> = built.into_iter().enumerate().map(level).collect();
        let components = levels.iter().map(|level| level.clone() as Arc<dyn Component>);
        Levels {
            failover: Failover::new(components.collect(), pace.interval),
            levels,
            kept: AtomicU64::new(0),
        }
    }

    /// The fallback that is in use, counted from one; zero for none.
    pub(super) fn fallback(&self) -> usize {
        self.failover.active().unwrap_or(0)
    }

    /// Gives a fallback what the destination will never take.
    async fn keep(&self, batch: &Batch) -> bool {
        for level in self.levels.iter().skip(1) {
            if level.send(batch.clone()).await.is_ok() {
                self.kept.fetch_add(batch.items() as u64, Ordering::Relaxed);
                return true;
            }
        }
        false
    }

    /// Of the items that were refused, those that no fallback takes either.
    async fn keep_refused(&self, mut accepted: Accepted) -> Accepted {
        for refused in std::mem::take(&mut accepted.refused) {
            match self.keep(&refused).await {
                true => accepted.rejected = accepted.rejected.saturating_sub(refused.items() as u64),
                false => accepted.refused.push(refused),
            }
        }
        accepted
    }
}

#[async_trait]
impl Sink for Levels {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        match self.failover.send(batch.clone()).await {
            Ok(accepted) => Ok(self.keep_refused(accepted).await),
            Err(error) if !error.is_retryable() && self.keep(&batch).await => Ok(Accepted::all()),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Component for Levels {
    async fn shutdown(&self) {
        for level in &self.levels {
            level.sink.shutdown().await;
        }
    }

    fn is_healthy(&self) -> bool {
        self.failover.is_healthy()
    }

    /// What does not work is the destination; what was said last may be of a fallback.
    fn condition(&self) -> Condition {
        let mut levels = self.levels.iter();
        let first = levels.next().map(|level| level.condition()).unwrap_or_default();
        levels.fold(first, |condition, level| {
            let fallback = Condition {
                failing: None,
                recovered: None,
                ..level.condition()
            };
            condition.or(fallback)
        })
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        self.failover.collect(samples);
        let kept = self.kept.load(Ordering::Relaxed);
        let help = "Items that the destination refused for good and a fallback took.";
        samples.push(Sample::count("cupola_sdk_fallback_kept_items", help, kept));
        for (index, level) in self.levels.iter().enumerate() {
            let retries = level.retries.load(Ordering::Relaxed);
            let sample = Sample::count("cupola_exporter_retries", "Attempts after the first.", retries);
            samples.push(sample.with("level", index.to_string()));
            level.sink.collect(samples);
        }
    }
}

/// One destination with the attempts that are made before it counts as failing.
struct Level {
    kind: &'static str,
    sink: Arc<dyn Component>,
    pace: Pace,
    is_first: bool,
    attempts: u32,
    retries: AtomicU64,
    condition: Mutex<Condition>,
}

impl Level {
    async fn attempt(&self, batch: Batch) -> Result<Accepted, SendError> {
        let sending = self.sink.send(batch);
        if self.pace.timeout.is_zero() {
            return sending.await;
        }
        let within = tokio::time::timeout(self.pace.timeout, sending).await;
        within.unwrap_or_else(|_| {
            let seconds = self.pace.timeout.as_secs_f64();
            Err(SendError::retryable(format!("no answer within {seconds} s")))
        })
    }

    /// Notes how it fares; `failed` if another is to take its place.
    fn note(&self, error: Option<&SendError>, failed: bool) {
        let mut condition = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            None => {
                if condition.failing.take().is_some() {
                    condition.recovered = Some(SystemTime::now());
                }
            }
            Some(error) => {
                let reason = format!("{}: {}", self.kind, error.reason());
                let trouble = Trouble::new(&reason, error.is_retryable());
                if failed {
                    let since = condition.failing.as_ref().and_then(|failing| failing.since);
                    condition.failing = Some(Trouble {
                        since: since.or(trouble.since),
                        ..trouble.clone()
                    });
                }
                condition.last_error = Some(trouble);
            }
        }
    }

    fn is_failing(&self) -> bool {
        let condition = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        condition.failing.is_some()
    }
}

#[async_trait]
impl Sink for Level {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let begun = Instant::now();
        let attempts = if self.is_failing() { 1 } else { self.attempts };
        let mut pause = self.pace.pause.min(PAUSE_MAX);
        let mut attempt = 1;
        loop {
            let error = match self.attempt(batch.clone()).await {
                Ok(accepted) => {
                    self.note(None, false);
                    return Ok(accepted);
                }
                Err(error) => error,
            };
            let wait = match &error {
                SendError::Permanent { .. } if self.is_first => {
                    // It is there.
                    self.note(None, false);
                    self.note(Some(&error), false);
                    return Err(error);
                }
                SendError::Permanent { reason } => {
                    self.note(Some(&error), true);
                    return Err(SendError::retryable(reason.clone()));
                }
                SendError::Retryable { retry_after, .. } => retry_after.unwrap_or_default().max(pause),
            };
            if attempt >= attempts || begun.elapsed().saturating_add(wait) > ATTEMPTS_TIME {
                self.note(Some(&error), true);
                return Err(error);
            }
            self.note(Some(&error), false);
            tokio::time::sleep(wait).await;
            self.retries.fetch_add(1, Ordering::Relaxed);
            attempt += 1;
            pause *= 2;
        }
    }
}

#[async_trait]
impl Component for Level {
    fn is_healthy(&self) -> bool {
        self.sink.is_healthy()
    }

    fn condition(&self) -> Condition {
        let condition = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        condition.clone().or(self.sink.condition())
    }
}

#[cfg(test)]
mod tests;
