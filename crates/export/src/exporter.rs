//! An exporter as a pipeline sees it: queue, retry, timeout and dead letters around a sink that only sends.
//!
//! Acknowledges a batch when it is queued: with storage that is durable; without, a crash loses what is in the queue. With
//! `wait_for_result`, or without a queue, it acknowledges when the sink has. Every acknowledged item ends as sent, as a dead
//! letter, or in a counter that says how it was lost.

mod attempts;
mod consuming;
mod gathering;
mod health;
mod metrics;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use cupola_telemetry::Batch;
use cupola_telemetry::memory::MemoryBudget;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use attempts::{Outcome, Settled};
use gathering::Gathering;
pub use gathering::{BatchSettings, BatchSizer, PartitionSettings};
use health::Health;
use metrics::ExporterCounters;

use crate::dead_letter::{DeadLetterConfig, DeadLetterError, DeadLetters};
use crate::fs::{Disk, FileSystem};
use crate::queue::{Load, QueueConfig, SendingQueue, SettingError, WhenFull};
use crate::rate_limit::{RateLimitConfig, RateLimiter, RuntimeClock};
use crate::retry::{RetryConfig, time_span};
use crate::spool::{SpoolError, blocking};
use crate::{Accepted, Component, Condition, Sample, SendError, Sink, Trouble};

/// What every exporter can be told beside what is its own. The first three keys are the Collector's.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeliveryConfig {
    pub sending_queue: QueueConfig,
    pub retry_on_failure: RetryConfig,
    /// Of one attempt; zero means none.
    #[serde(deserialize_with = "time_span")]
    pub timeout: Duration,
    pub dead_letters: DeadLetterConfig,
    pub rate_limit: Option<RateLimitConfig>,
}

impl Default for DeliveryConfig {
    fn default() -> DeliveryConfig {
        DeliveryConfig {
            sending_queue: QueueConfig::default(),
            retry_on_failure: RetryConfig::default(),
            timeout: Duration::from_secs(5),
            dead_letters: DeadLetterConfig::default(),
            rate_limit: None,
        }
    }
}

impl DeliveryConfig {
    pub fn validate(&self) -> Result<(), SettingError> {
        self.sending_queue.validate()?;
        self.retry_on_failure.validate()?;
        self.dead_letters.validate()?;
        self.rate_limit.as_ref().map_or(Ok(()), RateLimitConfig::validate)
    }
}

/// Why an exporter could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error("the queue of exporter {exporter} cannot be used")]
    Queue { exporter: String, source: SpoolError },
    #[error("the dead letters of exporter {exporter} cannot be used")]
    DeadLetters {
        exporter: String,
        source: DeadLetterError,
    },
}

/// What a queue in memory has to be delivered at an end; then the rest becomes dead letters, or is lost and counted.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(30);

/// What is being sent may take when another exporter is to take over.
const RETIRE_LIMIT: Duration = Duration::from_secs(5);

/// How long a queue may take to take one batch over.
const TAKE_OVER_LIMIT: Duration = Duration::from_secs(1);

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Running,
    /// What can be sent at once still is.
    Closing,
    /// Nothing is waited for any more.
    Ended,
}

/// A sink with everything around it. Dropping it stops at once; [`Component::shutdown`] ends well.
pub struct Exporter {
    core: Arc<Core>,
    consumers: Mutex<JoinSet<()>>,
}

struct Core {
    id: String,
    retry: RetryConfig,
    timeout: Duration,
    sink: Arc<dyn Component>,
    /// Without one, batches are sent while their senders wait.
    queue: Option<SendingQueue>,
    /// Small batches become larger ones before they are sent.
    gathering: Option<Gathering>,
    dead_letters: Option<DeadLetters>,
    limiter: Option<RateLimiter>,
    health: Health,
    phase: watch::Sender<Phase>,
    counters: ExporterCounters,
    drops_while_failing: bool,
}

impl Exporter {
    /// Starts an exporter on the current runtime. `id` is the component's, as in `otlp/tempo`. `storage` is the directory of
    /// its durable queue, of it alone; without one the queue is in memory. `dead_letters` is the directory for what cannot
    /// be delivered, of it alone; without one that is lost and counted. `budget` bounds the memory for payloads.
    pub async fn start(
        id: impl Into<String>,
        config: DeliveryConfig,
        sink: Arc<dyn Component>,
        storage: Option<PathBuf>,
        dead_letters: Option<PathBuf>,
        budget: MemoryBudget,
    ) -> Result<Exporter, ExporterError> {
        Exporter::start_on(
            Arc::new(Disk),
            id.into(),
            config,
            sink,
            storage,
            dead_letters,
            budget,
        )
        .await
    }

    pub(crate) async fn start_on(
        file_system: Arc<dyn FileSystem>,
        id: String,
        config: DeliveryConfig,
        sink: Arc<dyn Component>,
        storage: Option<PathBuf>,
        dead_letters: Option<PathBuf>,
        budget: MemoryBudget,
    ) -> Result<Exporter, ExporterError> {
        config.validate()?;
        if let Some(name) = config
            .sending_queue
            .storage
            .as_ref()
            .filter(|_| storage.is_none())
        {
            let problem = format!("`{name}` gives no directory, and the queue would not survive a crash");
            return Err(SettingError::new("sending_queue.storage", problem).into());
        }
        let dead_letters = match dead_letters {
            None => None,
            Some(directory) => Some(open_letters(directory, &id, &config, file_system.clone()).await?),
        };
        let consumers_wanted = config.sending_queue.num_consumers;
        let gathering = config.sending_queue.batch.clone().map(Gathering::new);
        let drops_while_failing = config.sending_queue.when_full == WhenFull::DropWhileFailing;
        let queue = match config.sending_queue.enabled {
            false => None,
            true => {
                let queue = SendingQueue::start(config.sending_queue, storage, file_system, budget).await;
                Some(queue.map_err(|source| ExporterError::Queue {
                    exporter: id.clone(),
                    source,
                })?)
            }
        };
        let limiter = config
            .rate_limit
            .map(|config| RateLimiter::new(config, Box::new(RuntimeClock::default())));
        let core = Arc::new(Core {
            health: Health::new(&id, config.retry_on_failure.clone()),
            id,
            retry: config.retry_on_failure,
            timeout: config.timeout,
            sink,
            queue,
            gathering,
            dead_letters,
            limiter,
            phase: watch::Sender::new(Phase::Running),
            counters: ExporterCounters::default(),
            drops_while_failing,
        });
        let mut consumers = JoinSet::new();
        if core.queue.is_some() {
            for _ in 0..consumers_wanted {
                match core.gathering.is_some() {
                    true => consumers.spawn(core.clone().consume_gathered()),
                    false => consumers.spawn(core.clone().consume()),
                };
            }
        }
        Ok(Exporter {
            core,
            consumers: Mutex::new(consumers),
        })
    }

    /// Held by the queue, waiting or being sent.
    pub fn queued(&self) -> Load {
        self.core
            .queue
            .as_ref()
            .map(|queue| queue.gate().held())
            .unwrap_or_default()
    }

    /// Where its queue is now, for [`has_passed`](Self::has_passed).
    pub fn mark(&self) -> u64 {
        self.core.queue.as_ref().map_or(0, SendingQueue::mark)
    }

    /// Whether everything that had been taken when that [`mark`](Self::mark) was set has been delivered or put elsewhere,
    /// whatever has come since.
    pub fn has_passed(&self, mark: u64) -> bool {
        self.core
            .queue
            .as_ref()
            .is_none_or(|queue| queue.has_passed(mark))
    }

    /// Of that, being sent.
    pub fn sending(&self) -> Load {
        self.core
            .queue
            .as_ref()
            .map(SendingQueue::busy)
            .unwrap_or_default()
    }
}

#[cfg(test)]
impl Exporter {
    /// Ends as the process would.
    pub(crate) fn kill(&self) {
        self.core.phase.send_replace(Phase::Ended);
        self.consumers.lock().abort_all();
        if let Some(queue) = &self.core.queue {
            queue.kill();
        }
    }
}

async fn open_letters(
    directory: PathBuf,
    id: &str,
    config: &DeliveryConfig,
    file_system: Arc<dyn FileSystem>,
) -> Result<DeadLetters, ExporterError> {
    let (exporter, letters) = (id.to_owned(), config.dead_letters.clone());
    let path = directory.clone();
    let opened = blocking(move || DeadLetters::open(directory, &exporter, &letters, file_system)).await;
    let opened = opened.unwrap_or_else(|source| {
        Err(DeadLetterError::Io {
            action: "open",
            path,
            source,
        })
    });
    opened.map_err(|source| ExporterError::DeadLetters {
        exporter: id.to_owned(),
        source,
    })
}

impl Core {
    /// When to stop sending: what is durable is found at the next start; what is not is sent while there is time.
    fn last_phase(&self) -> Phase {
        match &self.queue {
            Some(queue) if !queue.is_durable() => Phase::Ended,
            _ => Phase::Closing,
        }
    }

    /// Delivers one batch or puts it elsewhere; `None` if there was no time for either.
    async fn handle(&self, batch: Batch, sender_waits: bool) -> Option<Result<Accepted, SendError>> {
        let outcome = self.deliver(&batch).await;
        match self.settle(batch, outcome, sender_waits).await {
            Settled::Done(result) => Some(result),
            Settled::Interrupted => None,
        }
    }

    /// What a queue has no room for is dropped, and counted, if its destination fails.
    async fn queue_or_drop(&self, queue: &SendingQueue, batch: Batch) -> Result<Accepted, SendError> {
        let items = batch.items() as u64;
        let refusal = match queue.send(batch).await {
            Err(error) if error.is_retryable() => error,
            answer => return answer,
        };
        if self.health.is_up() || *self.phase.borrow() != Phase::Running {
            return Err(refusal);
        }
        queue.counters.dropped.fetch_add(items, Ordering::Relaxed);
        Ok(Accepted::all())
    }

    /// Sends a batch while its sender waits.
    async fn send_now(&self, batch: Batch) -> Result<Accepted, SendError> {
        let closing = || SendError::retryable("the exporter is shutting down");
        if *self.phase.borrow() != Phase::Running {
            return Err(closing());
        }
        match self.handle(batch, true).await {
            Some(result) => result,
            None => Err(closing()),
        }
    }

    /// What is left of a queue in memory at the end.
    async fn leave(&self, queue: &SendingQueue) {
        for (batch, waiter) in queue.end().await {
            let reason = "the exporter was shut down before it was delivered".to_owned();
            if let Some(waiter) = waiter {
                // Its sender still has it.
                let _ = waiter.send(Err(SendError::retryable(reason)));
                continue;
            }
            let outcome = Outcome::GivenUp {
                reason,
                retryable: true,
                attempts: 0,
            };
            let signal = batch.signal();
            let items = batch.items() as u64;
            if let Settled::Interrupted = self.settle(batch, outcome, false).await {
                self.counters.lost.add(signal, items);
                tracing::error!(exporter = self.id, items, "items lost at shutdown");
            }
        }
    }
}

#[async_trait]
impl Sink for Exporter {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        if batch.items() == 0 {
            return Ok(Accepted::all());
        }
        let core = &self.core;
        let refusing = core
            .limiter
            .as_ref()
            .and_then(|limiter| Some((limiter, limiter.refusing()?)));
        if let Some((limiter, scope)) = refusing {
            limiter.admit(&batch, scope).inspect_err(|_| {
                core.counters.limited.add(batch.signal(), batch.items() as u64);
            })?;
        }
        match &core.queue {
            Some(queue) if core.drops_while_failing => core.queue_or_drop(queue, batch).await,
            Some(queue) => queue.send(batch).await,
            None => core.send_now(batch).await,
        }
    }
}

#[async_trait]
impl Component for Exporter {
    /// A durable queue keeps what is not being sent; one in memory is emptied within [`SHUTDOWN_LIMIT`].
    async fn shutdown(&self) {
        let core = &self.core;
        core.phase.send_replace(Phase::Closing);
        if let Some(queue) = &core.queue {
            queue.close();
        }
        let mut consumers = std::mem::take(&mut *self.consumers.lock());
        let all = async { while consumers.join_next().await.is_some() {} };
        let finished = tokio::time::timeout(SHUTDOWN_LIMIT, all).await;
        core.phase.send_replace(Phase::Ended);
        if finished.is_err() {
            // Attempts end by themselves at their timeout, which may be far.
            consumers.shutdown().await;
        }
        core.give_back_gathered().await;
        if let Some(queue) = &core.queue {
            core.leave(queue).await;
        }
        core.sink.shutdown().await;
    }

    /// What is being sent gets a moment to end; what waits is handed back, and what is on the disk stays there.
    async fn retire(&self) -> Vec<Batch> {
        let core = &self.core;
        core.phase.send_replace(Phase::Ended);
        if let Some(queue) = &core.queue {
            queue.close();
        }
        let mut consumers = std::mem::take(&mut *self.consumers.lock());
        let all = async { while consumers.join_next().await.is_some() {} };
        if tokio::time::timeout(RETIRE_LIMIT, all).await.is_err() {
            consumers.shutdown().await;
        }
        core.give_back_gathered().await;
        let mut left = Vec::new();
        if let Some(queue) = &core.queue {
            for (batch, waiter) in queue.end().await {
                match waiter {
                    // Its sender still has it.
                    Some(waiter) => {
                        let _ = waiter.send(Err(SendError::retryable("the exporter is being started anew")));
                    }
                    None => left.push(batch),
                }
            }
        }
        core.sink.shutdown().await;
        left
    }

    /// Into the queue, or else to the dead letters; whoever waits for this is not kept waiting for a destination.
    async fn take_over(&self, batch: Batch) {
        let core = &self.core;
        let queued = async {
            match &core.queue {
                Some(queue) => queue.adopt(batch.clone()).await.is_ok(),
                None => false,
            }
        };
        if !matches!(tokio::time::timeout(TAKE_OVER_LIMIT, queued).await, Ok(true)) {
            let reason = "the exporter was started anew, and its queue has no room for what the old one had";
            core.put_away(batch, reason, 0).await;
        }
    }

    /// Room in the queue, and not failing for long.
    fn is_healthy(&self) -> bool {
        let core = &self.core;
        let full = core.queue.as_ref().is_some_and(|queue| queue.gate().is_full());
        !full && !core.health.is_lost() && core.sink.is_healthy()
    }

    fn condition(&self) -> Condition {
        let core = &self.core;
        let gate = core.queue.as_ref().map(SendingQueue::gate);
        let full = gate.filter(|gate| gate.is_full()).map(|gate| Trouble {
            reason: format!(
                "the queue is full: it holds {} of {}",
                gate.size(),
                gate.capacity()
            ),
            since: None,
            recoverable: true,
        });
        let queue = Condition {
            failing: full,
            ..Condition::default()
        };
        core.health.condition().or(queue).or(core.sink.condition())
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        metrics::collect(&self.core, samples);
        self.core.sink.collect(samples);
    }
}
