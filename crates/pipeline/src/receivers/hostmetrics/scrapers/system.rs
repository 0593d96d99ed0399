//! The host as a whole: how long it has been running, from `/proc/uptime`.

use super::{Scrape, Scraping};
use crate::processors::ConfigError;
use crate::receivers::hostmetrics::config::PlainConfig;
use crate::receivers::hostmetrics::host::{Host, ReadError};
use crate::receivers::hostmetrics::metric::Metric;
use crate::receivers::hostmetrics::recorder::Recorder;
use crate::receivers::http::intake::now_unix_nano;

const UPTIME: Metric = Metric::gauge("system.uptime", "s", "The time the system has been running", &[]);
const METRICS: &[Metric] = &[UPTIME];

#[derive(Debug)]
pub(super) struct System {
    recorder: Recorder,
}

impl System {
    pub(super) fn new(config: &PlainConfig) -> Result<System, ConfigError> {
        Ok(System {
            recorder: Recorder::new(METRICS, &config.metrics, "scrapers.system.metrics")?,
        })
    }
}

impl Scrape for System {
    fn name(&self) -> &'static str {
        "system"
    }

    fn scrape(&mut self, host: &Host, scraping: &mut Scraping<'_>) {
        let now = now_unix_nano();
        match uptime(host) {
            Ok(seconds) => self.recorder.record(&UPTIME, now, seconds, &[]),
            Err(error) => scraping.failed(1, &error),
        }
        scraping.write(&mut self.recorder);
    }
}

/// Seconds, a begun one as a whole: what the system call `sysinfo` says, which the Collector asks.
fn uptime(host: &Host) -> Result<f64, ReadError> {
    let text = host.read("proc/uptime")?;
    let seconds = text.split_ascii_whitespace().next();
    let seconds = seconds.and_then(|seconds| seconds.parse::<f64>().ok());
    let seconds = seconds.filter(|seconds| seconds.is_finite());
    let odd = || ReadError::new(&host.path("proc/uptime"), "it does not begin with a number");
    seconds.map(f64::ceil).ok_or_else(odd)
}
