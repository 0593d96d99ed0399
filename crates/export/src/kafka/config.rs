//! Settings of the Kafka exporter, under the Collector's names, and the producer they make.

use std::collections::BTreeMap;
use std::time::Duration;

use cupola_config::units::TimeSpan;
use cupola_config::{Secret, present};
use cupola_telemetry::Signal;
use rdkafka::error::KafkaError;
use serde::Deserialize;

use super::SIGNAL_HEADER;
use super::client::{Client, Voice};
use super::connection::{Auth, CLIENT_ID, CONN_IDLE_TIMEOUT, Connection, DIAL_TIMEOUT, Metadata, millis};
use super::producer::ProducerSettings;
use crate::otlp::TENANT_HEADER;
use crate::tls::TlsSettings;

/// How a message is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    #[default]
    OtlpProto,
    OtlpJson,
    /// Ours: one message for each item, which is its line of [`json_lines`](crate::json_lines).
    Json,
}

/// Topic and encoding of one signal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignalSettings {
    pub topic: String,
    /// A header of those who sent the data that names the topic; goes before `topic_from_attribute`.
    pub topic_from_metadata_key: String,
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

/// How the partition follows from the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hasher {
    /// As the Collector does it.
    #[default]
    SaramaCompat,
    /// As Java clients do it.
    Murmur2,
}

/// By key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StickyKey {
    pub hasher: Hasher,
}

/// Nothing to set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NoSettings {}

/// How a message gets its partition; the default is by key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordPartitioner {
    #[serde(deserialize_with = "present")]
    pub sticky_key: Option<StickyKey>,
    /// Whatever the key: any of them, each as often.
    #[serde(deserialize_with = "present")]
    pub round_robin: Option<NoSettings>,
}

/// Settings of the exporter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    pub brokers: Vec<String>,
    pub client_id: String,
    pub rack_id: String,
    /// Read and of no effect: the client agrees on it with the broker.
    pub protocol_version: String,
    pub resolve_canonical_bootstrap_servers_only: bool,
    /// Read and of no effect: the client does so where the broker can.
    pub use_leader_epoch: bool,
    pub dial_timeout: TimeSpan,
    pub conn_idle_timeout: TimeSpan,
    /// The older form: of every signal, before what the signals say.
    pub topic: Option<String>,
    pub encoding: Option<Encoding>,
    pub logs: SignalSettings,
    pub metrics: SignalSettings,
    pub traces: SignalSettings,
    /// An attribute of the resource that names the topic.
    pub topic_from_attribute: String,
    /// Every message is of one trace, whose id in hex is its key.
    pub partition_traces_by_id: bool,
    pub partition_logs_by_trace_id: bool,
    /// Every message is of one resource, a hash of whose attributes is its key.
    pub partition_metrics_by_resource_attributes: bool,
    pub partition_logs_by_resource_attributes: bool,
    /// Ours.
    pub partition_by: PartitionBy,
    pub record_partitioner: RecordPartitioner,
    /// Written with every message.
    pub record_headers: BTreeMap<String, Secret>,
    /// Writes the header `otelcol.signal`.
    pub signal_header: bool,
    /// Headers of those who sent the data, written with every message if they are known. The tenant is another matter: see
    /// [`tenant_header`](Self::tenant_header).
    pub include_metadata_keys: Vec<String>,
    /// Ours: writes the tenant of a batch as the header `X-Scope-OrgID`.
    pub tenant_header: bool,
    pub producer: ProducerSettings,
    pub auth: Auth,
    #[serde(deserialize_with = "present")]
    pub tls: Option<TlsSettings>,
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
            client_id: CLIENT_ID.to_owned(),
            rack_id: String::new(),
            protocol_version: String::new(),
            resolve_canonical_bootstrap_servers_only: false,
            use_leader_epoch: true,
            dial_timeout: DIAL_TIMEOUT,
            conn_idle_timeout: CONN_IDLE_TIMEOUT,
            topic: None,
            encoding: None,
            logs: topic("otlp_logs"),
            metrics: topic("otlp_metrics"),
            traces: topic("otlp_spans"),
            topic_from_attribute: String::new(),
            partition_traces_by_id: false,
            partition_logs_by_trace_id: false,
            partition_metrics_by_resource_attributes: false,
            partition_logs_by_resource_attributes: false,
            partition_by: PartitionBy::default(),
            record_partitioner: RecordPartitioner::default(),
            record_headers: BTreeMap::new(),
            signal_header: false,
            include_metadata_keys: Vec::new(),
            tenant_header: true,
            producer: ProducerSettings::default(),
            auth: Auth::default(),
            tls: None,
            metadata: Metadata::default(),
            timeout: TimeSpan(Duration::from_secs(5)),
        }
    }
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` {problem}")]
pub struct SettingError {
    pub key: String,
    pub problem: String,
}

impl SettingError {
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> SettingError {
        SettingError {
            key: key.into(),
            problem: problem.into(),
        }
    }
}

/// An exporter that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum KafkaConfigError {
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error("no producer for {brokers}")]
    Producer { brokers: String, source: KafkaError },
}

impl KafkaConfig {
    /// Refuses what cannot work.
    pub fn validate(&self) -> Result<(), SettingError> {
        self.connection().validate()?;
        for signal in Signal::ALL {
            if self.topic(signal).is_empty() {
                return Err(SettingError::new(format!("{signal}.topic"), "must not be empty"));
            }
        }
        self.producer.validate()?;
        if self.timeout.0 <= self.producer.linger.0 {
            return Err(SettingError::new(
                "timeout",
                "must be longer than producer.linger",
            ));
        }
        if self.partition_logs_by_trace_id && self.partition_logs_by_resource_attributes {
            let problem = "cannot stand beside partition_logs_by_resource_attributes; leave one out";
            return Err(SettingError::new("partition_logs_by_trace_id", problem));
        }
        let partitioner = &self.record_partitioner;
        if partitioner.sticky_key.is_some() && partitioner.round_robin.is_some() {
            let problem = "can have one of sticky_key and round_robin";
            return Err(SettingError::new("record_partitioner", problem));
        }
        let reserved = |name: &str| {
            (self.signal_header && name == SIGNAL_HEADER)
                || (self.tenant_header && name.eq_ignore_ascii_case(TENANT_HEADER))
        };
        if let Some(name) = self.record_headers.keys().find(|name| reserved(name)) {
            let problem = "is written by signal_header or tenant_header; leave one out";
            return Err(SettingError::new(format!("record_headers.{name}"), problem));
        }
        Ok(())
    }

    pub(super) fn topic(&self, signal: Signal) -> &str {
        self.topic.as_ref().unwrap_or(&self.signal(signal).topic)
    }

    pub(super) fn encoding(&self, signal: Signal) -> Encoding {
        self.encoding.unwrap_or(self.signal(signal).encoding)
    }

    pub(super) fn signal(&self, signal: Signal) -> &SignalSettings {
        match signal {
            Signal::Logs => &self.logs,
            Signal::Metrics => &self.metrics,
            Signal::Traces => &self.traces,
        }
    }

    pub(super) fn producer(&self, voice: Voice) -> Result<Client, KafkaConfigError> {
        let partitioner = match (
            self.record_partitioner.round_robin,
            self.record_partitioner.sticky_key,
        ) {
            (Some(_), _) => "random",
            (
                None,
                Some(StickyKey {
                    hasher: Hasher::Murmur2,
                }),
            ) => "murmur2_random",
            (None, _) => "fnv1a_random",
        };
        let mut client = self.connection().client();
        client
            .set("message.timeout.ms", millis(self.timeout))
            .set("partitioner", partitioner);
        self.producer.set(&mut client);
        Client::start(&client, voice).map_err(|source| KafkaConfigError::Producer {
            brokers: self.brokers.join(","),
            source,
        })
    }

    fn connection(&self) -> Connection<'_> {
        Connection {
            brokers: &self.brokers,
            client_id: &self.client_id,
            rack_id: &self.rack_id,
            resolve_canonical_bootstrap_servers_only: self.resolve_canonical_bootstrap_servers_only,
            dial_timeout: self.dial_timeout,
            conn_idle_timeout: self.conn_idle_timeout,
            auth: &self.auth,
            tls: self.tls.as_ref(),
            metadata: &self.metadata,
        }
    }
}
