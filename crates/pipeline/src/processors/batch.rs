//! The batch processor: gathers small batches of one signal and tenant into larger ones, and of one value of each of the
//! `metadata_keys`. Of who sent them, no more than those is known of what it hands on.
//!
//! Gathering is concatenation, which copies each payload once and reads none. A sender hears the answer that the gathered
//! batch got (`acknowledge: delivered`), so that nothing is lost that was acknowledged: it waits for up to `timeout`
//! longer, and no longer than [`ANSWER_WAIT_MAX`], because senders give up after some seconds and send again. A client that sends one request at a time and cannot wait may be answered as soon as its batch has been taken
//! (`acknowledge: received`); a crash then loses what was being gathered, as with the Collector, and so does a refusal of what
//! follows.
//!
//! Bounded by `metadata_cardinality_limit` groups, beyond which batches pass by themselves; and by the memory budget,
//! beyond which they do as well.
//! <https://github.com/open-telemetry/opentelemetry-collector/tree/main/processor/batchprocessor>

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cupola_config::units::TimeSpan;
use cupola_export::otlp::split_items;
use cupola_export::{Accepted, Component, Sample, SendError, Sink, share_out};
use cupola_telemetry::memory::{MemoryBudget, Reservation};
use cupola_telemetry::{Batch, Client, Signal, TenantId};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::statements::ConfigError;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// Longest that a batch waits for others; a second, while its sender waits too.
    pub timeout: TimeSpan,
    /// Items from which on nothing is waited for.
    pub send_batch_size: usize,
    /// Most items in one batch; larger ones are split. No bound if zero.
    pub send_batch_max_size: usize,
    /// Headers of those who sent, by whose values batches are kept apart. Tenants are in any case.
    pub metadata_keys: Vec<String>,
    pub metadata_cardinality_limit: usize,
    pub acknowledge: Acknowledge,
}

/// When a sender is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acknowledge {
    /// When what follows has taken the gathered batch.
    #[default]
    Delivered,
    /// When the batch has been taken.
    Received,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            timeout: TimeSpan(Duration::from_millis(200)),
            send_batch_size: 8192,
            send_batch_max_size: 0,
            metadata_keys: Vec::new(),
            metadata_cardinality_limit: 1000,
            acknowledge: Acknowledge::default(),
        }
    }
}

impl BatchConfig {
    /// How long a batch waits for others.
    fn wait(&self) -> Duration {
        match self.acknowledge {
            Acknowledge::Delivered => self.timeout.0.min(ANSWER_WAIT_MAX),
            Acknowledge::Received => self.timeout.0,
        }
    }

    /// What works otherwise than whoever wrote it may think: keys and remarks.
    pub fn remarks(&self) -> Vec<(String, String)> {
        let shortened = self.wait() < self.timeout.0;
        let remark = || {
            let remark = format!(
                "senders wait for the answer of the gathered batch, and {ANSWER_WAIT_MAX:?} at most: then it goes on, \
                 however small; `acknowledge: received` answers them at once, and loses what is being gathered in a crash"
            );
            ("timeout".to_owned(), remark)
        };
        shortened.then(remark).into_iter().collect()
    }

    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.send_batch_max_size > 0 && self.send_batch_max_size < self.send_batch_size {
            return Err(ConfigError::setting(
                "send_batch_max_size",
                "it must not be less than send_batch_size",
            ));
        }
        let mut seen = BTreeSet::new();
        let again = |key: &&String| !seen.insert(key.to_ascii_lowercase());
        if let Some(key) = self.metadata_keys.iter().find(again) {
            let problem = format!("`{key}` is there twice; capitals make no difference");
            return Err(ConfigError::setting("metadata_keys", problem));
        }
        Ok(())
    }
}

/// The longest that senders are kept waiting for others, whatever `timeout` says.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(1);

/// How long an end waits for what is being delivered. Senders that wait hear that it was refused for now; what had been
/// acknowledged as received is counted as lost.
const SHUTDOWN_WAIT_MAX: Duration = Duration::from_secs(30);

pub struct BatchProcessor(Arc<Shared>);

struct Shared {
    config: BatchConfig,
    next: Arc<dyn Sink>,
    memory: MemoryBudget,
    groups: Mutex<Groups>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// What is still being delivered is given up.
    abort: CancellationToken,
    stats: Stats,
}

#[derive(Default)]
struct Groups {
    gathering: HashMap<Key, Group>,
    /// Nothing is gathered any more.
    closed: bool,
}

/// What batches that wait for each other have in common.
type Key = (Signal, TenantId, Option<Arc<Client>>);

/// Batches that wait for each other.
#[derive(Default)]
struct Group {
    batches: Vec<Batch>,
    items: usize,
    waiting: Vec<(usize, oneshot::Sender<Answer>)>,
    /// Of batches whose senders have been answered.
    memory: Option<Reservation>,
    /// Tells this gathering from those of the same group before and after.
    number: u64,
}

type Answer = Result<Accepted, SendError>;

#[derive(Default)]
struct Stats {
    by_size: AtomicU64,
    by_timeout: AtomicU64,
    sent_batches: AtomicU64,
    sent_items: AtomicU64,
    /// Items acknowledged as received and then refused by what follows.
    lost_items: AtomicU64,
    gatherings: AtomicU64,
}

impl BatchProcessor {
    /// Must be called on a runtime.
    pub fn new(config: &BatchConfig, memory: MemoryBudget, next: Arc<dyn Sink>) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self(Arc::new(Shared {
            config: config.clone(),
            next,
            memory,
            groups: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            stats: Stats::default(),
        })))
    }
}

#[async_trait]
impl Sink for BatchProcessor {
    async fn send(&self, batch: Batch) -> Answer {
        if batch.items() == 0 {
            return Ok(Accepted::all());
        }
        let client = self.0.client(&batch);
        match self.0.gather(batch.with_client(client)) {
            Gathered::Waits(answer) => answer.await.unwrap_or_else(|_| {
                // The task that was to answer has gone.
                Err(SendError::retryable("the program is ending"))
            }),
            Gathered::Acknowledged => Ok(Accepted::all()),
            Gathered::Alone(batch) => self.0.hand_on(batch).await,
        }
    }
}

enum Gathered {
    Waits(oneshot::Receiver<Answer>),
    Acknowledged,
    /// It goes on by itself, at once.
    Alone(Batch),
}

impl Shared {
    /// What is still known of the sender of a batch in a larger one.
    fn client(&self, batch: &Batch) -> Option<Arc<Client>> {
        let keys = &self.config.metadata_keys;
        let client = batch.client().filter(|_| !keys.is_empty())?.only(keys);
        (!client.is_empty()).then(|| Arc::new(client))
    }

    fn gather(self: &Arc<Self>, batch: Batch) -> Gathered {
        let key = (batch.signal(), batch.tenant().clone(), batch.client().cloned());
        let size = self.config.send_batch_size.max(1);
        let mut groups = self.groups.lock();
        let limit = self.config.metadata_cardinality_limit;
        let full = limit > 0 && groups.gathering.len() >= limit;
        let known = groups.gathering.contains_key(&key);
        if groups.closed || (!known && (full || batch.items() >= size)) {
            return Gathered::Alone(batch);
        }
        // For the copy that is made of it; and, if its sender is answered at once, for itself.
        let known = batch.client().map_or(0, |client| client.bytes());
        let bytes = batch.payload().len() + known;
        let received = self.config.acknowledge == Acknowledge::Received;
        let Some(reserved) = self.memory.try_reserve(if received { 2 * bytes } else { bytes }) else {
            return Gathered::Alone(batch);
        };
        let group = groups.gathering.entry(key.clone()).or_default();
        match &mut group.memory {
            Some(memory) => {
                memory.grow(reserved.bytes());
                drop(reserved);
            }
            None => group.memory = Some(reserved),
        }
        group.items += batch.items();
        let (tell, answer) = oneshot::channel();
        if !received {
            group.waiting.push((batch.items(), tell));
        }
        group.batches.push(batch.without_gzip());
        if group.items >= size {
            if let Some(group) = groups.gathering.remove(&key) {
                self.stats.by_size.fetch_add(1, Ordering::Relaxed);
                self.tasks.spawn(self.clone().deliver(group));
            }
        } else if group.batches.len() == 1 {
            group.number = self.stats.gatherings.fetch_add(1, Ordering::Relaxed);
            self.tasks.spawn(self.clone().wait(key, group.number));
        }
        match received {
            true => Gathered::Acknowledged,
            false => Gathered::Waits(answer),
        }
    }

    /// Delivers a gathering when its time is over, if it has not been before.
    async fn wait(self: Arc<Self>, key: Key, number: u64) {
        tokio::select! {
            () = tokio::time::sleep(self.config.wait()) => {}
            () = self.stop.cancelled() => {}
        }
        let group = {
            let mut groups = self.groups.lock();
            match groups.gathering.get(&key) {
                Some(group) if group.number == number => groups.gathering.remove(&key),
                _ => None,
            }
        };
        if let Some(group) = group {
            self.stats.by_timeout.fetch_add(1, Ordering::Relaxed);
            self.deliver(group).await;
        }
    }

    async fn deliver(self: Arc<Self>, group: Group) {
        let items = group.items;
        let answer = match Batch::concat(&group.batches) {
            Some(batch) => self.hand_on(batch).await,
            None => Ok(Accepted::all()),
        };
        if matches!(answer, Err(SendError::Permanent { .. })) && group.batches.len() > 1 {
            return self.deliver_each(group).await;
        }
        drop(group.batches);
        if group.waiting.is_empty() {
            self.count_lost(items, &answer);
            return;
        }
        tell(group.waiting, &answer);
    }

    /// One of them is refused for good: each by itself, so that the others are not refused with it.
    async fn deliver_each(&self, group: Group) {
        let mut waiting = group.waiting.into_iter();
        for batch in group.batches {
            let items = batch.items();
            let answer = self.hand_on(batch).await;
            match waiting.next() {
                // A sender that has gone does not want to hear.
                Some((_, tell)) => _ = tell.send(answer),
                None => self.count_lost(items, &answer),
            }
        }
    }

    async fn hand_on(&self, batch: Batch) -> Answer {
        let max = self.config.send_batch_max_size;
        if max == 0 || batch.items() <= max {
            return self.hand_on_one(batch).await;
        }
        let mut all = Accepted::all();
        for piece in split_items(&batch, max) {
            let items = piece.items() as u64;
            match self.hand_on_one(piece).await {
                Ok(accepted) => all.merge(accepted),
                // The others may be taken.
                Err(SendError::Permanent { reason }) => all.merge(Accepted::partial(items, reason)),
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// What follows answers, or is not waited for any more.
    async fn hand_on_one(&self, batch: Batch) -> Answer {
        self.stats.sent_batches.fetch_add(1, Ordering::Relaxed);
        self.stats
            .sent_items
            .fetch_add(batch.items() as u64, Ordering::Relaxed);
        tokio::select! {
            answer = self.next.send(batch) => answer,
            () = self.abort.cancelled() => Err(SendError::retryable("what follows did not answer before the end")),
        }
    }

    fn count_lost(&self, items: usize, answer: &Answer) {
        let lost = match answer {
            Ok(accepted) => accepted.rejected,
            Err(_) => items as u64,
        };
        if lost > 0 {
            self.stats.lost_items.fetch_add(lost, Ordering::Relaxed);
            let reason = match answer {
                Ok(accepted) => accepted.message.clone(),
                Err(error) => error.to_string(),
            };
            tracing::error!(
                items = lost,
                reason,
                "items that had been acknowledged as received were refused: lost"
            );
        }
    }
}

/// Gives each sender its part of the answer.
fn tell(waiting: Vec<(usize, oneshot::Sender<Answer>)>, answer: &Answer) {
    let items: Vec<usize> = waiting.iter().map(|(items, _)| *items).collect();
    for ((_, tell), own) in waiting.into_iter().zip(share_out(&items, answer)) {
        // A sender that has gone does not want to hear.
        let _ = tell.send(own);
    }
}

#[async_trait]
impl Component for BatchProcessor {
    async fn shutdown(&self) {
        self.0.groups.lock().closed = true;
        self.0.stop.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(SHUTDOWN_WAIT_MAX, self.0.tasks.wait())
            .await
            .is_err()
        {
            self.0.abort.cancel();
            self.0.tasks.wait().await;
        }
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        let stats = &self.0.stats;
        let rows = [
            (
                "otelcol_processor_batch_batch_size_trigger_send",
                "Batches sent for their size.",
                &stats.by_size,
            ),
            (
                "otelcol_processor_batch_timeout_trigger_send",
                "Batches sent for their age.",
                &stats.by_timeout,
            ),
            (
                "cupola_processor_batch_sent_batches",
                "Batches handed on.",
                &stats.sent_batches,
            ),
            (
                "cupola_processor_batch_sent_items",
                "Items handed on.",
                &stats.sent_items,
            ),
            (
                "cupola_processor_batch_lost_items",
                "Items acknowledged as received and then refused by what follows.",
                &stats.lost_items,
            ),
        ];
        for (name, help, count) in rows {
            samples.push(Sample::count(name, help, count.load(Ordering::Relaxed)));
        }
        let tenants = self.0.groups.lock().gathering.len();
        let help = "Groups of signal, tenant and metadata being gathered.";
        samples.push(Sample::level(
            "otelcol_processor_batch_metadata_cardinality",
            help,
            tenants as f64,
        ));
    }
}
