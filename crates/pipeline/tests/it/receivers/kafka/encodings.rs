//! What messages say, in every encoding, and what their headers add.

use cupola_export::kafka::{KafkaCompression, KafkaConfig, KafkaSink};
use cupola_export::{Accepted, Sink as _};
use cupola_generator::{Generator, GeneratorConfig};
use cupola_peers::kafka::RunningKafka;
use cupola_telemetry::{Batch, Signal, TenantId};
use serde_json::{Value, json};

use super::{Reader, bodies, message};
use crate::receivers::jaeger::lone_span;
use crate::receivers::zipkin::spans;

/// A `zipkin.proto3.ListOfSpans`, independent of what the receiver reads it with.
#[derive(Clone, PartialEq, prost::Message)]
struct ZipkinSpans {
    #[prost(message, repeated, tag = "1")]
    spans: Vec<ZipkinSpan>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ZipkinSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
}

fn zipkin_proto() -> Vec<u8> {
    let span = |name: &str| ZipkinSpan {
        trace_id: vec![1; 16],
        id: vec![2; 8],
        name: name.to_owned(),
    };
    prost::Message::encode_to_vec(&ZipkinSpans {
        spans: vec![span("one"), span("two")],
    })
}

fn names(batches: &[Batch]) -> Vec<Value> {
    let spans = batches
        .iter()
        .filter(|batch| batch.signal() == Signal::Traces)
        .flat_map(spans);
    spans.map(|span| json!([span["name"], span["ids"][0]])).collect()
}

/// Reads one message each of logs and of traces.
async fn read(peer: &RunningKafka, logs: (&str, &[u8]), traces: (&str, &[u8])) -> Vec<Batch> {
    let (of_logs, of_traces) = (format!("as-{}", logs.0), format!("as-{}", traces.0));
    let (of_logs, of_traces) = (format!("{of_logs}-of-logs"), format!("{of_traces}-of-traces"));
    peer.produce(&of_logs, &[message(0, logs.1)]).unwrap();
    peer.produce(&of_traces, &[message(2, traces.1)]).unwrap();
    let yaml = format!(
        "group_id: {of_logs}\nlogs: {{topics: ['{of_logs}'], encoding: {}}}\n\
         traces: {{topics: ['{of_traces}'], encoding: {}}}",
        logs.0, traces.0
    );
    let reader = Reader::start(peer, &[Signal::Logs, Signal::Traces], &yaml).await;
    let both = |batches: &[Batch]| {
        batches
            .iter()
            .map(|batch| batch.signal() as usize)
            .collect::<Vec<_>>()
    };
    reader
        .sink
        .until("one of each", |sink| {
            let found = both(&sink.taken());
            found.contains(&(Signal::Logs as usize)) && found.contains(&(Signal::Traces as usize))
        })
        .await;
    reader.running.shutdown().await;
    assert_eq!(reader.letters(), []);
    reader.sink.taken()
}

pub(super) async fn each_becomes_what_the_collector_makes_of_it(peer: &RunningKafka) {
    let zipkin =
        br#"[{"traceId": "0102030405060708090a0b0c0d0e0f10", "id": "0a0b0c0d0e0f1011", "name": "get"}]"#;
    let taken = read(peer, ("text", "grüße".as_bytes()), ("zipkin_json", zipkin)).await;
    assert_eq!(bodies(&taken), ["grüße"]);
    assert_eq!(
        names(&taken),
        [json!(["get", "0102030405060708090a0b0c0d0e0f10"])]
    );

    let taken = read(peer, ("raw", b"a\x00b"), ("zipkin_proto", &zipkin_proto())).await;
    assert_eq!(bodies(&taken), ["a\0b"]);
    let id = "01".repeat(16);
    assert_eq!(names(&taken), [json!(["one", id]), json!(["two", id])]);

    let taken = read(
        peer,
        ("text_shift_jis", b"\x93\xfa\x96\x7b"),
        ("jaeger_proto", &lone_span()),
    )
    .await;
    assert_eq!(bodies(&taken), ["日本"]);
    assert_eq!(names(&taken).len(), 1);

    let mut generator = Generator::new(GeneratorConfig::default());
    let (logs, traces) = (generator.logs(20), generator.traces(20));
    let as_json = (logs.to_json(), traces.to_json());
    let taken = read(
        peer,
        ("otlp_json", as_json.0.as_bytes()),
        ("otlp_json", as_json.1.as_bytes()),
    )
    .await;
    let mut found: Vec<String> = taken.iter().map(Batch::to_json).collect();
    found.sort();
    let mut expected = vec![as_json.0, as_json.1];
    expected.sort();
    assert_eq!(found, expected);

    let taken = read(
        peer,
        ("json", br#"{"level": "info", "n": 3}"#),
        ("otlp_proto", traces.payload()),
    )
    .await;
    let of = |signal| taken.iter().find(|batch| batch.signal() == signal).unwrap();
    assert_eq!(of(Signal::Traces).payload(), traces.payload());
    let json: Value = serde_json::from_str(&of(Signal::Logs).to_json()).unwrap();
    let record = &json["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    assert_eq!(
        record["body"]["kvlistValue"]["values"],
        json!([{"key": "level", "value": {"stringValue": "info"}}, {"key": "n", "value": {"intValue": "3"}}])
    );
    assert!(record["observedTimeUnixNano"].is_string());
}

/// Payloads of one signal, those of one tenant that follow one another joined.
fn runs(batches: &[Batch], signal: Signal) -> Vec<(TenantId, Vec<u8>)> {
    let mut runs: Vec<(TenantId, Vec<u8>)> = Vec::new();
    for batch in batches.iter().filter(|batch| batch.signal() == signal) {
        match runs.last_mut() {
            Some((tenant, payload)) if tenant == batch.tenant() => payload.extend_from_slice(batch.payload()),
            _ => runs.push((batch.tenant().clone(), batch.payload().to_vec())),
        }
    }
    runs
}

pub(super) async fn what_the_exporter_writes_comes_back_equal(peer: &RunningKafka) {
    for topic in ["round-logs", "round-metrics", "round-traces"] {
        peer.make_topic(topic, 1).unwrap();
    }
    let mut generator = Generator::new(GeneratorConfig::default());
    let mut sent = Vec::new();
    let compressions = [
        KafkaCompression::None,
        KafkaCompression::Gzip,
        KafkaCompression::Snappy,
        KafkaCompression::Lz4,
        KafkaCompression::Zstd,
    ];
    for (round, compression) in compressions.into_iter().enumerate() {
        let mut config = KafkaConfig {
            brokers: vec![peer.broker()],
            signal_header: true,
            ..KafkaConfig::default()
        };
        config.producer.compression = compression;
        config.logs.topic = "round-logs".to_owned();
        config.metrics.topic = "round-metrics".to_owned();
        config.traces.topic = "round-traces".to_owned();
        let sink = KafkaSink::new(config).unwrap();
        for signal in Signal::ALL {
            let batch = generator.batch(signal, 50);
            let tenant = TenantId::parse(["team-a", "team-b"][round / 2 % 2]).unwrap();
            let batch = Batch::from_canonical(signal, tenant, batch.payload().clone(), batch.items());
            assert_eq!(sink.send(batch.clone()).await, Ok(Accepted::all()));
            sent.push(batch);
        }
    }
    let yaml = "group_id: round\nlogs: {topics: [round-logs]}\nmetrics: {topics: [round-metrics]}\n\
                traces: {topics: [round-traces]}";
    let reader = Reader::start(peer, &Signal::ALL, yaml).await;
    reader.sink.until_taken(sent.iter().map(Batch::items).sum()).await;
    for signal in Signal::ALL {
        let (found, expected) = (runs(&reader.sink.taken(), signal), runs(&sent, signal));
        assert!(expected.len() > 1 && found == expected, "{signal}");
    }
    reader.running.shutdown().await;
}

pub(super) async fn headers_are_the_tenant_the_signal_and_attributes(peer: &RunningKafka) {
    let mut generator = Generator::new(GeneratorConfig::default());
    let with = |value: Vec<u8>, headers: &[(&str, &str)]| {
        let mut message = message(0, value);
        let header = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
        message.headers = headers.iter().map(header).collect();
        message
    };
    let (logs, traces) = (generator.logs(1), generator.traces(1));
    let messages = [
        with(
            logs.payload().to_vec(),
            &[
                ("otelcol.signal", "logs"),
                ("X-Scope-OrgID", "team-a"),
                ("zone", "eu"),
                ("other", "no"),
            ],
        ),
        with(traces.payload().to_vec(), &[("otelcol.signal", "traces")]),
        // Which of the two it is, nobody knows; and who is nobody.
        with(logs.payload().to_vec(), &[]),
        with(
            logs.payload().to_vec(),
            &[("otelcol.signal", "logs"), ("x-scope-orgid", "no/body")],
        ),
    ];
    peer.produce("headed", &messages).unwrap();
    let yaml = "group_id: headed\nlogs: {topics: [headed]}\ntraces: {topics: [headed]}\n\
                header_extraction: {extract_headers: true, headers: [zone]}";
    let reader = Reader::start(peer, &[Signal::Logs, Signal::Traces], yaml).await;
    reader
        .sink
        .until("two letters", |_| reader.letters().len() == 2)
        .await;
    let taken = reader.sink.taken();
    let by = |signal: Signal| taken.iter().find(|batch| batch.signal() == signal).unwrap();
    assert_eq!(taken.len(), 2);
    assert_eq!(by(Signal::Logs).tenant().as_str(), "team-a");
    assert_eq!(by(Signal::Traces).tenant(), &TenantId::default_tenant());
    let resource = by(Signal::Logs).logs().resources().next().unwrap().resource();
    assert_eq!(
        resource
            .attributes
            .get("kafka.header.zone")
            .and_then(|value| value.as_str()),
        Some("eu")
    );
    assert!(resource.attributes.get("kafka.header.other").is_none());
    let mut reasons: Vec<String> = reader.letters().into_iter().map(|letter| letter.reason).collect();
    reasons.sort();
    assert!(
        reasons[0].contains("x-scope-orgid") && reasons[1].contains("several signals"),
        "{reasons:?}"
    );
    reader.running.shutdown().await;
}
