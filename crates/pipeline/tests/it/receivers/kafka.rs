//! The Kafka receiver with a real broker, written to by a client that shares no code with ours.

mod against_collector;
mod encodings;
mod groups;
mod killed;
mod refusals;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cupola_export::dead_letter::{self, Entry};
use cupola_export::{Accepted, Sample, SendError, Sink};
use cupola_peers::kafka::{Message, RunningKafka};
use cupola_peers::peer_or_skip;
use cupola_pipeline::receivers::kafka::{KafkaReceiver, KafkaReceiverConfig, RunningKafka as Running};
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::view::AnyValue;
use cupola_telemetry::{Batch, Signal};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Messages that the broker takes at most.
const BROKER_BYTES_MAX: usize = 16_000_000;
/// Of a machine that may be busy.
const LIMIT: Duration = Duration::from_secs(120);

/// Remembers what it takes, and refuses what it is told to.
#[derive(Default)]
pub(super) struct Choosy {
    taken: Mutex<Vec<Batch>>,
    /// Refuses everything for now.
    pub(super) busy: Mutex<bool>,
    /// Refuses for good what has this in a body.
    pub(super) detests: Mutex<Option<&'static str>>,
    pub(super) refusals: AtomicU64,
    changed: Notify,
}

#[async_trait]
impl Sink for Choosy {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let detested = self.detests.lock().is_some_and(|detested| {
            let bodies = bodies(std::slice::from_ref(&batch));
            bodies.iter().any(|body| body.contains(detested))
        });
        let answer = match (detested, *self.busy.lock()) {
            (true, _) => Err(SendError::permanent("detested")),
            (_, true) => Err(SendError::retryable("busy")),
            _ => Ok(Accepted::all()),
        };
        match &answer {
            Ok(_) => self.taken.lock().push(batch),
            Err(_) => drop(self.refusals.fetch_add(1, Ordering::Relaxed)),
        }
        self.changed.notify_waiters();
        answer
    }
}

impl Choosy {
    pub(super) fn taken(&self) -> Vec<Batch> {
        self.taken.lock().clone()
    }

    pub(super) fn bodies(&self) -> Vec<String> {
        bodies(&self.taken())
    }

    /// Waits until something holds of what was taken and refused.
    pub(super) async fn until(&self, what: &str, holds: impl Fn(&Choosy) -> bool) {
        let begun = tokio::time::Instant::now();
        while !holds(self) {
            assert!(
                begun.elapsed() < LIMIT,
                "not within {LIMIT:?}: {what}; {} taken",
                self.taken().len()
            );
            let _ = tokio::time::timeout(Duration::from_millis(50), self.changed.notified()).await;
        }
    }

    pub(super) async fn until_taken(&self, items: usize) {
        let count = |sink: &Choosy| sink.taken.lock().iter().map(Batch::items).sum::<usize>();
        self.until(&format!("{items} items"), |sink| count(sink) >= items)
            .await;
    }
}

/// The bodies of log records that are texts or bytes.
pub(super) fn bodies(batches: &[Batch]) -> Vec<String> {
    let mut bodies = Vec::new();
    for batch in batches.iter().filter(|batch| batch.signal() == Signal::Logs) {
        for resource in batch.logs().resources() {
            for record in resource.scopes().flat_map(|scope| scope.records()) {
                bodies.push(match record.body {
                    Some(AnyValue::String(text)) => text.to_owned(),
                    Some(AnyValue::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
                    other => format!("{other:?}"),
                });
            }
        }
    }
    bodies
}

/// A receiver and what is around it.
pub(super) struct Reader {
    pub(super) running: Running,
    pub(super) sink: Arc<Choosy>,
    pub(super) memory: MemoryBudget,
    letters: tempfile::TempDir,
}

impl Reader {
    /// Starts one that reads what there is of logs as text, unless `yaml` says otherwise.
    pub(super) async fn start(peer: &RunningKafka, signals: &[Signal], yaml: &str) -> Reader {
        Reader::with(peer, signals, yaml, Arc::default(), MemoryBudget::new(64 << 20)).await
    }

    pub(super) async fn with(
        peer: &RunningKafka,
        signals: &[Signal],
        yaml: &str,
        sink: Arc<Choosy>,
        memory: MemoryBudget,
    ) -> Reader {
        let letters = tempfile::tempdir().unwrap();
        let running = KafkaReceiver::start(
            config(&peer.broker(), yaml),
            ("receivers/kafka", letters.path()),
            signals,
            sink.clone(),
            memory.clone(),
        );
        Reader {
            running: running.await.unwrap(),
            sink,
            memory,
            letters,
        }
    }

    pub(super) fn letters(&self) -> Vec<Entry> {
        dead_letter::list(self.letters.path()).unwrap().letters
    }

    /// Every letter again, as batches.
    pub(super) async fn read_letters(&self) -> Vec<Batch> {
        let sink = Choosy::default();
        for letter in self.letters() {
            dead_letter::retry(self.letters.path(), &letter.id, &sink)
                .await
                .unwrap();
        }
        sink.taken()
    }

    pub(super) fn sample(&self, name: &str) -> f64 {
        let mut samples: Vec<Sample> = Vec::new();
        self.running.collect(&mut samples);
        let named: Vec<&Sample> = samples.iter().filter(|sample| sample.name == name).collect();
        assert!(!named.is_empty(), "there is no {name}");
        named.iter().map(|sample| sample.value).sum()
    }
}

pub(super) fn config(broker: &str, yaml: &str) -> KafkaReceiverConfig {
    let mut whole = format!("brokers: ['{broker}']\n{yaml}");
    // Sooner than otherwise, unless it is said.
    for (key, value) in [
        ("initial_offset", "earliest"),
        ("autocommit", "{interval: 100ms}"),
        ("metadata", "{refresh_interval: 2s}"),
    ] {
        if !yaml.contains(key) {
            whole.push_str(&format!("\n{key}: {value}"));
        }
    }
    cupola_config::yaml::from_str(&whole).unwrap()
}

/// Settings of a reader of logs as text.
pub(super) fn text_of(topic: &str) -> String {
    format!("group_id: of-{topic}\nlogs: {{topics: ['{topic}'], encoding: text}}\n")
}

pub(super) fn message(partition: i32, value: impl Into<Vec<u8>>) -> Message {
    Message {
        partition,
        key: None,
        value: value.into(),
        headers: Vec::new(),
    }
}

/// So many texts in each of the partitions, as `PARTITION-NUMBER`.
pub(super) fn numbered(partitions: i32, count: usize) -> Vec<Message> {
    let of = |number: usize| (0..partitions).map(move |at| message(at, format!("{at}-{number:06}")));
    (0..count).flat_map(of).collect()
}

/// Waits until the offsets of a group are committed.
pub(super) fn until_committed(peer: &RunningKafka, topic: &str, expected: &[i64]) {
    let group = format!("of-{topic}");
    let partitions = expected.len() as u32;
    let mut committed = Ok(Vec::new());
    let reached = cupola_peers::wait_until(LIMIT, || {
        committed = peer.committed(&group, topic, partitions);
        committed.as_deref() == Ok(expected)
    });
    assert!(reached, "{topic}: {committed:?} instead of {expected:?}");
}

/// What each partition gave, in the order in which it came.
pub(super) fn by_partition(bodies: &[String]) -> Vec<Vec<usize>> {
    let mut found = vec![Vec::new(); 3];
    for body in bodies {
        let (partition, number) = body.split_once('-').unwrap();
        found[partition.parse::<usize>().unwrap()].push(number.parse::<usize>().unwrap());
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_broker_is_read() {
    let peer = peer_or_skip!(cupola_peers::kafka::start(BROKER_BYTES_MAX));
    encodings::each_becomes_what_the_collector_makes_of_it(&peer).await;
    encodings::what_the_exporter_writes_comes_back_equal(&peer).await;
    encodings::headers_are_the_tenant_the_signal_and_attributes(&peer).await;
    groups::the_order_of_a_partition_is_kept_and_what_was_taken_is_committed(&peer).await;
    groups::another_member_takes_over_while_messages_come(&peer).await;
    groups::from_the_latest_on_nothing_is_passed_over(&peer).await;
    groups::topics_by_pattern_are_read_and_those_left_out_are_not(&peer).await;
    groups::a_topic_that_one_signal_leaves_out_is_read_by_another(&peer).await;
    refusals::nothing_is_committed_that_was_not_taken(&peer).await;
    refusals::a_sink_that_refuses_for_long_costs_neither_memory_nor_the_membership(&peer).await;
    refusals::messages_that_cannot_be_read_are_kept_and_cost_no_others(&peer).await;
    refusals::what_is_refused_for_good_is_kept_and_costs_no_others(&peer).await;
    refusals::a_partition_stands_still_where_that_is_said(&peer).await;
    refusals::a_message_larger_than_what_is_fetched_at_a_time_is_read(&peer).await;
    killed::what_a_killed_process_had_not_handed_on_is_read_again(&peer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_goes_away_is_read_on_when_it_is_back() {
    let mut peer = peer_or_skip!(cupola_peers::kafka::start(BROKER_BYTES_MAX));
    peer.make_topic("away", 3).unwrap();
    peer.produce("away", &numbered(3, 50)).unwrap();
    let reader = Reader::start(&peer, &[Signal::Logs], &text_of("away")).await;
    reader.sink.until_taken(150).await;
    until_committed(&peer, "away", &[50, 50, 50]);
    peer.kill();
    let downtime = reader.sink.taken().len();
    peer.begin().unwrap();
    peer.produce("away", &numbered(3, 50)).unwrap();
    reader.sink.until_taken(300).await;
    assert!(reader.sink.taken().len() > downtime);
    assert_eq!(
        reader.sink.bodies().len(),
        300,
        "what was committed is not read again"
    );
    until_committed(&peer, "away", &[100, 100, 100]);
    // Ends in bounded time without a broker too.
    peer.kill();
    reader.running.shutdown().await;
}

#[test]
fn settings_have_the_collectors_names_and_what_cannot_be_is_refused() {
    let full = "
brokers: [a:1]
protocol_version: 2.1.0
client_id: c
rack_id: r
use_leader_epoch: false
group_id: g
group_instance_id: i
initial_offset: earliest
session_timeout: 20s
heartbeat_interval: 2s
group_rebalance_strategies: [range, roundrobin]
min_fetch_size: 10
default_fetch_size: 2000000
max_fetch_size: 4000000
max_fetch_wait: 100ms
max_decompress_batch_bytes: 1000000
tls:
auth: {sasl: {username: u, password: hunter2, mechanism: SCRAM-SHA-256}}
metadata: {full: true, refresh_interval: 1m, retry: {max: 3, backoff: 1s}}
autocommit: {enable: false, interval: 2s}
message_marking: {after: true, on_error: false, on_permanent_error: true}
partition_processing: {independent: true, max_prefetch: {batches: 2}}
header_extraction: {extract_headers: true, headers: [a]}
error_backoff: {enabled: true, initial_interval: 1s, max_interval: 2s, multiplier: 2, max_elapsed_time: 1m}
telemetry: {metrics: {kafka_receiver_records_delay: {enabled: true}}}
logs: {topics: ['^a.*'], encoding: text_shift_jis, exclude_topic: ^ab}
traces: {topic: t, encoding: zipkin_json}
";
    let config: KafkaReceiverConfig = cupola_config::yaml::from_str(full).unwrap();
    config.validate().unwrap();
    assert!(config.tls.is_some(), "a key without a value is there");
    assert!(!format!("{config:?}").contains("hunter2"));
    for (wrong, told) in [
        ("brokers: []", "brokers: "),
        ("group_id: ''", "group_id: "),
        ("session_timeout: 1ms", "session_timeout: "),
        ("heartbeat_interval: 8s", "heartbeat_interval: "),
        ("group_rebalance_strategy: sticky", "group_rebalance_strategy: "),
        (
            "group_rebalance_strategies: [range, cooperative-sticky]",
            "group_rebalance_strategies: ",
        ),
        ("max_fetch_size: 10\nmin_fetch_size: 100", "max_fetch_size: "),
        (
            "max_partition_fetch_size: 1\ndefault_fetch_size: 1",
            "default_fetch_size: ",
        ),
        ("error_backoff: {multiplier: 0.5}", "error_backoff.multiplier: "),
        ("metrics: {encoding: text}", "metrics.encoding: "),
        ("encoding: jaeger_json", "encoding: "),
        ("logs: {topics: ['^(']}", "logs.topics: "),
        (
            "auth: {sasl: {username: u, password: p, mechanism: AWS_MSK_IAM_OAUTHBEARER}}",
            "SCRAM-SHA-512",
        ),
    ] {
        let config: KafkaReceiverConfig = cupola_config::yaml::from_str(wrong).unwrap();
        let problem = config.validate().unwrap_err().to_string();
        assert!(problem.contains(told), "{wrong}: {problem}");
    }
    assert!(cupola_config::yaml::from_str::<KafkaReceiverConfig>("topics: [a]").is_err());
}

#[tokio::test]
async fn settings_that_are_valid_make_a_client() {
    for yaml in [
        "min_fetch_size: 0\nmax_fetch_size: 0",
        "max_fetch_size: 1\nmax_partition_fetch_size: 1",
        "max_fetch_size: 1000000000\nmax_partition_fetch_size: 1000000000",
        "max_fetch_wait: 10h",
        "session_timeout: 1h\nheartbeat_interval: 1ms",
        "session_timeout: 1s\nheartbeat_interval: 500ms",
        "metadata: {refresh_interval: 0s, retry: {backoff: 0s}}",
        "metadata: {refresh_interval: 900h, retry: {backoff: 1h}}",
        "dial_timeout: 1s\nconn_idle_timeout: 1s",
        "autocommit: {interval: 1ms}",
        "group_instance_id: a\nrack_id: b\nresolve_canonical_bootstrap_servers_only: true",
        "group_rebalance_strategies: [roundrobin, range]",
        "logs: {topics: ['^a', b], exclude_topics: ['^c', '^d']}",
        "tls:\nauth: {sasl: {username: u, password: p, mechanism: SCRAM-SHA-512}}",
    ] {
        let letters = tempfile::tempdir().unwrap();
        let running = KafkaReceiver::start(
            config(&format!("127.0.0.1:{}", cupola_peers::free_port()), yaml),
            ("receivers/kafka", letters.path()),
            &Signal::ALL,
            Arc::new(Choosy::default()),
            MemoryBudget::unlimited(),
        );
        let running = running.await.unwrap_or_else(|error| panic!("{yaml}: {error:?}"));
        running.shutdown().await;
    }
}
