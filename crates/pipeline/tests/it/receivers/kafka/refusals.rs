//! What becomes of messages that are not taken.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cupola_peers::kafka::RunningKafka;
use cupola_telemetry::Signal;
use cupola_telemetry::memory::MemoryBudget;

use super::{Choosy, Reader, bodies, by_partition, message, numbered, text_of, until_committed};

/// Attempts soon after one another.
const SOON: &str = "\nerror_backoff: {initial_interval: 20ms, max_interval: 500ms}";

fn busy() -> Arc<Choosy> {
    let sink: Arc<Choosy> = Arc::default();
    *sink.busy.lock() = true;
    sink
}

pub(super) async fn nothing_is_committed_that_was_not_taken(peer: &RunningKafka) {
    peer.make_topic("refused", 3).unwrap();
    peer.produce("refused", &numbered(3, 10)).unwrap();
    let yaml = text_of("refused") + SOON;
    let memory = MemoryBudget::new(64 << 20);
    let reader = Reader::with(peer, &[Signal::Logs], &yaml, busy(), memory.clone()).await;
    let refused = |times| move |sink: &Choosy| sink.refusals.load(Ordering::Relaxed) >= times;
    reader.sink.until("refusals", refused(10)).await;
    until_committed(peer, "refused", &[-1, -1, -1]);
    reader.running.shutdown().await;
    until_committed(peer, "refused", &[-1, -1, -1]);

    let reader = Reader::with(peer, &[Signal::Logs], &yaml, busy(), memory).await;
    reader.sink.until("refusals", refused(10)).await;
    *reader.sink.busy.lock() = false;
    reader.sink.until_taken(30).await;
    until_committed(peer, "refused", &[10, 10, 10]);
    reader.running.shutdown().await;
    for numbers in by_partition(&reader.sink.bodies()) {
        assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    }
    assert_eq!(reader.letters(), []);
}

pub(super) async fn a_sink_that_refuses_for_long_costs_neither_memory_nor_the_membership(
    peer: &RunningKafka,
) {
    const MESSAGES: usize = 100;
    let large: Vec<_> = numbered(3, MESSAGES)
        .into_iter()
        .map(|mut message| {
            message.value.extend_from_slice(&[b'x'; 100_000]);
            message
        })
        .collect();
    peer.make_topic("crowded", 3).unwrap();
    peer.produce("crowded", &large).unwrap();
    // Of 30 MB, 2 MiB may wait; several times the session passes.
    let yaml = text_of("crowded") + SOON + "\nsession_timeout: 3s\nheartbeat_interval: 500ms";
    let memory = MemoryBudget::new(8 << 20);
    let reader = Reader::with(peer, &[Signal::Logs], &yaml, busy(), memory.clone()).await;
    let refusals = |times| move |sink: &Choosy| sink.refusals.load(Ordering::Relaxed) >= times;
    reader.sink.until("refusals for some seconds", refusals(60)).await;
    assert!(memory.peak() <= memory.ceiling());
    assert!(reader.sample("cupola_receiver_kafka_paused_partitions") > 0.0);
    assert_eq!(reader.sample("otelcol_kafka_receiver_partition_start"), 3.0);
    assert_eq!(reader.sample("otelcol_kafka_receiver_partition_close"), 0.0);
    *reader.sink.busy.lock() = false;
    reader.sink.until_taken(3 * MESSAGES).await;
    until_committed(peer, "crowded", &[MESSAGES as i64; 3]);
    assert_eq!(reader.sample("otelcol_kafka_receiver_partition_close"), 0.0);
    reader.running.shutdown().await;
    assert!(memory.peak() <= memory.ceiling());
    assert_eq!(memory.used(), 0);
    let short = |body: &String| body.trim_end_matches('x').to_owned();
    let found: Vec<String> = reader.sink.bodies().iter().map(short).collect();
    for numbers in by_partition(&found) {
        assert_eq!(
            numbers,
            (0..MESSAGES).collect::<Vec<_>>(),
            "each once and in order"
        );
    }
}

pub(super) async fn messages_that_cannot_be_read_are_kept_and_cost_no_others(peer: &RunningKafka) {
    peer.make_topic("poison", 1).unwrap();
    let texts = [r#"{"a": 1}"#, "no json", r#"{"a": 2}"#, "", r#"{"a": 3}"#];
    peer.produce("poison", &texts.map(|text| message(0, text)))
        .unwrap();
    let yaml = "group_id: of-poison\nlogs: {topics: [poison], encoding: json}";
    let reader = Reader::start(peer, &[Signal::Logs], yaml).await;
    reader.sink.until_taken(3).await;
    until_committed(peer, "poison", &[5]);
    reader.running.shutdown().await;
    assert_eq!(bodies(&reader.sink.taken()).len(), 3);
    let letters = reader.letters();
    assert_eq!(letters.len(), 2);
    assert!(
        letters[0].reason.contains("not a JSON object"),
        "{}",
        letters[0].reason
    );
    assert_eq!(letters[0].exporter, "receivers/kafka");
    assert_eq!(reader.sample("cupola_receiver_kafka_undecodable_messages"), 2.0);
    // What is kept is the message, and where it was.
    let kept = reader.read_letters().await;
    assert_eq!(bodies(&kept), ["no json", ""]);
    let json: serde_json::Value = serde_json::from_str(&kept[0].to_json()).unwrap();
    let attributes = json["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["attributes"].to_string();
    assert!(
        attributes.contains("poison") && attributes.contains("messaging.kafka.offset"),
        "{attributes}"
    );
}

pub(super) async fn what_is_refused_for_good_is_kept_and_costs_no_others(peer: &RunningKafka) {
    peer.make_topic("detested", 1).unwrap();
    let texts = ["good 1", "bad", "good 2", "good 3"];
    peer.produce("detested", &texts.map(|text| message(0, text)))
        .unwrap();
    let sink: Arc<Choosy> = Arc::default();
    *sink.detests.lock() = Some("bad");
    let yaml = text_of("detested");
    let reader = Reader::with(peer, &[Signal::Logs], &yaml, sink, MemoryBudget::new(64 << 20)).await;
    reader.sink.until_taken(3).await;
    until_committed(peer, "detested", &[4]);
    reader.running.shutdown().await;
    assert_eq!(reader.sink.bodies(), ["good 1", "good 2", "good 3"]);
    let letters = reader.letters();
    assert_eq!(
        (letters.len(), letters[0].items, letters[0].reason.as_str()),
        (1, 1, "detested")
    );
    assert_eq!(bodies(&reader.read_letters().await), ["bad"]);
}

pub(super) async fn a_partition_stands_still_where_that_is_said(peer: &RunningKafka) {
    peer.make_topic("still", 2).unwrap();
    let messages = [
        message(0, "good 1"),
        message(0, "bad"),
        message(0, "good 2"),
        message(1, "good 3"),
    ];
    peer.produce("still", &messages).unwrap();
    let sink: Arc<Choosy> = Arc::default();
    *sink.detests.lock() = Some("bad");
    let yaml = text_of("still") + "\nmessage_marking: {after: true}";
    let reader = Reader::with(peer, &[Signal::Logs], &yaml, sink, MemoryBudget::new(64 << 20)).await;
    let stopped = || reader.sample("cupola_receiver_kafka_stopped_partitions");
    reader.sink.until("it stands still", |_| stopped() == 1.0).await;
    reader.sink.until_taken(2).await;
    until_committed(peer, "still", &[1, 1]);
    reader.running.shutdown().await;
    assert_eq!(reader.letters(), []);

    // With nobody to refuse it any more, the next goes on with it. One that is passed over is kept.
    let yaml = text_of("still") + SOON + "\nmessage_marking: {after: true, on_error: true}";
    let reader = Reader::with(peer, &[Signal::Logs], &yaml, busy(), MemoryBudget::new(64 << 20)).await;
    until_committed(peer, "still", &[3, 1]);
    reader.running.shutdown().await;
    assert_eq!(bodies(&reader.read_letters().await), ["bad", "good 2"]);
}

pub(super) async fn a_message_larger_than_what_is_fetched_at_a_time_is_read(peer: &RunningKafka) {
    peer.make_topic("large", 1).unwrap();
    let large = "y".repeat(5_000_000);
    peer.produce(
        "large",
        &[
            message(0, "before"),
            message(0, large.as_str()),
            message(0, "after"),
        ],
    )
    .unwrap();
    let reader = Reader::start(peer, &[Signal::Logs], &text_of("large")).await;
    reader.sink.until_taken(3).await;
    until_committed(peer, "large", &[3]);
    reader.running.shutdown().await;
    assert_eq!(
        reader.sink.bodies(),
        ["before".to_owned(), large, "after".to_owned()]
    );

    // One that there can never be memory for is kept.
    peer.produce("large", &[message(0, "z".repeat(4_000_000)), message(0, "last")])
        .unwrap();
    let memory = MemoryBudget::new(2 << 20);
    let reader = Reader::with(peer, &[Signal::Logs], &text_of("large"), Arc::default(), memory).await;
    reader.sink.until_taken(1).await;
    until_committed(peer, "large", &[5]);
    reader.running.shutdown().await;
    assert_eq!(reader.sink.bodies(), ["last"]);
    assert_eq!(reader.letters().len(), 1);
}
