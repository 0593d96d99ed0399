//! The host metrics receiver of the Collector as a program of its own.

use std::path::PathBuf;
use std::process::Command;

use super::build;
use crate::{Missing, once, slow};

/// The host metrics receiver.
#[derive(Debug)]
pub struct HostMetrics {
    program: PathBuf,
}

impl HostMetrics {
    /// Builds the program, if it is not there yet; that takes minutes, so that it has to be asked for.
    pub fn install() -> Result<Self, Missing> {
        slow("the Collector's host metrics receiver")?;
        let folder = once("collector-hostmetrics", |folder| {
            let files = [
                ("main.go", include_str!("hostmetrics.go")),
                ("go.mod", include_str!("hostmetrics.mod")),
                ("go.sum", include_str!("hostmetrics.sum")),
            ];
            build(folder, &files)
        })?;
        Ok(Self {
            program: folder.join("program"),
        })
    }

    /// The metrics of a scrape, from 1, encoded, with settings in JSON.
    pub fn run(&self, settings: &str, scrape: usize) -> Result<Vec<u8>, Missing> {
        let output = Command::new(&self.program)
            .arg(settings)
            .arg(scrape.to_string())
            .output()
            .map_err(|error| format!("cannot run {}: {error}", self.program.display()))?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}
