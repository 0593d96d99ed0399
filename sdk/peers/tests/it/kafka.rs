//! Kafka: requests of OTLP, read by a consumer that shares no code with the producer.

use cupola_peers::kafka::RunningKafka;
use cupola_peers::{kafka, peer_or_skip};
use cupola_sdk_peers::items::{assert_same, texts};
use cupola_telemetry::{Batch, Signal, TenantId};

use crate::application::run;

/// Where a signal goes that is sent nowhere else.
const TOPICS: [(Signal, &str); 3] = [
    (Signal::Logs, "otlp_logs"),
    (Signal::Metrics, "otlp_metrics"),
    (Signal::Traces, "otlp_spans"),
];

pub(crate) fn backend(broker: &RunningKafka, level: &str) -> String {
    let address = broker.broker();
    format!(
        "{{backend_type: kafka, level: {level}, config: {{bootstrap_servers: [\"{address}\"], timeout: 60}}}}"
    )
}

#[test]
fn everything_is_found_in_topics_as_it_was_said() {
    let broker = peer_or_skip!(kafka::start(0));
    let ran = run(200, &[backend(&broker, "TRACE")]);
    check(&broker, &ran.checked());
}

pub(crate) fn check(broker: &RunningKafka, exported: &[Batch]) {
    for (signal, topic) in TOPICS {
        let messages = broker.consume_all(topic).unwrap();
        let read = |value: Vec<u8>| Batch::decode_protobuf(signal, TenantId::default_tenant(), value.into());
        let arrived: Vec<Batch> = messages
            .into_iter()
            .map(|message| read(message.value).unwrap())
            .collect();
        assert_same(topic, &texts(&arrived, signal), &texts(exported, signal));
    }
}
