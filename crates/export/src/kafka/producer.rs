//! Settings of the producer under the Collector's names, and what librdkafka calls them.

use std::time::Duration;

use cupola_config::units::TimeSpan;
use rdkafka::ClientConfig;
use serde::Deserialize;
use serde::de::{Error, Visitor};

use super::SettingError;
use super::connection::bounded_millis;

/// Memory that messages not yet acknowledged may take.
const BUFFER_KIBIBYTES_MAX: &str = "65536";
/// Smallest useful message.
const MESSAGE_BYTES_MIN: usize = 1_000;
/// Largest message that the client can make.
const MESSAGE_BYTES_MAX: usize = 1_000_000_000;
/// Most messages that the client sends together.
const FLUSH_MESSAGES_MAX: u32 = 1_000_000;

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
        deserializer.deserialize_any(ReadAcks)
    }
}

/// A number, or `all`.
struct ReadAcks;

impl Visitor<'_> for ReadAcks {
    type Value = RequiredAcks;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("-1, `all` or 1")
    }

    fn visit_i64<E: Error>(self, acks: i64) -> Result<RequiredAcks, E> {
        match acks {
            -1 => Ok(RequiredAcks::All),
            1 => Ok(RequiredAcks::Leader),
            other => Err(E::custom(format!(
                "{other} cannot be: write -1 for all replicas or 1 for the leader; without any, messages get lost unseen"
            ))),
        }
    }

    fn visit_u64<E: Error>(self, acks: u64) -> Result<RequiredAcks, E> {
        self.visit_i64(i64::try_from(acks).unwrap_or(i64::MAX))
    }

    fn visit_str<E: Error>(self, acks: &str) -> Result<RequiredAcks, E> {
        match acks {
            "all" => Ok(RequiredAcks::All),
            // From the environment, where everything is a text.
            other => match other.parse() {
                Ok(number) => self.visit_i64(number),
                Err(_) => Err(E::custom(format!("`{other}` cannot be: write all, -1 or 1"))),
            },
        }
    }
}

/// How sets of messages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KafkaCompression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// How hard they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CompressionParams {
    /// -1 leaves it to the method.
    pub level: i32,
}

impl Default for CompressionParams {
    fn default() -> Self {
        CompressionParams { level: -1 }
    }
}

/// Settings of the producer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProducerSettings {
    /// Largest message; a batch beyond it becomes several.
    pub max_message_bytes: usize,
    pub required_acks: RequiredAcks,
    pub compression: KafkaCompression,
    pub compression_params: CompressionParams,
    /// Messages sent together at most; 0 leaves it to the client.
    pub flush_max_messages: u32,
    /// How long a message waits for others.
    pub linger: TimeSpan,
    /// Requests on their way to a broker; more than one can change the order after an error. Without effect where all
    /// replicas acknowledge: then the order is kept with several.
    pub max_inflight_requests_per_broker: u32,
    /// Read and of no effect: the client has its own bound.
    pub max_broker_write_bytes: Option<u64>,
    /// `true` alone: whether a topic is made when it is first written to is a setting of the broker.
    pub allow_auto_topic_creation: bool,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        ProducerSettings {
            max_message_bytes: 1_000_000,
            required_acks: RequiredAcks::default(),
            compression: KafkaCompression::default(),
            compression_params: CompressionParams::default(),
            flush_max_messages: 10_000,
            linger: TimeSpan(Duration::from_millis(10)),
            max_inflight_requests_per_broker: 1,
            max_broker_write_bytes: None,
            allow_auto_topic_creation: true,
        }
    }
}

impl ProducerSettings {
    pub(super) fn validate(&self) -> Result<(), SettingError> {
        if !(MESSAGE_BYTES_MIN..=MESSAGE_BYTES_MAX).contains(&self.max_message_bytes) {
            let problem = format!("must be between {MESSAGE_BYTES_MIN} and {MESSAGE_BYTES_MAX}");
            return Err(SettingError::new("producer.max_message_bytes", problem));
        }
        let levels = match self.compression {
            KafkaCompression::None | KafkaCompression::Snappy => -1..=0,
            KafkaCompression::Gzip => -1..=9,
            KafkaCompression::Lz4 | KafkaCompression::Zstd => -1..=12,
        };
        if !levels.contains(&self.compression_params.level) {
            let problem = format!("must be between {} and {}", levels.start(), levels.end());
            return Err(SettingError::new("producer.compression_params.level", problem));
        }
        if self.flush_max_messages > FLUSH_MESSAGES_MAX {
            let problem = format!("must be at most {FLUSH_MESSAGES_MAX}");
            return Err(SettingError::new("producer.flush_max_messages", problem));
        }
        if !(1..=1_000_000).contains(&self.max_inflight_requests_per_broker) {
            let problem = "must be between 1 and 1000000";
            return Err(SettingError::new(
                "producer.max_inflight_requests_per_broker",
                problem,
            ));
        }
        if !self.allow_auto_topic_creation {
            let problem = "cannot be false: have the broker not make topics (auto.create.topics.enable)";
            return Err(SettingError::new("producer.allow_auto_topic_creation", problem));
        }
        Ok(())
    }

    pub(super) fn set(&self, client: &mut ClientConfig) {
        let all = self.required_acks == RequiredAcks::All;
        let compression = match self.compression {
            KafkaCompression::None => "none",
            KafkaCompression::Gzip => "gzip",
            KafkaCompression::Snappy => "snappy",
            KafkaCompression::Lz4 => "lz4",
            KafkaCompression::Zstd => "zstd",
        };
        client
            .set("message.max.bytes", self.max_message_bytes.to_string())
            .set("acks", if all { "all" } else { "1" })
            .set("enable.idempotence", all.to_string())
            .set("compression.type", compression)
            .set("compression.level", self.compression_params.level.to_string())
            .set("linger.ms", bounded_millis(self.linger, 0, 900_000))
            .set("queue.buffering.max.kbytes", BUFFER_KIBIBYTES_MAX);
        if !all {
            client.set(
                "max.in.flight.requests.per.connection",
                self.max_inflight_requests_per_broker.to_string(),
            );
        }
        if self.flush_max_messages > 0 {
            client.set("batch.num.messages", self.flush_max_messages.to_string());
        }
    }
}
