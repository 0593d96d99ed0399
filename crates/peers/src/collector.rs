//! The OpenTelemetry Collector, built from Go modules with the components that are compared.

mod hostmetrics;
mod k8sattributes;
mod processors;
mod program;
mod spanmetrics;
mod tailing;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub use hostmetrics::HostMetrics;
pub use k8sattributes::K8sAttributes;
pub use processors::Processors;
pub use spanmetrics::SpanMetrics;
pub use tailing::{RunningTailing, Tailing};

use crate::{Missing, Process, found, once};

/// Building it takes minutes of a processor.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The program, built if it is not there.
pub fn binary() -> Result<PathBuf, Missing> {
    built("collector")
}

/// Another one, with the receiver and the exporter `kafka` beside those of OTLP, of a later release.
pub fn with_kafka() -> Result<PathBuf, Missing> {
    built("collector-kafka")
}

/// The program of the Go module in this folder of the crate.
fn built(module: &str) -> Result<PathBuf, Missing> {
    let go = found("go", &["/usr/local/go/bin"])
        .ok_or("there is no Go to build the OpenTelemetry Collector with")?;
    let folder = once(module, |folder| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(module);
        let built = Command::new(&go)
            .args(["build", "-o"])
            .arg(folder.join("collector"))
            .arg(".")
            .current_dir(source)
            // Otherwise `cargo clean` could not remove what was fetched.
            .env("GOFLAGS", "-modcacherw")
            .output()
            .map_err(|error| format!("cannot run Go: {error}"))?;
        match built.status.success() {
            true => Ok(()),
            false => Err(format!(
                "Go could not build it: {}",
                String::from_utf8_lossy(&built.stderr)
            )),
        }
    })?;
    Ok(folder.join("collector"))
}

/// A Collector that runs with a configuration file.
#[derive(Debug)]
pub struct Collector {
    process: Process,
    _directory: tempfile::TempDir,
}

impl Collector {
    /// Starts it with `configuration`, and waits until it says that everything is ready.
    pub fn start(configuration: &str) -> Result<Collector, Missing> {
        Collector::start_of(&binary()?, configuration)
    }

    /// The same of the program `binary`.
    pub fn start_of(binary: &Path, configuration: &str) -> Result<Collector, Missing> {
        let directory = tempfile::tempdir().map_err(|error| format!("cannot make a folder: {error}"))?;
        let file = directory.path().join("collector.yaml");
        std::fs::write(&file, configuration)
            .map_err(|error| format!("cannot write the configuration: {error}"))?;
        let mut command = Command::new(binary);
        command.arg("--config").arg(&file);
        let log = directory.path().join("log");
        let mut process = Process::start(command, log.clone())?;
        let ready = || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("Everything is ready"));
        process.wait_until(READY_WITHIN, ready)?;
        Ok(Collector {
            process,
            _directory: directory,
        })
    }

    /// What it said.
    pub fn output(&self) -> String {
        self.process.output()
    }
}
