//! A page with the last value of every series, for a Prometheus that scrapes it. Owns the listener, the bound on series
//! and what a point does to the value that is there. Refuses to keep anything across a restart: a batch is acknowledged
//! once its points are on the page, and what was not scraped when the process ends is gone, as of any process that is
//! scraped.
//!
//! Points of delta temporality are added up. A point that is older than the value on the page changes nothing. Series
//! that saw no point for `metric_expiration` go; so do those whose sender says that they ended. Beyond `series_max`
//! points of new series are refused and counted. Two metrics of one name and different types cannot both be shown: the
//! later one is refused.
//!
//! Exponential histograms have no form in either text format. They are shown with explicit bounds, one for each bucket
//! that has measurements.

mod config;
mod server;
mod store;
mod text;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use cupola_telemetry::{Batch, Signal};
use parking_lot::Mutex;
use tokio::time::Instant;

pub use config::{PageConfig, PageConfigError};

use server::{Page, Server};
use store::Store;

use crate::auth::ServerAuth;
use crate::prometheus::{Options, translate};
use crate::tls::{self, ServerTls};
use crate::{Accepted, Component, Sample, SendError, Sink};

/// Counts since the start.
#[derive(Debug, Default)]
pub struct PageStats {
    /// Points of new series refused because there were as many as there may be.
    pub overflowed: AtomicU64,
    /// Points refused for any reason, those included.
    pub refused: AtomicU64,
    /// Pages given out.
    pub scrapes: AtomicU64,
}

/// What the sink and the server share.
struct Shared {
    store: Mutex<Store>,
    stats: PageStats,
}

/// The exporter.
pub struct PageSink {
    shared: Arc<Shared>,
    options: Options,
    server: Server,
}

impl PageSink {
    /// Listens. Must be called on a tokio runtime.
    pub fn start(config: &PageConfig) -> Result<PageSink, PageConfigError> {
        PageSink::guarded(config, None)
    }

    /// The same for those only whom `auth` knows.
    pub fn guarded(
        config: &PageConfig,
        auth: Option<Arc<dyn ServerAuth>>,
    ) -> Result<PageSink, PageConfigError> {
        let address = config.validate()?;
        let tls = match &config.tls {
            Some(tls) => Some(ServerTls::new(tls, tls::HTTP1)?),
            None => None,
        };
        let shared = Arc::new(Shared {
            store: Mutex::new(Store::new(config.series_max, config.metric_expiration.0)),
            stats: PageStats::default(),
        });
        let page = shared.clone();
        let (open_metrics, timestamps) = (config.enable_open_metrics, config.send_timestamps);
        let render = move |wanted: bool| {
            let format = text::Format {
                open_metrics: wanted && open_metrics,
                timestamps,
            };
            page.stats.scrapes.fetch_add(1, Ordering::Relaxed);
            let mut store = page.store.lock();
            store.expire(Instant::now());
            (format.content_type(), format.page(&store))
        };
        let server = Server::start(address, Page::new(Arc::new(render), tls, auth))
            .map_err(|source| PageConfigError::Listen { address, source })?;
        Ok(PageSink {
            shared,
            options: config.options(),
            server,
        })
    }

    /// Where it listens, with the port that port 0 became.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub fn stats(&self) -> &PageStats {
        &self.shared.stats
    }
}

#[async_trait]
impl Sink for PageSink {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        if batch.signal() != Signal::Metrics {
            return Err(SendError::permanent("a scrape page shows metrics only"));
        }
        let stats = &self.shared.stats;
        let now = Instant::now();
        let refused = {
            let mut store = self.shared.store.lock();
            translate(&batch, &self.options, &mut |point| {
                let taken = store.take(point, now);
                if taken == Err(store::FULL) {
                    stats.overflowed.fetch_add(1, Ordering::Relaxed);
                }
                taken
            })
        };
        if !refused.is_empty() {
            stats.refused.fetch_add(refused.len() as u64, Ordering::Relaxed);
            tracing::debug!(
                points = refused.len(),
                reason = refused.reason(),
                "points refused by the scrape page"
            );
        }
        Ok(refused.into_accepted(&batch))
    }
}

#[async_trait]
impl Component for PageSink {
    /// Stops listening and lets answers that are under way finish.
    async fn shutdown(&self) {
        self.server.shutdown().await;
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        let (series, most) = {
            let store = self.shared.store.lock();
            (store.series(), store.series_max())
        };
        let count = |name, help, count: &AtomicU64| Sample::count(name, help, count.load(Ordering::Relaxed));
        let stats = &self.shared.stats;
        samples.extend([
            Sample::level(
                "cupola_exporter_prometheus_series",
                "Series on the page",
                series as f64,
            ),
            Sample::level(
                "cupola_exporter_prometheus_series_max",
                "Series the page may have",
                most as f64,
            ),
            count(
                "cupola_exporter_prometheus_overflowed_points",
                "Points refused because the page has all the series it may have",
                &stats.overflowed,
            ),
            count(
                "cupola_exporter_prometheus_refused_points",
                "Points refused",
                &stats.refused,
            ),
            count(
                "cupola_exporter_prometheus_scrapes",
                "Pages given out",
                &stats.scrapes,
            ),
        ]);
        self.server.collect(samples);
    }
}
