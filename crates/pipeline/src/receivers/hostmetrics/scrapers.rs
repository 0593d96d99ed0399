//! One scraper a topic: what it measures as a table, where it reads it, and what it makes of that. Names, units,
//! attributes and values are those of the Collector's scrapers.
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/receiver/hostmetricsreceiver>

mod cpu;
mod disk;
mod filesystem;
mod load;
mod memory;
mod network;
mod nfs;
mod paging;
mod process;
mod processes;
mod system;

use cupola_telemetry::encode::{MetricsEncoder, Resource};
use cupola_telemetry::{Batch, TenantId};

use super::config::{HostMetricsConfig, ScraperConfigs};
use super::host::{Host, ReadError};
use super::recorder::Recorder;
use crate::processors::ConfigError;

const SCOPES: &str =
    "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/hostmetricsreceiver/internal/scraper";

/// Measures one topic. What it remembers from one scrape to the next is its own.
pub(super) trait Scrape: Send + Sync {
    fn name(&self) -> &'static str;

    /// The conventions that its names are of.
    fn schema_url(&self) -> &'static str {
        "https://opentelemetry.io/schemas/1.9.0"
    }

    /// Measures now. What cannot be read is left out, and said to `scraping`.
    fn scrape(&mut self, host: &Host, scraping: &mut Scraping<'_>);
}

/// The scrapers that the settings name.
pub(super) fn all(configs: &ScraperConfigs) -> Result<Vec<Box<dyn Scrape>>, ConfigError> {
    let mut all: Vec<Box<dyn Scrape>> = Vec::new();
    if let Some(config) = &configs.cpu {
        all.push(Box::new(cpu::Cpu::new(config)?));
    }
    if let Some(config) = &configs.disk {
        all.push(Box::new(disk::Disk::new(config)?));
    }
    if let Some(config) = &configs.filesystem {
        all.push(Box::new(filesystem::Filesystem::new(config)?));
    }
    if let Some(config) = &configs.load {
        all.push(Box::new(load::Load::new(config)?));
    }
    if let Some(config) = &configs.memory {
        all.push(Box::new(memory::Memory::new(config)?));
    }
    if let Some(config) = &configs.network {
        all.push(Box::new(network::Network::new(config)?));
    }
    if let Some(config) = &configs.nfs {
        all.push(Box::new(nfs::Nfs::new(config)?));
    }
    if let Some(config) = &configs.paging {
        all.push(Box::new(paging::Paging::new(config)?));
    }
    if let Some(config) = &configs.processes {
        all.push(Box::new(processes::Processes::new(config)?));
    }
    if let Some(config) = &configs.process {
        all.push(Box::new(process::Processes::new(config)?));
    }
    if let Some(config) = &configs.system {
        all.push(Box::new(system::System::new(config)?));
    }
    Ok(all)
}

/// All scrapers of a receiver, with the host that they measure.
pub(super) struct Scrapers {
    host: Host,
    /// Nanoseconds since the epoch: when the host began to count.
    boot_time: u64,
    all: Vec<Box<dyn Scrape>>,
}

/// What one scraper did in one scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) points: u64,
    /// Metrics that could not be measured.
    pub(super) errors: u64,
}

impl Scrapers {
    /// Fails where there is no host to measure.
    pub(super) fn new(config: &HostMetricsConfig) -> Result<Scrapers, StartProblem> {
        let host = Host::new(config.root());
        let boot_time = host.boot_time()?.saturating_mul(1_000_000_000);
        Ok(Scrapers {
            host,
            boot_time,
            all: all(&config.scrapers)?,
        })
    }

    pub(super) fn names(&self) -> Vec<&'static str> {
        self.all.iter().map(|scraper| scraper.name()).collect()
    }

    /// One batch of everything, and what each scraper did, in their order.
    pub(super) fn scrape(&mut self) -> (Batch, Vec<Done>) {
        let mut metrics = MetricsEncoder::new();
        let mut done = Vec::new();
        for scraper in &mut self.all {
            let before = metrics.items();
            let mut scraping = Scraping {
                scraper: (scraper.name(), scraper.schema_url()),
                boot_time: self.boot_time,
                metrics: &mut metrics,
                errors: 0,
            };
            scraper.scrape(&self.host, &mut scraping);
            let errors = scraping.errors;
            done.push(Done {
                points: (metrics.items() - before) as u64,
                errors,
            });
        }
        (metrics.finish(TenantId::default_tenant()), done)
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum StartProblem {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{0}; does `root_path` name where `/` of the host is mounted?")]
    Host(#[from] ReadError),
}

/// What a scraper writes to.
pub(super) struct Scraping<'a> {
    /// Name, and schema URL.
    scraper: (&'static str, &'static str),
    pub(super) boot_time: u64,
    metrics: &'a mut MetricsEncoder,
    errors: u64,
}

impl Scraping<'_> {
    /// Metrics of the host itself, counted since it began.
    pub(super) fn write(&mut self, recorder: &mut Recorder) {
        let since = self.boot_time;
        self.write_resource(recorder, since, |_| {});
    }

    /// Metrics of a resource of their own.
    pub(super) fn write_resource(
        &mut self,
        recorder: &mut Recorder,
        since: u64,
        describe: impl FnOnce(&mut Resource<'_>),
    ) {
        if recorder.is_empty() {
            return;
        }
        let (name, schema_url) = self.scraper;
        let mut resource = self.metrics.resource_metrics();
        describe(&mut resource.resource());
        let mut metrics = resource.scope_metrics();
        {
            let mut scope = metrics.scope();
            scope.name(&format!("{SCOPES}/{name}scraper"));
            scope.version(env!("CARGO_PKG_VERSION"));
        }
        recorder.write(since, &mut metrics);
        drop(metrics);
        resource.schema_url(schema_url);
    }

    /// So many metrics could not be measured. They are missing in the batch, which goes on its way without them.
    pub(super) fn failed(&mut self, metrics: u64, error: &ReadError) {
        self.errors += metrics;
        tracing::debug!(scraper = self.scraper.0, metrics, %error, "cannot measure");
    }
}

/// As a share of `whole`, with the digits that whole numbers of this size can tell apart, as the Collector rounds it.
fn ratio(part: u64, whole: u64) -> f64 {
    let (part, whole) = (part as f64, whole as f64);
    if whole == 0.0 {
        return part / whole;
    }
    let digits = part.max(whole).log10().floor().max(0.0) as i32 + 1;
    let scale = 10_f64.powi(digits);
    (part / whole * scale).round() / scale
}

/// Milliseconds as seconds.
fn seconds(milliseconds: u64) -> f64 {
    (milliseconds as f64 / 1_000.0 * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_the_digits_of_their_parts() {
        assert_eq!(ratio(21_208_754, 33_554_432), 0.63207012);
        assert_eq!(ratio(1, 3), 0.3);
        assert_eq!(ratio(10, 3), 3.33);
        assert_eq!(ratio(0, 100), 0.0);
        assert!(ratio(0, 0).is_nan());
        assert_eq!(seconds(12_345), 12.345);
    }
}
