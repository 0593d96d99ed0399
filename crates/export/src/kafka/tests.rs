//! What needs no broker: settings, and the end of a producer.

use std::ffi::CString;
use std::time::Duration;

use cupola_config::units::TimeSpan;
use cupola_telemetry::encode::LogsEncoder;
use cupola_telemetry::{Batch, TenantId};
use futures::future::join_all;
use rdkafka::bindings::rd_kafka_test_fatal_error;
use rdkafka::producer::Producer;
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
    unsafe { rd_kafka_test_fatal_error(current.producer.client().native_ptr(), code, reason.as_ptr()) };
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
