//! Settings of remote write, under the Collector's names.

use std::collections::BTreeMap;
use std::time::Duration;

use cupola_config::Secret;
use cupola_config::units::{ByteSize, TimeSpan};
use serde::Deserialize;

use crate::http_client::{HttpClientError, TlsSettings};
use crate::prometheus::{Labels, Options, label_name};

/// The message that requests carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum ProtobufMessage {
    #[default]
    #[serde(rename = "prometheus.WriteRequest")]
    V1,
    #[serde(rename = "io.prometheus.write.v2.Request")]
    V2,
}

/// Something on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Switch {
    pub enabled: bool,
}

impl Default for Switch {
    fn default() -> Self {
        Switch { enabled: true }
    }
}

/// Whether attributes of the resource become labels of every series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResourceToTelemetry {
    pub enabled: bool,
}

/// The Collector's queue of this exporter, for whoever puts a queue in front: the sink itself has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteWriteQueue {
    pub enabled: bool,
    /// In batches.
    pub queue_size: u64,
    pub num_consumers: u64,
}

impl Default for RemoteWriteQueue {
    fn default() -> Self {
        RemoteWriteQueue {
            enabled: true,
            queue_size: 10_000,
            num_consumers: 5,
        }
    }
}

/// Settings of the exporter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteWriteConfig {
    /// The whole URL, as `http://localhost:9090/api/v1/write`.
    pub endpoint: String,
    pub headers: BTreeMap<String, Secret>,
    pub tls: TlsSettings,
    /// Of one request; 0s waits for ever.
    pub timeout: TimeSpan,
    pub namespace: String,
    pub external_labels: BTreeMap<String, String>,
    pub resource_to_telemetry_conversion: ResourceToTelemetry,
    pub target_info: Switch,
    pub add_metric_suffixes: bool,
    /// Sends type, unit and description with version 1; version 2 always does.
    pub send_metadata: bool,
    /// Largest request before compression. A single series larger than this is sent alone.
    pub max_batch_size_bytes: ByteSize,
    pub protobuf_message: ProtobufMessage,
    pub remote_write_queue: RemoteWriteQueue,
    /// Ours: the instrumentation scope as labels `otel_scope_name`, `otel_scope_version` and so on. Without it, equal
    /// metrics of several scopes are one series.
    pub scope_labels: bool,
    /// Ours: sends the tenant of a batch as `X-Scope-OrgID`.
    pub tenant_header: bool,
}

impl Default for RemoteWriteConfig {
    fn default() -> Self {
        RemoteWriteConfig {
            endpoint: String::new(),
            headers: BTreeMap::new(),
            tls: TlsSettings::default(),
            timeout: TimeSpan(Duration::from_secs(5)),
            namespace: String::new(),
            external_labels: BTreeMap::new(),
            resource_to_telemetry_conversion: ResourceToTelemetry::default(),
            target_info: Switch::default(),
            add_metric_suffixes: true,
            send_metadata: false,
            max_batch_size_bytes: ByteSize(3_000_000),
            protobuf_message: ProtobufMessage::default(),
            remote_write_queue: RemoteWriteQueue::default(),
            scope_labels: true,
            tenant_header: false,
        }
    }
}

/// An exporter that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RemoteWriteConfigError {
    #[error("`{key}` {problem}")]
    Setting { key: String, problem: String },
    #[error(transparent)]
    Client(#[from] HttpClientError),
}

impl RemoteWriteConfig {
    /// Refuses what cannot work.
    pub fn validate(&self) -> Result<(), RemoteWriteConfigError> {
        let refuse = |key: &str, problem: String| {
            let key = key.to_owned();
            Err(RemoteWriteConfigError::Setting { key, problem })
        };
        if self.endpoint.is_empty() {
            return refuse(
                "endpoint",
                "is missing; write for example http://localhost:9090/api/v1/write".to_owned(),
            );
        }
        if self.max_batch_size_bytes.0 == 0 {
            return refuse("max_batch_size_bytes", "must be at least 1".to_owned());
        }
        if let Some(name) = self
            .external_labels
            .keys()
            .find(|name| label_name(name) != **name)
        {
            let problem = format!(
                "has a letter that labels may not have; write {}",
                label_name(name)
            );
            return refuse(&format!("external_labels.{name}"), problem);
        }
        self.tls.validate().map_err(HttpClientError::from)?;
        Ok(())
    }

    pub(super) fn options(&self) -> Options {
        let external = self.external_labels.clone().into_iter();
        Options {
            namespace: self.namespace.clone(),
            suffixes: self.add_metric_suffixes,
            resource_labels: self.resource_to_telemetry_conversion.enabled,
            scope_labels: self.scope_labels,
            target_info: self.target_info.enabled,
            delta: false,
            external_labels: external.collect::<Labels>(),
        }
    }
}
