//! The tail sampling processor: holds the spans of a trace until its time is up, then decides it as a whole.
//!
//! A batch is taken apart by trace; the spans of a trace whose decision is known follow it at once. A trace is decided
//! early, and counted, when it grows beyond `maximum_trace_size_bytes`, when there are more than `num_traces`, or when
//! memory is short; where the Collector would drop it, it is decided by what there is.
//!
//! **Acknowledgement.** With `acknowledge: taken`, the default, a sender is answered when its spans are in memory: a crash
//! loses the spans of up to `decision_wait`, as in the Collector, and those that wait for a slow destination. With
//! `acknowledge: decided` it is answered when each of its traces was decided and, if sampled, delivered: a crash loses
//! nothing that was acknowledged. Late spans are answered by the next sink in both modes.
//!
//! Sampled traces that the destination does not take now are tried again and keep their memory, so that new ones are
//! refused when it does not come back; those it refuses for good are counted and logged.
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/processor/tailsamplingprocessor>

mod config;
mod delivery;
mod outbox;
mod policy;
mod stats;
mod store;
mod ticket;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cupola_export::{Accepted, Component, Sample, SendError, Sink};
use cupola_telemetry::edit::Fields;
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, Signal, TraceId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

pub use self::config::{
    Acknowledge, AndConfig, BooleanAttributeConfig, BytesLimitingConfig, CompositeConfig,
    DecisionCacheConfig, DropConfig, LatencyConfig, NotConfig, NumericAttributeConfig, OttlConditionConfig,
    PolicyConfig, PolicyType, ProbabilisticConfig, RateAllocation, RateLimitingConfig, SpanCountConfig,
    StatusCodeConfig, StringAttributeConfig, TailSamplingConfig, TraceStateConfig,
};
use self::store::{Fragment, Sorted, Store};
use self::ticket::Ticket;
use super::ConfigError;
use super::regroup::{Pieces, walk};
use crate::ottl::Env;

/// Traces decided at a time, between which senders have their turn.
const DECISIONS_AT_ONCE: usize = 64;
/// Batches handed on at the same time.
const DELIVERIES: usize = 4;
/// Longest time between looks at what is due.
const TICK_MAX: Duration = Duration::from_secs(1);
/// Longest time that a shutdown waits for what is decided to be delivered.
const SHUTDOWN_WAIT_MAX: Duration = Duration::from_secs(30);
/// Beyond the wait for a decision, how long a sender waits to hear of the delivery.
const DELIVERY_WAIT_MAX: Duration = Duration::from_secs(60);

/// Tail sampling in front of a sink.
pub struct TailSampling {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

struct Shared {
    next: Arc<dyn Sink>,
    store: Mutex<Store>,
    /// Signalled when a trace is due earlier than all others.
    earlier: Notify,
    /// Signalled when there is something to deliver, and when that has ended.
    deliverable: Notify,
    /// Signalled when nothing is left to deliver.
    idle: Notify,
    env: Arc<dyn Env + Send>,
    began: Instant,
    acknowledge: Acknowledge,
    after_root: bool,
    tick: Duration,
    answer_wait_max: Duration,
    /// Nothing is delivered any more.
    ended: CancellationToken,
}

impl TailSampling {
    /// Starts its tasks on the current runtime. What it holds counts in `memory`.
    pub fn new(
        config: &TailSamplingConfig,
        next: Arc<dyn Sink>,
        memory: MemoryBudget,
        env: Arc<dyn Env + Send>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let wait = config.decision_wait.0;
        let shared = Arc::new(Shared {
            next,
            store: Mutex::new(Store::new(config, memory)?),
            earlier: Notify::new(),
            deliverable: Notify::new(),
            idle: Notify::new(),
            env,
            began: Instant::now(),
            acknowledge: config.acknowledge,
            after_root: !config.decision_wait_after_root_received.0.is_zero(),
            tick: (wait / 10).clamp(Duration::from_millis(10), TICK_MAX),
            answer_wait_max: wait + DELIVERY_WAIT_MAX,
            ended: CancellationToken::new(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(decide(shared.clone()));
        for _ in 0..DELIVERIES {
            tasks.spawn(delivery::deliver(shared.clone()));
        }
        Ok(Self {
            shared,
            tasks: Mutex::new(tasks),
        })
    }

    /// Traces that are held undecided.
    pub fn held(&self) -> usize {
        self.shared.store.lock().held()
    }
}

/// Decides what is due, for ever.
async fn decide(shared: Arc<Shared>) {
    let mut next_look = Instant::now();
    loop {
        let due = shared.store.lock().first_due();
        match due {
            None => shared.earlier.notified().await,
            Some(due) => {
                tokio::select! {
                    () = sleep_until(due.max(next_look)) => {}
                    () = shared.earlier.notified() => continue,
                }
                let began = std::time::Instant::now();
                let now = Instant::now();
                while shared.decide(|store| store.is_due(now)) {
                    tokio::task::yield_now().await;
                }
                shared
                    .store
                    .lock()
                    .stats
                    .timer
                    .record(began.elapsed().as_secs_f64() * 1e6);
                next_look = Instant::now() + shared.tick;
            }
        }
    }
}

impl Shared {
    /// Decides some traces, as long as `wanted` says so. Whether that has not ended yet.
    fn decide(&self, wanted: impl Fn(&Store) -> bool) -> bool {
        let mut store = self.store.lock();
        for _ in 0..DECISIONS_AT_ONCE {
            if !wanted(&store) {
                drop(store);
                self.deliverable.notify_one();
                return false;
            }
            store.decide_first(Instant::now(), self.began, &*self.env);
        }
        drop(store);
        self.deliverable.notify_one();
        true
    }

    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let fragments = take_apart(&batch, self.after_root);
        let Sorted { late, held, memory } = {
            let mut store = self.store.lock();
            let sorted = store.sort(fragments, Instant::now(), self.began, &*self.env);
            drop(store);
            self.deliverable.notify_one();
            sorted?
        };
        let mut accepted = Accepted::all();
        if let Some(late) = Batch::concat(&late) {
            accepted = self.next.send(late).await?;
        }
        if held.is_empty() {
            return Ok(accepted);
        }
        let ticket = (self.acknowledge == Acknowledge::Decided).then(|| Ticket::new(held.len()));
        let earlier = self.store.lock().hold(
            held,
            memory,
            ticket.as_ref(),
            Instant::now(),
            self.began,
            &*self.env,
        )?;
        if earlier {
            self.earlier.notify_one();
        }
        self.deliverable.notify_one();
        if let Some(ticket) = ticket {
            let answered = async {
                tokio::select! {
                    biased;
                    outcome = ticket.wait() => Some(outcome),
                    () = self.ended.cancelled() => None,
                }
            };
            let Ok(Some(outcome)) = timeout(self.answer_wait_max, answered).await else {
                return Err(SendError::retryable(
                    "tail sampling: the sampled traces have not been delivered in time",
                ));
            };
            accepted.merge(outcome?);
        }
        Ok(accepted)
    }
}

/// The batch by trace. A batch of one trace shares its bytes.
fn take_apart(batch: &Batch, look_for_roots: bool) -> Vec<Fragment> {
    let trace_id = |span: &[u8]| {
        let field = Fields::new(span).find(|field| field.number == 1);
        field
            .and_then(|field| TraceId::from_bytes(field.value))
            .unwrap_or_default()
    };
    let is_root = |span: &[u8]| Fields::new(span).all(|field| field.number != 4 || field.value.is_empty());
    let mut first = None;
    let (mut several, mut root) = (false, false);
    walk(batch, |_, span| {
        let id = trace_id(span);
        several |= *first.get_or_insert(id) != id;
        root |= look_for_roots && is_root(span);
    });
    if !several {
        return Vec::from_iter(first.map(|id| Fragment {
            id,
            batch: batch.clone().without_gzip().with_client(None),
            root,
        }));
    }
    let mut pieces = Pieces::new();
    let mut roots = std::collections::HashSet::new();
    walk(batch, |path, span| {
        let id = trace_id(span);
        if root && is_root(span) {
            roots.insert(id);
        }
        pieces.push(&id, path, span);
    });
    let fragment = |(id, payload, spans)| Fragment {
        id,
        batch: batch.derived(payload, spans).with_client(None),
        root: roots.contains(&id),
    };
    pieces.finish().map(fragment).collect()
}

#[async_trait]
impl Sink for TailSampling {
    /// Logs and metrics pass through.
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        if batch.signal() != Signal::Traces {
            return self.shared.next.send(batch).await;
        }
        if batch.items() == 0 {
            return Ok(Accepted::all());
        }
        self.shared.send(batch).await
    }
}

#[async_trait]
impl Component for TailSampling {
    /// Decides everything now and waits for its delivery.
    async fn shutdown(&self) {
        let shared = &self.shared;
        shared.store.lock().close();
        while shared.decide(|store| store.held() > 0) {
            tokio::task::yield_now().await;
        }
        let delivered = timeout(SHUTDOWN_WAIT_MAX, async {
            loop {
                let idle = shared.idle.notified();
                if shared.store.lock().outbox.is_idle() {
                    return;
                }
                idle.await;
            }
        });
        if delivered.await.is_err() {
            let spans = shared.store.lock().give_up();
            tracing::error!(
                spans,
                "sampled traces could not be delivered at shutdown, spans lost"
            );
        }
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
        shared.ended.cancel();
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        self.shared.store.lock().collect(samples);
    }
}
