//! The receiver of Prometheus' remote writes: versions 1 and 2 of the protocol.
//!
//! `POST /api/v1/write`, protobuf in a Snappy block (gzip and zstd are taken too); the content type says which of
//! `prometheus.WriteRequest` and `io.prometheus.write.v2.Request` it is. Answers 204 after the sink has taken every
//! sample, with the counts of what was written in `X-Prometheus-Remote-Write-*-Written`; 503 with `Retry-After` where
//! the same request may be taken later.
//!
//! How series become metrics is in [`series`](super::series). What is particular here:
//! - Version 2 says the type of each series. Version 1 says it for the families that the same request describes; of
//!   others, names that end in `_total`, `_count`, `_sum` and `_bucket` are counters and the rest gauges.
//! - Series of classic histograms and summaries stay single series under their own names, with their label `le` or
//!   `quantile`: Prometheus spreads them over requests as it likes, so that what could be assembled would differ from
//!   request to request. The Collector drops them. Native histograms come whole.
//! - The labels of `target_info` become attributes of the resource of the same job and instance, in the same and in
//!   later requests; the series itself goes no further. The last [`TARGETS_MAX`] of all tenants are remembered.
//! - Counts of histograms that are no whole numbers, as of recording rules, are rounded.
//! - Exemplars for which no sample of their series is in the same request have no place in OTLP; they are counted in
//!   `cupola_receiver_exemplars_dropped_total`.
//!
//! A series that cannot be read is refused with 400 after the others have been taken, as the protocol has it.
//! <https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/>

mod targets;
mod v1;
mod v2;

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::http::header::HeaderValue;
use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use cupola_config::Endpoint;
use cupola_config::units::{ByteSize, TimeSpan};
use cupola_export::auth::AuthSettings;
use cupola_export::tls::ServerTlsSettings;
use cupola_export::{Sample, Sink};
use cupola_telemetry::encode::MetricsEncoder;
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Signal, TenantId};
use hyper::body::Incoming;
use serde::Deserialize;

use super::http::config::HttpServerConfig;
use super::http::decompress::Compression;
use super::http::intake::{Converted, Intake, Room, compression_or_snappy, media_type};
use super::http::posts::{LeftOut, Posts, post};
use super::http::refusal::{Refusal, quote};
use super::http::response::ResponseBody;
use super::http::server::{HttpServer, Service, StartError};
use super::series::Series;
use super::series::write::Rules;
use crate::auth::Authenticators;
use crate::processors::ConfigError;
pub use targets::TARGETS_MAX;
use targets::Targets;

const PORT: u16 = 9090;

/// Settings of the receiver `prometheusremotewrite`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteWriteReceiverConfig {
    pub endpoint: Endpoint,
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

impl Default for RemoteWriteReceiverConfig {
    fn default() -> Self {
        let http = HttpServerConfig::default();
        Self {
            endpoint: Endpoint::loopback(PORT),
            max_request_body_size: ByteSize(10 * 1024 * 1024),
            read_timeout: http.read_timeout,
            include_metadata: false,
            tls: None,
            auth: None,
        }
    }
}

impl RemoteWriteReceiverConfig {
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

/// Starts receivers of remote writes.
#[derive(Debug)]
pub struct RemoteWriteReceiver;

impl RemoteWriteReceiver {
    /// Listens until [`RunningRemoteWrite::shutdown`]. Bodies and what is made of them are held within `memory`.
    pub async fn start(
        config: RemoteWriteReceiverConfig,
        sink: Arc<dyn Sink>,
        memory: MemoryBudget,
    ) -> Result<RunningRemoteWrite, StartError> {
        Self::start_with(config, sink, memory, &Authenticators::default()).await
    }

    /// The same, with the authenticators that settings may name.
    pub async fn start_with(
        config: RemoteWriteReceiverConfig,
        sink: Arc<dyn Sink>,
        memory: MemoryBudget,
        authenticators: &Authenticators,
    ) -> Result<RunningRemoteWrite, StartError> {
        config.validate()?;
        let http = config.http();
        let write = Arc::new(Write {
            intake: Intake::new(Signal::Metrics, "http", http.limits(), sink, memory),
            targets: Arc::default(),
            exemplars_dropped: AtomicU64::new(0),
        });
        let (guard, timeout) = (http.guard(authenticators)?, http.read_timeout.0);
        let name = "prometheusremotewrite";
        let server = HttpServer::start(name, config.endpoint, timeout, guard, write.clone()).await?;
        Ok(RunningRemoteWrite {
            addr: server.addr,
            write,
            server,
        })
    }
}

/// A receiver that is serving. Dropping it stops it without waiting for requests in flight.
#[derive(Debug)]
pub struct RunningRemoteWrite {
    /// Where it listens, with the port the system chose if it was asked to.
    pub addr: SocketAddr,
    write: Arc<Write>,
    server: HttpServer,
}

impl RunningRemoteWrite {
    /// Finishes requests in flight, for a bounded time.
    pub async fn shutdown(&self) {
        self.server.shutdown().await;
    }

    /// Adds what is counted.
    pub fn collect(&self, samples: &mut Vec<Sample>) {
        self.write.intake.collect(samples);
        self.server.collect("http", samples);
        samples.push(Sample::count(
            "cupola_receiver_exemplars_dropped_total",
            "Exemplars without a sample of their series in the same request.",
            self.write.exemplars_dropped.load(Ordering::Relaxed),
        ));
    }
}

#[derive(Debug)]
struct Write {
    intake: Intake,
    targets: Arc<Targets>,
    exemplars_dropped: AtomicU64,
}

/// What a request came to, beside its batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outcome {
    samples: u64,
    histograms: u64,
    exemplars: u64,
    exemplars_dropped: u64,
    /// Samples and histograms of series that cannot be read.
    left_out: LeftOut,
}

impl Outcome {
    fn refuse(&mut self, points: usize, problem: impl Display) {
        self.left_out.add(points.max(1) as u64, || {
            format!("a series cannot be read: {problem}\n")
        });
    }
}

impl Service for Write {
    async fn serve(&self, request: Request<Incoming>) -> Response<ResponseBody> {
        post(self, request).await
    }
}

impl Posts for Write {
    const PATHS: &'static [&'static str] = &["/api/v1/write"];
    const KNOWN: &'static str = "remote writes go to /api/v1/write";

    fn intake(&self) -> &Intake {
        &self.intake
    }

    async fn take(&self, request: &mut Request<Incoming>) -> Result<Response<ResponseBody>, Refusal> {
        let read = version(request.headers())?;
        // The block is part of the format, and clients forget to say so.
        let compression = compression_or_snappy(request.headers())?.or(Some(Compression::Snappy));
        let targets = self.targets.clone();
        let convert = move |body: Bytes, tenant, room: &mut Room<'_>| read(&body, tenant, room, &targets);
        let (accepted, mut outcome) = self.intake.take(request, compression, convert).await?;
        self.exemplars_dropped
            .fetch_add(outcome.exemplars_dropped, Ordering::Relaxed);
        if outcome.left_out.items == 0 {
            // Of which kind they were, nobody says.
            outcome.samples = outcome.samples.saturating_sub(accepted.rejected);
        }
        let left_out = outcome.left_out;
        let mut answer = left_out.answer(&self.intake, &accepted, StatusCode::NO_CONTENT, "points");
        let written = [
            ("x-prometheus-remote-write-samples-written", outcome.samples),
            ("x-prometheus-remote-write-histograms-written", outcome.histograms),
            ("x-prometheus-remote-write-exemplars-written", outcome.exemplars),
        ];
        for (name, value) in written {
            answer.headers_mut().insert(name, HeaderValue::from(value));
        }
        Ok(answer)
    }
}

type Read = fn(&[u8], TenantId, &mut Room<'_>, &Targets) -> Converted<Outcome>;

/// How the content type says that the body is to be read.
fn version(headers: &::http::HeaderMap) -> Result<Read, Refusal> {
    let (kind, parameters) = media_type(headers);
    let proto = parameters
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix("proto="))
        .unwrap_or("prometheus.writerequest");
    match (kind.as_str(), proto) {
        ("application/x-protobuf" | "", "prometheus.writerequest") => Ok(v1::convert),
        ("application/x-protobuf", "io.prometheus.write.v2.request") => Ok(v2::convert),
        _ => Err(Refusal::ContentType {
            given: quote(&format!("{kind};{parameters}")),
            wanted: "one of remote writes; send application/x-protobuf with proto=prometheus.WriteRequest or \
                     proto=io.prometheus.write.v2.Request",
        }),
    }
}

/// Writes what was read. `target_info` is remembered first, so that it holds for the whole request.
fn finish(
    mut series: Vec<Series<'_>>,
    guess: bool,
    (tenant, targets): (TenantId, &Targets),
    mut outcome: Outcome,
) -> Converted<Outcome> {
    series.retain(|series| {
        let info = series.name == "target_info";
        if info {
            targets.learn(&tenant, series);
            outcome.samples += series.points.len() as u64;
        }
        !info
    });
    for series in &series {
        let native =
            |point: &&super::series::Point| matches!(point.value, super::series::PointValue::Native(_));
        let histograms = series.points.iter().filter(native).count();
        outcome.histograms += histograms as u64;
        outcome.samples += (series.points.len() - histograms) as u64;
    }
    let mut metrics = MetricsEncoder::new();
    let written = Rules { guess }.write(series, &mut metrics, |job, instance, resource| {
        targets.describe(&tenant, job, instance, resource);
    });
    outcome.exemplars = written.exemplars;
    outcome.exemplars_dropped = written.exemplars_dropped;
    Ok((vec![metrics.finish(tenant)], outcome))
}

/// What a series takes while it is read and when it is written, about.
fn series_bytes(series: &Series<'_>) -> usize {
    use super::series::PointValue;
    const SERIES: usize = 320;
    const LABEL: usize = 32 + 24;
    const POINT: usize = 96;
    let labels: usize = series
        .labels
        .iter()
        .map(|(name, value)| LABEL + name.len() + value.len())
        .sum();
    let exemplars = series.exemplars.iter().map(|exemplar| {
        let labels = exemplar
            .labels
            .iter()
            .map(|(name, value)| LABEL + name.len() + value.len());
        POINT + labels.sum::<usize>()
    });
    let points = series.points.iter().map(|point| match &point.value {
        PointValue::Native(native) => labels + native.bytes(),
        _ => labels + POINT,
    });
    let texts = [
        series.name,
        series.family.help,
        series.family.unit,
        series.job,
        series.instance,
        series.scope.0,
        series.scope.1,
    ];
    let texts: usize = texts.iter().map(|text| text.len()).sum();
    SERIES + texts + labels + exemplars.sum::<usize>() + points.sum::<usize>()
}

#[cfg(fuzzing)]
pub(crate) fn fuzz(data: &[u8], room: &mut Room<'_>) {
    for read in [v1::convert as Read, v2::convert] {
        let _ = read(data, TenantId::default_tenant(), room, &Targets::default());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_either_version_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), inner in prop::collection::vec(0u8..40, 0..200)) {
            for read in [v1::convert as Read, v2::convert] {
                let mut memory = MemoryBudget::new(1 << 20).reservation();
                let mut room = Room::new(&mut memory, 1 << 18);
                let targets = Targets::default();
                let _ = read(&bytes, TenantId::default_tenant(), &mut room, &targets);
                let _ = read(&inner, TenantId::default_tenant(), &mut room, &targets);
            }
            let _ = super::super::series::native::read(&bytes);
            let _ = super::super::series::native::read(&inner);
        }
    }
}
