//! Logs to Loki's push API, as the Collector's former `loki` exporter sent them. Owns labels and their hints, the lines,
//! and requests within a size. Refuses to queue and to retry.
//!
//! Streams are labelled `exporter`, `job`, `instance` and `level`, and by the attributes that hints name:
//! `loki.resource.labels` and `loki.attribute.labels` (comma-separated keys), `loki.format` (`json`, `logfmt`, `raw`),
//! `loki.tenant` (the attribute whose value is the tenant). Hints are read from records and resources and are not sent.
//! With `structured_metadata`, ours, everything that is neither label nor body becomes metadata of the entry, and the
//! line is the body unless a hint says otherwise; a Loki before 3.0 has to be set up for it.
//!
//! A record without any label cannot be had by Loki and is refused. A batch is acknowledged once all its requests were
//! taken; one that was refused for good ends as a permanent error after the others have been sent.
//!
//! <https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs>

mod config;
mod entry;
mod push;

use std::time::SystemTime;

use async_trait::async_trait;
use cupola_telemetry::{Batch, Signal};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

pub use config::{DefaultLabels, LokiConfig, LokiConfigError, LokiEncoding};

use push::{Prepared, Request};

use crate::auth::Credentials;
use crate::http_client::HttpClient;
use crate::otlp::TENANT_HEADER;
use crate::{Accepted, Component, Sample, SendError, Sink};

/// Batches from this size are worked on off the IO threads.
const INLINE_BYTES_MAX: usize = 128 * 1024;

/// The exporter.
#[derive(Debug)]
pub struct LokiSink {
    client: HttpClient,
    config: LokiConfig,
}

impl LokiSink {
    /// Makes the sink; connects on the first request. Must be called on a tokio runtime.
    pub fn new(config: &LokiConfig) -> Result<LokiSink, LokiConfigError> {
        LokiSink::authorized(config, Credentials::default())
    }

    /// With credentials of an authenticator.
    pub fn authorized(config: &LokiConfig, credentials: Credentials) -> Result<LokiSink, LokiConfigError> {
        config.validate()?;
        let (tls, timeout) = (&config.tls, config.timeout);
        let client = HttpClient::new(&config.endpoint, &config.headers, tls, timeout, credentials)?;
        Ok(LokiSink {
            client,
            config: config.clone(),
        })
    }

    async fn post(&self, batch: &Batch, request: Request) -> Result<(), SendError> {
        let mut headers = HeaderMap::new();
        let content_type = match self.config.encoding {
            LokiEncoding::Protobuf => "application/x-protobuf",
            LokiEncoding::Json => "application/json",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if self.config.encoding == LokiEncoding::Protobuf {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        }
        let own = self
            .config
            .tenant_header
            .then(|| batch.tenant().as_str().to_owned());
        if let Some(tenant) = request.tenant.or(own) {
            let tenant = HeaderValue::from_str(&tenant);
            let tenant = tenant.map_err(|_| SendError::permanent("the tenant cannot be sent as a header"))?;
            headers.insert(TENANT_HEADER, tenant);
        }
        self.client
            .post(batch.into(), headers, request.body)
            .await
            .map(drop)
    }
}

#[async_trait]
impl Sink for LokiSink {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        if batch.items() == 0 {
            return Ok(Accepted::all());
        }
        if batch.signal() != Signal::Logs {
            return Err(SendError::permanent("Loki takes logs only"));
        }
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let now = now.as_nanos() as u64;
        let prepared: Prepared = if batch.payload().len() <= INLINE_BYTES_MAX {
            push::prepare(&batch, &self.config, now)
        } else {
            let (config, batch) = (self.config.clone(), batch.clone());
            let prepared = tokio::task::spawn_blocking(move || push::prepare(&batch, &config, now)).await;
            prepared.map_err(|error| SendError::permanent(format!("the batch cannot be written: {error}")))?
        };
        let mut failed = None;
        for request in prepared.requests {
            match self.post(&batch, request).await {
                Ok(()) => {}
                Err(error @ SendError::Permanent { .. }) => drop(failed.get_or_insert(error)),
                Err(error) => return Err(error),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(prepared.refused.into_accepted(&batch)),
        }
    }
}

#[async_trait]
impl Component for LokiSink {
    fn collect(&self, samples: &mut Vec<Sample>) {
        self.client.collect(samples);
    }
}
