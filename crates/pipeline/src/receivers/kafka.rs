//! The receiver `kafka`: a member of a consumer group, as the Collector's receiver is one.
//!
//! An offset is committed only after the sink has taken what stands before it, or after it is kept as a dead letter: what
//! is read is handed on at least once. The order within a partition is kept; partitions are worked on at the same time. A
//! sink that refuses for now is asked again, for ever unless `message_marking` says otherwise; meanwhile its partition is
//! paused once so much waits, and the membership in the group goes on. A message that cannot be read, or is refused for
//! good, is counted, told and kept below the dead letters as `receivers/NAME`, and the partition goes on, unless
//! `message_marking` has it stand still.
//!
//! Bounds: what waits in a partition (4 MiB, 10,000 messages), a quarter of the memory for ingest for all that waits, and
//! outside of that 16 MiB that the client has fetched and one message of each partition.
//!
//! Refuses to commit what another member has taken over; what was on its way then is handed over a second time by that one.

mod config;
mod decode;
mod evidence;
mod group;
mod headers;
mod partition;
mod settings;
mod topics;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use cupola_export::dead_letter::{DeadLetterError, DeadLetters};
use cupola_export::{Sample, Sink};
use cupola_telemetry::Signal;
use cupola_telemetry::memory::MemoryBudget;
use parking_lot::Mutex;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::KafkaReceiverConfig;
pub use settings::{
    Autocommit, ErrorBackoff, HeaderExtraction, InitialOffset, MessageMarking, Strategy, TopicSettings,
};

use crate::processors::ConfigError;
use decode::Encoding;
use group::{Counts, Group, Shared, tell};
use partition::{Message, Partition};
use topics::Topics;

/// Messages that wait may take this part of the memory for ingest.
const WAITING_SHARE: usize = 4;
/// How long batches on their way may take at the end.
const WORKERS_PATIENCE: Duration = Duration::from_secs(10);
/// How long the client may take to commit and to leave its group.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// Before a client takes the place of one that cannot go on.
const RESTART_WAIT: Duration = Duration::from_secs(5);
/// An error that goes on is told this often.
const TELL_INTERVAL: Duration = Duration::from_secs(30);

/// The receiver could not be started.
#[derive(Debug, thiserror::Error)]
pub enum KafkaReceiverError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("no consumer for {brokers}")]
    Client { brokers: String, source: KafkaError },
    #[error("nowhere to keep messages that cannot be taken")]
    DeadLetters(#[from] DeadLetterError),
}

/// Starts receivers.
#[derive(Debug)]
pub struct KafkaReceiver;

impl KafkaReceiver {
    /// Joins the group in the background, and reads the topics of `signals` until [`RunningKafka::shutdown`]. `letters` is
    /// the directory for what cannot be taken, of the receiver `name`.
    pub async fn start(
        config: KafkaReceiverConfig,
        (name, letters): (&str, &Path),
        signals: &[Signal],
        sink: Arc<dyn Sink>,
        memory: MemoryBudget,
    ) -> Result<RunningKafka, KafkaReceiverError> {
        config.validate()?;
        let setting = |error: cupola_export::kafka::SettingError| ConfigError::Setting {
            key: error.key,
            problem: error.problem,
        };
        let topics = Topics::new(&config, signals).map_err(setting)?;
        let encoding =
            |signal| Encoding::parse(signal, config.of(signal).encoding).unwrap_or(Encoding::OtlpProto);
        let letters = DeadLetters::open_on_disk(letters.to_owned(), name, &config.dead_letters).await?;
        let shared = Arc::new(Shared {
            topics,
            encodings: Signal::ALL.map(encoding),
            retry: config.error_backoff.retry(),
            config,
            sink,
            waiting: memory.child(memory.ceiling() / WAITING_SHARE),
            memory,
            letters,
            stats: Default::default(),
            counts: Counts::default(),
            assigned: Mutex::default(),
            changed: tokio::sync::Notify::new(),
            closing: CancellationToken::new(),
            workers: TaskTracker::new(),
            runtime: Handle::current(),
        });
        let consumer = join(&shared)?;
        let task = tokio::spawn(run(shared.clone(), consumer));
        Ok(RunningKafka {
            shared,
            task: tokio::sync::Mutex::new(Some(task)),
        })
    }
}

/// A receiver that reads. Dropping it ends it without waiting.
pub struct RunningKafka {
    shared: Arc<Shared>,
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl RunningKafka {
    /// Reads nothing more, waits for a bounded time for what is on its way, commits what was taken, and leaves the group.
    pub async fn shutdown(&self) {
        self.shared.closing.cancel();
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the kafka receiver did not end well");
        }
    }

    /// Adds what is counted.
    pub fn collect(&self, samples: &mut Vec<Sample>) {
        self.shared.collect(samples);
    }
}

impl Drop for RunningKafka {
    fn drop(&mut self) {
        self.shared.closing.cancel();
    }
}

type Client = StreamConsumer<Group>;

/// A client that has subscribed; it looks for brokers in the background.
fn join(shared: &Arc<Shared>) -> Result<Client, KafkaReceiverError> {
    let failed = |source| KafkaReceiverError::Client {
        brokers: shared.config.brokers.join(","),
        source,
    };
    let mut client = shared.config.client(&shared.topics.excluded());
    client.set_log_level(RDKafkaLogLevel::Warning);
    let consumer = Client::from_config_and_context(&client, Group(shared.clone())).map_err(failed)?;
    consumer
        .subscribe(&shared.topics.subscription())
        .map_err(failed)?;
    Ok(consumer)
}

/// Reads until the receiver ends, with another client after one that cannot go on.
async fn run(shared: Arc<Shared>, consumer: Client) {
    let mut client = Some(consumer);
    loop {
        let consumer = match client.take() {
            Some(consumer) => consumer,
            None => {
                tokio::select! {
                    () = shared.closing.cancelled() => return,
                    () = tokio::time::sleep(RESTART_WAIT) => {}
                }
                match join(&shared) {
                    Ok(consumer) => consumer,
                    Err(error) => {
                        tracing::error!(%error, "no new kafka client");
                        continue;
                    }
                }
            }
        };
        let ended = read(&shared, &consumer).await;
        if let Err(error) = &ended {
            tracing::error!(%error, "the kafka client cannot go on, another one takes its place");
            shared.end(None);
        }
        leave(&shared, consumer).await;
        if ended.is_ok() {
            return;
        }
    }
}

/// Polls the client, which is what keeps the membership. An error is one that it cannot go on after.
async fn read(shared: &Arc<Shared>, consumer: &Client) -> Result<(), KafkaError> {
    let mut told: Option<(String, Instant)> = None;
    let mut last: Option<Arc<Partition>> = None;
    loop {
        let received = tokio::select! {
            () = shared.closing.cancelled() => return Ok(()),
            () = shared.changed.notified() => {
                settle(shared, consumer);
                continue;
            }
            received = consumer.recv() => received,
        };
        match received {
            Ok(message) => take(shared, consumer, &message, &mut last),
            Err(error @ KafkaError::MessageConsumptionFatal(_)) => return Err(error),
            Err(error) => {
                let text = error.to_string();
                let again = told
                    .as_ref()
                    .is_some_and(|(before, when)| *before == text && when.elapsed() < TELL_INTERVAL);
                if !again {
                    tracing::warn!(%error, "cannot read from kafka now");
                    told = Some((text, Instant::now()));
                }
            }
        }
    }
}

/// Gives a message to the worker of its partition, which most often is that of the `last` one, and pauses it if too much
/// waits.
fn take(
    shared: &Shared,
    consumer: &Client,
    received: &BorrowedMessage<'_>,
    last: &mut Option<Arc<Partition>>,
) {
    let (topic, number) = (received.topic(), received.partition());
    if !last.as_ref().is_some_and(|last| last.is(topic, number)) {
        *last = shared.partition(topic, number);
    }
    // Of a partition that has just been taken away: the next to have it reads the message again. Or of one that is left out.
    let Some(partition) = last else {
        return;
    };
    if partition.is_stopped() {
        return;
    }
    let said = headers::read(received.headers(), &shared.config.header_extraction);
    let message = Message {
        offset: received.offset(),
        payload: received.payload().map(Bytes::copy_from_slice),
        tenant: said.tenant,
        signal: said.signal,
        headers: said.extracted,
    };
    if partition.push(message) {
        shared.counts.pauses.fetch_add(1, Ordering::Relaxed);
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, number);
        if let Err(error) = consumer.pause(&list) {
            tracing::warn!(%error, "a partition could not be paused");
        }
    }
}

/// Tells the client what is done, and which partitions it may fetch again or is to leave alone.
fn settle(shared: &Shared, consumer: &Client) {
    let partitions = shared.partitions();
    tell(consumer, &partitions, shared.config.autocommit.enable);
    let (mut resumed, mut stopped) = (TopicPartitionList::new(), TopicPartitionList::new());
    for partition in &partitions {
        if partition.resumes() {
            resumed.add_partition(&partition.topic, partition.number);
        } else if partition.halts() {
            stopped.add_partition(&partition.topic, partition.number);
        }
    }
    if resumed.count() > 0
        && let Err(error) = consumer.resume(&resumed)
    {
        tracing::warn!(%error, "partitions could not be resumed");
    }
    if stopped.count() > 0
        && let Err(error) = consumer.pause(&stopped)
    {
        tracing::warn!(%error, "partitions could not be paused");
    }
}

/// Waits for what is on its way, commits what is done, and leaves the group.
async fn leave(shared: &Shared, consumer: Client) {
    shared.workers.close();
    if timeout(WORKERS_PATIENCE, shared.workers.wait()).await.is_err() {
        tracing::warn!("batches from kafka were still on their way at the end; they are read again");
    }
    shared.workers.reopen();
    settle(shared, &consumer);
    shared.end(None);
    let (left, leaves) = oneshot::channel();
    // Not on the pool: a runtime that ends would wait for a broker that does not answer.
    let closing = std::thread::Builder::new()
        .name("kafka-close".to_owned())
        .spawn(move || {
            // Without anything to commit it says so.
            let _ = consumer.commit_consumer_state(CommitMode::Sync);
            drop(consumer);
            let _ = left.send(());
        });
    if let Err(error) = closing {
        tracing::warn!(%error, "no thread to leave the group with");
    } else if timeout(CLOSE_PATIENCE, leaves).await.is_err() {
        tracing::warn!("the broker does not answer: left the group without its word");
    }
}
