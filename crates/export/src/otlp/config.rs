//! What an OTLP destination needs to be told. Parsing validates: a resolved configuration always makes a
//! sink or says which setting is wrong. Refuses to read the environment.

use std::time::Duration;

use cupola_config::Secret;

use crate::retry::RetryConfig;
use crate::tls::{TlsError, TlsSettings};

/// Largest request sent over gRPC, before compression: the default limit of gRPC servers.
pub const GRPC_REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest request sent over HTTP, before compression: the default limit of the OpenTelemetry Collector.
pub const HTTP_REQUEST_BYTES_MAX: usize = 20 * 1024 * 1024;

/// How requests travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    #[default]
    Grpc,
    HttpProtobuf,
    HttpJson,
}

impl Protocol {
    /// The name that `OTEL_EXPORTER_OTLP_PROTOCOL` uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Grpc => "grpc",
            Protocol::HttpProtobuf => "http/protobuf",
            Protocol::HttpJson => "http/json",
        }
    }
}

impl std::str::FromStr for Protocol {
    type Err = OtlpConfigError;

    fn from_str(text: &str) -> Result<Protocol, OtlpConfigError> {
        match text {
            "grpc" => Ok(Protocol::Grpc),
            "http/protobuf" => Ok(Protocol::HttpProtobuf),
            "http/json" => Ok(Protocol::HttpJson),
            _ => Err(OtlpConfigError::Protocol(text.to_owned())),
        }
    }
}

/// How requests are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    None,
    #[default]
    Gzip,
    Zstd,
}

impl std::str::FromStr for Compression {
    type Err = OtlpConfigError;

    fn from_str(text: &str) -> Result<Compression, OtlpConfigError> {
        match text {
            "none" | "" => Ok(Compression::None),
            "gzip" => Ok(Compression::Gzip),
            "zstd" => Ok(Compression::Zstd),
            _ => Err(OtlpConfigError::Compression(text.to_owned())),
        }
    }
}

/// One OTLP destination.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpConfig {
    pub protocol: Protocol,
    /// `http://host:port` or `https://host:port`; for HTTP the base URL, to which `/v1/<signal>` is added.
    pub endpoint: String,
    /// Over HTTP, whole URLs for logs, metrics and traces instead of the base and its path.
    pub signal_endpoints: [Option<String>; 3],
    pub compression: Compression,
    /// Sent with every request: authentication and the like.
    pub headers: Vec<(String, Secret)>,
    /// Of one attempt, connecting included.
    pub timeout: Duration,
    /// Largest request before compression; 4 MiB over gRPC and 20 MiB over HTTP unless set.
    pub request_bytes_max: Option<usize>,
    pub retry: RetryConfig,
    pub tls: TlsSettings,
    /// Sends the batch's tenant as `X-Scope-OrgID`.
    pub tenant_header: bool,
}

impl OtlpConfig {
    /// The defaults of the specification for a protocol and endpoint.
    #[must_use]
    pub fn new(protocol: Protocol, endpoint: impl Into<String>) -> OtlpConfig {
        OtlpConfig {
            protocol,
            endpoint: endpoint.into(),
            signal_endpoints: [None, None, None],
            compression: Compression::default(),
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            request_bytes_max: None,
            retry: RetryConfig::default(),
            tls: TlsSettings::default(),
            tenant_header: true,
        }
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.request_bytes_max.unwrap_or(match self.protocol {
            Protocol::Grpc => GRPC_REQUEST_BYTES_MAX,
            Protocol::HttpProtobuf | Protocol::HttpJson => HTTP_REQUEST_BYTES_MAX,
        })
    }
}

/// A setting no sink can be made of.
#[derive(Debug, thiserror::Error)]
pub enum OtlpConfigError {
    #[error("unknown OTLP protocol {0:?}; known are grpc, http/protobuf and http/json")]
    Protocol(String),
    #[error("unknown compression {0:?}; known are none, gzip and zstd")]
    Compression(String),
    #[error("endpoint {endpoint:?} is not an http:// or https:// URL")]
    Endpoint { endpoint: String },
    #[error("header {name:?} cannot be sent")]
    Header { name: String },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("no HTTP client for {endpoint:?}")]
    Client {
        endpoint: String,
        source: reqwest::Error,
    },
}
