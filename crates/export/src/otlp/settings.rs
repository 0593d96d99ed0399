//! The settings of the exporters `otlp` and `otlphttp` as the Collector's files have them, and what a sink is made with.
//!
//! <https://github.com/open-telemetry/opentelemetry-collector/tree/main/exporter/otlpexporter>,
//! <https://github.com/open-telemetry/opentelemetry-collector/tree/main/exporter/otlphttpexporter>

use std::collections::BTreeMap;
use std::time::Duration;

use cupola_config::units::{ByteSize, TimeSpan};
use cupola_config::{Passed, Secret, mask};
use serde::Deserialize;

use super::config::{Compression, OtlpConfig, Protocol};
use crate::retry::RetryConfig;
use crate::tls::TlsSettings;

/// `exporters.otlp`: gRPC.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpSettings {
    /// `host:port`, or a URL.
    pub endpoint: String,
    pub tls: TlsSettings,
    pub headers: BTreeMap<String, Secret>,
    pub compression: CompressionName,
    /// Ours: largest request before compression.
    pub max_request_size: Option<ByteSize>,
    /// Ours: sends the tenant of a batch as `X-Scope-OrgID`.
    pub tenant_header: bool,
    /// Tuned by Cupola itself; read so that files may have them.
    pub keepalive: Passed,
    pub read_buffer_size: Option<u64>,
    pub write_buffer_size: Option<u64>,
    pub balancer_name: Option<String>,
    pub wait_for_ready: Option<bool>,
    pub authority: Option<String>,
}

/// `exporters.otlphttp`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpHttpSettings {
    /// The base, to which `/v1/logs` and the like are added.
    pub endpoint: String,
    /// Instead of the base and its path.
    pub logs_endpoint: Option<String>,
    pub metrics_endpoint: Option<String>,
    pub traces_endpoint: Option<String>,
    pub encoding: Encoding,
    pub tls: TlsSettings,
    pub headers: BTreeMap<String, Secret>,
    pub compression: CompressionName,
    /// Of one request.
    pub timeout: TimeSpan,
    /// Ours: largest request before compression.
    pub max_request_size: Option<ByteSize>,
    /// Ours: sends the tenant of a batch as `X-Scope-OrgID`.
    pub tenant_header: bool,
    /// Tuned by Cupola itself; read so that files may have them.
    pub read_buffer_size: Option<u64>,
    pub write_buffer_size: Option<u64>,
    pub max_idle_conns: Option<u64>,
    pub max_idle_conns_per_host: Option<u64>,
    pub max_conns_per_host: Option<u64>,
    pub idle_conn_timeout: Option<TimeSpan>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompressionName {
    None,
    #[default]
    Gzip,
    Zstd,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    #[default]
    Proto,
    Json,
}

impl Default for OtlpSettings {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            tls: TlsSettings::default(),
            headers: BTreeMap::new(),
            compression: CompressionName::default(),
            max_request_size: None,
            tenant_header: true,
            keepalive: Passed,
            read_buffer_size: None,
            write_buffer_size: None,
            balancer_name: None,
            wait_for_ready: None,
            authority: None,
        }
    }
}

impl Default for OtlpHttpSettings {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            logs_endpoint: None,
            metrics_endpoint: None,
            traces_endpoint: None,
            encoding: Encoding::default(),
            tls: TlsSettings::default(),
            headers: BTreeMap::new(),
            compression: CompressionName::default(),
            timeout: TimeSpan(Duration::from_secs(30)),
            max_request_size: None,
            tenant_header: true,
            read_buffer_size: None,
            write_buffer_size: None,
            max_idle_conns: None,
            max_idle_conns_per_host: None,
            max_conns_per_host: None,
            idle_conn_timeout: None,
        }
    }
}

impl From<CompressionName> for Compression {
    fn from(name: CompressionName) -> Compression {
        match name {
            CompressionName::None => Compression::None,
            CompressionName::Gzip => Compression::Gzip,
            CompressionName::Zstd => Compression::Zstd,
        }
    }
}

/// Whether a URL names a server, or why not.
fn can_be_reached(url: &str) -> Result<(), String> {
    let shown = mask::urls(url).unwrap_or_else(|| url.to_owned());
    let uri: http::Uri = url
        .parse()
        .map_err(|error| format!("`{shown}` is no address of a server: {error}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(format!("`{shown}` is not an http:// or https:// URL"));
    }
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    let host = authority.rsplit('@').next().unwrap_or_default();
    let port = host
        .rsplit_once(':')
        .map(|(_, port)| port)
        .filter(|port| !port.ends_with(']'));
    match port {
        Some(port) if !port.is_empty() && port.parse::<u16>().is_err() => {
            Err(format!("`{port}` is no port; ports go up to {}", u16::MAX))
        }
        _ => Ok(()),
    }
}

impl OtlpSettings {
    /// The key of a setting that cannot be, and why.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        if self.endpoint.is_empty() {
            return Err((
                "endpoint",
                "it is missing; write for example tempo:4317".to_owned(),
            ));
        }
        let endpoint = match self.endpoint.contains("://") {
            true => self.endpoint.clone(),
            false => format!("https://{}", self.endpoint),
        };
        can_be_reached(&endpoint).map_err(|problem| ("endpoint", problem))?;
        self.tls.validate().map_err(|error| (TLS, error.to_string()))
    }

    /// What the sink is made with. The endpoint is encrypted unless `tls.insecure` is set or it says `http://`.
    pub fn config(&self, timeout: Duration) -> OtlpConfig {
        let endpoint = match self.endpoint.contains("://") {
            true => self.endpoint.clone(),
            false if self.tls.is_off() => format!("http://{}", self.endpoint),
            false => format!("https://{}", self.endpoint),
        };
        OtlpConfig {
            compression: self.compression.into(),
            headers: exposed(&self.headers),
            timeout: bounded(timeout),
            request_bytes_max: bytes(self.max_request_size),
            // Whoever is around the sink repeats.
            retry: RetryConfig::disabled(),
            tls: self.tls.clone(),
            tenant_header: self.tenant_header,
            ..OtlpConfig::new(Protocol::Grpc, endpoint)
        }
    }
}

impl OtlpHttpSettings {
    /// The key of a setting that cannot be, and why.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let own = [&self.logs_endpoint, &self.metrics_endpoint, &self.traces_endpoint];
        if self.endpoint.is_empty() && own.iter().all(|endpoint| endpoint.is_none()) {
            return Err((
                "endpoint",
                "it is missing; write for example http://tempo:4318".to_owned(),
            ));
        }
        let of_signals = ["logs_endpoint", "metrics_endpoint", "traces_endpoint"]
            .into_iter()
            .zip(own);
        let given = of_signals.filter_map(|(key, endpoint)| Some((key, endpoint.as_ref()?)));
        let base = Some(("endpoint", &self.endpoint)).filter(|(_, endpoint)| !endpoint.is_empty());
        for (key, endpoint) in base.into_iter().chain(given) {
            can_be_reached(endpoint).map_err(|problem| (key, problem))?;
        }
        self.tls.validate().map_err(|error| (TLS, error.to_string()))
    }

    pub fn config(&self) -> OtlpConfig {
        let protocol = match self.encoding {
            Encoding::Proto => Protocol::HttpProtobuf,
            Encoding::Json => Protocol::HttpJson,
        };
        let own = [&self.logs_endpoint, &self.metrics_endpoint, &self.traces_endpoint];
        let any = own.into_iter().flatten().next();
        let endpoint = match self.endpoint.is_empty() {
            true => any.cloned().unwrap_or_default(),
            false => self.endpoint.clone(),
        };
        OtlpConfig {
            signal_endpoints: own.map(Clone::clone),
            compression: self.compression.into(),
            headers: exposed(&self.headers),
            timeout: bounded(self.timeout.0),
            request_bytes_max: bytes(self.max_request_size),
            retry: RetryConfig::disabled(),
            tls: self.tls.clone(),
            tenant_header: self.tenant_header,
            ..OtlpConfig::new(protocol, endpoint)
        }
    }
}

const TLS: &str = "tls";

/// Zero means that there is no bound.
fn bounded(timeout: Duration) -> Duration {
    const NEVER: Duration = Duration::from_secs(365 * 86_400);
    if timeout.is_zero() { NEVER } else { timeout }
}

fn bytes(size: Option<ByteSize>) -> Option<usize> {
    size.map(|size| usize::try_from(size.0).unwrap_or(usize::MAX))
}

fn exposed(headers: &BTreeMap<String, Secret>) -> Vec<(String, Secret)> {
    headers
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_is_encrypted_unless_it_is_said_not_to_be() {
        let settings = |insecure| OtlpSettings {
            endpoint: "tempo:4317".to_owned(),
            tls: TlsSettings {
                insecure,
                ..TlsSettings::default()
            },
            ..OtlpSettings::default()
        };
        let endpoint = |insecure| settings(insecure).config(Duration::ZERO).endpoint;
        assert_eq!(
            (endpoint(false), endpoint(true)),
            ("https://tempo:4317".into(), "http://tempo:4317".into())
        );
    }
}
