//! Sends what has been aggregated, on a timer and at the end.
//!
//! What could not be sent now is kept: a cumulative value simply comes with the next flush, a delta is merged back
//! into the window that is open, or, if some of several pipelines have taken it, waits for the others alone. What is
//! refused for good is counted as lost. Between two flushes everything is in memory: a crash loses it, which for
//! cumulative series looks like the restart that it is.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cupola_export::{Sample, SendError};
use cupola_telemetry::Batch;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::aggregate::{Aggregate, Portion, Temporality};
use super::outputs::{Output, send_each};
use crate::ottl::Env;

/// Deltas that wait for one of several pipelines; beyond it the oldest are lost.
const PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How often the last flush is tried.
const FINAL_ATTEMPTS: u32 = 5;
/// Between two attempts at the last flush.
const FINAL_WAIT: Duration = Duration::from_secs(1);
/// How long the end may take.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(30);

/// Sends an [`Aggregate`] to the pipelines behind a connector.
pub(super) struct Flusher {
    aggregate: Mutex<Aggregate>,
    env: Arc<dyn Env + Send + Sync>,
    /// Also the lock that keeps two flushes apart.
    outputs: tokio::sync::Mutex<Vec<Pending>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    stop: CancellationToken,
    closed: AtomicBool,
    /// Points of deltas that a flush has taken and not yet settled.
    in_flight: AtomicU64,
    stats: FlusherStats,
}

#[derive(Default)]
struct FlusherStats {
    /// Points taken by a pipeline.
    sent: AtomicU64,
    /// Points refused for good, or given up.
    lost: AtomicU64,
    /// Flushes after which something was kept for the next.
    kept: AtomicU64,
}

struct Pending {
    output: Output,
    batches: VecDeque<Batch>,
    bytes: usize,
}

impl Flusher {
    pub(super) fn new(
        aggregate: Aggregate,
        outputs: Vec<Output>,
        env: Arc<dyn Env + Send + Sync>,
    ) -> Arc<Self> {
        let pending = |output| Pending {
            output,
            batches: VecDeque::new(),
            bytes: 0,
        };
        Arc::new(Self {
            aggregate: Mutex::new(aggregate),
            env,
            outputs: tokio::sync::Mutex::new(outputs.into_iter().map(pending).collect()),
            tasks: Mutex::new(Vec::new()),
            stop: CancellationToken::new(),
            closed: AtomicBool::new(false),
            in_flight: AtomicU64::new(0),
            stats: FlusherStats::default(),
        })
    }

    /// Runs `work` every `interval` until the end, on the current runtime.
    pub(super) fn every<W>(self: &Arc<Self>, interval: Duration, work: impl Fn() -> W + Send + 'static)
    where
        W: Future<Output = ()> + Send,
    {
        let stop = self.stop.clone();
        let task = tokio::spawn(async move {
            // The first time after one interval, and never twice in a row to catch up.
            while stop
                .run_until_cancelled(tokio::time::sleep(interval))
                .await
                .is_some()
            {
                work().await;
            }
        });
        self.tasks.lock().push(task);
    }

    /// Ends the tasks where they stand, for a connector that is dropped without an end.
    pub(super) fn abandon(&self) {
        self.stop.cancel();
    }

    pub(super) fn now(&self) -> u64 {
        self.env.now_unix_nano()
    }

    /// Works on what is being aggregated; refuses after the end has begun.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut Aggregate) -> R) -> Result<R, SendError> {
        let mut aggregate = self.aggregate.lock();
        // Asked for under the lock, so that the last flush sees everything that was accepted.
        if self.closed.load(Ordering::Relaxed) {
            return Err(SendError::retryable("the connector is shutting down"));
        }
        Ok(work(&mut aggregate))
    }

    /// Sends everything. Whether it has all been taken, or refused for good.
    pub(super) async fn flush(&self) -> bool {
        let mut outputs = self.outputs.lock().await;
        let mut all = true;
        for output in outputs.iter_mut() {
            all &= self.send_pending(output).await;
        }
        let (temporality, (round, portions)) = {
            let mut aggregate = self.aggregate.lock();
            (aggregate.temporality(), aggregate.take(self.env.now_unix_nano()))
        };
        let mut taken = true;
        if temporality == Temporality::Delta {
            let items: usize = portions.iter().map(|portion| portion.batch.items()).sum();
            self.in_flight.store(items as u64, Ordering::Relaxed);
        }
        for portion in portions {
            let items = portion.batch.items() as u64;
            taken &= self.send(&mut outputs, portion, temporality).await;
            if temporality == Temporality::Delta {
                self.in_flight.fetch_sub(items, Ordering::Relaxed);
            }
        }
        if taken {
            self.aggregate.lock().delivered(round);
        }
        if !(all && taken) {
            self.stats.kept.fetch_add(1, Ordering::Relaxed);
        }
        all && taken
    }

    async fn send(&self, outputs: &mut [Pending], portion: Portion, temporality: Temporality) -> bool {
        let batch = portion.batch.clone();
        let parts = outputs
            .iter()
            .map(|pending| (pending.output.sink.clone(), batch.clone()));
        let answers = send_each(parts.collect()).await;
        let mut missed = Vec::new();
        for (index, answer) in answers.into_iter().enumerate() {
            match self.settle(&outputs[index].output, &batch, answer) {
                true => {}
                false => missed.push(index),
            }
        }
        if missed.len() < outputs.len() {
            self.aggregate.lock().announced(&portion);
        }
        if missed.is_empty() {
            return true;
        }
        if temporality == Temporality::Delta {
            if missed.len() == outputs.len() {
                self.aggregate.lock().give_back(portion);
            } else {
                for index in missed {
                    self.put_aside(&mut outputs[index], batch.clone());
                }
            }
        }
        false
    }

    /// Whether a batch is done with: taken, or refused for good.
    fn settle(
        &self,
        output: &Output,
        batch: &Batch,
        answer: Result<cupola_export::Accepted, SendError>,
    ) -> bool {
        let items = batch.items() as u64;
        let pipeline = output.pipeline.as_str();
        match answer {
            Ok(accepted) => {
                let rejected = accepted.rejected.min(items);
                self.stats.sent.fetch_add(items - rejected, Ordering::Relaxed);
                self.stats.lost.fetch_add(rejected, Ordering::Relaxed);
                true
            }
            Err(SendError::Permanent { reason }) => {
                tracing::error!(pipeline, items, %reason, "points of a connector lost");
                self.stats.lost.fetch_add(items, Ordering::Relaxed);
                true
            }
            Err(SendError::Retryable { reason, .. }) => {
                tracing::warn!(pipeline, items, %reason, "points of a connector kept for the next flush");
                false
            }
        }
    }

    async fn send_pending(&self, pending: &mut Pending) -> bool {
        while let Some(batch) = pending.batches.front() {
            let answer = pending.output.sink.send(batch.clone()).await;
            if !self.settle(&pending.output, batch, answer) {
                return false;
            }
            pending.bytes -= batch.payload().len();
            pending.batches.pop_front();
        }
        true
    }

    fn put_aside(&self, pending: &mut Pending, batch: Batch) {
        pending.bytes += batch.payload().len();
        pending.batches.push_back(batch);
        while pending.bytes > PENDING_BYTES_MAX {
            let Some(oldest) = pending.batches.pop_front() else {
                break;
            };
            pending.bytes -= oldest.payload().len();
            let (pipeline, items) = (pending.output.pipeline.as_str(), oldest.items() as u64);
            tracing::error!(
                pipeline,
                items,
                "too many points wait for a pipeline, the oldest are lost"
            );
            self.stats.lost.fetch_add(items, Ordering::Relaxed);
        }
    }

    /// Takes nothing more but what `last` adds, ends the tasks and sends what there is, or gives it up and counts it.
    pub(super) async fn shutdown(&self, last: impl FnOnce(&mut Aggregate)) {
        {
            let mut aggregate = self.aggregate.lock();
            if self.closed.swap(true, Ordering::Relaxed) {
                return;
            }
            last(&mut aggregate);
        }
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        let aborts: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
        let finish = async {
            for task in tasks {
                if let Err(error) = task.await
                    && error.is_panic()
                {
                    tracing::error!(%error, "the flush of a connector failed");
                }
            }
            for attempt in 0..FINAL_ATTEMPTS {
                if attempt > 0 {
                    tokio::time::sleep(FINAL_WAIT).await;
                }
                if self.flush().await {
                    return true;
                }
            }
            false
        };
        if tokio::time::timeout(SHUTDOWN_LIMIT, finish).await != Ok(true) {
            for abort in aborts {
                abort.abort();
            }
            let series = self.aggregate.lock().undelivered() as u64;
            let waiting = match self.outputs.try_lock() {
                Ok(outputs) => outputs
                    .iter()
                    .flat_map(|pending| &pending.batches)
                    .map(Batch::items)
                    .sum(),
                Err(_) => 0,
            };
            let items = series + waiting as u64 + self.in_flight.load(Ordering::Relaxed);
            tracing::error!(items, "points of a connector not sent at shutdown, lost");
            self.stats.lost.fetch_add(items, Ordering::Relaxed);
        }
    }

    pub(super) fn collect(&self, samples: &mut Vec<Sample>) {
        let (counts, series) = {
            let aggregate = self.aggregate.lock();
            (aggregate.counts(), aggregate.series())
        };
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        samples.extend([
            Sample::count(
                "cupola_connector_sent_points",
                "Points that the pipelines behind the connector have taken.",
                read(&self.stats.sent),
            ),
            Sample::count(
                "cupola_connector_lost_points",
                "Points that were refused for good or given up.",
                read(&self.stats.lost),
            ),
            Sample::count(
                "cupola_connector_kept_flushes",
                "Flushes of which something was kept for the next one.",
                read(&self.stats.kept),
            ),
            Sample::level("cupola_connector_series", "Series that there are.", series as f64),
            Sample::count(
                "cupola_connector_overflowed_measurements",
                "Measurements counted in the overflow series, because there was no room for their own.",
                counts.overflowed,
            ),
            Sample::count(
                "cupola_connector_dropped_measurements",
                "Measurements that were not counted at all, because there are too many tenants.",
                counts.dropped,
            ),
            Sample::count(
                "cupola_connector_expired_series",
                "Series dropped because nothing came for them.",
                counts.expired,
            ),
        ]);
    }
}
