//! Telemetry as messages of Apache Kafka, as the Collector's `kafka` exporter writes them. Owns topics, keys, messages
//! within the size that the broker takes, and what an answer of the broker means. Refuses to queue and to retry: the
//! producer below repeats a message within `timeout`, and after that whoever sent the batch keeps it.
//!
//! A message is one OTLP request, or one item as a line of JSON. `send` returns after the broker has acknowledged every message of the batch. With the
//! default of `required_acks`, all replicas have it, and the producer is idempotent: what it repeats by itself is written
//! once. A batch that is sent again after an error may be written twice.
//!
//! An item that is too large for a message even alone is refused by itself.
//!
//! The tenant of a batch travels as the header `X-Scope-OrgID` of its messages. The client is librdkafka with OpenSSL.

mod client;
mod config;
pub mod connection;
mod lines;
mod partition;
mod producer;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use cupola_telemetry::Batch;
use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use tokio::sync::oneshot;

use client::{Answer, Client, Voice};
pub use config::{
    Encoding, Hasher, KafkaConfig, KafkaConfigError, NoSettings, PartitionBy, RecordPartitioner,
    SettingError, SignalSettings, StickyKey,
};
pub use producer::{CompressionParams, KafkaCompression, ProducerSettings, RequiredAcks};

use crate::otlp::TENANT_HEADER;
use crate::otlp::split::Pieces;
use crate::{Accepted, Component, Sample, SendError, Sink};

/// The header that says what a message is about, `logs`, `metrics` or `traces`, where a topic has several.
pub const SIGNAL_HEADER: &str = "otelcol.signal";
/// What a message takes at most beside its key, its value and its headers.
const MESSAGE_OVERHEAD: usize = 128;
/// What a header takes beside its name and its value.
const HEADER_OVERHEAD: usize = 10;
/// Messages of one batch under way at the same time.
const IN_FLIGHT_MAX: usize = 64;

/// Counts since the start.
#[derive(Debug, Default)]
pub struct KafkaStats {
    /// Messages that the broker acknowledged.
    pub messages: AtomicU64,
    /// Messages that it did not.
    pub failed: AtomicU64,
    /// Items too large for a message.
    pub oversized: AtomicU64,
    /// Producers made in place of one that could not recover.
    pub renewed: AtomicU64,
}

/// The exporter.
pub struct KafkaSink {
    config: KafkaConfig,
    voice: Voice,
    current: Mutex<Current>,
    stats: KafkaStats,
}

/// The producer in use, made anew after an error that it cannot recover from.
#[derive(Clone)]
struct Current {
    producer: Arc<Client>,
    /// How many there were before: of all who meet the same error, one renews.
    generation: u64,
}

/// One message to be.
struct Message {
    topic: Option<String>,
    key: Option<Vec<u8>>,
    value: Bytes,
    batch: Batch,
}

impl KafkaSink {
    /// Makes the producer, which looks for brokers in the background. Must be called on a tokio runtime.
    pub fn new(config: KafkaConfig) -> Result<KafkaSink, KafkaConfigError> {
        KafkaSink::with_voice(config, Voice::Loud)
    }

    /// The same for whoever records what is said and sends it here: librdkafka says nothing, its troubles are in the answers, and
    /// each thread that is started calls `on_thread` first.
    pub fn quiet(config: KafkaConfig, on_thread: fn()) -> Result<KafkaSink, KafkaConfigError> {
        KafkaSink::with_voice(config, Voice::Quiet(on_thread))
    }

    fn with_voice(config: KafkaConfig, voice: Voice) -> Result<KafkaSink, KafkaConfigError> {
        config.validate()?;
        let producer = config.producer(voice)?;
        Ok(KafkaSink {
            config,
            voice,
            current: Mutex::new(Current {
                producer: Arc::new(producer),
                generation: 0,
            }),
            stats: KafkaStats::default(),
        })
    }

    pub fn stats(&self) -> &KafkaStats {
        &self.stats
    }

    /// The messages of a batch, and what has none.
    fn messages(&self, batch: &Batch, headers: &[(&str, &str)]) -> (Vec<Message>, Accepted) {
        let encoding = self.config.encoding(batch.signal());
        let json = encoding == Encoding::OtlpJson;
        let headers: usize = headers
            .iter()
            .map(|(name, value)| HEADER_OVERHEAD + name.len() + value.len())
            .sum();
        let (mut messages, mut accepted) = (Vec::new(), Accepted::all());
        for part in partition::parts(batch, &self.config) {
            let key_bytes = part.key.as_ref().map_or(0, Vec::len);
            let room = self
                .config
                .producer
                .max_message_bytes
                .saturating_sub(MESSAGE_OVERHEAD + headers + key_bytes);
            if encoding == Encoding::Json {
                accepted.merge(lines::messages(&part, room, &mut messages));
                continue;
            }
            let mut pieces = Pieces::new(&part.batch, room, json);
            while let Some(piece) = pieces.next() {
                let value = if json {
                    Bytes::from(piece.to_json())
                } else {
                    piece.payload().clone()
                };
                messages.push(Message {
                    topic: part.topic.clone(),
                    key: part.key.clone(),
                    value,
                    batch: piece,
                });
            }
            accepted.merge(pieces.into_refused(&too_large(room)));
        }
        (messages, accepted)
    }

    /// Names and values of the headers of each message of a batch.
    fn headers<'h>(&'h self, batch: &'h Batch) -> Vec<(&'h str, &'h str)> {
        let mut headers: Vec<(&str, &str)> = self
            .config
            .record_headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose()))
            .collect();
        if self.config.tenant_header {
            headers.push((TENANT_HEADER, batch.tenant().as_str()));
        }
        if self.config.signal_header {
            headers.push((SIGNAL_HEADER, batch.signal().as_str()));
        }
        // The two above are Cupola's own, whatever the sender says.
        let own = |name: &str| {
            [TENANT_HEADER, SIGNAL_HEADER]
                .iter()
                .any(|own| own.eq_ignore_ascii_case(name))
        };
        let keys = self.config.include_metadata_keys.iter().filter(|key| !own(key));
        for (key, client) in keys.filter_map(|key| Some((key, batch.client()?))) {
            headers.extend(
                client
                    .metadata(key)
                    .iter()
                    .map(|value| (key.as_str(), value.as_str())),
            );
        }
        headers
    }

    /// Hands a message to the producer, which answers once the broker has.
    fn produce(
        &self,
        current: &Current,
        topic: &str,
        headers: &[(&str, &str)],
        message: &Message,
    ) -> Result<oneshot::Receiver<Answer>, KafkaError> {
        current.producer.send(topic, |record| {
            let mut record = record.payload(&message.value[..]);
            if let Some(key) = &message.key {
                record = record.key(&key[..]);
            }
            if headers.is_empty() {
                return record;
            }
            let mut owned = OwnedHeaders::new_with_capacity(headers.len());
            for (key, value) in headers {
                let value = Some(value.as_bytes());
                owned = owned.insert(Header { key, value });
            }
            record.headers(owned)
        })
    }

    /// A producer after a fatal error refuses everything. `failed` is the generation that met it.
    fn renew(&self, error: &KafkaError, failed: u64) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::Fatal) {
            return;
        }
        let mut current = self.current.lock();
        if current.generation != failed {
            return;
        }
        match self.config.producer(self.voice) {
            Ok(producer) => {
                let new = Current {
                    producer: Arc::new(producer),
                    generation: failed + 1,
                };
                let old = std::mem::replace(&mut *current, new);
                // Its end waits for a thread of its own.
                drop(current);
                drop(old);
                self.stats.renewed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "the producer could not recover, another one took its place");
            }
            Err(error) => tracing::error!(%error, "no new producer after a fatal error"),
        }
    }
}

/// Why an item has no message.
fn too_large(room: usize) -> String {
    format!("larger than a message may be ({room} bytes)")
}

/// Waits for the broker's answer. A producer that ended before is one that was replaced.
async fn delivered(sent: Result<oneshot::Receiver<Answer>, KafkaError>) -> Result<(), KafkaError> {
    sent?.await.unwrap_or(Err(KafkaError::Canceled))
}

/// Whether the same message would be refused again.
fn is_final(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessage
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::MessageBatchTooLarge
        )
    )
}

#[async_trait]
impl Sink for KafkaSink {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        if batch.items() == 0 {
            return Ok(Accepted::all());
        }
        let default_topic = self.config.topic(batch.signal());
        let headers = self.headers(&batch);
        let (messages, mut accepted) = self.messages(&batch, &headers);
        self.stats
            .oversized
            .fetch_add(accepted.rejected, Ordering::Relaxed);
        for messages in messages.chunks(IN_FLIGHT_MAX) {
            let current = self.current.lock().clone();
            let topic =
                |message: &'_ Message| message.topic.clone().unwrap_or_else(|| default_topic.to_owned());
            let sent: Vec<_> = messages
                .iter()
                .map(|message| self.produce(&current, &topic(message), &headers, message))
                .collect();
            let mut retryable = None;
            for (message, sent) in messages.iter().zip(sent) {
                let Err(error) = delivered(sent).await else {
                    self.stats.messages.fetch_add(1, Ordering::Relaxed);
                    continue;
                };
                self.stats.failed.fetch_add(1, Ordering::Relaxed);
                self.renew(&error, current.generation);
                if is_final(&error) {
                    accepted.merge(Accepted {
                        rejected: message.batch.items() as u64,
                        message: error.to_string(),
                        refused: vec![message.batch.clone()],
                    });
                } else {
                    retryable = Some(SendError::retryable(format!("topic {}: {error}", topic(message))));
                }
            }
            if let Some(error) = retryable {
                return Err(error);
            }
        }
        if accepted.rejected >= batch.items() as u64 {
            return Err(SendError::permanent(accepted.message));
        }
        Ok(accepted)
    }
}

#[async_trait]
impl Component for KafkaSink {
    fn collect(&self, samples: &mut Vec<Sample>) {
        let stats = &self.stats;
        let counts = [
            (
                "cupola_exporter_kafka_messages",
                "Messages that the broker acknowledged",
                &stats.messages,
            ),
            (
                "cupola_exporter_kafka_failed_messages",
                "Messages that it did not",
                &stats.failed,
            ),
            (
                "cupola_exporter_kafka_oversized_items",
                "Items too large for a message",
                &stats.oversized,
            ),
            (
                "cupola_exporter_kafka_renewed_producers",
                "Producers made in place of one that could not recover",
                &stats.renewed,
            ),
        ];
        for (name, help, count) in counts {
            samples.push(Sample::count(name, help, count.load(Ordering::Relaxed)));
        }
    }
}
