//! The receiver that scrapes: pages in Prometheus' formats, as metrics.
//!
//! `config` is what `scrape_configs` of a Prometheus is, with `static_configs` and `file_sd_configs`, relabelling,
//! authentication and TLS; other discoveries are refused as unknown keys.
//!
//! How samples become metrics is in [`series`](super::series). What is particular here:
//! - A page is read as OpenMetrics or as the text format, as its content type says, and refused at its first mistake.
//! - Classic histograms and summaries are put together: a page has all of them. What is not complete (a rule dropped a
//!   bucket, counts that are not whole) stays single series with their labels `le` and `quantile`.
//! - `_created` says when a series began; without it, when it was first seen, or seen to begin anew.
//! - A series that a scrape no longer has, and every series of a target that is gone or does not answer, gets one
//!   point with `FLAG_NO_RECORDED_VALUE`; series with timestamps of their own do not.
//! - `up`, `scrape_duration_seconds`, `scrape_samples_scraped`, `scrape_samples_post_metric_relabeling` and
//!   `scrape_series_added` come with each scrape. The labels of `target_info` become attributes of the resource.
//! - Everything belongs to the default tenant.
//!
//! Nobody else keeps a scrape: one that is refused retryably is offered again until the next one is due, and then
//! counted in `cupola_receiver_scraped_points_lost_total`, with an error in the log. A crash loses what was scraped and
//! not yet taken, and what is remembered of series: their start times begin anew.

mod assemble;
mod client;
mod config;
mod discovery;
mod exposition;
mod memory;
mod relabel;
mod scraper;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cupola_export::{Sample, Sink};
use cupola_telemetry::Signal;
use cupola_telemetry::memory::MemoryBudget;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::http::server::StartError;
pub use config::{
    Authorization, BODY_BYTES_MAX, BasicAuth, FileDiscovery, GlobalConfig, PrometheusConfig,
    PrometheusReceiverConfig, Scheme, ScrapeConfig, TargetGroup, TlsConfig,
};
pub use relabel::{Action, RelabelConfig};

use assemble::SampleRules;
use client::Client;
use discovery::Target;
use relabel::Relabel;
use scraper::{Counters, Scraper};

/// Time that scrapes under way have to be handed over at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts scraping receivers.
#[derive(Debug)]
pub struct PrometheusReceiver;

impl PrometheusReceiver {
    /// Scrapes until [`RunningPrometheus::shutdown`]. Pages, what is made of them and what is remembered of series are
    /// held within `memory`.
    pub async fn start(
        config: PrometheusReceiverConfig,
        sink: Arc<dyn Sink>,
        memory: MemoryBudget,
    ) -> Result<RunningPrometheus, StartError> {
        config.validate()?;
        let running = RunningPrometheus {
            counters: Arc::default(),
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let mut jobs = Vec::new();
        for job in &config.config.scrape_configs {
            let client = Client::new(job).map_err(|problem| {
                StartError::Client(format!("cannot scrape job {:?}: {problem}", job.job_name))
            })?;
            let relabel = Relabel::new(&job.metric_relabel_configs).unwrap_or_default();
            let (interval, timeout) = config.times(job).unwrap_or_default();
            jobs.push(Job {
                client: Arc::new(client),
                rules: Arc::new(SampleRules {
                    honor_labels: job.honor_labels,
                    honor_timestamps: job.honor_timestamps,
                    sample_limit: job.sample_limit,
                    relabel,
                }),
                config: job.clone(),
                external: config.config.global.external_labels.clone(),
                times: (interval, timeout),
                sink: sink.clone(),
                memory: memory.clone(),
                counters: running.counters.clone(),
                stop: running.stop.clone(),
                abort: running.abort.clone(),
                tasks: running.tasks.clone(),
            });
        }
        for job in jobs {
            running.tasks.spawn(job.run());
        }
        Ok(running)
    }
}

/// A receiver that scrapes. Dropping it stops it without waiting for scrapes under way.
#[derive(Debug)]
pub struct RunningPrometheus {
    counters: Arc<Counters>,
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
}

impl RunningPrometheus {
    /// Begins no scrape any more and hands over those under way, for a bounded time.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(targets = self.tasks.len(), "cutting off scrapes at shutdown");
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }

    /// Adds what is counted.
    pub fn collect(&self, samples: &mut Vec<Sample>) {
        let mut counts = Vec::new();
        self.counters.items.collect("http", Signal::Metrics, &mut counts);
        let items = counts.into_iter().filter(|count| count.signal.is_none());
        samples.extend(
            items.map(|count| Sample::count(count.name, count.help, count.value).with("transport", "http")),
        );
        let own = [
            (
                "cupola_receiver_scrapes_total",
                "Scrapes begun.",
                &self.counters.scrapes,
            ),
            (
                "cupola_receiver_scrapes_failed_total",
                "Scrapes that got no page, or one that cannot be read.",
                &self.counters.scrapes_failed,
            ),
            (
                "cupola_receiver_scraped_points_lost_total",
                "Points that were not taken before the next scrape was due.",
                &self.counters.points_lost,
            ),
        ];
        samples
            .extend(own.map(|(name, help, value)| Sample::count(name, help, value.load(Ordering::Relaxed))));
    }
}

impl Drop for RunningPrometheus {
    fn drop(&mut self) {
        self.stop.cancel();
        self.abort.cancel();
    }
}

/// One job: its targets, looked for again as its files say.
struct Job {
    config: ScrapeConfig,
    external: BTreeMap<String, String>,
    client: Arc<Client>,
    rules: Arc<SampleRules>,
    /// Interval and timeout.
    times: (Duration, Duration),
    sink: Arc<dyn Sink>,
    memory: MemoryBudget,
    counters: Arc<Counters>,
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
}

impl Job {
    async fn run(self) {
        let refresh = self
            .config
            .file_sd_configs
            .iter()
            .map(|files| files.refresh_interval.0)
            .min();
        let mut known: BTreeMap<Target, CancellationToken> = BTreeMap::new();
        loop {
            match self.targets().await {
                Ok(targets) => self.change(targets, &mut known),
                Err(problem) => {
                    tracing::warn!(
                        job = self.config.job_name,
                        problem,
                        "cannot look for targets; those known stay"
                    );
                }
            }
            let Some(refresh) = refresh else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep(refresh) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    async fn targets(&self) -> Result<Vec<Target>, String> {
        let (config, external) = (self.config.clone(), self.external.clone());
        let looking = tokio::task::spawn_blocking(move || discovery::targets(&config, &external));
        looking.await.map_err(|error| error.to_string())?
    }

    /// Starts what is new and ends what is gone.
    fn change(&self, targets: Vec<Target>, known: &mut BTreeMap<Target, CancellationToken>) {
        known.retain(|target, removed| {
            let stays = targets.binary_search(target).is_ok();
            if !stays {
                removed.cancel();
            }
            stays
        });
        for target in targets {
            if known.contains_key(&target) {
                continue;
            }
            let removed = CancellationToken::new();
            let scraper = Scraper {
                target: target.clone(),
                client: self.client.clone(),
                rules: self.rules.clone(),
                interval: self.times.0,
                timeout: self.times.1,
                sink: self.sink.clone(),
                memory: self.memory.clone(),
                counters: self.counters.clone(),
                stop: self.stop.clone(),
                removed: removed.clone(),
            };
            let abort = self.abort.clone();
            self.tasks.spawn(async move {
                tokio::select! {
                    () = scraper.run() => {}
                    () = abort.cancelled() => {}
                }
            });
            known.insert(target, removed);
        }
    }
}

#[cfg(fuzzing)]
pub(crate) fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for format in [exposition::Format::Text, exposition::Format::OpenMetrics] {
        if let Ok(page) = exposition::parse(text, format) {
            let _ = SampleRules::default().assemble(&page, &relabel::Labels::new());
        }
    }
}
