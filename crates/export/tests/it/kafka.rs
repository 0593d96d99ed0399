//! What is written to a real broker, read back by a consumer that shares no code with the producer, byte for byte.

mod secure;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cupola_config::Secret;
use cupola_config::units::TimeSpan;
use cupola_export::kafka::{Encoding, KafkaCompression, KafkaConfig, KafkaSink, PartitionBy, RequiredAcks};
use cupola_export::{Accepted, Component, SendError, Sink};
use cupola_generator::{Generator, GeneratorConfig};
use cupola_peers::kafka::{Message, RunningKafka};
use cupola_peers::peer_or_skip;
use cupola_telemetry::encode::LogsEncoder;
use cupola_telemetry::{Batch, Client, Signal, TenantId};

use crate::support::{flat_logs, logs};

/// Messages that the broker takes at most.
const BROKER_BYTES_MAX: usize = 2_000_000;

/// Settings that write all signals to one topic.
fn config(peer: &RunningKafka, topic: &str) -> KafkaConfig {
    let mut config = KafkaConfig {
        brokers: vec![peer.broker()],
        // A topic is made when it is first written to, on a machine that may be busy.
        timeout: TimeSpan(Duration::from_secs(60)),
        ..KafkaConfig::default()
    };
    for signal in [&mut config.logs, &mut config.metrics, &mut config.traces] {
        signal.topic = topic.to_owned();
    }
    config
}

fn decode(signal: Signal, message: &Message) -> Batch {
    let value = message.value.clone().into();
    Batch::decode_protobuf(signal, TenantId::default_tenant(), value).unwrap()
}

#[tokio::test]
async fn a_real_broker_has_what_was_sent() {
    let peer = peer_or_skip!(cupola_peers::kafka::start(BROKER_BYTES_MAX));
    every_signal_in_both_encodings_byte_for_byte(&peer).await;
    large_batches_become_messages_of_bounded_size(&peer).await;
    a_line_of_json_is_a_message_with_the_key_of_its_record(&peer).await;
    keys_bring_a_trace_a_tenant_or_a_resource_together(&peer).await;
    headers_and_topics_are_what_the_settings_say(&peer).await;
    every_compression_and_both_acknowledgements(&peer).await;
    what_the_broker_refuses_for_its_size_is_final(&peer).await;
    a_broker_that_hangs_is_worth_another_attempt(&peer).await;
}

async fn every_signal_in_both_encodings_byte_for_byte(peer: &RunningKafka) {
    let mut generator = Generator::new(GeneratorConfig::default());
    for signal in Signal::ALL {
        for encoding in [Encoding::OtlpProto, Encoding::OtlpJson] {
            let topic = format!("{signal}-{encoding:?}");
            let mut config = config(peer, &topic);
            for signal in [&mut config.logs, &mut config.metrics, &mut config.traces] {
                signal.encoding = encoding;
            }
            let batch = generator.batch(signal, 100);
            let sink = KafkaSink::new(config).unwrap();
            assert_eq!(sink.send(batch.clone()).await, Ok(Accepted::all()));
            let messages = peer.consume(&topic, 1).unwrap();
            assert_eq!((messages.len(), &messages[0].key), (1, &None));
            let expected = match encoding {
                Encoding::OtlpProto => batch.payload().to_vec(),
                Encoding::OtlpJson => batch.to_json().into_bytes(),
                Encoding::Json => unreachable!("it is not asked for here"),
            };
            assert_eq!(messages[0].value, expected);
        }
    }
}

async fn a_line_of_json_is_a_message_with_the_key_of_its_record(peer: &RunningKafka) {
    let mut generator = Generator::new(GeneratorConfig::default());
    for signal in Signal::ALL {
        let topic = format!("lines-{signal}");
        let mut config = config(peer, &topic);
        (config.encoding, config.partition_by) = (Some(Encoding::Json), PartitionBy::Trace);
        let batch = generator.batch(signal, 60);
        let sink = KafkaSink::new(config).unwrap();
        assert_eq!(sink.send(batch.clone()).await, Ok(Accepted::all()));
        let messages = peer.consume(&topic, batch.items()).unwrap();
        let lines = cupola_export::json_lines::line::lines(&batch);
        let mut expected: Vec<String> = lines.all().lines().map(str::to_owned).collect();
        let mut found: Vec<String> = messages
            .iter()
            .map(|message| String::from_utf8(message.value.clone()).unwrap())
            .collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        for message in &messages {
            let line: serde_json::Value = serde_json::from_slice(&message.value).unwrap();
            let trace = line["trace_id"].as_str().filter(|trace| !trace.is_empty());
            let key = trace.map(|trace| trace.as_bytes().to_vec());
            assert_eq!(message.key, key, "{line}");
            if signal == Signal::Logs {
                assert_eq!(line.as_object().unwrap().len(), 8, "{line}");
            }
        }
    }
    // Without a key they go in the order of their times, and one that is too large is refused alone.
    let mut config = config(peer, "lines-in-order");
    (config.encoding, config.producer.max_message_bytes) = (Some(Encoding::Json), 10_000);
    let sink = KafkaSink::new(config).unwrap();
    let accepted = sink.send(logs(1, 1, 1, 20_000)).await.unwrap_err();
    assert!(
        accepted.to_string().contains("larger than a message may be"),
        "{accepted}"
    );
    let batch = Batch::concat(&[logs(2, 2, 20, 100), logs(1, 1, 1, 20_000)]).unwrap();
    let accepted = sink.send(batch.clone()).await.unwrap();
    assert_eq!((accepted.rejected, accepted.refused.len()), (1, 1));
    assert_eq!(
        peer.consume("lines-in-order", batch.items() - 1).unwrap().len(),
        batch.items() - 1
    );
}

async fn large_batches_become_messages_of_bounded_size(peer: &RunningKafka) {
    for encoding in [Encoding::OtlpProto, Encoding::OtlpJson] {
        let topic = format!("split-{encoding:?}");
        let mut config = config(peer, &topic);
        (config.producer.max_message_bytes, config.logs.encoding) = (10_000, encoding);
        // The last record is larger than a message may be.
        let whole = Batch::concat(&[logs(2, 2, 50, 100), logs(1, 1, 1, 20_000)]).unwrap();
        let sink = KafkaSink::new(config).unwrap();
        let accepted = sink.send(whole.clone()).await.unwrap();
        assert_eq!(
            (accepted.rejected, accepted.refused.len()),
            (1, 1),
            "{encoding:?}"
        );
        let sent = sink.stats().messages.load(std::sync::atomic::Ordering::Relaxed) as usize;
        assert!(sent >= 3);
        let messages = peer.consume(&topic, sent).unwrap();
        assert!(messages.iter().all(|message| message.value.len() <= 10_000));
        let mut batches: Vec<Batch> = messages
            .iter()
            .map(|message| match encoding {
                Encoding::OtlpProto => decode(Signal::Logs, message),
                Encoding::OtlpJson => {
                    Batch::decode_json(Signal::Logs, TenantId::default_tenant(), &message.value).unwrap()
                }
                Encoding::Json => unreachable!("it is not asked for here"),
            })
            .collect();
        batches.extend(accepted.refused);
        let (mut found, mut wanted) = (flat_logs(&batches), flat_logs(&[whole]));
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted);
        let mut samples = Vec::new();
        sink.collect(&mut samples);
        assert!(
            samples
                .iter()
                .any(|sample| sample.name.ends_with("oversized_items") && sample.value == 1.0)
        );
    }
}

async fn keys_bring_a_trace_a_tenant_or_a_resource_together(peer: &RunningKafka) {
    let mut generator = Generator::new(GeneratorConfig::default());
    let batch = generator.traces(300);
    let mut config_by_trace = config(peer, "by-trace");
    config_by_trace.partition_traces_by_id = true;
    let sink = KafkaSink::new(config_by_trace).unwrap();
    // Twice: a key goes to the same partition again.
    for _ in 0..2 {
        assert_eq!(sink.send(batch.clone()).await, Ok(Accepted::all()));
    }
    let ids = |batch: &Batch| -> Vec<(String, String)> {
        let scopes = batch.traces().resources().flat_map(|resource| resource.scopes());
        scopes
            .flat_map(|scope| scope.spans())
            .map(|span| (hex(span.trace_id), hex(span.span_id)))
            .collect()
    };
    let traces: BTreeSet<String> = ids(&batch).into_iter().map(|(trace, _)| trace).collect();
    let messages = peer.consume("by-trace", traces.len() * 2).unwrap();
    let (mut partitions, mut spans) = (BTreeMap::new(), Vec::new());
    for message in &messages {
        let key = String::from_utf8(message.key.clone().unwrap()).unwrap();
        assert_eq!(
            *partitions.entry(key.clone()).or_insert(message.partition),
            message.partition
        );
        let found = ids(&decode(Signal::Traces, message));
        assert!(found.iter().all(|(trace, _)| *trace == key));
        spans.extend(found);
    }
    assert_eq!(partitions.keys().cloned().collect::<BTreeSet<_>>(), traces);
    assert_eq!(partitions.values().collect::<BTreeSet<_>>().len(), 3);
    let mut wanted = ids(&batch);
    wanted.extend(ids(&batch));
    spans.sort();
    wanted.sort();
    assert_eq!(spans, wanted);

    let tenant = TenantId::parse("team-a").unwrap();
    let one = logs(1, 1, 1, 0);
    let batch = Batch::from_canonical(Signal::Logs, tenant, one.payload().clone(), 1);
    let by_tenant = KafkaConfig {
        partition_by: PartitionBy::Tenant,
        ..config(peer, "by-tenant")
    };
    KafkaSink::new(by_tenant).unwrap().send(batch).await.unwrap();
    assert_eq!(
        peer.consume("by-tenant", 1).unwrap()[0].key.as_deref(),
        Some(&b"team-a"[..])
    );

    let batch = generator.points(200);
    let mut by_resource = config(peer, "by-resource");
    by_resource.partition_metrics_by_resource_attributes = true;
    let sink = KafkaSink::new(by_resource).unwrap();
    sink.send(batch.clone()).await.unwrap();
    let sent = sink.stats().messages.load(std::sync::atomic::Ordering::Relaxed) as usize;
    let messages = peer.consume("by-resource", sent).unwrap();
    let keys: BTreeSet<_> = messages.iter().map(|message| message.key.clone()).collect();
    let items: usize = messages
        .iter()
        .map(|message| decode(Signal::Metrics, message).items())
        .sum();
    assert!(sent > 1 && keys.len() == sent);
    assert_eq!(items, batch.items());
}

async fn headers_and_topics_are_what_the_settings_say(peer: &RunningKafka) {
    let tenant = TenantId::parse("team-a").unwrap();
    let named = |topic: Option<&str>| {
        let mut logs = LogsEncoder::new();
        let mut resource = logs.resource_logs();
        if let Some(topic) = topic {
            resource.resource().attribute("topic", topic);
        }
        resource.scope_logs().record().body("one");
        drop(resource);
        logs.finish(tenant.clone())
    };
    let mut config = config(peer, "default-topic");
    config.topic_from_attribute = "topic".to_owned();
    config.signal_header = true;
    config.record_headers = [("env".to_owned(), Secret::new("test"))].into();
    config.include_metadata_keys = ["X-Team", "x-none", "X-Scope-OrgID"].map(str::to_owned).to_vec();
    let sink = KafkaSink::new(config).unwrap();
    // Two of one name, one that cannot be a topic, and one without.
    let parts = [Some("of-a"), Some("of-a"), Some("no topic"), None].map(named);
    let client = Client::default().with_metadata([("x-team", "blue"), ("authorization", "hunter2")]);
    let batch = Batch::concat(&parts).unwrap().with_client(Some(Arc::new(client)));
    assert_eq!(sink.send(batch).await, Ok(Accepted::all()));
    for topic in ["of-a", "default-topic"] {
        let messages = peer.consume(topic, 1).unwrap();
        assert_eq!(decode(Signal::Logs, &messages[0]).items(), 2, "{topic}");
        let headers: Vec<(&str, &[u8])> = messages[0]
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let expected: [(&str, &[u8]); 4] = [
            ("env", b"test"),
            ("x-scope-orgid", b"team-a"),
            ("otelcol.signal", b"logs"),
            ("X-Team", b"blue"),
        ];
        assert_eq!(headers, expected);
    }
}

async fn every_compression_and_both_acknowledgements(peer: &RunningKafka) {
    let compressions = [
        KafkaCompression::None,
        KafkaCompression::Gzip,
        KafkaCompression::Snappy,
        KafkaCompression::Lz4,
        KafkaCompression::Zstd,
    ];
    for (number, compression) in compressions.into_iter().enumerate() {
        let topic = format!("compressed-{compression:?}");
        let mut config = config(peer, &topic);
        config.producer.compression = compression;
        config.producer.required_acks = match number % 2 {
            0 => RequiredAcks::Leader,
            _ => RequiredAcks::All,
        };
        let batch = logs(2, 2, 50, 100);
        let sink = KafkaSink::new(config).unwrap();
        assert_eq!(
            sink.send(batch.clone()).await,
            Ok(Accepted::all()),
            "{compression:?}"
        );
        // The consumer's library has gzip alone; the others are read back by the receiver's tests.
        if matches!(compression, KafkaCompression::None | KafkaCompression::Gzip) {
            let messages = peer.consume(&topic, 1).unwrap();
            assert_eq!(messages[0].value, batch.payload().to_vec());
        }
    }
}

async fn what_the_broker_refuses_for_its_size_is_final(peer: &RunningKafka) {
    let mut config = config(peer, "too-large");
    config.producer.max_message_bytes = 10 * BROKER_BYTES_MAX;
    let sink = KafkaSink::new(config).unwrap();
    let answer = sink.send(logs(1, 1, 3, BROKER_BYTES_MAX)).await;
    assert!(matches!(answer, Err(SendError::Permanent { .. })), "{answer:?}");
}

async fn a_broker_that_hangs_is_worth_another_attempt(peer: &RunningKafka) {
    let mut config = config(peer, "hanging");
    let patient = KafkaSink::new(config.clone()).unwrap();
    patient.send(logs(1, 1, 1, 0)).await.unwrap();
    config.timeout = TimeSpan(Duration::from_millis(500));
    let hasty = KafkaSink::new(config).unwrap();
    peer.signal("-STOP");
    let answer = hasty.send(logs(1, 1, 1, 0)).await;
    peer.signal("-CONT");
    assert!(matches!(answer, Err(SendError::Retryable { .. })), "{answer:?}");
    assert_eq!(patient.send(logs(1, 1, 1, 0)).await, Ok(Accepted::all()));
}

#[tokio::test]
async fn without_a_broker_a_batch_goes_back_within_the_timeout() {
    let config = KafkaConfig {
        brokers: vec![format!("127.0.0.1:{}", cupola_peers::free_port())],
        timeout: TimeSpan(Duration::from_millis(300)),
        ..KafkaConfig::default()
    };
    let answer = KafkaSink::new(config).unwrap().send(logs(1, 1, 1, 0)).await;
    assert!(matches!(answer, Err(SendError::Retryable { .. })), "{answer:?}");
}

#[test]
fn settings_have_the_collectors_names_and_what_cannot_be_is_refused() {
    let full = r#"{"brokers": ["a:1", "b:2"], "protocol_version": "2.0.0", "client_id": "c", "timeout": "10s", "rack_id": "r",
        "resolve_canonical_bootstrap_servers_only": true, "dial_timeout": "5s", "conn_idle_timeout": "1m",
        "logs": {"topic": "l", "encoding": "otlp_json"}, "partition_traces_by_id": true, "partition_by": "tenant",
        "topic_from_attribute": "t", "partition_logs_by_trace_id": true, "include_metadata_keys": ["X-Scope-OrgID"],
        "auth": {"sasl": {"username": "u", "password": "hunter2", "mechanism": "SCRAM-SHA-512", "version": 1}},
        "tls": {"ca_file": "ca.pem", "cert_file": "c.pem", "key_file": "k.pem", "insecure_skip_verify": true},
        "metadata": {"full": false, "retry": {"max": 5, "backoff": "1s"}}, "record_headers": {"a": "b"},
        "record_partitioner": {"sticky_key": {"hasher": "murmur2"}},
        "producer": {"max_message_bytes": 5000, "required_acks": "all", "compression": "zstd",
            "compression_params": {"level": 3}, "flush_max_messages": 10, "linger": "5ms"}}"#;
    let config: KafkaConfig = serde_json::from_str(full).unwrap();
    assert_eq!(config.validate(), Ok(()));
    assert!(!format!("{config:?}").contains("hunter2"));
    for (wrong, key) in [
        (r#"{"brokers": []}"#, "brokers"),
        (r#"{"traces": {"topic": ""}}"#, "traces.topic"),
        (
            r#"{"producer": {"max_message_bytes": 10}}"#,
            "producer.max_message_bytes",
        ),
        (
            r#"{"producer": {"compression_params": {"level": 3}}}"#,
            "producer.compression_params.level",
        ),
        (
            r#"{"producer": {"allow_auto_topic_creation": false}}"#,
            "producer.allow_auto_topic_creation",
        ),
        (r#"{"timeout": "1ms"}"#, "timeout"),
        (
            r#"{"auth": {"sasl": {"mechanism": "OAUTHBEARER"}}}"#,
            "auth.sasl.mechanism",
        ),
        (
            r#"{"auth": {"sasl": {"mechanism": "PLAIN"}}}"#,
            "auth.sasl.username",
        ),
        (r#"{"auth": {"kerberos": {"realm": "r"}}}"#, "auth.kerberos"),
        (r#"{"tls": {}, "auth": {"tls": {}}}"#, "auth.tls"),
        (r#"{"tls": {"cert_file": "c.pem"}}"#, "tls.key_file"),
        (r#"{"tls": {"key_pem": "k"}}"#, "tls.cert_file"),
        (r#"{"tls": {"ca_file": "c.pem", "ca_pem": "c"}}"#, "tls.ca_pem"),
        (
            r#"{"auth": {"tls": {"server_name_override": "n"}}}"#,
            "auth.tls.server_name_override",
        ),
        (
            r#"{"tls": {"ca_file": "c.pem", "include_system_ca_certs_pool": true}}"#,
            "tls.include_system_ca_certs_pool",
        ),
        (r#"{"tls": {"min_version": "1.0"}}"#, "tls.min_version"),
        (r#"{"tls": {"min_version": "1.3"}}"#, "tls.min_version"),
        (r#"{"tls": {"max_version": "1.2"}}"#, "tls.max_version"),
        (
            r#"{"tls": {"cipher_suites": ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]}}"#,
            "tls.cipher_suites",
        ),
        (
            r#"{"tls": {"curve_preferences": ["P256"]}}"#,
            "tls.curve_preferences",
        ),
        (r#"{"tls": {"tpm": {"enabled": true}}}"#, "tls.tpm"),
        (
            r#"{"partition_logs_by_trace_id": true, "partition_logs_by_resource_attributes": true}"#,
            "partition_logs_by_trace_id",
        ),
        (
            r#"{"record_partitioner": {"sticky_key": {}, "round_robin": {}}}"#,
            "record_partitioner",
        ),
    ] {
        let config: Result<KafkaConfig, _> = serde_json::from_str(wrong);
        assert_eq!(config.unwrap().validate().unwrap_err().key, key, "{wrong}");
    }
    for unknown in [
        r#"{"producer": {"required_acks": 0}}"#,
        r#"{"producer": {"compression": "brotli"}}"#,
        r#"{"logs": {"encoding": "jaeger_proto"}}"#,
        r#"{"record_partitioner": {"least_backup": {}}}"#,
        r#"{"topics": "a"}"#,
    ] {
        assert!(serde_json::from_str::<KafkaConfig>(unknown).is_err(), "{unknown}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
