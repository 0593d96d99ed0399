//! Telemetry as messages of Apache Kafka, as the Collector's `kafka` exporter writes them. Owns topics, keys, messages
//! within the size that the broker takes, and what an answer of the broker means. Refuses to queue and to retry: the
//! producer below repeats a message within `timeout`, and after that whoever sent the batch keeps it.
//!
//! A message is one OTLP request. `send` returns after the broker has acknowledged every message of the batch. With the
//! default of `required_acks`, all replicas have it, and the producer is idempotent: what it repeats by itself is written
//! once. A batch that is sent again after an error may be written twice.
//!
//! An item that is too large for a message even alone is refused by itself.
//!
//! The client is librdkafka without OpenSSL, so TLS and SCRAM are not available; settings that ask for them are refused.

mod config;
mod partition;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use cupola_telemetry::{Batch, Signal};
use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord};

pub use config::{
    Auth, Encoding, KafkaCompression, KafkaConfig, KafkaConfigError, Metadata, MetadataRetry, PartitionBy,
    PlainText, ProducerSettings, RequiredAcks, Sasl, SignalSettings,
};

use crate::otlp::split::Pieces;
use crate::{Accepted, Component, Sample, SendError, Sink};

/// What a message takes at most beside its key and its value.
const MESSAGE_OVERHEAD: usize = 128;
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
}

/// The exporter.
pub struct KafkaSink {
    config: KafkaConfig,
    /// Made anew after an error that it cannot recover from.
    producer: Mutex<Arc<FutureProducer>>,
    stats: KafkaStats,
}

/// One message to be.
struct Message {
    key: Option<Vec<u8>>,
    value: Bytes,
    batch: Batch,
}

impl KafkaSink {
    /// Makes the producer, which looks for brokers in the background. Must be called on a tokio runtime.
    pub fn new(config: KafkaConfig) -> Result<KafkaSink, KafkaConfigError> {
        config.validate()?;
        let producer = config.producer()?;
        Ok(KafkaSink {
            config,
            producer: Mutex::new(Arc::new(producer)),
            stats: KafkaStats::default(),
        })
    }

    pub fn stats(&self) -> &KafkaStats {
        &self.stats
    }

    /// The messages of a batch, and what has none.
    fn messages(&self, batch: &Batch) -> (Vec<Message>, Accepted) {
        let json = self.config.signal(batch.signal()).encoding == Encoding::OtlpJson;
        let (mut messages, mut accepted) = (Vec::new(), Accepted::all());
        for part in partition::parts(batch, &self.config) {
            let key_bytes = part.key.as_ref().map_or(0, Vec::len);
            let room = self
                .config
                .producer
                .max_message_bytes
                .saturating_sub(MESSAGE_OVERHEAD + key_bytes);
            let mut pieces = Pieces::new(&part.batch, room, json);
            while let Some(piece) = pieces.next() {
                let value = if json {
                    Bytes::from(piece.to_json())
                } else {
                    piece.payload().clone()
                };
                messages.push(Message {
                    key: part.key.clone(),
                    value,
                    batch: piece,
                });
            }
            let reason = format!("larger than a message may be ({room} bytes)");
            accepted.merge(pieces.into_refused(&reason));
        }
        (messages, accepted)
    }

    /// Hands a message to the producer, which answers once the broker has.
    fn produce(&self, topic: &str, message: &Message) -> Result<DeliveryFuture, KafkaError> {
        let producer = self.producer.lock().clone();
        let mut record = FutureRecord::<[u8], [u8]>::to(topic).payload(&message.value);
        if let Some(key) = &message.key {
            record = record.key(key);
        }
        producer.send_result(record).map_err(|(error, _)| error)
    }

    /// A producer after a fatal error refuses everything.
    fn renew(&self, error: &KafkaError) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::Fatal) {
            return;
        }
        match self.config.producer() {
            Ok(producer) => *self.producer.lock() = Arc::new(producer),
            Err(error) => tracing::error!(%error, "no new producer after a fatal error"),
        }
    }
}

/// Waits for the broker's answer. A producer that ended before is one that was replaced.
async fn delivered(sent: Result<DeliveryFuture, KafkaError>) -> Result<(), KafkaError> {
    match sent?.await {
        Ok(answer) => answer.map(drop).map_err(|(error, _)| error),
        Err(_) => Err(KafkaError::Canceled),
    }
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
        let topic = self.config.signal(batch.signal()).topic.as_str();
        let (messages, mut accepted) = self.messages(&batch);
        self.stats
            .oversized
            .fetch_add(accepted.rejected, Ordering::Relaxed);
        for messages in messages.chunks(IN_FLIGHT_MAX) {
            let sent: Vec<_> = messages
                .iter()
                .map(|message| self.produce(topic, message))
                .collect();
            let mut retryable = None;
            for (message, sent) in messages.iter().zip(sent) {
                let Err(error) = delivered(sent).await else {
                    self.stats.messages.fetch_add(1, Ordering::Relaxed);
                    continue;
                };
                self.stats.failed.fetch_add(1, Ordering::Relaxed);
                self.renew(&error);
                if is_final(&error) {
                    accepted.merge(Accepted {
                        rejected: message.batch.items() as u64,
                        message: error.to_string(),
                        refused: vec![message.batch.clone()],
                    });
                } else {
                    retryable = Some(SendError::retryable(format!("topic {topic}: {error}")));
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
        ];
        for (name, help, count) in counts {
            samples.push(Sample::count(name, help, count.load(Ordering::Relaxed)));
        }
    }
}

/// The settings of a signal.
impl KafkaConfig {
    fn signal(&self, signal: Signal) -> &SignalSettings {
        match signal {
            Signal::Logs => &self.logs,
            Signal::Metrics => &self.metrics,
            Signal::Traces => &self.traces,
        }
    }
}
