//! The settings of the OTLP receiver as the Collector's files have them.
//!
//! <https://github.com/open-telemetry/opentelemetry-collector/tree/main/receiver/otlpreceiver>

use std::net::SocketAddr;
use std::time::Duration;

use cupola_config::units::ByteSize;
use cupola_config::{Endpoint, present};
use cupola_export::auth::AuthSettings;
use cupola_export::tls::ServerTlsSettings;
use serde::Deserialize;

use super::config::{CorsConfig, GrpcConfig, HttpConfig, OtlpReceiverConfig};

/// The section `receivers.otlp`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpSettings {
    /// A protocol that is not named is off; without this key both are on.
    pub protocols: Option<Protocols>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Protocols {
    #[serde(deserialize_with = "present")]
    pub grpc: Option<GrpcSettings>,
    #[serde(deserialize_with = "present")]
    pub http: Option<HttpSettings>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrpcSettings {
    pub endpoint: Option<Endpoint>,
    /// Only `tcp` is there.
    pub transport: Option<Transport>,
    pub max_recv_msg_size_mib: Option<u64>,
    pub tls: Option<ServerTlsSettings>,
    pub auth: Option<AuthSettings>,
    /// Headers are kept with the data, for components that ask for them. The tenant always is.
    pub include_metadata: Option<bool>,
    /// Tuned by Cupola itself; read so that files may have them.
    pub max_concurrent_streams: Option<u32>,
    pub read_buffer_size: Option<u64>,
    pub write_buffer_size: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    Tcp,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSettings {
    pub endpoint: Option<Endpoint>,
    pub max_request_body_size: Option<ByteSize>,
    pub cors: Option<CorsSettings>,
    pub tls: Option<ServerTlsSettings>,
    pub auth: Option<AuthSettings>,
    /// Headers are kept with the data, for components that ask for them. The tenant always is.
    pub include_metadata: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorsSettings {
    pub allowed_origins: Vec<String>,
    pub allowed_headers: Vec<String>,
    /// Seconds.
    pub max_age: Option<u64>,
}

impl OtlpSettings {
    /// What the receiver is started with.
    pub fn config(&self) -> OtlpReceiverConfig {
        let both = Protocols {
            grpc: Some(GrpcSettings::default()),
            http: Some(HttpSettings::default()),
        };
        let protocols = self.protocols.clone().unwrap_or(both);
        OtlpReceiverConfig {
            grpc: protocols.grpc.map(GrpcSettings::config),
            http: protocols.http.map(HttpSettings::config),
            ..OtlpReceiverConfig::default()
        }
    }
}

impl GrpcSettings {
    fn config(self) -> GrpcConfig {
        let default = GrpcConfig::default();
        let bytes = |mebibytes: u64| usize::try_from(mebibytes.saturating_mul(1 << 20)).unwrap_or(usize::MAX);
        GrpcConfig {
            endpoint: address(self.endpoint, default.endpoint),
            message_bytes_max: self
                .max_recv_msg_size_mib
                .map_or(default.message_bytes_max, bytes),
            tls: self.tls,
            auth: self.auth,
            include_metadata: self.include_metadata.unwrap_or_default(),
        }
    }
}

impl HttpSettings {
    fn config(self) -> HttpConfig {
        let default = HttpConfig::default();
        let bytes = |size: ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
        HttpConfig {
            endpoint: address(self.endpoint, default.endpoint),
            body_bytes_max: self.max_request_body_size.map_or(default.body_bytes_max, bytes),
            cors: self.cors.map(|cors| CorsConfig {
                allowed_origins: cors.allowed_origins,
                allowed_headers: cors.allowed_headers,
                max_age: cors.max_age.map(Duration::from_secs),
                allow_credentials: false,
            }),
            tls: self.tls,
            auth: self.auth,
            include_metadata: self.include_metadata.unwrap_or_default(),
        }
    }
}

fn address(given: Option<Endpoint>, default: SocketAddr) -> SocketAddr {
    given.map_or(default, |endpoint| endpoint.0)
}
