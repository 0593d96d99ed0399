//! What needs no broker: settings, and the end of a producer.

use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use cupola_config::units::TimeSpan;
use cupola_telemetry::encode::LogsEncoder;
use cupola_telemetry::{Batch, Client, TenantId};
use futures::future::join_all;
use rdkafka::bindings::rd_kafka_test_fatal_error;
use rdkafka::types::RDKafkaRespErr;

use super::*;

fn log() -> Batch {
    let mut logs = LogsEncoder::new();
    logs.resource_logs().scope_logs().record().body("hello");
    logs.finish(TenantId::default_tenant())
}

/// Has the producer meet an error that it cannot recover from.
fn break_producer(current: &Current) {
    let reason = CString::new("for a test").unwrap();
    let code = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    // SAFETY: the client is alive as long as the producer, and the text as long as the call.
    unsafe { rd_kafka_test_fatal_error(current.producer.native(), code, reason.as_ptr()) };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_all_who_meet_a_fatal_error_one_makes_a_new_producer() {
    let config = KafkaConfig {
        brokers: vec!["127.0.0.1:9".to_owned()],
        timeout: TimeSpan(Duration::from_millis(100)),
        ..KafkaConfig::default()
    };
    let sink = KafkaSink::new(config).unwrap();
    for round in 1..=3 {
        let current = sink.current.lock().clone();
        break_producer(&current);
        let answers = join_all((0..20).map(|_| sink.send(log()))).await;
        assert!(
            answers
                .iter()
                .all(|answer| matches!(answer, Err(SendError::Retryable { .. }))),
            "{answers:?}"
        );
        assert_eq!(sink.stats.renewed.load(Ordering::Relaxed), round);
        assert_eq!(sink.current.lock().generation, round);
    }
}

#[test]
fn a_header_of_the_sender_names_the_topic_before_an_attribute_does() {
    let mut config = KafkaConfig {
        topic_from_attribute: "topic".to_owned(),
        ..KafkaConfig::default()
    };
    config.logs.topic_from_metadata_key = "X-Topic".to_owned();
    let mut logs = LogsEncoder::new();
    let mut resource = logs.resource_logs();
    resource.resource().attribute("topic", "of-attribute");
    resource.scope_logs().record().body("hello");
    drop(resource);
    let batch = logs.finish(TenantId::default_tenant());
    let topic = |name: Option<&str>| {
        let client = Client::default().with_metadata(name.map(|name| ("x-topic", name)));
        let batch = batch.clone().with_client(Some(Arc::new(client)));
        let mut parts = partition::parts(&batch, &config);
        assert_eq!(parts.len(), 1);
        parts.remove(0).topic
    };
    assert_eq!(topic(Some("of-sender")).as_deref(), Some("of-sender"));
    for useless in [None, Some("no topic"), Some("")] {
        assert_eq!(topic(useless).as_deref(), Some("of-attribute"));
    }
}
