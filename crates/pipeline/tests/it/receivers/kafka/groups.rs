//! Order, offsets, and members that come and go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cupola_generator::{Generator, GeneratorConfig};
use cupola_peers::kafka::RunningKafka;
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, Signal};

use super::{Choosy, Reader, by_partition, message, numbered, text_of, until_committed};

pub(super) async fn the_order_of_a_partition_is_kept_and_what_was_taken_is_committed(peer: &RunningKafka) {
    for (topic, commit) in [
        ("ordered", "autocommit: {interval: 100ms}"),
        ("ordered-by-hand", "autocommit: {enable: false}"),
    ] {
        peer.make_topic(topic, 3).unwrap();
        peer.produce(topic, &numbered(3, 2_000)).unwrap();
        let yaml = text_of(topic) + commit;
        let reader = Reader::start(peer, &[Signal::Logs], &yaml).await;
        reader.sink.until_taken(6_000).await;
        for numbers in by_partition(&reader.sink.bodies()) {
            assert_eq!(numbers, (0..2_000).collect::<Vec<_>>());
        }
        // Those that wait together are handed over together.
        assert!(
            reader.sink.taken().len() < 1_000,
            "{} batches",
            reader.sink.taken().len()
        );
        until_committed(peer, topic, &[2_000, 2_000, 2_000]);
        assert_eq!(
            reader.sample("otelcol_kafka_receiver_current_offset"),
            3.0 * 1_999.0
        );
        assert_eq!(reader.sample("otelcol_receiver_accepted_log_records"), 6_000.0);
        reader.running.shutdown().await;
        assert_eq!(reader.memory.used(), 0);

        // Another of the group goes on where this one ended.
        peer.produce(topic, &[message(1, "1-002000")]).unwrap();
        let reader = Reader::start(peer, &[Signal::Logs], &yaml).await;
        reader.sink.until_taken(1).await;
        reader.running.shutdown().await;
        assert_eq!(reader.sink.bodies(), ["1-002000"]);
        until_committed(peer, topic, &[2_000, 2_001, 2_000]);
    }
}

pub(super) async fn another_member_takes_over_while_messages_come(peer: &RunningKafka) {
    for (topic, strategy) in [("shared", "cooperative-sticky"), ("shared-eagerly", "range")] {
        peer.make_topic(topic, 3).unwrap();
        let yaml = format!("{}\ngroup_rebalance_strategy: {strategy}", text_of(topic));
        let sink: Arc<Choosy> = Arc::default();
        let start = || {
            Reader::with(
                peer,
                &[Signal::Logs],
                &yaml,
                sink.clone(),
                MemoryBudget::new(64 << 20),
            )
        };
        let first = start().await;
        let all = numbered(3, 1_000);
        let (before, rest) = all.split_at(900);
        let (during, after) = rest.split_at(1_200);
        peer.produce(topic, before).unwrap();
        sink.until_taken(900).await;
        // It joins, and messages come meanwhile.
        let (second, produced) = tokio::join!(start(), async {
            tokio::task::block_in_place(|| peer.produce(topic, during))
        });
        produced.unwrap();
        let has_some = |reader: &Reader| reader.sample("otelcol_kafka_receiver_partition_start") > 0.0;
        sink.until("the second has a partition", |_| has_some(&second))
            .await;
        // The first leaves, and messages come meanwhile.
        let ((), produced) = tokio::join!(first.running.shutdown(), async {
            tokio::task::block_in_place(|| peer.produce(topic, after))
        });
        produced.unwrap();
        let distinct = |sink: &Choosy| sink.bodies().into_iter().collect::<BTreeSet<_>>().len();
        sink.until("all of them", |sink| distinct(sink) == 3_000).await;
        let again = sink.bodies().len() - 3_000;
        eprintln!("{topic}: {again} of 3000 were read again");
        until_committed(peer, topic, &[1_000, 1_000, 1_000]);
        second.running.shutdown().await;
    }
}

pub(super) async fn topics_by_pattern_are_read_and_those_left_out_are_not(peer: &RunningKafka) {
    for topic in ["many-a", "many-b", "many-test"] {
        peer.produce(topic, &[message(0, topic)]).unwrap();
    }
    let yaml =
        "group_id: many\nlogs: {topics: ['^many-.*'], encoding: text, exclude_topics: ['^many-test$']}";
    let reader = Reader::start(peer, &[Signal::Logs], yaml).await;
    reader.sink.until_taken(2).await;
    // One that is made later is found.
    peer.produce("many-c", &[message(1, "many-c")]).unwrap();
    reader.sink.until_taken(3).await;
    reader.running.shutdown().await;
    let found: BTreeSet<String> = reader.sink.bodies().into_iter().collect();
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        ["many-a", "many-b", "many-c"]
    );
}

pub(super) async fn a_topic_that_one_signal_leaves_out_is_read_by_another(peer: &RunningKafka) {
    let mut generator = Generator::new(GeneratorConfig::default());
    let (logs, traces) = (generator.logs(3), generator.traces(3));
    for topic in ["app-logs", "app-traces", "app-other"] {
        peer.make_topic(topic, 1).unwrap();
    }
    let yaml = "group_id: of-app-other\ninitial_offset: latest\n\
                logs: {topics: ['^app-.*'], exclude_topics: ['^app-(traces|other)$']}\n\
                traces: {topics: [app-traces]}";
    let reader = Reader::start(peer, &[Signal::Logs, Signal::Traces], yaml).await;
    let begun = |reader: &Reader| reader.sample("otelcol_kafka_receiver_partition_start");
    reader
        .sink
        .until("two partitions", |_| begun(&reader) >= 2.0)
        .await;
    let produce = |topic, payload: &[u8]| peer.produce(topic, &[message(0, payload)]).unwrap();
    // Nobody reads it: it is neither handed on nor kept, and its offset stays where it was.
    produce("app-other", logs.payload());
    produce("app-traces", traces.payload());
    produce("app-logs", logs.payload());
    reader.sink.until_taken(logs.items() + traces.items()).await;
    let taken = reader.sink.taken();
    let of = |signal| taken.iter().filter(move |batch| batch.signal() == signal);
    assert_eq!(
        of(Signal::Traces).map(Batch::items).sum::<usize>(),
        traces.items()
    );
    assert_eq!(of(Signal::Logs).map(Batch::items).sum::<usize>(), logs.items());
    assert_eq!(begun(&reader), 2.0);
    reader.running.shutdown().await;
    assert_eq!(reader.letters(), []);
    assert!(peer.committed("of-app-other", "app-other", 1).unwrap()[0] < 0);
}

pub(super) async fn from_the_latest_on_nothing_is_passed_over(peer: &RunningKafka) {
    peer.make_topic("late", 3).unwrap();
    peer.produce("late", &numbered(3, 5)).unwrap();
    let yaml = text_of("late") + "initial_offset: latest\nerror_backoff: {initial_interval: 20ms}";
    let memory = MemoryBudget::new(64 << 20);
    let sink: Arc<Choosy> = Arc::default();
    *sink.busy.lock() = true;
    let reader = Reader::with(peer, &[Signal::Logs], &yaml, sink, memory).await;
    // It has read nothing, and where it will begin is known.
    until_committed(peer, "late", &[5, 5, 5]);
    peer.produce("late", &[message(0, "while it refuses")]).unwrap();
    let refused = |sink: &Choosy| sink.refusals.load(Ordering::Relaxed) > 0;
    reader.sink.until("a refusal", refused).await;
    reader.running.shutdown().await;
    peer.produce("late", &[message(1, "while nobody reads")]).unwrap();
    let reader = Reader::start(peer, &[Signal::Logs], &yaml).await;
    reader.sink.until_taken(2).await;
    until_committed(peer, "late", &[6, 6, 5]);
    reader.running.shutdown().await;
    let found: BTreeSet<String> = reader.sink.bodies().into_iter().collect();
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        ["while it refuses", "while nobody reads"]
    );
}
