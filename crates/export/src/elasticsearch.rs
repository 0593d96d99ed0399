//! Elasticsearch and OpenSearch as a destination: documents in bulk requests, each judged by its own answer.
//!
//! Documents have ids made of the batch's bytes and their place in it, and are created, not overwritten: a batch that is
//! sent again makes no duplicates, and a conflict counts as taken. Items without any time are not named, so that genuine
//! repetitions are kept; nor are data points in Elasticsearch, which names those of its time series itself. A data stream
//! that rolls over between two attempts has the documents of both.
//!
//! Documents that were refused for now are sent again, and they only, in [`BulkRetry`] rounds; what is left after them
//! makes the batch retryable as a whole. Documents refused for good come back as the items that they were made of.
//! Passwords, rights and missing clusters are worth another attempt: nothing of the batch is at fault. Refuses to queue.

mod bulk;
mod client;
mod config;
pub(crate) mod document;
mod flat;
mod index;
pub(crate) mod json;
mod measure;
mod schema;
mod template;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use cupola_telemetry::{Batch, Signal};
use http::Method;

pub use config::{
    BulkAction, BulkCompression, BulkRetry, ElasticsearchConfig, ElasticsearchConfigError, Enabled, Flush,
    LogstashFormat, Mapping, MappingMode, Template,
};

use bulk::{Fate, RETRYABLE, body, fates, reason, requests};
use client::Cluster;
use document::{Documents, documents};
use template::Flavour;

use crate::auth::{Credentials, Sender};
use crate::items::only;
use crate::retry::RetryConfig;
use crate::{Accepted, Component, Sample, SendError, Sink};

/// Batches from this size are encoded off the IO threads.
const INLINE_BYTES_MAX: usize = 128 * 1024;
const NDJSON: &str = "application/x-ndjson";
/// The answer without what we do not read, which is most of it.
const ANSWER_FILTER: &str = "filter_path=items.*.status,items.*.error";

/// Counts since the start.
#[derive(Debug, Default)]
pub struct ElasticsearchStats {
    /// Documents taken.
    pub documents: AtomicU64,
    /// Documents sent again within a batch.
    pub repeated: AtomicU64,
    /// Items refused for good.
    pub refused: AtomicU64,
}

/// A cluster.
#[derive(Debug)]
pub struct ElasticsearchSink {
    config: Arc<ElasticsearchConfig>,
    cluster: Cluster,
    bulk_path: String,
    backoff: RetryConfig,
    setup: tokio::sync::Mutex<Setup>,
    closed: AtomicBool,
    stats: ElasticsearchStats,
}

/// What is known of the cluster.
#[derive(Debug, Default)]
struct Setup {
    flavour: Option<Flavour>,
    /// Whose template has been seen to.
    templates: [bool; 3],
}

/// How far a batch has come.
#[derive(Debug, Default)]
struct Progress {
    /// Documents that may be taken later.
    pending: Vec<usize>,
    refused: BTreeSet<usize>,
    refusal: String,
    delay: String,
    /// No attempt will fare better.
    lasting: bool,
    retry_after: Option<Duration>,
}

impl ElasticsearchSink {
    /// Makes the sink. Connects on the first batch, so a destination may come up later. Must be called on a tokio
    /// runtime.
    pub fn new(config: ElasticsearchConfig) -> Result<ElasticsearchSink, ElasticsearchConfigError> {
        ElasticsearchSink::authorized(config, Credentials::default())
    }

    /// With credentials of an authenticator, which go before those of the settings.
    pub fn authorized(
        config: ElasticsearchConfig,
        credentials: Credentials,
    ) -> Result<ElasticsearchSink, ElasticsearchConfigError> {
        config.validate()?;
        let pipeline = match config.pipeline.is_empty() {
            true => String::new(),
            false => {
                let name: String = url::form_urlencoded::byte_serialize(config.pipeline.as_bytes()).collect();
                format!("pipeline={name}&")
            }
        };
        Ok(ElasticsearchSink {
            cluster: Cluster::new(&config, credentials)?,
            bulk_path: format!("/_bulk?{pipeline}{ANSWER_FILTER}"),
            backoff: RetryConfig {
                initial_interval: config.retry.initial_interval.0,
                max_interval: config.retry.max_interval.0,
                multiplier: 2.0,
                ..RetryConfig::default()
            },
            setup: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
            stats: ElasticsearchStats::default(),
            config: Arc::new(config),
        })
    }

    pub fn stats(&self) -> &ElasticsearchStats {
        &self.stats
    }

    /// What the cluster is, with the templates that documents of a signal need.
    async fn set_up(&self, signal: Signal) -> Result<Flavour, String> {
        if !self.config.template.enabled && signal != Signal::Metrics {
            return Ok(Flavour::Elasticsearch);
        }
        let mut setup = self.setup.lock().await;
        let flavour = match setup.flavour {
            Some(flavour) => flavour,
            None => template::flavour(&self.cluster).await?,
        };
        setup.flavour = Some(flavour);
        if !self.config.template.enabled {
            return Ok(flavour);
        }
        // Events of spans are among the logs.
        let signals: &[Signal] = match signal {
            Signal::Traces => &[Signal::Traces, Signal::Logs],
            Signal::Logs => &[Signal::Logs],
            Signal::Metrics => &[Signal::Metrics],
        };
        for signal in signals {
            let done = &mut setup.templates[*signal as usize];
            if !*done {
                template::install(&self.cluster, &self.config, flavour, *signal).await?;
                *done = true;
            }
        }
        Ok(flavour)
    }

    async fn encode(&self, batch: &Batch, flavour: Flavour) -> Result<Documents, SendError> {
        // Elasticsearch names the points of its time series itself, in the streams that this mode is made for.
        let is_series = flavour == Flavour::Elasticsearch
            && self.config.mapping.mode == MappingMode::Otel
            && self.config.static_index(Signal::Metrics).is_empty();
        if batch.payload().len() <= INLINE_BYTES_MAX {
            return Ok(documents(&self.config, batch, !is_series, now()));
        }
        let (config, batch) = (self.config.clone(), batch.clone());
        tokio::task::spawn_blocking(move || documents(&config, &batch, !is_series, now()))
            .await
            .map_err(|error| SendError::retryable(format!("encoding was cut short: {error}")))
    }

    /// Sends what is pending once, cut into requests.
    async fn round(&self, sender: Sender<'_>, documents: &Documents, progress: &mut Progress) {
        let bytes_max = usize::try_from(self.config.flush.bytes.0).unwrap_or(usize::MAX);
        let pending = std::mem::take(&mut progress.pending);
        let mut left = requests(documents, &pending, bytes_max);
        left.reverse();
        while let Some(request) = left.pop() {
            let sent = body(documents, &request);
            let answer = match self
                .cluster
                .ask_for(sender, &Method::POST, &self.bulk_path, NDJSON, sent)
                .await
            {
                Ok(answer) => answer,
                Err(problem) => {
                    // The others would fare no better.
                    (progress.delay, progress.lasting) = (problem.reason, problem.lasting);
                    progress.pending.extend(request);
                    progress.pending.extend(left.drain(..).rev().flatten());
                    return;
                }
            };
            let status = answer.status.as_u16();
            match status {
                200..=299 => match fates(&answer.body, request.len(), &self.config.retry.retry_on_status) {
                    Some(fates) => self.settle(documents, &request, fates, progress),
                    None => {
                        progress.delay = "the answer is not one to a bulk request".to_owned();
                        progress.pending.extend(request);
                    }
                },
                // Too large as a whole: in halves, and one that is too large alone is refused.
                413 | 400 if request.len() > 1 => {
                    let (first, second) = request.split_at(request.len() / 2);
                    left.push(second.to_vec());
                    left.push(first.to_vec());
                }
                413 | 400 => {
                    let fates = vec![bulk::alone(status, &answer.body)];
                    self.settle(documents, &request, fates, progress);
                }
                _ => {
                    progress.delay = self.told(status, &answer.body);
                    progress.retry_after = answer.retry_after.or(progress.retry_after);
                    progress.pending.extend(request);
                    if !RETRYABLE.contains(&status) {
                        progress.pending.extend(left.drain(..).rev().flatten());
                    }
                }
            }
        }
    }

    fn told(&self, status: u16, answer: &[u8]) -> String {
        reason(status, bulk::error_of(answer).as_ref())
    }

    fn settle(&self, documents: &Documents, request: &[usize], fates: Vec<Fate>, progress: &mut Progress) {
        for (index, fate) in request.iter().zip(fates) {
            match fate {
                Fate::Taken => {
                    self.stats.documents.fetch_add(1, Ordering::Relaxed);
                }
                Fate::Later(reason) => {
                    progress.delay = reason;
                    progress.pending.push(*index);
                }
                Fate::Refused(reason) => {
                    progress
                        .refused
                        .extend(documents.all.get(*index).map(|document| document.item));
                    if progress.refusal.is_empty() {
                        progress.refusal = reason;
                    }
                }
            }
        }
    }

    fn account(&self, batch: &Batch, progress: Progress) -> Result<Accepted, SendError> {
        if progress.refused.is_empty() {
            return Ok(Accepted::all());
        }
        let rejected = progress.refused.len() as u64;
        self.stats.refused.fetch_add(rejected, Ordering::Relaxed);
        if rejected >= batch.items() as u64 {
            return Err(SendError::permanent(progress.refusal));
        }
        Ok(Accepted {
            rejected,
            message: format!("documents that were refused: {}", progress.refusal),
            refused: only(batch, |item| progress.refused.contains(&item))
                .into_iter()
                .collect(),
        })
    }
}

#[async_trait]
impl Sink for ElasticsearchSink {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(SendError::retryable("the exporter has been shut down"));
        }
        if batch.items() == 0 {
            return Ok(Accepted::all());
        }
        let flavour = self.set_up(batch.signal()).await.map_err(SendError::retryable)?;
        let documents = self.encode(&batch, flavour).await?;
        let mut progress = Progress {
            pending: (0..documents.all.len()).collect(),
            refused: documents.unfit.iter().copied().collect(),
            ..Progress::default()
        };
        if !progress.refused.is_empty() {
            progress.refusal = "the body is not a map, which `mapping.mode: bodymap` needs".to_owned();
        }
        let rounds = self.config.retry.rounds();
        for round in 0..rounds {
            if round > 0 {
                let wait = self
                    .backoff
                    .wait(round - 1, progress.retry_after.take(), rand::random::<f64>());
                tokio::time::sleep(wait.min(self.config.retry.max_interval.0)).await;
                let again = progress.pending.len() as u64;
                self.stats.repeated.fetch_add(again, Ordering::Relaxed);
            }
            self.round((&batch).into(), &documents, &mut progress).await;
            if progress.pending.is_empty() {
                return self.account(&batch, progress);
            }
            if progress.lasting {
                return Err(SendError::permanent(progress.delay));
            }
        }
        Err(SendError::Retryable {
            reason: progress.delay,
            retry_after: progress.retry_after,
        })
    }
}

#[async_trait]
impl Component for ElasticsearchSink {
    async fn shutdown(&self) {
        self.closed.store(true, Ordering::Release);
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        let stats = &self.stats;
        for (name, help, count) in [
            (
                "otelcol_elasticsearch_docs_processed",
                "Documents taken",
                &stats.documents,
            ),
            (
                "otelcol_elasticsearch_docs_retried",
                "Documents sent again within a batch",
                &stats.repeated,
            ),
            (
                "cupola_elasticsearch_items_refused",
                "Items refused for good",
                &stats.refused,
            ),
        ] {
            samples.push(Sample::count(name, help, count.load(Ordering::Relaxed)));
        }
        self.cluster.collect(samples);
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
