//! Beside the Collector's own receiver and exporter: what one writes, the other reads.

use cupola_export::kafka::{KafkaConfig, KafkaSink};
use cupola_export::otlp::{OtlpConfig, OtlpSink, Protocol};
use cupola_export::{Accepted, Sink as _};
use cupola_generator::{Generator, GeneratorConfig};
use cupola_peers::collector::{self, Collector};
use cupola_peers::kafka::RunningKafka;
use cupola_peers::{free_port, peer_or_skip, slow};
use cupola_telemetry::{Batch, Signal};
use serde_json::Value;

use super::{BROKER_BYTES_MAX, LIMIT, Reader};
use crate::support;

const ENCODINGS: [&str; 2] = ["otlp_proto", "otlp_json"];

/// The settings of a component `kafka` of the Collector, whose topics are of this encoding.
fn settings(peer: &RunningKafka, encoding: &str, more: &str, topic: fn(&str) -> String) -> String {
    let of = |signal: Signal| {
        let topic = topic(&format!("{encoding}-{signal}"));
        format!("{signal}: {{{topic}, encoding: {encoding}}}")
    };
    let signals = Signal::ALL.map(of).join(", ");
    format!("{{brokers: ['{}'], {more}, {signals}}}", peer.broker())
}

fn pipelines(receiver: &str, exporter: &str) -> String {
    let pipeline =
        |signal: Signal| format!("    {signal}: {{receivers: [{receiver}], exporters: [{exporter}]}}\n");
    let pipelines: String = Signal::ALL.into_iter().map(pipeline).collect();
    format!("service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n{pipelines}")
}

/// Members that say something even where they say nothing.
const VALUES: [&str; 9] = [
    "stringValue",
    "boolValue",
    "intValue",
    "doubleValue",
    "arrayValue",
    "kvlistValue",
    "bytesValue",
    "asInt",
    "asDouble",
];

/// Without fields that have their default, which the Collector writes or leaves out as it likes.
fn normal(json: Value) -> Value {
    let says_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => matches!(text.as_str(), "" | "0"),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    };
    match json {
        Value::Object(members) => {
            let members = members.into_iter().map(|(key, value)| (key, normal(value)));
            let told = members.filter(|(key, value)| VALUES.contains(&key.as_str()) || !says_nothing(value));
            Value::Object(told.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(normal).collect()),
        other => other,
    }
}

fn sorted(batches: &[Batch]) -> Vec<String> {
    let json = |batch: &Batch| normal(serde_json::from_str(&batch.to_json()).unwrap()).to_string();
    let mut all: Vec<String> = batches.iter().map(json).collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn against_collector_what_one_writes_the_other_reads() {
    peer_or_skip!(slow("the OpenTelemetry Collector with Kafka"));
    let program = peer_or_skip!(collector::with_kafka());
    let peer = peer_or_skip!(cupola_peers::kafka::start(BROKER_BYTES_MAX));
    let mut generator = Generator::new(GeneratorConfig::default());
    for encoding in ENCODINGS {
        for signal in Signal::ALL {
            peer.make_topic(&format!("{encoding}-{signal}"), 1).unwrap();
        }
        let sent = Signal::ALL.map(|signal| generator.batch(signal, 100));

        // Its exporter, our receiver.
        let port = free_port();
        let kafka = settings(&peer, encoding, "timeout: 60s", |name| format!("topic: {name}"));
        let yaml = format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{port}'}}}}}}}}\n\
             exporters: {{kafka: {kafka}}}\n{}",
            pipelines("otlp", "kafka")
        );
        let theirs = Collector::start_of(&program, &yaml).unwrap();
        let to_it = OtlpSink::new(OtlpConfig::new(
            Protocol::HttpProtobuf,
            format!("http://127.0.0.1:{port}"),
        ))
        .unwrap();
        for batch in &sent {
            assert_eq!(to_it.send(batch.clone()).await, Ok(Accepted::all()));
        }
        let of =
            |signal: &str| format!("{signal}: {{topics: ['{encoding}-{signal}'], encoding: {encoding}}}\n");
        let yaml = format!(
            "group_id: {encoding}\n{}{}{}",
            of("logs"),
            of("metrics"),
            of("traces")
        );
        let reader = Reader::start(&peer, &Signal::ALL, &yaml).await;
        reader.sink.until_taken(sent.iter().map(Batch::items).sum()).await;
        reader.running.shutdown().await;
        let equal = sorted(&reader.sink.taken()) == sorted(&sent);
        assert!(equal, "{encoding}: {}", theirs.output());
        drop(theirs);

        // Our exporter, its receiver, which begins after what is there already.
        let ours = support::start().await;
        let more = "group_id: theirs, initial_offset: latest";
        let kafka = settings(&peer, encoding, more, |name| format!("topics: ['{name}']"));
        let yaml = format!(
            "receivers: {{kafka: {kafka}}}\nexporters: {{otlphttp: {{endpoint: '{}', compression: none}}}}\n{}",
            ours.http_url(""),
            pipelines("kafka", "otlphttp")
        );
        let theirs = Collector::start_of(&program, &yaml).unwrap();
        let mut config = KafkaConfig {
            brokers: vec![peer.broker()],
            encoding: serde_json::from_value(encoding.into()).unwrap(),
            ..KafkaConfig::default()
        };
        config.logs.topic = format!("{encoding}-logs");
        config.metrics.topic = format!("{encoding}-metrics");
        config.traces.topic = format!("{encoding}-traces");
        let sink = KafkaSink::new(config).unwrap();
        let begun = tokio::time::Instant::now();
        // Until it has joined, it does not see what is written.
        while ours.sink.batches().is_empty() {
            assert!(begun.elapsed() < LIMIT, "{encoding}: {}", theirs.output());
            assert_eq!(sink.send(sent[0].clone()).await, Ok(Accepted::all()));
            let _ = tokio::time::timeout(
                std::time::Duration::from_millis(500),
                ours.sink.entered.notified(),
            )
            .await;
        }
        for batch in &sent {
            assert_eq!(sink.send(batch.clone()).await, Ok(Accepted::all()));
        }
        let expected = sorted(&sent);
        loop {
            let mut found = sorted(&ours.sink.batches());
            found.dedup();
            if found == expected {
                break;
            }
            assert!(
                begun.elapsed() < LIMIT,
                "{encoding}: {} batches\n{}",
                found.len(),
                theirs.output()
            );
            let _ = tokio::time::timeout(
                std::time::Duration::from_millis(100),
                ours.sink.entered.notified(),
            )
            .await;
        }
    }
}
