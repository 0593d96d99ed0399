//! Settings of the OTLP receiver and their defaults. Refuses settings that would be unsafe together.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use cupola_export::auth::AuthSettings;
use cupola_export::tls::{ServerTlsSettings, TlsError};

/// Most connections that can be asked for. Each holds some tens of KiB that no budget counts.
pub const CONNECTIONS_MAX: usize = 65_536;

/// An OTLP receiver: either transport may be left out.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpReceiverConfig {
    pub grpc: Option<GrpcConfig>,
    pub http: Option<HttpConfig>,
    /// Time a client has to send the whole body of a request, or the preface of an HTTP/2 connection once it has
    /// begun.
    pub body_timeout: Duration,
    /// Connections open at the same time, both ports together, up to [`CONNECTIONS_MAX`]; more wait to be
    /// accepted.
    pub connections_max: usize,
    /// Time requests in flight have to finish at shutdown.
    pub shutdown_timeout: Duration,
}

impl Default for OtlpReceiverConfig {
    fn default() -> OtlpReceiverConfig {
        OtlpReceiverConfig {
            grpc: Some(GrpcConfig::default()),
            http: Some(HttpConfig::default()),
            body_timeout: Duration::from_secs(60),
            connections_max: 8192,
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

/// OTLP/gRPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcConfig {
    pub endpoint: SocketAddr,
    /// Largest message, before and after decompression.
    pub message_bytes_max: usize,
    pub tls: Option<ServerTlsSettings>,
    /// Who may send; anybody without it.
    pub auth: Option<AuthSettings>,
    /// Headers are kept with the data.
    pub include_metadata: bool,
}

impl Default for GrpcConfig {
    fn default() -> GrpcConfig {
        GrpcConfig {
            endpoint: local(4317),
            message_bytes_max: 4 * 1024 * 1024,
            tls: None,
            auth: None,
            include_metadata: false,
        }
    }
}

/// OTLP/HTTP, protobuf and JSON. The port answers gRPC too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    pub endpoint: SocketAddr,
    /// Largest body, before and after decompression.
    pub body_bytes_max: usize,
    /// Which web pages may send; none without it.
    pub cors: Option<CorsConfig>,
    pub tls: Option<ServerTlsSettings>,
    /// Who may send, gRPC included; anybody without it.
    pub auth: Option<AuthSettings>,
    /// Headers are kept with the data.
    pub include_metadata: bool,
}

impl Default for HttpConfig {
    fn default() -> HttpConfig {
        HttpConfig {
            endpoint: local(4318),
            body_bytes_max: 20 * 1024 * 1024,
            cors: None,
            tls: None,
            auth: None,
            include_metadata: false,
        }
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Cross-origin requests from browsers. <https://fetch.spec.whatwg.org/#http-cors-protocol>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsConfig {
    /// `*`, or origins such as `https://app.example.com`; one `*` within stands for any text
    /// (`https://*.example.com`).
    pub allowed_origins: Vec<String>,
    /// Request headers allowed beside those OTLP needs.
    pub allowed_headers: Vec<String>,
    /// How long a browser may remember a preflight; its own default without it.
    pub max_age: Option<Duration>,
    /// Whether requests may carry cookies and the like. Not together with the origin `*`.
    pub allow_credentials: bool,
}

/// Settings that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OtlpReceiverConfigError {
    #[error("cors: credentials cannot be allowed to every origin; name the origins instead of `*`")]
    CredentialsForEveryone,
    #[error("cors: {0:?} cannot be part of a header")]
    CorsHeader(String),
    #[error("{0} must be greater than zero")]
    Zero(&'static str),
    #[error("protocols.{protocol}: {source}")]
    Tls {
        protocol: &'static str,
        source: TlsError,
    },
    #[error("connections_max is {0}; at most {CONNECTIONS_MAX} can be served")]
    Connections(usize),
}

impl OtlpReceiverConfig {
    /// Whether the settings make sense together.
    pub fn validate(&self) -> Result<(), OtlpReceiverConfigError> {
        let sizes = [
            (
                "grpc.message_bytes_max",
                self.grpc.as_ref().map_or(1, |grpc| grpc.message_bytes_max),
            ),
            (
                "http.body_bytes_max",
                self.http.as_ref().map_or(1, |http| http.body_bytes_max),
            ),
            ("connections_max", self.connections_max),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(OtlpReceiverConfigError::Zero(name));
        }
        if self.connections_max > CONNECTIONS_MAX {
            return Err(OtlpReceiverConfigError::Connections(self.connections_max));
        }
        let tls = [
            ("grpc", self.grpc.as_ref().and_then(|grpc| grpc.tls.as_ref())),
            ("http", self.http.as_ref().and_then(|http| http.tls.as_ref())),
        ];
        for (protocol, tls) in tls {
            if let Some(Err(source)) = tls.map(ServerTlsSettings::validate) {
                return Err(OtlpReceiverConfigError::Tls { protocol, source });
            }
        }
        let Some(cors) = self.http.as_ref().and_then(|http| http.cors.as_ref()) else {
            return Ok(());
        };
        let everyone = cors
            .allowed_origins
            .iter()
            .any(|origin| matches!(origin.as_str(), "*" | "http://*" | "https://*"));
        if cors.allow_credentials && everyone {
            return Err(OtlpReceiverConfigError::CredentialsForEveryone);
        }
        let texts = cors.allowed_headers.iter().chain(&cors.allowed_origins);
        match texts
            .into_iter()
            .find(|text| ::http::HeaderValue::from_str(text).is_err())
        {
            Some(text) => Err(OtlpReceiverConfigError::CorsHeader(text.clone())),
            None => Ok(()),
        }
    }
}
