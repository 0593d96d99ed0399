//! How many processes there are, by what they are doing, from `/proc/*/status` and `/proc/stat`.

use std::collections::BTreeMap;

use super::{Scrape, Scraping};
use crate::processors::ConfigError;
use crate::receivers::hostmetrics::config::PlainConfig;
use crate::receivers::hostmetrics::host::{Host, ReadError};
use crate::receivers::hostmetrics::metric::Metric;
use crate::receivers::hostmetrics::recorder::Recorder;
use crate::receivers::http::intake::now_unix_nano;

const COUNT: Metric = Metric::level(
    "system.processes.count",
    "{processes}",
    "Total number of processes in each state.",
    &["status"],
);
const CREATED: Metric = Metric::counter(
    "system.processes.created",
    "{processes}",
    "Total number of created processes. Supported on Linux and OpenBSD.",
    &[],
);
const METRICS: &[Metric] = &[COUNT, CREATED];

#[derive(Debug)]
pub(super) struct Processes {
    recorder: Recorder,
}

impl Processes {
    pub(super) fn new(config: &PlainConfig) -> Result<Processes, ConfigError> {
        Ok(Processes {
            recorder: Recorder::new(METRICS, &config.metrics, "scrapers.processes.metrics")?,
        })
    }

    fn record(&mut self, now: u64, host: &Host) -> Result<(), ReadError> {
        let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
        for pid in host.numbers("proc")? {
            // Otherwise it has ended by now.
            if let Ok(text) = host.read(&format!("proc/{pid}/status")) {
                *counts.entry(status(&text)).or_default() += 1;
            }
        }
        // One look at all of them at once, where there was one after the other.
        let stat = host.read("proc/stat")?;
        let number = |key: &str| {
            let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
            let found = lines.find(|(name, _)| *name == key);
            found.and_then(|(_, number)| number.trim().parse::<i64>().ok())
        };
        counts.insert("blocked", number("procs_blocked").unwrap_or(0));
        counts.insert("running", number("procs_running").unwrap_or(0));
        let known: i64 = counts.values().sum();
        let all = host.numbers("proc")?.len() as i64;
        if all > known {
            counts.insert("unknown", all - known);
        }
        for (status, count) in counts {
            self.recorder.record(&COUNT, now, count, &[status]);
        }
        let created = number("processes").unwrap_or(0);
        self.recorder.record(&CREATED, now, created, &[]);
        Ok(())
    }
}

impl Scrape for Processes {
    fn name(&self) -> &'static str {
        "processes"
    }

    fn scrape(&mut self, host: &Host, scraping: &mut Scraping<'_>) {
        if let Err(error) = self.record(now_unix_nano(), host) {
            scraping.failed(METRICS.len() as u64, &error);
        }
        scraping.write(&mut self.recorder);
    }
}

/// What the letter of the kernel means.
fn status(text: &str) -> &'static str {
    let state = text.lines().find_map(|line| line.strip_prefix("State:\t"));
    match state.and_then(|state| state.chars().next()) {
        Some('D' | 'U') => "blocked",
        Some('I') => "idle",
        Some('L') => "locked",
        Some('R') => "running",
        Some('S') => "sleeping",
        Some('T' | 't') => "stopped",
        Some('W') => "paging",
        Some('Z') => "zombies",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_the_collectors_names() {
        assert_eq!(status("Name:\tsh\nState:\tS (sleeping)\n"), "sleeping");
        assert_eq!(status("State:\tt (tracing stop)\n"), "stopped");
        assert_eq!(status("State:\t\n"), "unknown");
        assert_eq!(status("Name:\tState:\n"), "unknown");
    }
}
