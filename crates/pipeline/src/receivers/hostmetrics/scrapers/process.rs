//! Each process by itself, from `/proc/[pid]`, with a resource of its own.
//!
//! A process that ends while it is looked at is left out, and so is what there is nothing of: the executable of a thread
//! of the kernel. What may not be read counts in `otelcol_scraper_errored_metric_points` unless the settings mute it; the
//! rest of the process is there. What it has used of processors since the last scrape is remembered by number and start,
//! so that a number that is used again begins anew.

mod files;
mod identity;

use std::collections::BTreeMap;

use super::memory::MemInfo;
use super::{Scrape, Scraping};
use crate::processors::ConfigError;
use crate::receivers::hostmetrics::config::ProcessConfig;
use crate::receivers::hostmetrics::filter::Filter;
use crate::receivers::hostmetrics::host::{Host, ReadError};
use crate::receivers::hostmetrics::metric::Metric;
use crate::receivers::hostmetrics::recorder::Recorder;
use crate::receivers::http::intake::now_unix_nano;
use files::{Files, Stat, Status};
use identity::{Identity, Owners};

const CONTEXT_SWITCHES: Metric = Metric::counter(
    "process.context_switches",
    "{count}",
    "Number of times the process has been context switched.",
    &["type"],
)
.off();
const CPU_TIME: Metric = Metric::counter(
    "process.cpu.time",
    "s",
    "Total CPU seconds broken down by different states.",
    &["state"],
);
const CPU_UTILIZATION: Metric = Metric::gauge(
    "process.cpu.utilization",
    "1",
    "Percentage of total CPU time used by the process since last scrape, expressed as a value between 0 and 1. On the first scrape, no data point is emitted for this metric.",
    &["state"],
)
.off();
const DISK_IO: Metric = Metric::counter("process.disk.io", "By", "Disk bytes transferred.", &["direction"]);
const DISK_OPERATIONS: Metric = Metric::counter(
    "process.disk.operations",
    "{operations}",
    "Number of disk operations performed by the process.",
    &["direction"],
)
.off();
/// Of Windows alone: never measured, known so that settings may name it.
const HANDLES: Metric = Metric::level(
    "process.handles",
    "{count}",
    "Number of open handles held by the process.",
    &[],
)
.off();
const MEMORY_USAGE: Metric = Metric::level(
    "process.memory.usage",
    "By",
    "The amount of physical memory in use.",
    &[],
);
const MEMORY_UTILIZATION: Metric = Metric::gauge(
    "process.memory.utilization",
    "1",
    "Percentage of total physical memory that is used by the process.",
    &[],
)
.off();
const MEMORY_VIRTUAL: Metric = Metric::level(
    "process.memory.virtual",
    "By",
    "The amount of committed virtual memory.",
    &[],
);
const OPEN_FILE_DESCRIPTORS: Metric = Metric::level(
    "process.open_file_descriptors",
    "{count}",
    "Number of file descriptors in use by the process.",
    &[],
)
.off();
const PAGING_FAULTS: Metric = Metric::counter(
    "process.paging.faults",
    "{faults}",
    "Number of page faults the process has made.",
    &["type"],
)
.off();
const SIGNALS_PENDING: Metric = Metric::level(
    "process.signals_pending",
    "{signals}",
    "Number of pending signals for the process.",
    &[],
)
.off();
const THREADS: Metric = Metric::level("process.threads", "{threads}", "Process threads count.", &[]).off();
const UPTIME: Metric = Metric::gauge(
    "process.uptime",
    "s",
    "The time the process has been running.",
    &[],
)
.off();
const METRICS: &[Metric] = &[
    CONTEXT_SWITCHES,
    CPU_TIME,
    CPU_UTILIZATION,
    DISK_IO,
    DISK_OPERATIONS,
    HANDLES,
    MEMORY_USAGE,
    MEMORY_UTILIZATION,
    MEMORY_VIRTUAL,
    OPEN_FILE_DESCRIPTORS,
    PAGING_FAULTS,
    SIGNALS_PENDING,
    THREADS,
    UPTIME,
];

/// User, system and waiting.
const STATES: [&str; 3] = ["user", "system", "wait"];

#[derive(Debug)]
pub(super) struct Processes {
    config: ProcessConfig,
    filter: Filter,
    recorder: Recorder,
    /// Time and seconds at the last scrape, by number and start.
    before: BTreeMap<(i32, u64), (u64, [f64; STATES.len()])>,
}

/// What is the same for all processes of a scrape.
struct Surroundings {
    owners: Owners,
    cpus: u64,
    /// Bytes.
    memory: Option<u64>,
}

impl Processes {
    pub(super) fn new(config: &ProcessConfig) -> Result<Processes, ConfigError> {
        Ok(Processes {
            config: config.clone(),
            filter: Filter::names(
                (&config.include, "scrapers.process.include"),
                (&config.exclude, "scrapers.process.exclude"),
            )?,
            recorder: Recorder::new(METRICS, &config.metrics, "scrapers.process.metrics")?,
            before: BTreeMap::new(),
        })
    }

    /// What this knows of one process, if it is wanted and still there.
    fn scrape_process(&mut self, files: &Files<'_>, around: &Surroundings, scraping: &mut Scraping<'_>) {
        let config = &self.config;
        let identity = match Identity::read(files, config, &self.filter, &around.owners) {
            Ok(Some(identity)) => identity,
            Ok(None) => return,
            Err(error) => return self.missing(1, config.mute_process_name_error, &error, scraping),
        };
        for (is_muted, error) in &identity.unread {
            self.missing(1, *is_muted, error, scraping);
        }
        let now = now_unix_nano();
        let stat = match files.stat() {
            Ok(stat) => stat,
            Err(error) => return self.missing(1, false, &error, scraping),
        };
        let since = scraping.boot_time.saturating_add(files.nanoseconds(stat.started));
        let delay = self
            .config
            .scrape_process_delay
            .map_or(0, |delay| delay.0.as_nanos());
        if u128::from(now.saturating_sub(since)) < delay {
            return;
        }
        self.record_stat(now, files, &stat, around.cpus);
        let uptime = now.saturating_sub(since) as f64 / 1e9;
        self.recorder.record(&UPTIME, now, uptime, &[]);
        self.record_status(now, &identity.status);
        let mut failed = Vec::new();
        failed.extend(
            self.record_memory(now, files, around.memory)
                .err()
                .map(|e| (2, false, e)),
        );
        let is_muted = self.config.mute_process_io_error;
        failed.extend(self.record_io(now, files).err().map(|e| (1, is_muted, e)));
        failed.extend(self.record_open_files(now, files).err().map(|e| (1, false, e)));
        failed.extend(
            self.record_switches(now, files, &identity.status)
                .err()
                .map(|e| (1, false, e)),
        );
        for (metrics, is_muted, error) in failed {
            self.missing(metrics, is_muted, &error, scraping);
        }
        let wanted = &self.config.resource_attributes;
        scraping.write_resource(&mut self.recorder, since, |resource| {
            identity.describe(files.pid, stat.parent, wanted, resource);
        });
    }

    fn missing(&self, metrics: u64, is_muted: bool, error: &ReadError, scraping: &mut Scraping<'_>) {
        if !(is_muted || self.config.mute_process_all_errors || error.is_gone()) {
            scraping.failed(metrics, error);
        }
    }

    fn record_stat(&mut self, now: u64, files: &Files<'_>, stat: &Stat, cpus: u64) {
        let times = stat.times.map(|ticks| files.seconds(ticks));
        for (seconds, state) in times.into_iter().zip(STATES) {
            self.recorder.record(&CPU_TIME, now, seconds, &[state]);
        }
        if let Some((at, before)) = self.before.insert((files.pid, stat.started), (now, times)) {
            let spent = now.saturating_sub(at) as f64 / 1e9;
            for ((after, before), state) in times.into_iter().zip(before).zip(STATES) {
                let share = match spent > 0.0 {
                    true => (after - before) / spent / cpus.max(1) as f64,
                    false => 0.0,
                };
                self.recorder.record(&CPU_UTILIZATION, now, share, &[state]);
            }
        }
        for (faults, kind) in [(stat.major_faults, "major"), (stat.minor_faults, "minor")] {
            self.recorder.record(&PAGING_FAULTS, now, faults as i64, &[kind]);
        }
    }

    fn record_status(&mut self, now: u64, status: &Status) {
        if let Some(threads) = status.threads {
            self.recorder.record(&THREADS, now, threads as i64, &[]);
        }
        // The set as a number, as the Collector has it.
        if let Some(signals) = status.signals_pending {
            self.recorder.record(&SIGNALS_PENDING, now, signals as i64, &[]);
        }
    }

    fn record_memory(&mut self, now: u64, files: &Files<'_>, all: Option<u64>) -> Result<(), ReadError> {
        if !self
            .recorder
            .wants_any(&[&MEMORY_USAGE, &MEMORY_VIRTUAL, &MEMORY_UTILIZATION])
        {
            return Ok(());
        }
        let (resident, virtual_bytes) = files.memory()?;
        self.recorder.record(&MEMORY_USAGE, now, resident as i64, &[]);
        self.recorder
            .record(&MEMORY_VIRTUAL, now, virtual_bytes as i64, &[]);
        if let Some(all) = all {
            let percent = 100.0 * resident as f32 / all as f32;
            self.recorder
                .record(&MEMORY_UTILIZATION, now, f64::from(percent), &[]);
        }
        Ok(())
    }

    fn record_io(&mut self, now: u64, files: &Files<'_>) -> Result<(), ReadError> {
        if !self.recorder.wants_any(&[&DISK_IO, &DISK_OPERATIONS]) {
            return Ok(());
        }
        let io = files.io()?;
        for (metric, values) in [(DISK_IO, io.bytes), (DISK_OPERATIONS, io.calls)] {
            for (value, direction) in values.into_iter().zip(["read", "write"]) {
                self.recorder.record(&metric, now, value as i64, &[direction]);
            }
        }
        Ok(())
    }

    fn record_open_files(&mut self, now: u64, files: &Files<'_>) -> Result<(), ReadError> {
        if self.recorder.wants(&OPEN_FILE_DESCRIPTORS) {
            let open = files.open()? as i64;
            self.recorder.record(&OPEN_FILE_DESCRIPTORS, now, open, &[]);
        }
        Ok(())
    }

    fn record_switches(&mut self, now: u64, files: &Files<'_>, status: &Status) -> Result<(), ReadError> {
        if self.recorder.wants(&CONTEXT_SWITCHES) {
            let [voluntary, involuntary] = files.context_switches(status)?;
            for (count, kind) in [(involuntary, "involuntary"), (voluntary, "voluntary")] {
                self.recorder
                    .record(&CONTEXT_SWITCHES, now, count as i64, &[kind]);
            }
        }
        Ok(())
    }
}

impl Scrape for Processes {
    fn name(&self) -> &'static str {
        "process"
    }

    fn schema_url(&self) -> &'static str {
        "https://opentelemetry.io/schemas/1.43.0"
    }

    fn scrape(&mut self, host: &Host, scraping: &mut Scraping<'_>) {
        let pids = match host.numbers("proc") {
            Ok(pids) => pids,
            Err(error) => return scraping.failed(1, &error),
        };
        let around = Surroundings {
            owners: match self.config.resource_attributes.owner.enabled {
                true => Owners::read(host),
                false => Owners::default(),
            },
            cpus: host.logical_cpus().unwrap_or(1),
            memory: match self.recorder.wants(&MEMORY_UTILIZATION) {
                true => MemInfo::read(host).ok().map(|info| info.total()),
                false => None,
            },
        };
        let begun = now_unix_nano();
        for pid in pids {
            self.scrape_process(&Files { host, pid }, &around, scraping);
        }
        // Those that have ended.
        self.before.retain(|_, (seen, _)| *seen >= begun);
    }
}
