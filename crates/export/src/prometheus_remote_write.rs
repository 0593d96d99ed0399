//! Metrics to whatever takes Prometheus remote write, versions 1 and 2. Owns requests within the size that the
//! destination takes, and the judgement of answers. Refuses to translate (that is [`crate::prometheus`]), to queue and
//! to retry.
//!
//! A batch is sent in as many requests as its size asks for, one after the other, each series once in a request with its
//! samples in the order of their time. A destination that takes no samples older than the last one of a series needs
//! batches one at a time: give the queue in front one worker. A batch is acknowledged once all its requests were taken.
//! One that was refused for good ends as a permanent error after the others have been sent. What such a destination has
//! already it takes again only where nothing newer of the series followed, so a batch that is repeated after an answer
//! got lost may end as refused although it is there.
//!
//! `target_info` has the time of the newest point of its resource in a batch, and batches may overlap in time. One older
//! than the last is left out: a Prometheus would refuse the whole request for it.
//!
//! <https://prometheus.io/docs/specs/prw/remote_write_spec/>,
//! <https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/>

mod config;
mod message;
mod series;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use cupola_telemetry::{Batch, Signal};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;

pub use config::{
    ProtobufMessage, RemoteWriteConfig, RemoteWriteConfigError, RemoteWriteQueue, ResourceToTelemetry, Switch,
};

use crate::auth::{Credentials, Sender};
use crate::http_client::HttpClient;
use crate::otlp::TENANT_HEADER;
use crate::prometheus::{Kind, Options, Point, Refused, translate};
use crate::{Accepted, Component, Sample, SendError, Sink};

const VERSION: HeaderName = HeaderName::from_static("x-prometheus-remote-write-version");
/// Receivers of version 2 say with these what they took.
const WRITTEN: [&str; 2] = [
    "x-prometheus-remote-write-samples-written",
    "x-prometheus-remote-write-histograms-written",
];
/// Resources whose last info sample is remembered.
const INFOS_MAX: usize = 100_000;
/// Batches from this size are worked on off the IO threads.
const INLINE_BYTES_MAX: usize = 128 * 1024;

/// The exporter.
#[derive(Debug)]
pub struct RemoteWriteSink {
    client: HttpClient,
    shape: Shape,
    tenant_header: bool,
    stats: RemoteWriteStats,
}

/// What decides the bytes of requests.
#[derive(Clone, Debug)]
struct Shape {
    options: Options,
    message: ProtobufMessage,
    send_metadata: bool,
    bytes_max: usize,
    infos: Arc<Infos>,
}

/// Times of the newest info samples, by a hash of their labels.
#[derive(Debug, Default)]
struct Infos {
    hasher: RandomState,
    newest: Mutex<HashMap<u64, i64>>,
}

impl Infos {
    /// Whether a point is no info, or none older than the last of its series.
    fn pass(&self, point: &Point<'_>) -> bool {
        if point.family.kind != Kind::Info {
            return true;
        }
        let mut newest = self.newest.lock();
        if newest.len() >= INFOS_MAX {
            // Begun anew: at worst one of the next info samples is refused.
            newest.clear();
        }
        let last = newest
            .entry(self.hasher.hash_one(point.labels))
            .or_insert(i64::MIN);
        let passes = point.timestamp_ms >= *last;
        *last = point.timestamp_ms.max(*last);
        passes
    }
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct RemoteWriteStats {
    /// Series sent, counted anew in each batch.
    pub series: AtomicU64,
    /// Points that have no form in Prometheus.
    pub untranslatable: AtomicU64,
    /// Requests taken.
    pub requests: AtomicU64,
}

impl RemoteWriteSink {
    /// Makes the sink; connects on the first request. Must be called on a tokio runtime.
    pub fn new(config: &RemoteWriteConfig) -> Result<RemoteWriteSink, RemoteWriteConfigError> {
        RemoteWriteSink::authorized(config, Credentials::default())
    }

    /// With credentials of an authenticator.
    pub fn authorized(
        config: &RemoteWriteConfig,
        credentials: Credentials,
    ) -> Result<RemoteWriteSink, RemoteWriteConfigError> {
        config.validate()?;
        let (tls, timeout) = (&config.tls, config.timeout);
        let client = HttpClient::new(&config.endpoint, &config.headers, tls, timeout, credentials)?;
        Ok(RemoteWriteSink {
            client,
            shape: Shape {
                options: config.options(),
                message: config.protobuf_message,
                send_metadata: config.send_metadata,
                bytes_max: config.max_batch_size_bytes.0 as usize,
                infos: Arc::default(),
            },
            tenant_header: config.tenant_header,
            stats: RemoteWriteStats::default(),
        })
    }

    pub fn stats(&self) -> &RemoteWriteStats {
        &self.stats
    }

    fn headers(&self, batch: &Batch) -> Result<HeaderMap, SendError> {
        let (content_type, version) = match self.shape.message {
            ProtobufMessage::V1 => ("application/x-protobuf", "0.1.0"),
            ProtobufMessage::V2 => (
                "application/x-protobuf;proto=io.prometheus.write.v2.Request",
                "2.0.0",
            ),
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        headers.insert(VERSION, HeaderValue::from_static(version));
        if self.tenant_header {
            let tenant = HeaderValue::from_str(batch.tenant().as_str());
            let tenant = tenant.map_err(|_| SendError::permanent("the tenant cannot be sent as a header"))?;
            headers.insert(TENANT_HEADER, tenant);
        }
        Ok(headers)
    }

    async fn post(&self, sender: Sender<'_>, headers: HeaderMap, body: Bytes) -> Result<(), SendError> {
        let answer = self.client.post(sender, headers, body).await?;
        if self.shape.message == ProtobufMessage::V2 && !WRITTEN.iter().any(|name| answer.contains_key(*name))
        {
            // A receiver of version 1 takes the message of version 2 for an empty one, with success.
            let reason = "the destination does not say what it wrote, so it speaks version 1 only: set \
                          `protobuf_message: prometheus.WriteRequest`";
            return Err(SendError::permanent(reason));
        }
        self.stats.requests.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Requests ready to be sent.
struct Prepared {
    bodies: Vec<Bytes>,
    series: u64,
    refused: Refused,
}

impl Shape {
    fn prepare(&self, batch: &Batch) -> Prepared {
        let mut collection = series::Collection::default();
        let refused = translate(batch, &self.options, &mut |point| {
            if self.infos.pass(point) {
                collection.add(point);
            }
            Ok(())
        });
        let series = collection.len() as u64;
        let messages = message::encode(collection, self.message, self.send_metadata, self.bytes_max);
        let compress = |message: Vec<u8>| {
            let compressed = snap::raw::Encoder::new().compress_vec(&message);
            Bytes::from(compressed.expect("a message is smaller than snappy's 4 GiB, as its batch was"))
        };
        Prepared {
            bodies: messages.into_iter().map(compress).collect(),
            series,
            refused,
        }
    }
}

#[async_trait]
impl Sink for RemoteWriteSink {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        if batch.items() == 0 {
            return Ok(Accepted::all());
        }
        if batch.signal() != Signal::Metrics {
            return Err(SendError::permanent("remote write takes metrics only"));
        }
        let headers = self.headers(&batch)?;
        let prepared = if batch.payload().len() <= INLINE_BYTES_MAX {
            self.shape.prepare(&batch)
        } else {
            let (shape, batch) = (self.shape.clone(), batch.clone());
            let prepared = tokio::task::spawn_blocking(move || shape.prepare(&batch)).await;
            prepared
                .map_err(|error| SendError::permanent(format!("the batch cannot be translated: {error}")))?
        };
        let untranslatable = prepared.refused.len() as u64;
        let mut failed = None;
        for body in prepared.bodies {
            match self.post((&batch).into(), headers.clone(), body).await {
                Ok(()) => {}
                Err(error @ SendError::Permanent { .. }) => drop(failed.get_or_insert(error)),
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        self.stats.series.fetch_add(prepared.series, Ordering::Relaxed);
        self.stats
            .untranslatable
            .fetch_add(untranslatable, Ordering::Relaxed);
        Ok(prepared.refused.into_accepted(&batch))
    }
}

#[async_trait]
impl Component for RemoteWriteSink {
    fn collect(&self, samples: &mut Vec<Sample>) {
        let stats = &self.stats;
        let counts = [
            (
                "otelcol_exporter_prometheusremotewrite_translated_time_series",
                "Series that metrics were translated to",
                &stats.series,
            ),
            (
                "otelcol_exporter_prometheusremotewrite_failed_translations",
                "Points that have no form in Prometheus",
                &stats.untranslatable,
            ),
            (
                "otelcol_exporter_prometheusremotewrite_sent_batches",
                "Remote write requests that were taken",
                &stats.requests,
            ),
        ];
        for (name, help, count) in counts {
            samples.push(Sample::count(name, help, count.load(Ordering::Relaxed)));
        }
        self.client.collect(samples);
    }
}
