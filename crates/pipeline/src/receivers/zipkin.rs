//! The Zipkin receiver: version 2 of its API, JSON and protobuf.
//!
//! `POST /api/v2/spans` (and `/api/v1/spans` and `/` for what is version 2 in truth). Answers 202 after the sink has
//! taken every span, 503 with `Retry-After` where the same request may be taken later.
//!
//! How spans become spans of OTLP, after the Collector and the other direction in the specification:
//! - `localEndpoint.serviceName` is `service.name`; its address `net.host.ip` and `net.host.port`. `remoteEndpoint` is
//!   `peer.service`, `net.peer.ip`, `net.peer.port`.
//! - ids of 64 bits get zeros in front. A span without a kind is internal.
//! - annotations are events; `"name":{…}` is a name with attributes. Tags are attributes, texts unless
//!   `parse_string_tags` is set.
//! - `otel.status_code` and `otel.status_description` are the status; without them the tag `error` is an error with its
//!   value as the message. `otel.scope.name`, `otel.scope.version` (and the older `otel.library.…`) are the scope;
//!   `w3c.tracestate` is the trace state.
//! - `shared` and `debug` are kept as `zipkin.shared` and `zipkin.debug`: OTLP has no word for them. Both halves of a
//!   shared span keep its id.
//! - a span without a timestamp gets that of its first annotation or of its arrival, and
//!   `otel.zipkin.absentField.startTime`.
//!
//! Refuses version 1, and spans without ids: those with 400, after the others have been taken.
//! <https://zipkin.io/zipkin-api/>, <https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/zipkin/>

mod convert;
mod json;
mod protobuf;

use std::net::SocketAddr;
use std::sync::Arc;

use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use cupola_config::Endpoint;
use cupola_config::units::{ByteSize, TimeSpan};
use cupola_export::auth::AuthSettings;
use cupola_export::tls::ServerTlsSettings;
use cupola_export::{Sample, Sink};
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, Signal, TenantId};
use hyper::body::Incoming;
use serde::Deserialize;

use super::http::config::HttpServerConfig;
use super::http::headers::compression;
use super::http::intake::{Converted, Intake, Room, media_type, now_unix_nano};
use super::http::posts::{LeftOut, Posts, post};
use super::http::refusal::{Refusal, quote};
use super::http::response::ResponseBody;
use super::http::server::{HttpServer, Service, StartError};
use crate::auth::Authenticators;
use crate::processors::ConfigError;
use convert::Rules;

const PORT: u16 = 9411;

/// Settings of the receiver `zipkin`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ZipkinReceiverConfig {
    pub endpoint: Endpoint,
    /// Whether tags that look like numbers and truth values become such.
    pub parse_string_tags: bool,
    /// Largest body, before and after decompression.
    pub max_request_body_size: ByteSize,
    /// Time a client has to send a whole body.
    pub read_timeout: TimeSpan,
    /// As in [`HttpServerConfig`].
    pub include_metadata: bool,
    pub tls: Option<ServerTlsSettings>,
    /// Who may send; anybody without it.
    pub auth: Option<AuthSettings>,
}

impl Default for ZipkinReceiverConfig {
    fn default() -> Self {
        let http = HttpServerConfig::default();
        Self {
            endpoint: Endpoint::loopback(PORT),
            parse_string_tags: false,
            max_request_body_size: http.max_request_body_size,
            read_timeout: http.read_timeout,
            include_metadata: false,
            tls: None,
            auth: None,
        }
    }
}

impl ZipkinReceiverConfig {
    fn http(&self) -> HttpServerConfig {
        HttpServerConfig {
            endpoint: Some(self.endpoint),
            max_request_body_size: self.max_request_body_size,
            read_timeout: self.read_timeout,
            include_metadata: self.include_metadata,
            tls: self.tls.clone(),
            auth: self.auth.clone(),
        }
    }

    pub fn validate(&self) -> Result<(), ConfigError> {
        self.http().validate("")
    }
}

/// Starts Zipkin receivers.
#[derive(Debug)]
pub struct ZipkinReceiver;

impl ZipkinReceiver {
    /// Listens until [`RunningZipkin::shutdown`]. Bodies and what is made of them are held within `memory`.
    pub async fn start(
        config: ZipkinReceiverConfig,
        sink: Arc<dyn Sink>,
        memory: MemoryBudget,
    ) -> Result<RunningZipkin, StartError> {
        Self::start_with(config, sink, memory, &Authenticators::default()).await
    }

    /// The same, with the authenticators that settings may name.
    pub async fn start_with(
        config: ZipkinReceiverConfig,
        sink: Arc<dyn Sink>,
        memory: MemoryBudget,
        authenticators: &Authenticators,
    ) -> Result<RunningZipkin, StartError> {
        config.validate()?;
        let http = config.http();
        let spans = Arc::new(Spans {
            intake: Intake::new(Signal::Traces, "http", http.limits(), sink, memory),
            parse_string_tags: config.parse_string_tags,
        });
        let (guard, timeout) = (http.guard(authenticators)?, http.read_timeout.0);
        let server = HttpServer::start("zipkin", config.endpoint, timeout, guard, spans.clone()).await?;
        Ok(RunningZipkin {
            addr: server.addr,
            spans,
            server,
        })
    }
}

/// A receiver that is serving. Dropping it stops it without waiting for requests in flight.
#[derive(Debug)]
pub struct RunningZipkin {
    /// Where it listens, with the port the system chose if it was asked to.
    pub addr: SocketAddr,
    spans: Arc<Spans>,
    server: HttpServer,
}

impl RunningZipkin {
    /// Finishes requests in flight, for a bounded time.
    pub async fn shutdown(&self) {
        self.server.shutdown().await;
    }

    /// Adds what is counted.
    pub fn collect(&self, samples: &mut Vec<Sample>) {
        self.spans.intake.collect(samples);
        self.server.collect("http", samples);
    }
}

#[derive(Debug)]
struct Spans {
    intake: Intake,
    parse_string_tags: bool,
}

impl Service for Spans {
    async fn serve(&self, request: Request<Incoming>) -> Response<ResponseBody> {
        post(self, request).await
    }
}

impl Posts for Spans {
    const PATHS: &'static [&'static str] = &["/api/v2/spans", "/api/v1/spans", "/"];
    const KNOWN: &'static str = "spans are posted to /api/v2/spans";

    fn intake(&self) -> &Intake {
        &self.intake
    }

    async fn take(&self, request: &mut Request<Incoming>) -> Result<Response<ResponseBody>, Refusal> {
        let (kind, _) = media_type(request.headers());
        let read: fn(&[u8], TenantId, &mut Room<'_>, Rules) -> Converted<LeftOut> = match kind.as_str() {
            "application/json" | "text/plain" | "" => json::convert,
            "application/x-protobuf" | "application/protobuf" => protobuf::convert,
            _ => {
                return Err(Refusal::ContentType {
                    given: quote(&kind),
                    wanted: "Zipkin's; send application/json or application/x-protobuf",
                });
            }
        };
        let compression = compression(request.headers())?;
        let rules = Rules {
            parse_string_tags: self.parse_string_tags,
            ..Rules::now()
        };
        let convert = move |body: Bytes, tenant, room: &mut Room<'_>| read(&body, tenant, room, rules);
        let (accepted, left_out) = self.intake.take(request, compression, convert).await?;
        Ok(left_out.answer(&self.intake, &accepted, StatusCode::ACCEPTED, "spans"))
    }
}

/// Spans as JSON that came in another way than over HTTP, and how many of them were left out, with the reason.
#[cfg(feature = "kafka")]
pub(crate) fn read_json(
    bytes: &[u8],
    tenant: TenantId,
    room: &mut Room<'_>,
) -> Result<(Batch, Option<(u64, String)>), Refusal> {
    let empty = Batch::from_canonical(Signal::Traces, tenant.clone(), Bytes::new(), 0);
    Ok(whole(json::convert(bytes, tenant, room, Rules::now())?, empty))
}

/// The same as protobuf.
#[cfg(feature = "kafka")]
pub(crate) fn read_protobuf(
    bytes: &[u8],
    tenant: TenantId,
    room: &mut Room<'_>,
) -> Result<(Batch, Option<(u64, String)>), Refusal> {
    let empty = Batch::from_canonical(Signal::Traces, tenant.clone(), Bytes::new(), 0);
    Ok(whole(
        protobuf::convert(bytes, tenant, room, Rules::now())?,
        empty,
    ))
}

#[cfg(feature = "kafka")]
fn whole((batches, left_out): (Vec<Batch>, LeftOut), empty: Batch) -> (Batch, Option<(u64, String)>) {
    let batch = Batch::concat(&batches).unwrap_or(empty);
    let left_out = (left_out.items > 0).then(|| (left_out.items, left_out.problem.trim().to_owned()));
    (batch, left_out)
}

impl Rules {
    fn now() -> Rules {
        Rules {
            parse_string_tags: false,
            arrived_unix_nano: now_unix_nano(),
        }
    }
}

#[cfg(fuzzing)]
pub(crate) fn fuzz(data: &[u8], room: &mut Room<'_>) {
    let rules = Rules {
        parse_string_tags: true,
        arrived_unix_nano: 1,
    };
    let _ = protobuf::convert(data, TenantId::default_tenant(), room, rules);
    let _ = json::convert(data, TenantId::default_tenant(), room, rules);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_either_format_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), value in "[\\[\\]{}\":,a1 -]{0,40}") {
            let rules = Rules { parse_string_tags: true, arrived_unix_nano: 1 };
            let mut memory = MemoryBudget::new(1 << 20).reservation();
            let mut room = Room::new(&mut memory, 1 << 18);
            let tenant = TenantId::default_tenant();
            let _ = protobuf::convert(&bytes, tenant.clone(), &mut room, rules);
            for key in ["id", "tags", "annotations", "timestamp", "localEndpoint"] {
                let text = format!("[{{\"traceId\":\"1\",\"id\":\"2\",\"{key}\":{value}}}]");
                let _ = json::convert(text.as_bytes(), tenant.clone(), &mut room, rules);
            }
        }
    }
}
