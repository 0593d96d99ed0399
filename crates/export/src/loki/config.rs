//! Settings of the Loki exporter, under the names that the Collector's had.

use std::collections::BTreeMap;
use std::time::Duration;

use cupola_config::Secret;
use cupola_config::units::{ByteSize, TimeSpan};
use serde::Deserialize;

use crate::http_client::{HttpClientError, TlsSettings};

/// How requests are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LokiEncoding {
    /// Protobuf in snappy.
    #[default]
    Protobuf,
    Json,
}

/// Labels that every stream has unless they are turned off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DefaultLabels {
    /// `exporter="OTLP"`.
    pub exporter: bool,
    /// `service.namespace/service.name`.
    pub job: bool,
    /// `service.instance.id`.
    pub instance: bool,
    /// The severity.
    pub level: bool,
}

impl Default for DefaultLabels {
    fn default() -> Self {
        DefaultLabels {
            exporter: true,
            job: true,
            instance: true,
            level: true,
        }
    }
}

/// Settings of the exporter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LokiConfig {
    /// The whole URL, as `http://localhost:3100/loki/api/v1/push`.
    pub endpoint: String,
    pub headers: BTreeMap<String, Secret>,
    pub tls: TlsSettings,
    /// Of one request; 0s waits for ever.
    pub timeout: TimeSpan,
    pub default_labels_enabled: DefaultLabels,
    /// Ours.
    pub encoding: LokiEncoding,
    /// Ours: sends what is neither label nor body as metadata of entries.
    pub structured_metadata: bool,
    /// Ours: largest request before compression. A single entry larger than this is sent alone.
    pub max_batch_size_bytes: ByteSize,
    /// Ours: sends the tenant of a batch as `X-Scope-OrgID`, unless a hint names another.
    pub tenant_header: bool,
}

impl Default for LokiConfig {
    fn default() -> Self {
        LokiConfig {
            endpoint: String::new(),
            headers: BTreeMap::new(),
            tls: TlsSettings::default(),
            timeout: TimeSpan(Duration::from_secs(30)),
            default_labels_enabled: DefaultLabels::default(),
            encoding: LokiEncoding::default(),
            structured_metadata: false,
            max_batch_size_bytes: ByteSize(3_000_000),
            tenant_header: false,
        }
    }
}

/// An exporter that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LokiConfigError {
    #[error("`{key}` {problem}")]
    Setting {
        key: &'static str,
        problem: &'static str,
    },
    #[error(transparent)]
    Client(#[from] HttpClientError),
}

impl LokiConfig {
    /// Refuses what cannot work.
    pub fn validate(&self) -> Result<(), LokiConfigError> {
        let refuse = |key, problem| Err(LokiConfigError::Setting { key, problem });
        if self.endpoint.is_empty() {
            return refuse(
                "endpoint",
                "is missing; write for example http://localhost:3100/loki/api/v1/push",
            );
        }
        if self.max_batch_size_bytes.0 == 0 {
            return refuse("max_batch_size_bytes", "must be at least 1");
        }
        self.tls.validate().map_err(HttpClientError::from)?;
        Ok(())
    }
}
