//! The servicegraph connector: who calls whom, how often, how long, how often in vain, out of the spans of both sides.
//!
//! A client's or producer's span and the server's or consumer's span below it are one call. A call to a database is
//! complete with the client's span, and so is one whose server has no parent: its client is `user`. What finds no
//! partner in time becomes a call to the peer that it names, or is counted as unpaired; what finds no room is counted
//! as dropped. All spans of a trace must come to one process for that.
//!
//! Acknowledges a batch of spans as soon as they are in memory: a crash loses the spans that wait and what was counted
//! since the last flush. Metrics and labels are those of Tempo and of Grafana's service graph; `failed` is no label.
//!
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/connector/servicegraphconnector>,
//! <https://grafana.com/docs/tempo/latest/metrics-generator/service_graphs/>

mod config;
mod edge;
mod pairing;
mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cupola_export::{Accepted, Component, Sample, SendError, Sink};
use cupola_telemetry::{Batch, Signal};
use parking_lot::Mutex;

use super::Surroundings;
use super::activity::Activity;
use super::aggregate::{Aggregate, AggregateSettings, Temporality};
use super::flusher::Flusher;
use super::outputs::Outputs;
use crate::processors::ConfigError;
pub use config::{ServiceGraphConfig, StoreConfig};
use pairing::{Shared, families};
use store::Store;

/// Series of a tenant and metric.
const SERIES_MAX: usize = 50_000;
/// Series of which nothing was heard for so long go.
const SERIES_IDLE: Duration = Duration::from_secs(15 * 60);
const EXEMPLARS_MAX: usize = 5;

/// Finds calls between services.
pub struct ServiceGraph {
    shared: Arc<Shared>,
    flush_each_batch: bool,
    activity: Activity,
}

impl ServiceGraph {
    /// Starts flushing, and looking for spans without a partner, on the current runtime.
    pub fn new(
        config: &ServiceGraphConfig,
        outputs: Outputs,
        surroundings: Surroundings,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let outputs = outputs.required(Signal::Metrics)?;
        let Surroundings {
            env,
            memory,
            instance,
        } = surroundings;
        let settings = AggregateSettings {
            scope: "traces_service_graph",
            families: families(&config.kind()),
            temporality: Temporality::Cumulative,
            series_max: SERIES_MAX,
            resources_max: 1,
            expiration: Some(SERIES_IDLE),
            exemplars_max: EXEMPLARS_MAX,
        };
        let now = env.now_unix_nano();
        let ttl = u64::try_from(config.store.ttl.0.as_nanos()).unwrap_or(u64::MAX);
        let shared = Arc::new(Shared {
            config: config.clone(),
            instance,
            store: Mutex::new(Store::new(config.store.max_items, ttl)),
            flusher: Flusher::new(Aggregate::new(settings, &memory, now), outputs, env),
            paired: AtomicU64::new(0),
            unpaired: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        let interval = config.metrics_flush_interval.0;
        if !interval.is_zero() {
            let flusher = shared.flusher.clone();
            shared.flusher.every(interval, move || {
                let flusher = flusher.clone();
                async move {
                    flusher.flush().await;
                }
            });
        }
        let weak = Arc::downgrade(&shared);
        shared.flusher.every(config.store_expiration_loop.0, move || {
            let weak = weak.clone();
            async move {
                if let Some(shared) = weak.upgrade() {
                    shared.expire();
                }
            }
        });
        Ok(Self {
            shared,
            flush_each_batch: interval.is_zero(),
            activity: Activity::default(),
        })
    }

    /// Gives up waiting for the partners of spans that have waited for long enough.
    pub fn expire(&self) {
        self.shared.expire();
    }

    /// Sends what has been counted. Whether all of it was taken, or refused for good.
    pub async fn flush(&self) -> bool {
        self.shared.flusher.flush().await
    }
}

impl Drop for ServiceGraph {
    fn drop(&mut self) {
        self.shared.flusher.abandon();
    }
}

#[async_trait]
impl Sink for ServiceGraph {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        if batch.signal() != Signal::Traces {
            return Err(SendError::permanent("servicegraph takes traces only"));
        }
        let now = self.shared.flusher.now();
        let matched = self
            .shared
            .flusher
            .with(|aggregate| self.shared.count(&batch, aggregate, now))?;
        self.activity.saw(batch.items(), matched, now);
        if self.flush_each_batch {
            self.flush().await;
        }
        Ok(Accepted::all())
    }
}

#[async_trait]
impl Component for ServiceGraph {
    async fn shutdown(&self) {
        let now = self.shared.flusher.now();
        let flusher = &self.shared.flusher;
        flusher
            .shutdown(|aggregate| self.shared.expire_until(aggregate, u64::MAX, now))
            .await;
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        self.activity.collect(samples);
        self.shared.flusher.collect(samples);
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        samples.extend([
            Sample::count(
                "otelcol_connector_servicegraph_total_edges",
                "Calls that were found.",
                read(&self.shared.paired),
            ),
            Sample::count(
                "otelcol_connector_servicegraph_expired_edges",
                "Spans of calls whose other side did not come.",
                read(&self.shared.unpaired),
            ),
            Sample::count(
                "otelcol_connector_servicegraph_dropped_spans",
                "Spans for which there was no room to wait for the other side.",
                read(&self.shared.dropped),
            ),
            Sample::level(
                "cupola_connector_servicegraph_waiting_spans",
                "Spans that wait for the other side of their call.",
                self.shared.store.lock().len() as f64,
            ),
        ]);
    }
}
