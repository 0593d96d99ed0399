//! The Loki receiver: what Promtail, Alloy and the Docker driver push, as log records.
//!
//! `POST /loki/api/v1/push` (and the older `/api/prom/push`), protobuf in a Snappy block or JSON; `GET /ready`.
//! Answers 204 after the sink has taken every record, 503 with `Retry-After` where the same request may be taken later.
//!
//! How entries become records:
//! - labels and structured metadata are attributes of the record, as with the Collector (which ignores the latter); a
//!   key of the metadata that is a label too is called `<key>_extracted`, as Loki calls it. Labels that begin with `__`
//!   are internal and left out.
//! - the label `service_name` is also `service.name` of the resource; the first of `level`, `severity`,
//!   `detected_level` among metadata and labels also gives the severity.
//! - `trace_id` and `span_id` of the metadata that are ids in lower-case hex become the ids of the record instead.
//! - the time is that of the entry; the Collector takes the time of arrival unless `use_incoming_timestamp` says
//!   otherwise, which loses when things happened, so that here the option is on unless it is switched off.
//!
//! A stream whose labels cannot be read is refused with 400 after the others have been taken: nobody sends it better
//! a second time. Refuses gRPC.

mod convert;
mod json;
mod labels;
mod push;

use std::net::SocketAddr;
use std::sync::Arc;

use ::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use cupola_export::{Sample, Sink};
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Signal, TenantId};
use hyper::body::Incoming;
use serde::Deserialize;

use super::http::config::HttpServerConfig;
use super::http::decompress::Compression;
use super::http::intake::{self, Converted, Intake, Room, compression_or_snappy, media_type, now_unix_nano};
use super::http::posts::{LeftOut, Posts, post};
use super::http::refusal::{Refusal, quote};
use super::http::response::ResponseBody;
use super::http::server::{HttpServer, Service, StartError};
use crate::auth::Authenticators;
use crate::processors::ConfigError;
use convert::Converter;

/// Where the Collector's receiver listens.
const PORT: u16 = 3500;

/// Settings of the receiver `loki`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LokiReceiverConfig {
    pub protocols: LokiProtocols,
    /// Whether a record has the time of its entry. On by default, unlike the Collector's.
    pub use_incoming_timestamp: bool,
}

/// Where entries come in.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LokiProtocols {
    pub http: HttpServerConfig,
}

impl LokiReceiverConfig {
    /// Where it will listen.
    pub fn listens(&self) -> SocketAddr {
        self.protocols.http.endpoint(PORT).0
    }
}

impl Default for LokiReceiverConfig {
    fn default() -> Self {
        Self {
            protocols: LokiProtocols::default(),
            use_incoming_timestamp: true,
        }
    }
}

impl LokiReceiverConfig {
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.protocols.http.validate("protocols.http.")
    }
}

/// Starts Loki receivers.
#[derive(Debug)]
pub struct LokiReceiver;

impl LokiReceiver {
    /// Listens until [`RunningLoki::shutdown`]. Bodies and what is made of them are held within `memory`.
    pub async fn start(
        config: LokiReceiverConfig,
        sink: Arc<dyn Sink>,
        memory: MemoryBudget,
    ) -> Result<RunningLoki, StartError> {
        Self::start_with(config, sink, memory, &Authenticators::default()).await
    }

    /// The same, with the authenticators that settings may name.
    pub async fn start_with(
        config: LokiReceiverConfig,
        sink: Arc<dyn Sink>,
        memory: MemoryBudget,
        authenticators: &Authenticators,
    ) -> Result<RunningLoki, StartError> {
        config.validate()?;
        let http = &config.protocols.http;
        let endpoint = Arc::new(Push {
            intake: Intake::new(Signal::Logs, "http", http.limits(), sink, memory),
            use_incoming_timestamp: config.use_incoming_timestamp,
        });
        let (guard, timeout) = (http.guard(authenticators)?, http.read_timeout.0);
        let server = HttpServer::start("loki", http.endpoint(PORT), timeout, guard, endpoint.clone()).await?;
        Ok(RunningLoki {
            addr: server.addr,
            push: endpoint,
            server,
        })
    }
}

/// A receiver that is serving. Dropping it stops it without waiting for requests in flight.
#[derive(Debug)]
pub struct RunningLoki {
    /// Where it listens, with the port the system chose if it was asked to.
    pub addr: SocketAddr,
    push: Arc<Push>,
    server: HttpServer,
}

impl RunningLoki {
    /// Finishes requests in flight, for a bounded time.
    pub async fn shutdown(&self) {
        self.server.shutdown().await;
    }

    /// Adds what is counted.
    pub fn collect(&self, samples: &mut Vec<Sample>) {
        self.push.intake.collect(samples);
        self.server.collect("http", samples);
    }
}

#[derive(Debug)]
struct Push {
    intake: Intake,
    use_incoming_timestamp: bool,
}

impl Service for Push {
    async fn serve(&self, request: Request<Incoming>) -> Response<ResponseBody> {
        if request.uri().path() == "/ready" && request.method() == Method::GET {
            return intake::text(StatusCode::OK, "ready\n");
        }
        post(self, request).await
    }
}

impl Posts for Push {
    const PATHS: &'static [&'static str] = &["/loki/api/v1/push", "/api/prom/push"];
    const KNOWN: &'static str = "entries are pushed to /loki/api/v1/push";

    fn intake(&self) -> &Intake {
        &self.intake
    }

    async fn take(&self, request: &mut Request<Incoming>) -> Result<Response<ResponseBody>, Refusal> {
        let (kind, _) = media_type(request.headers());
        let mut compression = compression_or_snappy(request.headers())?;
        let read: fn(Bytes, TenantId, &mut Room<'_>, Converter) -> Converted<LeftOut> = match kind.as_str() {
            "application/json" => json::convert,
            "application/x-protobuf" | "application/protobuf" | "" => {
                // Clients leave the header out: the block is part of the format.
                compression = compression.or(Some(Compression::Snappy));
                push::convert
            }
            _ => {
                return Err(Refusal::ContentType {
                    given: quote(&kind),
                    wanted: "Loki's; send application/x-protobuf or application/json",
                });
            }
        };
        let converter = Converter {
            arrived_unix_nano: now_unix_nano(),
            use_incoming_timestamp: self.use_incoming_timestamp,
        };
        let convert = move |body, tenant, room: &mut Room<'_>| read(body, tenant, room, converter);
        let (accepted, left_out) = self.intake.take(request, compression, convert).await?;
        Ok(left_out.answer(&self.intake, &accepted, StatusCode::NO_CONTENT, "entries"))
    }
}

#[cfg(fuzzing)]
pub(crate) fn fuzz(data: &[u8], room: &mut Room<'_>) {
    let converter = Converter {
        arrived_unix_nano: 1,
        use_incoming_timestamp: true,
    };
    let tenant = TenantId::default_tenant();
    let _ = push::convert(Bytes::copy_from_slice(data), tenant.clone(), room, converter);
    let _ = json::convert(Bytes::copy_from_slice(data), tenant, room, converter);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_either_format_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\":,a1 ]{0,80}") {
            let converter = Converter { arrived_unix_nano: 1, use_incoming_timestamp: true };
            let mut memory = MemoryBudget::new(1 << 20).reservation();
            let mut room = Room::new(&mut memory, 1 << 18);
            let tenant = TenantId::default_tenant();
            let _ = push::convert(bytes.into(), tenant.clone(), &mut room, converter);
            let text = format!("{{\"streams\":[{{\"stream\":{{}},\"values\":{text}}}]}}");
            let _ = json::convert(text.into(), tenant, &mut room, converter);
        }
    }
}
