//! Swap space, from `/proc/swaps`, and paging, from `/proc/vmstat`.
//!
//! The Collector takes the numbers of `/proc/vmstat` for pages of 4 KiB and gives bytes under names and units that say
//! operations and faults. Dashboards are made for that, and so the values are the same here.

use std::collections::HashMap;

use super::{Scrape, Scraping};
use crate::processors::ConfigError;
use crate::receivers::hostmetrics::config::PlainConfig;
use crate::receivers::hostmetrics::host::{Host, ReadError};
use crate::receivers::hostmetrics::metric::Metric;
use crate::receivers::hostmetrics::recorder::Recorder;
use crate::receivers::http::intake::now_unix_nano;

const FAULTS: Metric = Metric::counter(
    "system.paging.faults",
    "{faults}",
    "The number of page faults.",
    &["type"],
);
const OPERATIONS: Metric = Metric::counter(
    "system.paging.operations",
    "{operations}",
    "The number of paging operations.",
    &["direction", "type"],
);
const USAGE: Metric = Metric::level(
    "system.paging.usage",
    "By",
    "Swap (unix) or pagefile (windows) usage.",
    &["device", "state"],
);
const UTILIZATION: Metric = Metric::gauge(
    "system.paging.utilization",
    "1",
    "Swap (unix) or pagefile (windows) utilization.",
    &["device", "state"],
)
.off();
const METRICS: &[Metric] = &[FAULTS, OPERATIONS, USAGE, UTILIZATION];

/// What the Collector multiplies with.
const FACTOR: u64 = 4096;

#[derive(Debug)]
pub(super) struct Paging {
    recorder: Recorder,
}

impl Paging {
    pub(super) fn new(config: &PlainConfig) -> Result<Paging, ConfigError> {
        Ok(Paging {
            recorder: Recorder::new(METRICS, &config.metrics, "scrapers.paging.metrics")?,
        })
    }

    fn record_usage(&mut self, now: u64, host: &Host) -> Result<(), ReadError> {
        for swap in host.read("proc/swaps")?.lines().skip(1).filter_map(Swap::parse) {
            let free = swap.total.saturating_sub(swap.used);
            for (state, bytes) in [("used", swap.used), ("free", free)] {
                let attributes = [swap.device, state];
                self.recorder.record(&USAGE, now, bytes as i64, &attributes);
                let share = bytes as f64 / swap.total as f64;
                self.recorder.record(&UTILIZATION, now, share, &attributes);
            }
        }
        Ok(())
    }

    fn record_paging(&mut self, now: u64, host: &Host) -> Result<(), ReadError> {
        let text = host.read("proc/vmstat")?;
        let one = |line: &str| {
            let (key, number) = line.split_once(' ')?;
            Some((key.to_owned(), number.trim().parse::<u64>().ok()?))
        };
        let numbers: HashMap<String, u64> = text.lines().filter_map(one).collect();
        let value = |key: &str| numbers.get(key).copied().unwrap_or(0).wrapping_mul(FACTOR);
        for (key, direction, kind) in [
            ("pswpin", "page_in", "major"),
            ("pswpout", "page_out", "major"),
            ("pgpgin", "page_in", "minor"),
            ("pgpgout", "page_out", "minor"),
        ] {
            let value = value(key) as i64;
            self.recorder.record(&OPERATIONS, now, value, &[direction, kind]);
        }
        let (all, major) = (value("pgfault"), value("pgmajfault"));
        self.recorder.record(&FAULTS, now, major as i64, &["major"]);
        let minor = all.wrapping_sub(major) as i64;
        self.recorder.record(&FAULTS, now, minor, &["minor"]);
        Ok(())
    }
}

impl Scrape for Paging {
    fn name(&self) -> &'static str {
        "paging"
    }

    fn scrape(&mut self, host: &Host, scraping: &mut Scraping<'_>) {
        let now = now_unix_nano();
        if let Err(error) = self.record_usage(now, host) {
            scraping.failed(2, &error);
        }
        if let Err(error) = self.record_paging(now, host) {
            scraping.failed(2, &error);
        }
        scraping.write(&mut self.recorder);
    }
}

/// A device or file to swap to, in bytes.
#[derive(Debug, PartialEq, Eq)]
struct Swap<'a> {
    device: &'a str,
    total: u64,
    used: u64,
}

impl Swap<'_> {
    fn parse(line: &str) -> Option<Swap<'_>> {
        let mut words = line.split_ascii_whitespace();
        let device = words.next()?;
        let mut kibibytes = words
            .skip(1)
            .map(|word| word.parse::<u64>().ok()?.checked_mul(1024));
        Some(Swap {
            device,
            total: kibibytes.next()??,
            used: kibibytes.next()??,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_space_is_in_bytes_and_odd_lines_are_left_out() {
        let swap = Swap::parse("/dev/sda2   partition\t2097148\t1024\t-2");
        let expected = Swap {
            device: "/dev/sda2",
            total: 2_097_148 * 1024,
            used: 1024 * 1024,
        };
        assert_eq!(swap, Some(expected));
        assert_eq!(Swap::parse("/dev/sda2 partition 1"), None);
        assert_eq!(Swap::parse("/dev/sda2 partition x 1"), None);
        assert_eq!(Swap::parse(""), None);
    }
}
