//! Settings of the scrape page, under the Collector's names.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use cupola_config::Endpoint;
use cupola_config::units::TimeSpan;
use serde::Deserialize;

use crate::auth::AuthSettings;
use crate::prometheus::{Labels, Options, label_name};
use crate::prometheus_remote_write::ResourceToTelemetry;
use crate::tls::{ServerTlsSettings, TlsError};

/// Series that a page has at most unless told otherwise.
const SERIES_MAX: usize = 200_000;

/// Settings of the exporter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PageConfig {
    /// Where to listen. A port alone is one of this machine only.
    pub endpoint: Option<Endpoint>,
    pub namespace: String,
    /// Labels of every series that has none of that name.
    pub const_labels: BTreeMap<String, String>,
    /// Shows the time of each point instead of leaving it to the scrape.
    pub send_timestamps: bool,
    /// How long a series without points stays.
    pub metric_expiration: TimeSpan,
    pub resource_to_telemetry_conversion: ResourceToTelemetry,
    /// Gives OpenMetrics, with exemplars, to whoever asks for it.
    pub enable_open_metrics: bool,
    pub add_metric_suffixes: bool,
    pub tls: Option<ServerTlsSettings>,
    /// Who may read the page.
    pub auth: Option<AuthSettings>,
    /// Ours: series on the page at most.
    pub series_max: usize,
    /// Ours: the instrumentation scope as labels. Without it, equal metrics of several scopes are one series.
    pub scope_labels: bool,
}

impl Default for PageConfig {
    fn default() -> Self {
        PageConfig {
            endpoint: None,
            namespace: String::new(),
            const_labels: BTreeMap::new(),
            send_timestamps: false,
            metric_expiration: TimeSpan(Duration::from_secs(300)),
            resource_to_telemetry_conversion: ResourceToTelemetry::default(),
            enable_open_metrics: false,
            add_metric_suffixes: true,
            tls: None,
            auth: None,
            series_max: SERIES_MAX,
            scope_labels: true,
        }
    }
}

/// A page that cannot be given out.
#[derive(Debug, thiserror::Error)]
pub enum PageConfigError {
    #[error("`{key}` {problem}")]
    Setting { key: String, problem: String },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot listen on {address}; is another program there?")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
}

impl PageConfig {
    /// Refuses what cannot work; where to listen.
    pub fn validate(&self) -> Result<SocketAddr, PageConfigError> {
        let refuse = |key: &str, problem: String| {
            let key = key.to_owned();
            Err(PageConfigError::Setting { key, problem })
        };
        if self.series_max == 0 {
            return refuse("series_max", "must be at least 1".to_owned());
        }
        if self.metric_expiration.0.is_zero() {
            return refuse("metric_expiration", "must be longer than 0s".to_owned());
        }
        if let Some(name) = self.const_labels.keys().find(|name| label_name(name) != **name) {
            let problem = format!(
                "has a letter that labels may not have; write {}",
                label_name(name)
            );
            return refuse(&format!("const_labels.{name}"), problem);
        }
        if let Some(tls) = &self.tls {
            tls.validate()?;
        }
        match self.endpoint {
            Some(endpoint) => Ok(endpoint.0),
            None => refuse(
                "endpoint",
                "is missing; write for example 127.0.0.1:8889".to_owned(),
            ),
        }
    }

    pub(super) fn options(&self) -> Options {
        Options {
            namespace: self.namespace.clone(),
            suffixes: self.add_metric_suffixes,
            resource_labels: self.resource_to_telemetry_conversion.enabled,
            scope_labels: self.scope_labels,
            target_info: true,
            delta: true,
            external_labels: self.const_labels.clone().into_iter().collect::<Labels>(),
        }
    }
}
