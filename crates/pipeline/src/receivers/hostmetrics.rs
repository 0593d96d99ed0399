//! The receiver that measures the host, as the Collector's does: processors, memory, disks, file systems, networks,
//! processes. Linux alone, read from `/proc` and `/sys`, below `root_path` where they are mounted somewhere else.
//!
//! `scrapers` has one module a topic, each with the table of its metrics; `recorder` holds what the settings say of them;
//! `host` reads. They are written here, and not taken from a library, because one line that it does not know may not cost
//! the rest of a file, and because the values must be those of the Collector.
//!
//! A scrape is one batch. Nobody else keeps it: one that is refused retryably is offered again until the next one is due,
//! and then counted in `cupola_receiver_scraped_points_lost_total`, with an error in the log. What cannot be read is left
//! out and counted. Files are read on a thread of their own, because the kernel may take its time about a file system
//! whose server does not answer: past `timeout` the scrape is given up, and no other begins until it has ended.
//!
//! Does not send entity events.

mod config;
mod filter;
mod host;
mod metric;
mod recorder;
mod scrapers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cupola_export::{Sample, Sink};
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, Signal};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::handover::Handover;
use super::http::server::StartError;
use super::http::stats::{SignalStats, count};
pub use config::{
    DiskConfig, Enabled, FilesystemConfig, HostMetricsConfig, LoadConfig, NetworkConfig, PlainConfig,
    ProcessConfig, ProcessResourceAttributes, ScraperConfigs,
};
pub use filter::{Devices, FsTypes, Interfaces, MatchType, MountPoints, ProcessNames, RegexpConfig};
pub use recorder::{Aggregation, MetricConfig, MetricConfigs};
use scrapers::{Done, Scrapers};

/// Time that a scrape under way has to be handed over at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts receivers that measure the host.
#[derive(Debug)]
pub struct HostMetricsReceiver;

impl HostMetricsReceiver {
    /// Measures until [`RunningHostMetrics::shutdown`]. What was measured is held within `memory` until it is taken.
    pub async fn start(
        config: HostMetricsConfig,
        sink: Arc<dyn Sink>,
        memory: MemoryBudget,
    ) -> Result<RunningHostMetrics, StartError> {
        config.validate()?;
        let scrapers = Scrapers::new(&config)
            .map_err(|problem| StartError::Client(format!("cannot measure the host: {problem}")))?;
        let running = RunningHostMetrics {
            counters: Arc::new(Counters::of(&scrapers)),
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let measuring = Measuring {
            config,
            sink,
            memory,
            counters: running.counters.clone(),
            stop: running.stop.clone(),
            worker: Worker::Idle(scrapers),
        };
        let abort = running.abort.clone();
        running.tasks.spawn(async move {
            tokio::select! {
                () = measuring.run() => {}
                () = abort.cancelled() => {}
            }
        });
        Ok(running)
    }
}

/// A receiver that measures. Dropping it stops it without waiting for a scrape under way.
#[derive(Debug)]
pub struct RunningHostMetrics {
    counters: Arc<Counters>,
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
}

impl RunningHostMetrics {
    /// Begins no scrape any more and hands over one under way, for a bounded time.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        let ended = tokio::time::timeout(SHUTDOWN_TIMEOUT, self.tasks.wait()).await;
        if ended.is_err() {
            tracing::warn!("cutting off a scrape of the host at shutdown");
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }

    /// Adds what is counted.
    pub fn collect(&self, samples: &mut Vec<Sample>) {
        self.counters.collect(samples);
    }
}

impl Drop for RunningHostMetrics {
    fn drop(&mut self) {
        self.stop.cancel();
        self.abort.cancel();
    }
}

#[derive(Debug, Default)]
struct Counters {
    items: SignalStats,
    scrapes: AtomicU64,
    /// Scrapes that did not end in time, or for which there was no memory.
    scrapes_failed: AtomicU64,
    /// Points of scrapes that were still not taken when the next one was due.
    points_lost: AtomicU64,
    /// Name, points and metrics that could not be measured, of each scraper.
    scrapers: Vec<(&'static str, AtomicU64, AtomicU64)>,
}

impl Counters {
    fn of(scrapers: &Scrapers) -> Counters {
        let names = scrapers.names().into_iter();
        Counters {
            scrapers: names
                .map(|name| (name, AtomicU64::new(0), AtomicU64::new(0)))
                .collect(),
            ..Counters::default()
        }
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        let mut counts = Vec::new();
        self.items.collect("", Signal::Metrics, &mut counts);
        let items = counts.into_iter().filter(|count| count.signal.is_none());
        samples.extend(items.map(|count| Sample::count(count.name, count.help, count.value)));
        for (name, points, errors) in &self.scrapers {
            let points = Sample::count(
                "otelcol_scraper_scraped_metric_points",
                "Number of metric points successfully scraped.",
                points.load(Ordering::Relaxed),
            );
            let errors = Sample::count(
                "otelcol_scraper_errored_metric_points",
                "Number of metric points that were unable to be scraped.",
                errors.load(Ordering::Relaxed),
            );
            samples.extend([points, errors].map(|sample| sample.with("scraper", *name)));
        }
        let own = [
            ("cupola_receiver_scrapes_total", "Scrapes begun.", &self.scrapes),
            (
                "cupola_receiver_scrapes_failed_total",
                "Scrapes that did not end in time, or had no memory.",
                &self.scrapes_failed,
            ),
            (
                "cupola_receiver_scraped_points_lost_total",
                "Points that were not taken before the next scrape was due.",
                &self.points_lost,
            ),
        ];
        let own = own.map(|(name, help, value)| Sample::count(name, help, value.load(Ordering::Relaxed)));
        samples.extend(own);
    }
}

/// Where the scrapers are.
enum Worker {
    Idle(Scrapers),
    /// On the thread that scrapes, from which they come back.
    Scraping(oneshot::Receiver<Scraped>),
    /// The thread has ended without giving them back.
    Gone,
}

/// What a scrape came to.
type Scraped = (Scrapers, Batch, Vec<Done>);

/// One receiver at work.
struct Measuring {
    config: HostMetricsConfig,
    sink: Arc<dyn Sink>,
    memory: MemoryBudget,
    counters: Arc<Counters>,
    stop: CancellationToken,
    worker: Worker,
}

impl Measuring {
    async fn run(mut self) {
        let (delay, interval) = (self.config.initial_delay.0, self.config.collection_interval.0);
        let mut timer = tokio::time::interval_at(Instant::now() + delay, interval);
        timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let stop = self.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = timer.tick() => {}
            }
            let until = Instant::now() + interval;
            count(&self.counters.scrapes, 1);
            let scraped = tokio::select! {
                scraped = self.scrape() => scraped,
                // Nothing of it has been taken in yet.
                () = stop.cancelled() => return,
            };
            match scraped {
                Ok(batch) => self.deliver(batch, until).await,
                Err(problem) => self.failed(&problem),
            }
        }
    }

    async fn scrape(&mut self) -> Result<Batch, String> {
        let scrapers = self.scrapers()?;
        let (give_back, mut under_way) = oneshot::channel();
        let scrape = move || {
            let mut scrapers = scrapers;
            let (batch, done) = scrapers.scrape();
            // Nobody waits any more if the receiver has ended.
            let _ = give_back.send((scrapers, batch, done));
        };
        std::thread::Builder::new()
            .name("hostmetrics".to_owned())
            .spawn(scrape)
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        let timeout = self.config.timeout.0;
        let ended = match timeout.is_zero() {
            true => Ok((&mut under_way).await),
            false => tokio::time::timeout(timeout, &mut under_way).await,
        };
        let Ok(ended) = ended else {
            self.worker = Worker::Scraping(under_way);
            return Err(format!("it took longer than {timeout:?}"));
        };
        let (scrapers, batch, done) = ended.map_err(|_| "the thread that scrapes has ended".to_owned())?;
        self.worker = Worker::Idle(scrapers);
        for ((_, points, errors), done) in self.counters.scrapers.iter().zip(done) {
            count(points, done.points);
            count(errors, done.errors);
        }
        Ok(batch)
    }

    /// The scrapers, unless a scrape before has not ended yet.
    fn scrapers(&mut self) -> Result<Scrapers, String> {
        let worker = std::mem::replace(&mut self.worker, Worker::Gone);
        let Worker::Scraping(mut before) = worker else {
            return match worker {
                Worker::Idle(scrapers) => Ok(scrapers),
                _ => Scrapers::new(&self.config).map_err(|problem| problem.to_string()),
            };
        };
        match before.try_recv() {
            Ok((scrapers, ..)) => Ok(scrapers),
            Err(TryRecvError::Empty) => {
                self.worker = Worker::Scraping(before);
                Err("one before it has not ended".to_owned())
            }
            Err(TryRecvError::Closed) => Scrapers::new(&self.config).map_err(|problem| problem.to_string()),
        }
    }

    async fn deliver(&self, batch: Batch, until: Instant) {
        if batch.items() == 0 {
            return;
        }
        let Some(_reserved) = self.memory.try_reserve(batch.payload().len()) else {
            return self.failed("memory is at its ceiling");
        };
        let handover = Handover {
            source: "host",
            sink: &*self.sink,
            items: &self.counters.items,
            points_lost: &self.counters.points_lost,
            stop: &self.stop,
        };
        handover.offer(batch, until).await;
    }

    fn failed(&self, problem: &str) {
        count(&self.counters.scrapes_failed, 1);
        tracing::warn!(problem, "scrape of the host failed");
    }
}
