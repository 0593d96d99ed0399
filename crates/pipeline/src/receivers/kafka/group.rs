//! What the member of a consumer group knows: its partitions as they come and go, and what is counted. The client calls it
//! back from whoever polls.
//!
//! A partition that is taken away is forgotten before the client gives it up: what is done by then is committed with it,
//! and nothing after. Where it was lost without being asked for, nothing is committed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cupola_export::dead_letter::DeadLetters;
use cupola_export::retry::RetryConfig;
use cupola_export::{Sample, Sink};
use cupola_telemetry::Signal;
use cupola_telemetry::memory::MemoryBudget;
use parking_lot::Mutex;
use rdkafka::Offset;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::KafkaReceiverConfig;
use super::decode::Encoding;
use super::partition::Partition;
use super::settings::InitialOffset;
use super::topics::Topics;
use super::worker::Worker;
use crate::receivers::http::stats::{SignalStats, StatSample};

/// How long the broker may take to say where partitions end.
const QUERY_LIMIT: Duration = Duration::from_secs(10);

/// Counts since the start beside those of the signals.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) assigned: AtomicU64,
    pub(super) revoked: AtomicU64,
    pub(super) pauses: AtomicU64,
    /// Waits because there was no memory.
    pub(super) over_memory: AtomicU64,
    /// Messages kept as dead letters because they could not be read.
    pub(super) poison: AtomicU64,
}

/// What all tasks of a receiver share.
pub(super) struct Shared {
    pub(super) config: KafkaReceiverConfig,
    pub(super) topics: Topics,
    /// By signal.
    pub(super) encodings: [Encoding; Signal::ALL.len()],
    pub(super) retry: RetryConfig,
    pub(super) sink: Arc<dyn Sink>,
    /// For what is made of messages.
    pub(super) memory: MemoryBudget,
    /// A part of it, for messages that wait.
    pub(super) waiting: MemoryBudget,
    pub(super) letters: DeadLetters,
    pub(super) stats: [SignalStats; Signal::ALL.len()],
    pub(super) counts: Counts,
    pub(super) assigned: Mutex<HashMap<(String, i32), Arc<Partition>>>,
    /// Something is done, or there is room again.
    pub(super) changed: Notify,
    pub(super) closing: CancellationToken,
    pub(super) workers: TaskTracker,
    pub(super) runtime: Handle,
}

impl Shared {
    pub(super) fn partition(&self, topic: &str, number: i32) -> Option<Arc<Partition>> {
        self.assigned.lock().get(&(topic.to_owned(), number)).cloned()
    }

    pub(super) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.assigned.lock().values().cloned().collect()
    }

    /// Begins to work on a partition.
    fn begin(self: &Arc<Self>, topic: &str, number: i32) {
        let signals = self.topics.signals(topic);
        let partition = Arc::new(Partition::new(topic, number, signals, &self.waiting));
        let key = (topic.to_owned(), number);
        if let Some(before) = self.assigned.lock().insert(key, partition.clone()) {
            before.lost.cancel();
        }
        self.counts.assigned.fetch_add(1, Ordering::Relaxed);
        let worker = Worker::new(partition, self.clone());
        self.workers.spawn_on(worker.run(), &self.runtime);
    }

    /// Ends the work on partitions, all or those of a list; gives those that were worked on.
    pub(super) fn end(&self, which: Option<&TopicPartitionList>) -> Vec<Arc<Partition>> {
        let mut assigned = self.assigned.lock();
        let ended: Vec<Arc<Partition>> = match which {
            None => assigned.drain().map(|(_, partition)| partition).collect(),
            Some(list) => list
                .elements()
                .iter()
                .filter_map(|of| assigned.remove(&(of.topic().to_owned(), of.partition())))
                .collect(),
        };
        drop(assigned);
        ended.iter().for_each(|partition| partition.lost.cancel());
        self.counts
            .revoked
            .fetch_add(ended.len() as u64, Ordering::Relaxed);
        ended
    }

    pub(super) fn collect(&self, samples: &mut Vec<Sample>) {
        let mut counted: Vec<StatSample> = Vec::new();
        for signal in Signal::ALL {
            self.stats[signal as usize].collect("kafka", signal, &mut counted);
        }
        samples.extend(counted.into_iter().map(Sample::from));
        let letters = self.letters.counters();
        let counts = &self.counts;
        for (name, help, count) in [
            (
                "otelcol_kafka_receiver_partition_start",
                "Partitions begun.",
                &counts.assigned,
            ),
            (
                "otelcol_kafka_receiver_partition_close",
                "Partitions given up.",
                &counts.revoked,
            ),
            (
                "cupola_receiver_kafka_pauses",
                "Partitions paused because too much waited.",
                &counts.pauses,
            ),
            (
                "cupola_receiver_kafka_over_memory",
                "Waits for memory.",
                &counts.over_memory,
            ),
            (
                "cupola_receiver_kafka_undecodable_messages",
                "Messages that could not be read.",
                &counts.poison,
            ),
            (
                "cupola_receiver_kafka_dead_letter_items",
                "Items kept as dead letters.",
                &letters.written_items,
            ),
            (
                "cupola_receiver_kafka_dead_letter_dropped_items",
                "Items of dead letters lost because of their bound.",
                &letters.dropped_items,
            ),
            (
                "cupola_receiver_kafka_dead_letter_write_failures",
                "Dead letters that could not be written at once.",
                &letters.write_failures,
            ),
        ] {
            samples.push(Sample::count(name, help, count.load(Ordering::Relaxed)));
        }
        let (mut paused, mut stopped) = (0, 0);
        for partition in self.partitions() {
            paused += u32::from(partition.is_paused());
            stopped += u32::from(partition.is_stopped());
            let Some((offset, lag)) = partition.progress() else {
                continue;
            };
            let mut level = |name, help, value: i64| {
                let sample = Sample::level(name, help, value as f64);
                let sample = sample.with("topic", partition.topic.as_str());
                samples.push(sample.with("partition", partition.number.to_string()));
            };
            level(
                "otelcol_kafka_receiver_current_offset",
                "The last message that is done.",
                offset,
            );
            if let Some(lag) = lag {
                level(
                    "otelcol_kafka_receiver_offset_lag",
                    "Messages written and not done.",
                    lag,
                );
            }
        }
        let help = "Partitions paused now.";
        samples.push(Sample::level(
            "cupola_receiver_kafka_paused_partitions",
            help,
            paused.into(),
        ));
        let help = "Partitions that stand still because of a message that cannot be taken.";
        samples.push(Sample::level(
            "cupola_receiver_kafka_stopped_partitions",
            help,
            stopped.into(),
        ));
    }
}

/// Tells the client how far each partition is done.
pub(super) fn tell<C: Consumer<Group>>(consumer: &C, partitions: &[Arc<Partition>], autocommit: bool) {
    let mut offsets = TopicPartitionList::new();
    for partition in partitions {
        if let Some(next) = partition.untold() {
            let offset = Offset::Offset(next);
            let added = offsets.add_partition_offset(&partition.topic, partition.number, offset);
            debug_assert!(added.is_ok(), "an offset is a number");
        }
    }
    if offsets.count() > 0 {
        note(consumer, &offsets, autocommit);
    }
}

/// Has offsets committed.
fn note<C: Consumer<Group>>(consumer: &C, offsets: &TopicPartitionList, autocommit: bool) {
    // Refused for partitions that are ours no more, which is as it should be.
    if let Err(error) = consumer.store_offsets(offsets) {
        tracing::debug!(%error, "offsets were not noted");
    }
    if !autocommit && let Err(error) = consumer.commit(offsets, CommitMode::Async) {
        tracing::warn!(%error, "offsets were not committed");
    }
}

/// What the client calls back.
pub(super) struct Group(pub(super) Arc<Shared>);

impl ClientContext for Group {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, group = self.0.config.group_id, "kafka client");
    }

    fn stats(&self, statistics: Statistics) {
        for partition in self.0.partitions() {
            let of = statistics.topics.get(&partition.topic);
            if let Some(known) = of.and_then(|topic| topic.partitions.get(&partition.number)) {
                partition.set_written(known.hi_offset);
            }
        }
    }
}

impl ConsumerContext for Group {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let changed = match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.gain(consumer, list),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.lose(consumer, Some(list)),
            _ => {
                tracing::warn!(error = %RDKafkaErrorCode::from(code), "the group could not be divided");
                self.lose(consumer, None)
            }
        };
        if let Err(error) = changed {
            tracing::error!(%error, group = self.0.config.group_id, "the division of the group was not followed");
        }
    }
}

impl Group {
    fn gain(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) -> KafkaResult<()> {
        let (read, passed_over) = self.divide(list);
        let begun = match self.0.config.initial_offset {
            InitialOffset::Latest => blocking(|| begin_here(consumer, &read, list)),
            InitialOffset::Earliest => TopicPartitionList::new(),
        };
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(list)?,
            _ => consumer.assign(list)?,
        }
        for of in read.elements() {
            self.0.begin(of.topic(), of.partition());
        }
        if begun.count() > 0 {
            // At once: whoever takes over before would begin later.
            note(consumer, &begun, false);
        }
        // A pause outlives the loss of a partition.
        if read.count() > 0 {
            consumer.resume(&read)?;
        }
        match passed_over.count() {
            0 => Ok(()),
            _ => consumer.pause(&passed_over),
        }
    }

    /// Partitions of topics that are read, and of those that a pattern found and the signals of it leave out.
    fn divide(&self, list: &TopicPartitionList) -> (TopicPartitionList, TopicPartitionList) {
        let (mut read, mut passed_over) = (TopicPartitionList::new(), TopicPartitionList::new());
        for of in list.elements() {
            let to = match self.0.topics.signals(of.topic()).is_empty() {
                true => &mut passed_over,
                false => &mut read,
            };
            to.add_partition(of.topic(), of.partition());
        }
        (read, passed_over)
    }

    fn lose(&self, consumer: &BaseConsumer<Self>, list: Option<&TopicPartitionList>) -> KafkaResult<()> {
        let ended = self.0.end(list);
        if !consumer.assignment_lost() {
            tell(consumer, &ended, self.0.config.autocommit.enable);
        }
        match (consumer.rebalance_protocol(), list) {
            (RebalanceProtocol::Cooperative, Some(list)) => consumer.incremental_unassign(list),
            _ => consumer.unassign(),
        }
    }
}

/// Has partitions of a list that are `read`, and of which the group has read nothing yet, begin at their end, as it is now;
/// gives where that is. It is committed at once: otherwise a member that comes after this one would begin at a later end,
/// and what was written between them would be read by nobody.
fn begin_here<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    read: &TopicPartitionList,
    list: &mut TopicPartitionList,
) -> TopicPartitionList {
    let mut begun = TopicPartitionList::new();
    let asked = Instant::now();
    let left = || QUERY_LIMIT.saturating_sub(asked.elapsed());
    let find = |list: &mut TopicPartitionList, begun: &mut TopicPartitionList| -> KafkaResult<()> {
        let committed = consumer.committed_offsets(read.clone(), left())?;
        let mut problem = Ok(());
        for of in committed.elements() {
            let place = || {
                // One that could not be had is not one that there is none of.
                of.error()?;
                if of.offset() != Offset::Invalid {
                    return Ok(None);
                }
                let end = consumer.fetch_watermarks(of.topic(), of.partition(), left())?.1;
                Ok::<_, KafkaError>(Some(Offset::Offset(end)))
            };
            match place() {
                Ok(None) => {}
                Ok(Some(end)) => {
                    list.set_partition_offset(of.topic(), of.partition(), end)?;
                    begun.add_partition_offset(of.topic(), of.partition(), end)?;
                }
                // The others are found all the same.
                Err(error) => problem = Err(error),
            }
        }
        problem
    };
    if let Err(error) = find(list, &mut begun) {
        tracing::warn!(%error, "where partitions end is not known: what is written to them now may be passed over");
    }
    begun
}

/// Runs what waits for a broker where that holds up no other task.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::RDKafkaApiKey;

    use super::*;

    #[test]
    fn a_partition_whose_offset_could_not_be_read_is_not_set_to_its_end() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        // In answers of these versions errors are those of partitions.
        cluster
            .apiversion(RDKafkaApiKey::OffsetFetch, Some(0), Some(1))
            .unwrap();
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", cluster.bootstrap_servers());
        let consumer: BaseConsumer = client.set("group.id", "g").create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition("t", 0);
        let read = list.clone();
        let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
        cluster.request_errors(RDKafkaApiKey::OffsetFetch, &[refused]);
        assert_eq!(begin_here(&consumer, &read, &mut list).count(), 0);
        assert_eq!(list.elements()[0].offset(), Offset::Invalid);
        // Once it is known that there is none.
        assert_eq!(begin_here(&consumer, &read, &mut list).count(), 1);
        assert_eq!(list.elements()[0].offset(), Offset::Offset(0));
    }
}
