//! Memory, from `/proc/meminfo`.

use std::collections::HashMap;

use super::{Scrape, Scraping, ratio};
use crate::processors::ConfigError;
use crate::receivers::hostmetrics::config::PlainConfig;
use crate::receivers::hostmetrics::host::{Host, ReadError};
use crate::receivers::hostmetrics::metric::Metric;
use crate::receivers::hostmetrics::recorder::Recorder;
use crate::receivers::http::intake::now_unix_nano;

const AVAILABLE: Metric = Metric::level(
    "system.linux.memory.available",
    "By",
    "An estimate of how much memory is available for starting new applications, without swapping. This is a more accurate alternative than system.memory.usage with state=free. (Linux only)",
    &[],
)
.off();
const DIRTY: Metric = Metric::level(
    "system.linux.memory.dirty",
    "By",
    "The amount of dirty memory according to `/proc/meminfo`.",
    &[],
)
.off();
const LIMIT: Metric = Metric::level(
    "system.memory.limit",
    "By",
    "Total bytes of memory available.",
    &[],
)
.off();
const HUGEPAGES_LIMIT: Metric = Metric::level(
    "system.memory.linux.hugepages.limit",
    "{page}",
    "Total number of hugepages available.",
    &[],
)
.off();
const HUGEPAGES_PAGE_SIZE: Metric = Metric::level(
    "system.memory.linux.hugepages.page_size",
    "By",
    "System hugepage size in bytes.",
    &[],
)
.off();
const HUGEPAGES_RESERVED: Metric = Metric::level(
    "system.memory.linux.hugepages.reserved",
    "{page}",
    "Number of reserved hugepages (hugepages for which a commitment to allocate has been made, but no allocation has yet been made). This is reported as a separate metric rather than a usage state because reserved pages are already counted in free pages - they represent a subset of free pages that cannot be used for non-reserved allocations.",
    &[],
)
.off();
const HUGEPAGES_SURPLUS: Metric = Metric::level(
    "system.memory.linux.hugepages.surplus",
    "{page}",
    "Number of surplus hugepages (overcommitted hugepages beyond the persistent pool). This is reported as a separate metric rather than a usage state because surplus pages can be in either used or free state, and including them would break the semantic convention that usage states must sum to the limit.",
    &[],
)
.off();
const HUGEPAGES_USAGE: Metric = Metric::level(
    "system.memory.linux.hugepages.usage",
    "{page}",
    "Number of hugepages in use by state.",
    &["system.memory.linux.hugepages.state"],
)
.off();
const HUGEPAGES_UTILIZATION: Metric = Metric::gauge(
    "system.memory.linux.hugepages.utilization",
    "1",
    "Percentage of hugepages in use by state.",
    &["system.memory.linux.hugepages.state"],
)
.off();
const SHARED: Metric = Metric::level(
    "system.memory.linux.shared",
    "By",
    "Shared memory usage, including tmpfs filesystems and System V/POSIX shared memory. Only supported on Linux.",
    &[],
)
.off();
const PAGE_SIZE: Metric = Metric::gauge(
    "system.memory.page_size",
    "By",
    "A constant value for the system's configured page size.",
    &[],
)
.off();
const USAGE: Metric = Metric::level("system.memory.usage", "By", "Bytes of memory in use.", &["state"]);
const UTILIZATION: Metric = Metric::gauge(
    "system.memory.utilization",
    "1",
    "Percentage of memory bytes in use.",
    &["state"],
)
.off();
const METRICS: &[Metric] = &[
    AVAILABLE,
    DIRTY,
    LIMIT,
    HUGEPAGES_LIMIT,
    HUGEPAGES_PAGE_SIZE,
    HUGEPAGES_RESERVED,
    HUGEPAGES_SURPLUS,
    HUGEPAGES_USAGE,
    HUGEPAGES_UTILIZATION,
    SHARED,
    PAGE_SIZE,
    USAGE,
    UTILIZATION,
];

#[derive(Debug)]
pub(super) struct Memory {
    recorder: Recorder,
}

impl Memory {
    pub(super) fn new(config: &PlainConfig) -> Result<Memory, ConfigError> {
        Ok(Memory {
            recorder: Recorder::new(METRICS, &config.metrics, "scrapers.memory.metrics")?,
        })
    }

    fn record(&mut self, now: u64, info: &MemInfo, page_bytes: u64) {
        let mut record = |metric: &Metric, bytes: u64, attributes: &[&str]| {
            self.recorder.record(metric, now, bytes as i64, attributes);
        };
        for (state, bytes) in info.states() {
            record(&USAGE, bytes, &[state]);
        }
        record(&LIMIT, info.total(), &[]);
        record(&AVAILABLE, info.available(), &[]);
        record(&DIRTY, info.get("Dirty"), &[]);
        record(&SHARED, info.get("Shmem"), &[]);
        record(&PAGE_SIZE, page_bytes, &[]);
        let (pages, free) = (info.get("HugePages_Total"), info.get("HugePages_Free"));
        let used = pages.saturating_sub(free);
        record(&HUGEPAGES_PAGE_SIZE, info.get("Hugepagesize"), &[]);
        record(&HUGEPAGES_LIMIT, pages, &[]);
        record(&HUGEPAGES_USAGE, free, &["free"]);
        record(&HUGEPAGES_USAGE, used, &["used"]);
        record(&HUGEPAGES_RESERVED, info.get("HugePages_Rsvd"), &[]);
        record(&HUGEPAGES_SURPLUS, info.get("HugePages_Surp"), &[]);
        for (state, bytes) in info.states() {
            let share = ratio(bytes, info.total());
            self.recorder.record(&UTILIZATION, now, share, &[state]);
        }
        if pages > 0 {
            for (state, count) in [("free", free), ("used", used)] {
                let share = ratio(count, pages);
                self.recorder.record(&HUGEPAGES_UTILIZATION, now, share, &[state]);
            }
        }
    }
}

impl Scrape for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn scrape(&mut self, host: &Host, scraping: &mut Scraping<'_>) {
        let now = now_unix_nano();
        match MemInfo::read(host) {
            Ok(info) => self.record(now, &info, host.page_bytes),
            Err(error) => scraping.failed(2, &error),
        }
        scraping.write(&mut self.recorder);
    }
}

/// Lines of `/proc/meminfo`: bytes, or pages of which there is no unit.
pub(super) struct MemInfo(HashMap<String, u64>);

impl MemInfo {
    pub(super) fn read(host: &Host) -> Result<MemInfo, ReadError> {
        let info = MemInfo::parse(&host.read("proc/meminfo")?);
        match info.total() {
            0 => Err(ReadError::new(&host.path("proc/meminfo"), "it has no `MemTotal`")),
            _ => Ok(info),
        }
    }

    fn parse(text: &str) -> MemInfo {
        let one = |line: &str| {
            let (key, value) = line.split_once(':')?;
            let value = value.trim();
            let value = match value.strip_suffix(" kB") {
                Some(kibibytes) => kibibytes.trim_end().parse::<u64>().ok()?.checked_mul(1024)?,
                None => value.parse().ok()?,
            };
            Some((key.trim().to_owned(), value))
        };
        MemInfo(text.lines().filter_map(one).collect())
    }

    fn get(&self, key: &str) -> u64 {
        self.0.get(key).copied().unwrap_or(0)
    }

    pub(super) fn total(&self) -> u64 {
        self.get("MemTotal")
    }

    /// The page cache, with what the kernel can reclaim of its own.
    fn cached(&self) -> u64 {
        self.get("Cached").saturating_add(self.get("SReclaimable"))
    }

    /// Kernels before 3.14 do not say it.
    fn available(&self) -> u64 {
        let said = self.0.get("MemAvailable").copied();
        said.unwrap_or_else(|| self.cached().saturating_add(self.get("MemFree")))
    }

    fn states(&self) -> [(&'static str, u64); 6] {
        [
            ("used", self.total().saturating_sub(self.available())),
            ("free", self.get("MemFree")),
            ("buffered", self.get("Buffers")),
            ("cached", self.cached()),
            ("slab_reclaimable", self.get("SReclaimable")),
            ("slab_unreclaimable", self.get("SUnreclaim")),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_and_odd_lines_are_read() {
        let info = MemInfo::parse(
            "MemTotal:       100 kB\nMemFree: 10 kB\nCached: 20 kB\nSReclaimable: 5 kB\nHugePages_Total:   3\n\
             Odd line\nBuffers: many kB\nHuge: 18446744073709551615 kB\n",
        );
        assert_eq!(info.available(), 35 * 1024);
        assert_eq!(info.get("HugePages_Total"), 3);
        assert_eq!(info.states()[0], ("used", 65 * 1024));
        assert_eq!((info.get("Buffers"), info.get("Huge")), (0, 0));
    }
}
