//! A backend: somewhere that records go, how it is reached and what it is given.

mod build;
mod custom;
mod health;
mod levels;
mod running;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cupola_config::units::ByteSize;
use cupola_export::debug::DebugConfig;
use cupola_export::elasticsearch::ElasticsearchConfig;
use cupola_export::file::FileConfig;
use cupola_export::json_lines::JsonLinesConfig;
#[cfg(feature = "kafka")]
use cupola_export::kafka::KafkaConfig;
use cupola_export::otlp::OtlpConfig;
#[cfg(feature = "postgres")]
use cupola_export::postgres::PostgresConfig;
use cupola_export::queue::{Sizer, WhenFull};
use cupola_export::{DeliveryConfig, ExporterError};
use cupola_telemetry::{Batch, Signal};

pub use health::BackendHealth;
pub(crate) use health::{DROPPED, RETRIES, SENT};
pub(crate) use running::{QueueOnDisk, Running};

use crate::log::Severity;

/// One destination.
#[derive(Clone, Debug)]
pub struct Backend {
    /// What it is called in messages and in its state: `otlp`, or `otlp/2` where there are several.
    pub name: String,
    pub destination: Destination,
    pub signals: Signals,
    /// Less severe log records do not go there.
    pub level: Option<Severity>,
    /// Queue, retries, time limit of an attempt.
    pub delivery: DeliveryConfig,
    /// Where records go while this destination does not take them, in this order.
    pub fallbacks: Vec<Destination>,
    /// How long a destination that has failed is left alone, while a fallback takes its place.
    pub fallback_interval: Duration,
}

/// How a destination is reached.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there are a few of them in a process")]
pub enum Destination {
    Otlp(OtlpConfig),
    /// One JSON object a line.
    JsonLines(JsonLinesConfig),
    /// OTLP requests, one a line.
    File(FileConfig),
    Elasticsearch(Box<ElasticsearchConfig>),
    #[cfg(feature = "postgres")]
    Postgres(Box<PostgresConfig>),
    #[cfg(feature = "kafka")]
    Kafka(Box<KafkaConfig>),
    /// Text for people, on standard output.
    Console(DebugConfig),
    Custom(Custom),
}

/// Signals that a backend is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signals {
    pub logs: bool,
    pub metrics: bool,
    pub traces: bool,
}

impl Signals {
    pub const ALL: Signals = Signals {
        logs: true,
        metrics: true,
        traces: true,
    };

    pub fn only(signal: Signal) -> Signals {
        Signals {
            logs: signal == Signal::Logs,
            metrics: signal == Signal::Metrics,
            traces: signal == Signal::Traces,
        }
    }

    pub fn has(self, signal: Signal) -> bool {
        match signal {
            Signal::Logs => self.logs,
            Signal::Metrics => self.metrics,
            Signal::Traces => self.traces,
        }
    }
}

/// A destination that an application brings itself. Called by a thread of the SDK, one call at a time; it may wait. A call that
/// panics has given up its batch.
pub trait CustomBackend: Send + Sync {
    /// Takes a batch whole, or says why not.
    fn export(&self, batch: &Batch) -> Result<(), CustomError>;

    /// Brings to its end what it has been given and holds. Called when no other batch waits for it, and before the end.
    fn flush(&self) -> Result<(), CustomError> {
        Ok(())
    }

    /// Called once, last.
    fn close(&self) {}
}

/// Why a custom backend did not take a batch.
#[derive(Debug, thiserror::Error)]
pub enum CustomError {
    /// It is given the batch again later.
    #[error("{0}")]
    Again(String),
    /// The batch is given up and counted.
    #[error("{0}")]
    GiveUp(String),
}

/// A backend that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// Its settings, or what they name, cannot be used.
    #[error(transparent)]
    Destination(Box<dyn std::error::Error + Send + Sync>),
    /// Its queue cannot be used.
    #[error(transparent)]
    Start(Box<ExporterError>),
}

impl BackendError {
    fn of(source: impl std::error::Error + Send + Sync + 'static) -> BackendError {
        BackendError::Destination(Box::new(source))
    }
}

/// A custom backend, to be shared.
#[derive(Clone)]
pub struct Custom(pub Arc<dyn CustomBackend>);

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Custom")
    }
}

impl Backend {
    /// One of this name with everything else as it is by default.
    pub fn new(name: impl Into<String>, destination: Destination) -> Backend {
        Backend {
            name: name.into(),
            destination,
            signals: Signals::ALL,
            level: None,
            delivery: Backend::default_delivery(),
            fallbacks: Vec::new(),
            fallback_interval: Duration::from_secs(10),
        }
    }

    /// As an application wants it: 32 MiB wait at most in memory, or what the spool may hold on disk, beyond which the newest are
    /// dropped and counted; what fails is tried again after 1 s, and then more seldom, up to 30 s, for 5 minutes, or for ever with a
    /// spool. An attempt takes 10 s at most.
    pub fn default_delivery() -> DeliveryConfig {
        let mut delivery = DeliveryConfig::default();
        let queue = &mut delivery.sending_queue;
        queue.sizer = Sizer::Bytes;
        queue.queue_size = ByteSize(32 << 20);
        queue.num_consumers = 2;
        queue.when_full = WhenFull::DropNewest;
        delivery.retry_on_failure.initial_interval = Duration::from_secs(1);
        delivery.timeout = Duration::from_secs(10);
        delivery
    }
}
