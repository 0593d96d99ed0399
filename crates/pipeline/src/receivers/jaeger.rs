//! The Jaeger receiver: gRPC (`jaeger.api_v2.CollectorService/PostSpans`), Thrift over HTTP (`POST /api/traces`), and
//! Thrift over UDP (`agent.emitBatch`), in the compact and in the binary protocol, as agents took it.
//!
//! A protocol is served if it is named under `protocols`. Answers after the sink has taken every span; what may be
//! taken later is refused with 503 and `Retry-After`, and over gRPC with UNAVAILABLE and RetryInfo. Nobody is answered over
//! UDP: what cannot be taken is lost there, and counted.
//!
//! How spans become spans of OTLP, after the Collector and the other direction in the specification:
//! - the process is the resource: its service `service.name`, its tags attributes (`hostname` is `host.name`).
//! - tags keep their types. `span.kind`, `w3c.tracestate`, `otel.scope.name` and `.version` (and the older
//!   `otel.library.…`), `otel.status_code` and `otel.status_description` go to where they belong; without a status a
//!   true `error` is one.
//! - the parent is `parentSpanId`, or the first reference `CHILD_OF` in the same trace; other references are links, with
//!   `opentracing.ref_type`.
//! - logs are events, named by their field `event`, or `message`.
//! - warnings are the attribute `jaeger.warnings`, one a line; the sampled bit of the flags stays one.
//!
//! Refuses the sampling strategies that agents gave out, and spans without ids: those with an error after the others have
//! been taken.

mod convert;
mod grpc;
mod http;
mod proto;
mod thrift;
mod udp;

use std::net::SocketAddr;
use std::sync::Arc;

use cupola_config::Endpoint;
use cupola_export::auth::AuthSettings;
use cupola_export::tls::ServerTlsSettings;
use cupola_export::{Sample, Sink};
use cupola_telemetry::Signal;
use cupola_telemetry::memory::MemoryBudget;
use serde::{Deserialize, Deserializer};

use super::http::config::HttpServerConfig;
use super::http::guard::Guard;
use super::http::intake::Intake;
use super::http::server::{HttpServer, StartError};
use crate::auth::Authenticators;
use crate::processors::ConfigError;
use grpc::Calls;
use http::Batches;
use thrift::Protocol;
use udp::Agent;
pub use udp::JaegerUdpConfig;

const GRPC_PORT: u16 = 14250;
const THRIFT_HTTP_PORT: u16 = 14268;
const THRIFT_COMPACT_PORT: u16 = 6831;
const THRIFT_BINARY_PORT: u16 = 6832;
const THRIFT_COMPACT: &str = "thrift_compact";
const THRIFT_BINARY: &str = "thrift_binary";

/// Settings of the receiver `jaeger`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JaegerReceiverConfig {
    pub protocols: JaegerProtocols,
}

/// Each is served if it is named, with its defaults if nothing is said of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JaegerProtocols {
    #[serde(deserialize_with = "named")]
    pub grpc: Option<JaegerGrpcConfig>,
    #[serde(deserialize_with = "named")]
    pub thrift_http: Option<HttpServerConfig>,
    #[serde(deserialize_with = "named")]
    pub thrift_compact: Option<JaegerUdpConfig>,
    #[serde(deserialize_with = "named")]
    pub thrift_binary: Option<JaegerUdpConfig>,
}

impl JaegerProtocols {
    /// Those over UDP: name, usual port, how packets are read, and settings.
    fn of_packets(&self) -> impl Iterator<Item = (&'static str, u16, Protocol, &JaegerUdpConfig)> {
        let compact = (
            THRIFT_COMPACT,
            THRIFT_COMPACT_PORT,
            Protocol::Compact,
            &self.thrift_compact,
        );
        let binary = (
            THRIFT_BINARY,
            THRIFT_BINARY_PORT,
            Protocol::Binary,
            &self.thrift_binary,
        );
        [compact, binary]
            .into_iter()
            .filter_map(|(name, port, protocol, config)| Some((name, port, protocol, config.as_ref()?)))
    }
}

/// Where gRPC is served.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JaegerGrpcConfig {
    pub endpoint: Endpoint,
    /// Largest message, before and after decompression.
    pub max_recv_msg_size_mib: u64,
    pub tls: Option<ServerTlsSettings>,
    /// Who may send; anybody without it.
    pub auth: Option<AuthSettings>,
    /// Headers are kept with the data, for components that ask for them. The tenant always is.
    pub include_metadata: bool,
}

impl Default for JaegerGrpcConfig {
    fn default() -> Self {
        Self {
            endpoint: Endpoint::loopback(GRPC_PORT),
            max_recv_msg_size_mib: 4,
            tls: None,
            auth: None,
            include_metadata: false,
        }
    }
}

/// A key without a value counts as there.
fn named<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl JaegerReceiverConfig {
    /// Where it will listen, by protocol.
    pub fn listens(&self) -> Vec<(&'static str, SocketAddr)> {
        let grpc = self.protocols.grpc.as_ref().map(|grpc| ("grpc", grpc.endpoint.0));
        let thrift = self
            .protocols
            .thrift_http
            .as_ref()
            .map(|http| ("thrift_http", http.endpoint(THRIFT_HTTP_PORT).0));
        let packets = self.protocols.of_packets();
        let packets = packets.map(|(name, port, _, config)| (name, config.endpoint(port).0));
        grpc.into_iter().chain(thrift).chain(packets).collect()
    }

    pub fn validate(&self) -> Result<(), ConfigError> {
        let protocols = &self.protocols;
        if *protocols == JaegerProtocols::default() {
            return Err(ConfigError::setting(
                "protocols",
                "name at least one of grpc, thrift_http, thrift_compact and thrift_binary",
            ));
        }
        for (name, _, _, config) in protocols.of_packets() {
            config.validate(name)?;
        }
        if protocols
            .grpc
            .as_ref()
            .is_some_and(|grpc| grpc.max_recv_msg_size_mib == 0)
        {
            return Err(ConfigError::setting(
                "protocols.grpc.max_recv_msg_size_mib",
                "must be greater than zero",
            ));
        }
        if let Some(tls) = protocols.grpc.as_ref().and_then(|grpc| grpc.tls.as_ref()) {
            tls.validate().map_err(|error| {
                ConfigError::setting(format!("protocols.grpc.tls.{}", error.key), error.problem)
            })?;
        }
        let http = protocols.thrift_http.as_ref();
        http.map_or(Ok(()), |http| http.validate("protocols.thrift_http."))
    }
}

/// Starts Jaeger receivers.
#[derive(Debug)]
pub struct JaegerReceiver;

impl JaegerReceiver {
    /// Listens until [`RunningJaeger::shutdown`]. Bodies and what is made of them are held within `memory`.
    pub async fn start(
        config: JaegerReceiverConfig,
        sink: Arc<dyn Sink>,
        memory: MemoryBudget,
    ) -> Result<RunningJaeger, StartError> {
        Self::start_with(config, sink, memory, &Authenticators::default()).await
    }

    /// The same, with the authenticators that settings may name.
    pub async fn start_with(
        config: JaegerReceiverConfig,
        sink: Arc<dyn Sink>,
        memory: MemoryBudget,
        authenticators: &Authenticators,
    ) -> Result<RunningJaeger, StartError> {
        config.validate()?;
        let mut running = RunningJaeger {
            grpc_addr: None,
            thrift_http_addr: None,
            thrift_compact_addr: None,
            thrift_binary_addr: None,
            grpc: None,
            thrift_http: None,
            agents: Vec::new(),
        };
        for (name, port, protocol, udp) in config.protocols.of_packets() {
            let agent = Agent::start(udp, (name, port, protocol), sink.clone(), &memory).await?;
            match protocol {
                Protocol::Compact => running.thrift_compact_addr = Some(agent.addr),
                Protocol::Binary => running.thrift_binary_addr = Some(agent.addr),
            }
            running.agents.push(agent);
        }
        let timeout = HttpServerConfig::default().read_timeout.0;
        if let Some(grpc) = &config.protocols.grpc {
            let mib = usize::try_from(grpc.max_recv_msg_size_mib).unwrap_or(usize::MAX);
            let limits = (mib.saturating_mul(1024 * 1024), timeout);
            let guard = Guard::new(
                grpc.tls.as_ref(),
                grpc.auth.as_ref(),
                grpc.include_metadata,
                authenticators,
            )
            .map_err(StartError::from)?;
            let calls = Arc::new(Calls {
                intake: Intake::new(Signal::Traces, "grpc", limits, sink.clone(), memory.clone()),
            });
            let server = HttpServer::start("jaeger", grpc.endpoint, timeout, guard, calls.clone()).await?;
            running.grpc_addr = Some(server.addr);
            running.grpc = Some((calls, server));
        }
        if let Some(http) = &config.protocols.thrift_http {
            let posts = Arc::new(Batches {
                intake: Intake::new(Signal::Traces, "http", http.limits(), sink, memory),
            });
            let endpoint = http.endpoint(THRIFT_HTTP_PORT);
            let (guard, timeout) = (http.guard(authenticators)?, http.read_timeout.0);
            let server = HttpServer::start("jaeger", endpoint, timeout, guard, posts.clone()).await?;
            running.thrift_http_addr = Some(server.addr);
            running.thrift_http = Some((posts, server));
        }
        Ok(running)
    }
}

/// A receiver that is serving. Dropping it stops it without waiting for requests in flight.
#[derive(Debug)]
pub struct RunningJaeger {
    /// Where it listens, with the port the system chose if it was asked to.
    pub grpc_addr: Option<SocketAddr>,
    pub thrift_http_addr: Option<SocketAddr>,
    pub thrift_compact_addr: Option<SocketAddr>,
    pub thrift_binary_addr: Option<SocketAddr>,
    grpc: Option<(Arc<Calls>, HttpServer)>,
    thrift_http: Option<(Arc<Batches>, HttpServer)>,
    agents: Vec<Agent>,
}

impl RunningJaeger {
    /// Finishes requests in flight and hands over packets that were received, for a bounded time.
    pub async fn shutdown(&self) {
        let grpc = async {
            if let Some((_, server)) = &self.grpc {
                server.shutdown().await;
            }
        };
        let http = async {
            if let Some((_, server)) = &self.thrift_http {
                server.shutdown().await;
            }
        };
        let agents = futures::future::join_all(self.agents.iter().map(Agent::shutdown));
        tokio::join!(grpc, http, agents);
    }

    /// Adds what is counted.
    pub fn collect(&self, samples: &mut Vec<Sample>) {
        if let Some((calls, server)) = &self.grpc {
            calls.intake.collect(samples);
            server.collect("grpc", samples);
        }
        if let Some((posts, server)) = &self.thrift_http {
            posts.intake.collect(samples);
            server.collect("http", samples);
        }
        self.agents.iter().for_each(|agent| agent.collect(samples));
    }
}

/// What could not be converted.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// Spans without ids.
    refused: u64,
}

const REFUSED: &str = "spans without a trace id and a span id were refused";

/// A span as protobuf that came by itself, and whether it was left out, with the reason.
#[cfg(feature = "kafka")]
pub(crate) fn read_span(
    bytes: &[u8],
    tenant: cupola_telemetry::TenantId,
    room: &mut super::http::intake::Room<'_>,
) -> Result<(cupola_telemetry::Batch, Option<(u64, String)>), super::http::refusal::Refusal> {
    use cupola_telemetry::Batch;
    let empty = Batch::from_canonical(Signal::Traces, tenant.clone(), bytes::Bytes::new(), 0);
    let (batches, outcome) = proto::convert_span(bytes, tenant, room)?;
    let left_out = (outcome.refused > 0).then(|| (outcome.refused, REFUSED.to_owned()));
    Ok((Batch::concat(&batches).unwrap_or(empty), left_out))
}

#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(data: &[u8], room: &mut super::http::intake::Room<'_>) {
    let tenant = cupola_telemetry::TenantId::default_tenant;
    let _ = proto::convert(data, tenant(), room);
    let _ = thrift::convert(data, tenant(), room);
    for protocol in [Protocol::Compact, Protocol::Binary] {
        let _ = thrift::convert_call(data, protocol, tenant(), room);
        let _ = thrift::convert_arguments(data, protocol, tenant(), room);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::http::intake::Room;
    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_any_format_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), low in prop::collection::vec(0u8..16, 0..200)) {
            for bytes in [bytes, low] {
                let mut memory = MemoryBudget::new(1 << 22).reservation();
                let mut room = Room::new(&mut memory, 1 << 20);
                fuzz(&bytes, &mut room);
            }
        }
    }

    #[test]
    fn a_protocol_without_settings_has_its_defaults() {
        let config: JaegerReceiverConfig = cupola_config::yaml::from_str(
            "protocols:\n  grpc:\n  thrift_http:\n  thrift_compact:\n  thrift_binary:\n",
        )
        .unwrap();
        assert_eq!(config.protocols.grpc, Some(JaegerGrpcConfig::default()));
        assert_eq!(config.protocols.thrift_http, Some(HttpServerConfig::default()));
        let packets = Some(JaegerUdpConfig::default());
        assert_eq!(config.protocols.thrift_compact, packets);
        assert_eq!(config.protocols.thrift_binary, packets);
        let listens: Vec<_> = config
            .listens()
            .into_iter()
            .map(|(_, at)| at.to_string())
            .collect();
        assert_eq!(
            listens,
            [
                "127.0.0.1:14250",
                "127.0.0.1:14268",
                "127.0.0.1:6831",
                "127.0.0.1:6832"
            ]
        );
        for (setting, value) in [("workers", 0), ("queue_size", 0), ("max_packet_size", 0)] {
            let text = format!("protocols: {{thrift_compact: {{{setting}: {value}}}}}");
            let config: JaegerReceiverConfig = cupola_config::yaml::from_str(&text).unwrap();
            let error = config.validate().unwrap_err();
            let key = format!("protocols.thrift_compact.{setting}");
            assert!(error.to_string().contains(&key), "{error}");
        }
        let none: JaegerReceiverConfig = cupola_config::yaml::from_str("protocols: {}").unwrap();
        assert!(none.validate().is_err());
    }
}
