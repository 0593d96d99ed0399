//! Load averages, from `/proc/loadavg`.

use super::{Scrape, Scraping};
use crate::processors::ConfigError;
use crate::receivers::hostmetrics::config::LoadConfig;
use crate::receivers::hostmetrics::host::{Host, ReadError};
use crate::receivers::hostmetrics::metric::Metric;
use crate::receivers::hostmetrics::recorder::Recorder;
use crate::receivers::http::intake::now_unix_nano;

/// In the order of the file.
const METRICS: &[Metric] = &[
    Metric::gauge(
        "system.cpu.load_average.1m",
        "{thread}",
        "Average CPU Load over 1 minute.",
        &[],
    ),
    Metric::gauge(
        "system.cpu.load_average.5m",
        "{thread}",
        "Average CPU Load over 5 minutes.",
        &[],
    ),
    Metric::gauge(
        "system.cpu.load_average.15m",
        "{thread}",
        "Average CPU Load over 15 minutes.",
        &[],
    ),
];

#[derive(Debug)]
pub(super) struct Load {
    recorder: Recorder,
    cpu_average: bool,
}

impl Load {
    pub(super) fn new(config: &LoadConfig) -> Result<Load, ConfigError> {
        Ok(Load {
            recorder: Recorder::new(METRICS, &config.metrics, "scrapers.load.metrics")?,
            cpu_average: config.cpu_average,
        })
    }

    fn averages(&self, host: &Host) -> Result<Vec<f64>, ReadError> {
        let text = host.read("proc/loadavg")?;
        let numbers = text.split_ascii_whitespace().take(METRICS.len());
        let averages: Vec<f64> = numbers.filter_map(|number| number.parse().ok()).collect();
        if averages.len() < METRICS.len() {
            let path = host.path("proc/loadavg");
            return Err(ReadError::new(&path, "it does not begin with three numbers"));
        }
        let divisor = match self.cpu_average {
            true => host.logical_cpus()?.max(1) as f64,
            false => 1.0,
        };
        Ok(averages.into_iter().map(|average| average / divisor).collect())
    }
}

impl Scrape for Load {
    fn name(&self) -> &'static str {
        "load"
    }

    fn scrape(&mut self, host: &Host, scraping: &mut Scraping<'_>) {
        let now = now_unix_nano();
        match self.averages(host) {
            Ok(averages) => {
                for (metric, average) in METRICS.iter().zip(averages) {
                    self.recorder.record(metric, now, average, &[]);
                }
            }
            Err(error) => scraping.failed(METRICS.len() as u64, &error),
        }
        scraping.write(&mut self.recorder);
    }
}
