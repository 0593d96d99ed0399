//! Several destinations of which the first that works is used.
//!
//! A batch goes to the highest level that is healthy. A level that refuses it retryably, or says that it is not healthy (an
//! exporter whose queue is full, or that has been failing for long), is left alone for `retry_interval`; then one batch tries
//! it, and if that is taken all go there again. A permanent refusal is the answer: another destination would be given what
//! is wrong with the batch. With every level down each is tried, rather than refusing unasked.
//!
//! Acknowledges what the level acknowledged that took the batch. Does not end its levels: they are components themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cupola_telemetry::Batch;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{Accepted, Component, Condition, Sample, SendError, Sink};

/// The levels and how they fare.
pub struct Failover {
    levels: Vec<Level>,
    retry_interval: Duration,
}

struct Level {
    sink: Arc<dyn Component>,
    state: Mutex<LevelState>,
    /// Items it took.
    taken: AtomicU64,
    failures: AtomicU64,
}

#[derive(Default)]
struct LevelState {
    /// When it was last seen to fail.
    failed: Option<Instant>,
    /// A batch is trying whether it works again.
    probing: bool,
}

/// Ends a probe however it ends.
struct Probe<'l>(&'l Level);

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.0.state.lock().probing = false;
    }
}

impl Failover {
    /// Over `levels`, highest priority first. One that has failed is left alone for `retry_interval`.
    pub fn new(levels: Vec<Arc<dyn Component>>, retry_interval: Duration) -> Failover {
        let levels = levels.into_iter().map(|sink| Level {
            sink,
            state: Mutex::default(),
            taken: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        });
        Failover {
            levels: levels.collect(),
            retry_interval,
        }
    }

    /// The level that batches go to now; `None` if none works.
    pub fn active(&self) -> Option<usize> {
        self.levels
            .iter()
            .position(|level| level.state.lock().failed.is_none())
    }
}

impl Level {
    /// Whether a batch may be given to it now; `Err` if not, and a probe if it is to find out.
    fn offer(&self, index: usize, retry_interval: Duration) -> Result<Option<Probe<'_>>, ()> {
        let mut state = self.state.lock();
        match state.failed {
            None if self.sink.is_healthy() => Ok(None),
            None => {
                tracing::warn!(level = index, "failover level is not healthy, leaving it alone");
                state.failed = Some(Instant::now());
                Err(())
            }
            Some(failed) if failed.elapsed() >= retry_interval && !state.probing => {
                state.probing = true;
                Ok(Some(Probe(self)))
            }
            Some(_) => Err(()),
        }
    }

    async fn send(&self, index: usize, batch: Batch) -> Result<Accepted, SendError> {
        let items = batch.items() as u64;
        let sent = self.sink.send(batch).await;
        let mut state = self.state.lock();
        match &sent {
            Ok(_) => {
                self.taken.fetch_add(items, Ordering::Relaxed);
                if state.failed.take().is_some() {
                    tracing::info!(level = index, "failover level works again");
                }
            }
            Err(error) if error.is_retryable() => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                if state.failed.replace(Instant::now()).is_none() {
                    tracing::warn!(level = index, reason = error.reason(), "failover level failing");
                }
            }
            Err(_) => {}
        }
        sent
    }
}

#[async_trait]
impl Sink for Failover {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let mut skipped = Vec::new();
        let mut refusal: Option<SendError> = None;
        for (index, level) in self.levels.iter().enumerate() {
            let Ok(_probe) = level.offer(index, self.retry_interval) else {
                skipped.push(index);
                continue;
            };
            match level.send(index, batch.clone()).await {
                Err(error) if error.is_retryable() => {
                    refusal.get_or_insert(error);
                }
                decided => return decided,
            }
        }
        // Nothing works as far as is known: what is known may be old.
        for index in skipped {
            match self.levels[index].send(index, batch.clone()).await {
                Err(error) if error.is_retryable() => {
                    refusal.get_or_insert(error);
                }
                decided => return decided,
            }
        }
        Err(refusal.unwrap_or_else(|| SendError::retryable("no failover level works")))
    }
}

#[async_trait]
impl Component for Failover {
    fn is_healthy(&self) -> bool {
        self.levels.iter().any(|level| level.sink.is_healthy())
    }

    /// That of the first level: batches that go elsewhere are safe, but not where they belong.
    fn condition(&self) -> Condition {
        let first = self.levels.first();
        first.map(|level| level.sink.condition()).unwrap_or_default()
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        for (index, level) in self.levels.iter().enumerate() {
            let failing = level.state.lock().failed.is_some();
            let label = index.to_string();
            let up = if failing { 0.0 } else { 1.0 };
            let help = "1 while batches may go to this level of a failover.";
            samples.push(Sample::level("cupola_failover_level_up", help, up).with("level", label.clone()));
            let taken = level.taken.load(Ordering::Relaxed);
            let help = "Items this level of a failover took.";
            samples
                .push(Sample::count("cupola_failover_taken_items", help, taken).with("level", label.clone()));
            let failures = level.failures.load(Ordering::Relaxed);
            let help = "Batches this level of a failover refused retryably.";
            samples.push(Sample::count("cupola_failover_failures", help, failures).with("level", label));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use bytes::Bytes;
    use cupola_telemetry::memory::MemoryBudget;
    use cupola_telemetry::{Signal, TenantId};

    use super::*;
    use crate::{DeliveryConfig, Exporter};

    /// Answers as it is told; counts.
    #[derive(Default)]
    struct Told {
        answer: Mutex<Option<SendError>>,
        sick: Mutex<bool>,
        taken: Mutex<VecDeque<usize>>,
        asked: AtomicU64,
    }

    #[async_trait]
    impl Sink for Told {
        async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            match &*self.answer.lock() {
                Some(error) => Err(error.clone()),
                None => {
                    self.taken.lock().push_back(batch.items());
                    Ok(Accepted::all())
                }
            }
        }
    }

    impl Component for Told {
        fn is_healthy(&self) -> bool {
            !*self.sick.lock()
        }
    }

    fn batch(items: usize) -> Batch {
        let tenant = TenantId::default_tenant();
        Batch::from_canonical(Signal::Logs, tenant, Bytes::from_static(b"payload"), items)
    }

    fn failover() -> (Failover, Vec<Arc<Told>>) {
        let sinks: Vec<Arc<Told>> = (0..3).map(|_| Arc::default()).collect();
        let levels = sinks
            .iter()
            .map(|sink| sink.clone() as Arc<dyn Component>)
            .collect();
        (Failover::new(levels, Duration::from_secs(60)), sinks)
    }

    fn taken(sinks: &[Arc<Told>]) -> Vec<usize> {
        sinks.iter().map(|sink| sink.taken.lock().len()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn goes_down_the_levels_and_back_by_itself() {
        let (failover, sinks) = failover();
        failover.send(batch(1)).await.unwrap();
        *sinks[0].answer.lock() = Some(SendError::retryable("down"));
        for _ in 0..5 {
            failover.send(batch(1)).await.unwrap();
        }
        assert_eq!((taken(&sinks), failover.active()), (vec![1, 5, 0], Some(1)));
        // Left alone meanwhile.
        assert_eq!(sinks[0].asked.load(Ordering::Relaxed), 2);
        tokio::time::advance(Duration::from_secs(61)).await;
        // Still down: asked once, the batch goes where it went before.
        failover.send(batch(1)).await.unwrap();
        failover.send(batch(1)).await.unwrap();
        assert_eq!(sinks[0].asked.load(Ordering::Relaxed), 3);
        *sinks[0].answer.lock() = None;
        tokio::time::advance(Duration::from_secs(61)).await;
        for _ in 0..3 {
            failover.send(batch(1)).await.unwrap();
        }
        assert_eq!((taken(&sinks), failover.active()), (vec![4, 7, 0], Some(0)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_permanent_refusal_is_the_answer() {
        let (failover, sinks) = failover();
        *sinks[0].answer.lock() = Some(SendError::permanent("no"));
        assert_eq!(failover.send(batch(1)).await, Err(SendError::permanent("no")));
        assert_eq!((taken(&sinks), failover.active()), (vec![0, 0, 0], Some(0)));
    }

    #[tokio::test(start_paused = true)]
    async fn with_all_down_each_is_tried_and_the_highest_answers() {
        let (failover, sinks) = failover();
        for (index, sink) in sinks.iter().enumerate() {
            *sink.answer.lock() = Some(SendError::retryable(format!("down {index}")));
        }
        assert_eq!(failover.send(batch(1)).await, Err(SendError::retryable("down 0")));
        *sinks[2].answer.lock() = None;
        failover.send(batch(1)).await.unwrap();
        assert_eq!(taken(&sinks), [0, 0, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_says_it_is_not_healthy_is_not_asked() {
        let (failover, sinks) = failover();
        *sinks[0].sick.lock() = true;
        failover.send(batch(1)).await.unwrap();
        assert_eq!(taken(&sinks), [0, 1, 0]);
        *sinks[0].sick.lock() = false;
        tokio::time::advance(Duration::from_secs(61)).await;
        failover.send(batch(1)).await.unwrap();
        assert_eq!(taken(&sinks), [1, 1, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn works_over_exporters_with_queues_of_their_own() {
        let sinks: Vec<Arc<Told>> = (0..2).map(|_| Arc::default()).collect();
        *sinks[0].answer.lock() = Some(SendError::retryable("down"));
        let mut levels: Vec<Arc<dyn Component>> = Vec::new();
        for (index, sink) in sinks.iter().enumerate() {
            let mut config = DeliveryConfig::default();
            config.sending_queue.queue_size.0 = [20, 1000][index];
            config.retry_on_failure.max_elapsed_time = Duration::ZERO;
            let budget = MemoryBudget::unlimited();
            let exporter = Exporter::start("told", config, sink.clone(), None, None, budget).await;
            levels.push(Arc::new(exporter.unwrap()));
        }
        let failover = Failover::new(levels.clone(), Duration::from_secs(600));
        for _ in 0..50 {
            failover.send(batch(1)).await.unwrap();
        }
        // What the first had taken into its queue stays its own.
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(taken(&sinks), [0, 30]);
        *sinks[0].answer.lock() = None;
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(taken(&sinks), [20, 30]);
        failover.send(batch(1)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(taken(&sinks), [21, 30]);
        // Failing for long counts as not healthy, with room in the queue.
        *sinks[0].answer.lock() = Some(SendError::retryable("down"));
        for _ in 0..4 {
            failover.send(batch(1)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(!levels[0].is_healthy());
        failover.send(batch(1)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(taken(&sinks), [21, 31]);
    }
}
