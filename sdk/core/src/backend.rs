//! A backend: somewhere that records go, how it is reached and what it is given.

use std::fmt;
use std::sync::Arc;

use cupola_export::DeliveryConfig;
use cupola_export::debug::DebugConfig;
use cupola_export::elasticsearch::ElasticsearchConfig;
use cupola_export::file::FileConfig;
#[cfg(feature = "kafka")]
use cupola_export::kafka::KafkaConfig;
use cupola_export::otlp::OtlpConfig;
#[cfg(feature = "postgres")]
use cupola_export::postgres::PostgresConfig;
use cupola_telemetry::{Batch, Signal};

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
}

/// How a destination is reached.
#[derive(Clone, Debug)]
pub enum Destination {
    Otlp(OtlpConfig),
    /// One JSON object a line.
    JsonLines(cupola_export::json_lines::JsonLinesConfig),
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

/// A destination that an application brings itself. Called by a thread of the SDK, one call at a time; it may wait.
pub trait CustomBackend: Send + Sync {
    /// Takes a batch whole, or says why not.
    fn export(&self, batch: &Batch) -> Result<(), CustomError>;

    /// Brings to its end what it has been given and holds.
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
            delivery: DeliveryConfig::default(),
            fallbacks: Vec::new(),
        }
    }
}
