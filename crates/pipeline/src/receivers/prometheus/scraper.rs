//! One target, scraped again and again: fetch, read, remember, hand over. Owns the pace and what happens to a scrape
//! that is not taken: it is kept and offered again until the next one is due, then counted as lost.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use cupola_export::Sink;
use cupola_telemetry::encode::{MetricsEncoder, Resource};
use cupola_telemetry::memory::{MemoryBudget, Reservation};
use cupola_telemetry::{Batch, TenantId};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::assemble::{Assembled, Ready, SampleRules, series};
use super::client::Client;
use super::discovery::Target;
use super::exposition;
use super::memory::Memory;
use super::relabel::Labels;
use crate::receivers::handover::Handover;
use crate::receivers::http::intake::now_unix_nano;
use crate::receivers::http::stats::{SignalStats, count};
use crate::receivers::series::write::Rules;
use crate::receivers::series::{Family, Kind, PointValue};

/// Memory that is reserved while a page is worked on, for each of its bytes: samples with their labels, and OTLP.
const WORK_GROWTH: usize = 12;

/// What all targets of a receiver share.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) items: SignalStats,
    pub(super) scrapes: AtomicU64,
    pub(super) scrapes_failed: AtomicU64,
    /// Points of scrapes that were still not taken when the next one was due.
    pub(super) points_lost: AtomicU64,
}

pub(super) struct Scraper {
    pub(super) target: Target,
    pub(super) client: Arc<Client>,
    pub(super) rules: Arc<SampleRules>,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) memory: MemoryBudget,
    pub(super) counters: Arc<Counters>,
    /// The receiver ends.
    pub(super) stop: CancellationToken,
    /// The target is no longer one.
    pub(super) removed: CancellationToken,
}

impl Scraper {
    /// Scrapes until the target is removed, which is marked in its series, or the receiver ends, which is not.
    pub(super) async fn run(self) {
        let mut timer = tokio::time::interval_at(Instant::now() + self.offset(), self.interval);
        timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut memory = Memory::new(&self.memory);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.removed.cancelled() => break,
                _ = timer.tick() => self.scrape(&mut memory).await,
            }
        }
        let markers = memory.all();
        if !markers.is_empty() {
            let batch = self.write(&markers, now_unix_nano(), &Labels::new());
            self.deliver(batch, Instant::now() + self.interval).await;
        }
    }

    /// Targets are spread over the interval, each always at the same place of it.
    fn offset(&self) -> Duration {
        let mut hasher = DefaultHasher::new();
        self.target.hash(&mut hasher);
        let share = hasher.finish() as f64 / u64::MAX as f64;
        self.interval.mul_f64(share)
    }

    async fn scrape(&self, memory: &mut Memory) {
        let (begun, time) = (Instant::now(), now_unix_nano());
        let mut reserved = self.memory.reservation();
        let fetched = tokio::select! {
            fetched = self.client.fetch(&self.target.url, self.timeout, &mut reserved) => fetched,
            // Nothing of it has been taken in yet.
            () = self.stop.cancelled() => return,
        };
        let took = begun.elapsed();
        if let Err(problem) = &fetched {
            self.failed(problem);
        }
        count(&self.counters.scrapes, 1);
        let batch = match self.batch(fetched, (time, took), &mut reserved, memory) {
            Ok(batch) => batch,
            Err(problem) => {
                self.failed(&problem);
                match self.batch(Err(problem), (time, took), &mut reserved, memory) {
                    Ok(batch) => batch,
                    Err(_) => return,
                }
            }
        };
        if self.deliver(batch, begun + self.interval).await {
            memory.forget_gone();
        }
    }

    fn failed(&self, problem: &str) {
        count(&self.counters.scrapes_failed, 1);
        tracing::warn!(url = %self.target.url, problem, "scrape failed");
    }

    /// The batch of a scrape; of one that failed, the batch that says so. An error is a page that cannot be read.
    fn batch(
        &self,
        fetched: Result<(bytes::Bytes, exposition::Format), String>,
        (time, took): (u64, Duration),
        reserved: &mut Reservation,
        memory: &mut Memory,
    ) -> Result<Batch, String> {
        let Ok((body, format)) = &fetched else {
            let nothing = Assembled::default();
            return Ok(self.finish(nothing, (time, took), false, memory));
        };
        count(&self.counters.items.wire_bytes, body.len() as u64);
        if !reserved.try_grow(body.len().saturating_mul(WORK_GROWTH)) {
            return Err("memory is at its ceiling".to_owned());
        }
        let text = std::str::from_utf8(body).map_err(|_| "the page is not valid UTF-8".to_owned())?;
        let page = exposition::parse(text, *format).map_err(|error| error.to_string())?;
        let assembled = self
            .rules
            .assemble(&page, &self.target.labels)
            .map_err(|error| error.to_string())?;
        Ok(self.finish(assembled, (time, took), true, memory))
    }

    fn finish(
        &self,
        assembled: Assembled<'_>,
        (time, took): (u64, Duration),
        up: bool,
        memory: &mut Memory,
    ) -> Batch {
        let (scraped, kept) = (assembled.samples_scraped as f64, assembled.samples_kept as f64);
        let mut all = assembled.series;
        let info = all.iter().position(|ready| {
            ready
                .labels
                .get("__name__")
                .is_some_and(|name| name == "target_info")
        });
        let info = info.map(|at| all.swap_remove(at).labels).unwrap_or_default();
        let own = [
            ("up", f64::from(u8::from(up))),
            ("scrape_duration_seconds", took.as_secs_f64()),
            ("scrape_samples_scraped", scraped),
            ("scrape_samples_post_metric_relabeling", kept),
        ];
        all.extend(own.map(|(name, value)| self.own(name, value)));
        let added = memory.observe(&mut all, time);
        all.push(self.own("scrape_series_added", added as f64));
        all.extend(memory.gone());
        self.write(&all, time, &info)
    }

    /// A metric about the scrape itself.
    fn own(&self, name: &str, value: f64) -> Ready<'static> {
        let mut labels = self.target.labels.clone();
        labels.insert("__name__".to_owned(), name.to_owned());
        Ready {
            labels,
            family: Family {
                kind: Kind::Gauge,
                ..Family::default()
            },
            value: PointValue::Number(value),
            unix_milli: None,
            start_unix_nano: 0,
            exemplars: Vec::new(),
        }
    }

    fn write(&self, all: &[Ready<'_>], time: u64, info: &Labels) -> Batch {
        let series = all.iter().filter_map(|ready| series(ready, time)).collect();
        let mut metrics = MetricsEncoder::new();
        let rules = Rules { guess: false };
        rules.write(series, &mut metrics, |job, instance, resource| {
            self.describe(job, instance, info, resource)
        });
        metrics.finish(TenantId::default_tenant())
    }

    /// The resource, with what the Collector's receiver says of it.
    fn describe(&self, job: &str, instance: &str, info: &Labels, resource: &mut Resource<'_>) {
        let url = &self.target.url;
        let mut said = vec![
            "service.name",
            "service.instance.id",
            "server.address",
            "server.port",
            "url.scheme",
        ];
        if !job.is_empty() {
            resource.attribute("service.name", job);
        }
        if !instance.is_empty() {
            resource.attribute("service.instance.id", instance);
        }
        let (host, port) = instance.rsplit_once(':').unwrap_or((instance, ""));
        // Names that mean another machine to each reader say nothing.
        if !host.is_empty() && !matches!(host, "localhost" | "127.0.0.1" | "[::1]" | "0.0.0.0") {
            resource.attribute("server.address", host);
        }
        if !port.is_empty() {
            resource.attribute("server.port", port);
        }
        resource.attribute("url.scheme", url.scheme());
        said.extend(["__name__", "job", "instance"]);
        for (name, value) in info {
            if !said.contains(&name.as_str()) && self.target.labels.get(name) != Some(value) {
                resource.attribute(name, value);
            }
        }
    }

    /// Offers a batch until it is taken or refused for good, or `until`. Whether it was taken.
    async fn deliver(&self, batch: Batch, until: Instant) -> bool {
        let handover = Handover {
            source: self.target.url.as_str(),
            sink: &*self.sink,
            items: &self.counters.items,
            points_lost: &self.counters.points_lost,
            stop: &self.stop,
        };
        handover.offer(batch, until).await
    }
}
