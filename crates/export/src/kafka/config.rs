//! Settings of the Kafka exporter, under the Collector's names, and the producer they make.

use std::time::Duration;

use cupola_config::Secret;
use cupola_config::units::TimeSpan;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::FutureProducer;
use serde::Deserialize;
use serde::de::Error as _;

/// Memory that messages not yet acknowledged may take.
const BUFFER_KIBIBYTES_MAX: &str = "65536";

/// How a message is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    #[default]
    OtlpProto,
    OtlpJson,
}

/// Topic and encoding of one signal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignalSettings {
    pub topic: String,
    pub encoding: Encoding,
}

/// What decides the partition of a message. Whatever it is, equal keys go to one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartitionBy {
    /// No key: partitions take turns.
    #[default]
    None,
    /// The trace of spans and of log records. Metrics have no key.
    Trace,
    Tenant,
}

/// Who has to have a message before it counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequiredAcks {
    /// The leader of the partition: a message is lost if the leader is before it was copied.
    Leader,
    #[default]
    All,
}

impl<'de> Deserialize<'de> for RequiredAcks {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i64::deserialize(deserializer)? {
            -1 => Ok(RequiredAcks::All),
            1 => Ok(RequiredAcks::Leader),
            other => Err(D::Error::custom(format!(
                "{other} cannot be: write -1 for all replicas or 1 for the leader; without any, messages get lost unseen"
            ))),
        }
    }
}

/// How sets of messages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KafkaCompression {
    #[default]
    None,
    Snappy,
    Lz4,
}

/// Settings of the producer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProducerSettings {
    /// Largest message; a batch beyond it becomes several.
    pub max_message_bytes: usize,
    pub required_acks: RequiredAcks,
    pub compression: KafkaCompression,
    /// Messages sent together at most; 0 leaves it to the client.
    pub flush_max_messages: u32,
    /// How long a message waits for others.
    pub linger: TimeSpan,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        ProducerSettings {
            max_message_bytes: 1_000_000,
            required_acks: RequiredAcks::default(),
            compression: KafkaCompression::default(),
            flush_max_messages: 0,
            linger: TimeSpan(Duration::from_millis(10)),
        }
    }
}

/// A name and a password.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlainText {
    pub username: String,
    pub password: Secret,
}

/// SASL. Of its mechanisms, PLAIN is available.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sasl {
    pub username: String,
    pub password: Secret,
    pub mechanism: String,
    /// Read and of no effect: the client agrees on it with the broker.
    pub version: i64,
}

/// Who we are to the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    pub plain_text: Option<PlainText>,
    pub sasl: Option<Sasl>,
}

/// How what is known of brokers and topics is kept fresh.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metadata {
    /// Read and of no effect: only the topics that are written are asked for.
    pub full: bool,
    pub refresh_interval: TimeSpan,
    /// Read and of no effect: messages wait for `timeout` instead.
    pub retry: MetadataRetry,
}

impl Default for Metadata {
    fn default() -> Self {
        Metadata {
            full: true,
            refresh_interval: TimeSpan(Duration::from_secs(600)),
            retry: MetadataRetry::default(),
        }
    }
}

/// Attempts and pauses of asking for metadata.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetadataRetry {
    pub max: u32,
    pub backoff: TimeSpan,
}

impl Default for MetadataRetry {
    fn default() -> Self {
        MetadataRetry {
            max: 3,
            backoff: TimeSpan(Duration::from_millis(250)),
        }
    }
}

/// Settings of the exporter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    pub brokers: Vec<String>,
    pub client_id: String,
    /// Read and of no effect: the client agrees on it with the broker.
    pub protocol_version: String,
    pub logs: SignalSettings,
    pub metrics: SignalSettings,
    pub traces: SignalSettings,
    /// Every message is of one trace, whose id in hex is its key.
    pub partition_traces_by_id: bool,
    /// Every message is of one resource, a hash of whose attributes is its key.
    pub partition_metrics_by_resource_attributes: bool,
    /// Ours.
    pub partition_by: PartitionBy,
    pub producer: ProducerSettings,
    pub auth: Auth,
    pub metadata: Metadata,
    /// Within this a message is acknowledged, or goes back to whoever sent it.
    pub timeout: TimeSpan,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        let topic = |topic: &str| SignalSettings {
            topic: topic.to_owned(),
            ..SignalSettings::default()
        };
        KafkaConfig {
            brokers: vec!["localhost:9092".to_owned()],
            client_id: "cupola".to_owned(),
            protocol_version: String::new(),
            logs: topic("otlp_logs"),
            metrics: topic("otlp_metrics"),
            traces: topic("otlp_spans"),
            partition_traces_by_id: false,
            partition_metrics_by_resource_attributes: false,
            partition_by: PartitionBy::default(),
            producer: ProducerSettings::default(),
            auth: Auth::default(),
            metadata: Metadata::default(),
            timeout: TimeSpan(Duration::from_secs(5)),
        }
    }
}

/// An exporter that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum KafkaConfigError {
    #[error("`{key}` {problem}")]
    Setting { key: &'static str, problem: String },
    #[error("no producer for {brokers}")]
    Producer { brokers: String, source: KafkaError },
}

/// Smallest useful message.
const MESSAGE_BYTES_MIN: usize = 1_000;
/// Largest message that the client can make.
const MESSAGE_BYTES_MAX: usize = 1_000_000_000;

impl KafkaConfig {
    /// Refuses what cannot work.
    pub fn validate(&self) -> Result<(), KafkaConfigError> {
        let refuse = |key, problem: &str| {
            let problem = problem.to_owned();
            Err(KafkaConfigError::Setting { key, problem })
        };
        if self.brokers.is_empty() || self.brokers.iter().any(String::is_empty) {
            return refuse("brokers", "needs at least one host:port");
        }
        for (key, signal) in [
            ("logs.topic", &self.logs),
            ("metrics.topic", &self.metrics),
            ("traces.topic", &self.traces),
        ] {
            if signal.topic.is_empty() {
                return refuse(key, "must not be empty");
            }
        }
        if !(MESSAGE_BYTES_MIN..=MESSAGE_BYTES_MAX).contains(&self.producer.max_message_bytes) {
            return refuse(
                "producer.max_message_bytes",
                "must be between 1000 and 1000000000",
            );
        }
        if self.timeout.0 <= self.producer.linger.0 {
            return refuse("timeout", "must be longer than producer.linger");
        }
        if let Some(sasl) = &self.auth.sasl {
            if sasl.mechanism != "PLAIN" {
                return refuse(
                    "auth.sasl.mechanism",
                    "can be PLAIN only: the client is built without OpenSSL",
                );
            }
            if self.auth.plain_text.is_some() {
                return refuse("auth.plain_text", "cannot stand beside auth.sasl; leave one out");
            }
        }
        Ok(())
    }

    pub(super) fn producer(&self) -> Result<FutureProducer, KafkaConfigError> {
        let brokers = self.brokers.join(",");
        let made = self.client(&brokers).create();
        made.map_err(|source| KafkaConfigError::Producer { brokers, source })
    }

    fn client(&self, brokers: &str) -> ClientConfig {
        let producer = &self.producer;
        let all = producer.required_acks == RequiredAcks::All;
        let millis = |span: TimeSpan| span.0.as_millis().to_string();
        let compression = match producer.compression {
            KafkaCompression::None => "none",
            KafkaCompression::Snappy => "snappy",
            KafkaCompression::Lz4 => "lz4",
        };
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", brokers)
            .set("client.id", &self.client_id)
            .set("message.max.bytes", producer.max_message_bytes.to_string())
            .set("acks", if all { "all" } else { "1" })
            .set("enable.idempotence", all.to_string())
            .set("compression.type", compression)
            .set("linger.ms", millis(producer.linger))
            .set("message.timeout.ms", millis(self.timeout))
            .set(
                "topic.metadata.refresh.interval.ms",
                millis(self.metadata.refresh_interval),
            )
            .set("queue.buffering.max.kbytes", BUFFER_KIBIBYTES_MAX)
            // As Java clients do it, so that equal keys meet whoever wrote them.
            .set("partitioner", "murmur2_random");
        if producer.flush_max_messages > 0 {
            client.set("batch.num.messages", producer.flush_max_messages.to_string());
        }
        let sasl = self
            .auth
            .sasl
            .as_ref()
            .map(|sasl| (&sasl.username, &sasl.password));
        let plain = self
            .auth
            .plain_text
            .as_ref()
            .map(|plain| (&plain.username, &plain.password));
        if let Some((username, password)) = sasl.or(plain) {
            client
                .set("security.protocol", "sasl_plaintext")
                .set("sasl.mechanisms", "PLAIN")
                .set("sasl.username", username)
                .set("sasl.password", password.expose());
        }
        client
    }
}
