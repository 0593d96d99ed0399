//! Flags and environment variables of settings.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::telemetry::LogEncoding;
use cupola_config::Endpoint;
use cupola_config::units::{ByteSize, MemoryLimit, TimeSpan};

/// Flags of `serve`; each has an environment variable.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServeFlags {
    /// Where the data is kept [default: ./cupola-data].
    #[arg(long, env = "CUPOLA_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Keep segments there instead of in the data directory: s3://, gs://, az:// or file://.
    #[arg(long, env = "CUPOLA_OBJECT_STORE_URL", value_name = "URL")]
    pub(crate) object_store_url: Option<String>,
    /// Address for OTLP over gRPC [default: 127.0.0.1:4317].
    #[arg(long, env = "CUPOLA_OTLP_GRPC", value_name = "ADDRESS")]
    pub(crate) otlp_grpc: Option<Endpoint>,
    /// Address for OTLP over HTTP [default: 127.0.0.1:4318].
    #[arg(long, env = "CUPOLA_OTLP_HTTP", value_name = "ADDRESS")]
    pub(crate) otlp_http: Option<Endpoint>,
    /// Address of the web page and the query API [default: 127.0.0.1:4300].
    #[arg(long, env = "CUPOLA_API", value_name = "ADDRESS")]
    pub(crate) api: Option<Endpoint>,
    /// Address for the PostgreSQL protocol, or `off` [default: 127.0.0.1:4301].
    #[arg(long, env = "CUPOLA_POSTGRES", value_name = "ADDRESS")]
    pub(crate) postgres: Option<OptionalEndpoint>,
    /// Address for Arrow Flight SQL, or `off` [default: 127.0.0.1:4302].
    #[arg(long, env = "CUPOLA_FLIGHT_SQL", value_name = "ADDRESS")]
    pub(crate) flight_sql: Option<OptionalEndpoint>,
    /// Address of the health checks, or `off` [default: 127.0.0.1:13133].
    #[arg(long, env = "CUPOLA_HEALTH", value_name = "ADDRESS")]
    pub(crate) health: Option<OptionalEndpoint>,
    /// Ceiling on memory: a size, or a share of the machine or its control group [default: 25%].
    #[arg(long, env = "CUPOLA_MEMORY_LIMIT", value_name = "LIMIT")]
    pub(crate) memory_limit: Option<MemoryLimit>,
    /// Data is written to segments when it is this old [default: 30s].
    #[arg(long, env = "CUPOLA_FLUSH_INTERVAL", value_name = "DURATION")]
    pub(crate) flush_interval: Option<TimeSpan>,
    /// Data is written to segments when there is this much of it [default: 128MiB, less under a small memory limit].
    #[arg(long, env = "CUPOLA_FLUSH_BYTES_MAX", value_name = "SIZE")]
    pub(crate) flush_bytes_max: Option<ByteSize>,
    /// Tenant that keeps Cupola's own telemetry, or `off` [default: cupola].
    #[arg(long, env = "CUPOLA_OWN_TELEMETRY", value_name = "TENANT")]
    pub(crate) own_telemetry: Option<String>,
}

/// Flags that say how Cupola logs.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct LogFlags {
    /// Which log lines are written, such as `info` or `cupola_store=debug,warn` [default: info].
    #[arg(long, global = true, env = "CUPOLA_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// How log lines look [default: text].
    #[arg(long, global = true, env = "CUPOLA_LOG_FORMAT", value_name = "FORMAT")]
    pub(crate) log_format: Option<LogEncoding>,
}

/// An address, or nothing at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OptionalEndpoint {
    Off,
    On(SocketAddr),
}

impl std::str::FromStr for OptionalEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" | "none" => Ok(OptionalEndpoint::Off),
            address => address
                .parse::<Endpoint>()
                .map(|endpoint| OptionalEndpoint::On(endpoint.0)),
        }
    }
}
