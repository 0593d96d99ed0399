//! OTLP as a client: one destination over gRPC, HTTP with protobuf, or HTTP with JSON. Owns splitting what
//! is too large, the retry of each piece, and the counts. Refuses to queue: put a [`crate::Exporter`]
//! around it.
//!
//! <https://opentelemetry.io/docs/specs/otlp/>

mod call;
mod compression;
mod config;
mod grpc;
pub(crate) mod http;
pub mod response;
mod settings;
pub(crate) mod split;
pub(crate) mod wire;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cupola_telemetry::{Batch, Signal};

pub use config::{
    Compression, GRPC_REQUEST_BYTES_MAX, HTTP_REQUEST_BYTES_MAX, OtlpConfig, OtlpConfigError, Protocol,
};

pub(crate) use compression::compress;
pub use settings::{OtlpHttpSettings, OtlpSettings};
use split::Pieces;
pub use split::split_items;

use crate::auth::Credentials;
use crate::retry::{Retry, RetryStats};
use crate::tls::ClientTls;
use crate::{Accepted, Component, Sample, SendError, Sink};

/// gRPC method of a signal's export service.
#[must_use]
pub fn grpc_path(signal: Signal) -> &'static str {
    match signal {
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    }
}

/// HTTP path of a signal.
#[must_use]
pub fn http_path(signal: Signal) -> &'static str {
    match signal {
        Signal::Logs => "/v1/logs",
        Signal::Metrics => "/v1/metrics",
        Signal::Traces => "/v1/traces",
    }
}

/// Header that names the tenant.
pub const TENANT_HEADER: &str = "x-scope-orgid";

/// Counts of items since the start.
#[derive(Debug, Default)]
pub struct OtlpSinkStats {
    /// Delivered.
    pub sent: AtomicU64,
    /// Refused for good: by the destination (partial success, or the whole request), or for their size.
    pub rejected: AtomicU64,
    /// Not delivered although that may have been possible later.
    pub failed: AtomicU64,
}

/// An OTLP destination.
#[derive(Debug)]
pub struct OtlpSink {
    transport: Retry<Transport>,
    request_bytes_max: usize,
    json: bool,
    tls: ClientTls,
    stats: OtlpSinkStats,
}

#[derive(Debug)]
enum Transport {
    Grpc(grpc::GrpcTransport),
    Http(http::HttpTransport),
}

#[async_trait]
impl Sink for Transport {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        match self {
            Transport::Grpc(grpc) => grpc.send(&batch).await,
            Transport::Http(http) => http.send(&batch).await,
        }
    }
}

impl OtlpSink {
    /// Makes the sink. Connects on the first request, so a destination may come up later. Must be called
    /// on a tokio runtime.
    pub fn new(config: OtlpConfig) -> Result<OtlpSink, OtlpConfigError> {
        OtlpSink::authorized(config, Credentials::default())
    }

    /// With credentials of an authenticator.
    pub fn authorized(config: OtlpConfig, credentials: Credentials) -> Result<OtlpSink, OtlpConfigError> {
        let tls = ClientTls::new(&config.tls)?;
        let transport = match config.protocol {
            Protocol::Grpc => Transport::Grpc(grpc::GrpcTransport::new(&config, &tls, credentials)?),
            Protocol::HttpProtobuf | Protocol::HttpJson => {
                Transport::Http(http::HttpTransport::new(&config, &tls, credentials)?)
            }
        };
        Ok(OtlpSink {
            request_bytes_max: config.bytes_max(),
            json: config.protocol == Protocol::HttpJson,
            transport: Retry::new(transport, config.retry),
            tls,
            stats: OtlpSinkStats::default(),
        })
    }

    pub fn stats(&self) -> &OtlpSinkStats {
        &self.stats
    }

    pub fn retry_stats(&self) -> &RetryStats {
        self.transport.stats()
    }
}

/// All of an attempt within its limit, credentials included; zero is none.
pub(crate) async fn within<T>(
    limit: Duration,
    attempt: impl Future<Output = Result<T, SendError>>,
) -> Result<T, SendError> {
    if limit.is_zero() {
        return attempt.await;
    }
    let late = |_| Err(SendError::retryable(format!("no answer within {limit:?}")));
    tokio::time::timeout(limit, attempt).await.unwrap_or_else(late)
}

/// An error with its causes, which is where the useful part is.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[async_trait]
impl Sink for OtlpSink {
    /// Sends a batch in as many requests as its size asks for. Pieces refused for good are counted as
    /// rejected, unless that is all of them. A piece that could not be delivered in time ends the call with
    /// a retryable error: whoever sends the batch again delivers earlier pieces twice rather than losing any.
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        if batch.items() == 0 {
            return Ok(Accepted::all());
        }
        let mut pieces = Pieces::new(&batch, self.request_bytes_max, self.json);
        let mut accepted = Accepted::all();
        let mut delivered = false;
        while let Some(piece) = pieces.next() {
            let items = piece.items() as u64;
            match self.transport.send(piece.clone()).await {
                Ok(outcome) => {
                    delivered = true;
                    let rejected = outcome.rejected.min(items);
                    self.stats.sent.fetch_add(items - rejected, Ordering::Relaxed);
                    self.stats.rejected.fetch_add(rejected, Ordering::Relaxed);
                    if outcome.is_partial() {
                        tracing::warn!(rejected, message = outcome.message, "destination rejected items");
                    }
                    accepted.merge(Accepted { rejected, ..outcome });
                }
                Err(SendError::Permanent { reason }) => {
                    self.stats.rejected.fetch_add(items, Ordering::Relaxed);
                    accepted.merge(Accepted {
                        rejected: items,
                        message: reason,
                        refused: vec![piece],
                    });
                }
                Err(error) => {
                    self.stats.failed.fetch_add(items, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        let oversized = pieces.oversized();
        if oversized > 0 {
            let message = format!(
                "{oversized} items are each larger than a request may be ({} bytes)",
                self.request_bytes_max
            );
            self.stats.rejected.fetch_add(oversized, Ordering::Relaxed);
            accepted.merge(pieces.into_refused(&message));
        }
        if delivered {
            Ok(accepted)
        } else {
            Err(SendError::Permanent {
                reason: accepted.message,
            })
        }
    }
}

/// Items are counted by the exporter around it too.
impl Component for OtlpSink {
    fn collect(&self, samples: &mut Vec<Sample>) {
        self.tls.collect(samples);
    }
}
