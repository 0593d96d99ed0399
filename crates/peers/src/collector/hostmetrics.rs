//! The host metrics receiver of the Collector as a program of its own.

use super::program::{Program, SUPPORT, run};
use crate::Missing;

/// The host metrics receiver.
#[derive(Debug)]
pub struct HostMetrics(Program);

impl HostMetrics {
    /// Builds the program, if it is not there yet; that takes minutes, so that it has to be asked for.
    pub fn install() -> Result<Self, Missing> {
        let files = [
            ("main.go", include_str!("hostmetrics.go")),
            SUPPORT,
            ("go.mod", include_str!("hostmetrics.mod")),
            ("go.sum", include_str!("hostmetrics.sum")),
        ];
        Program::install("hostmetrics", &files).map(Self)
    }

    /// The metrics of a scrape, from 1, encoded, with settings in JSON.
    pub fn run(&self, settings: &str, scrape: usize) -> Result<Vec<u8>, Missing> {
        let mut command = self.0.command();
        command.arg(settings).arg(scrape.to_string());
        run(command, Vec::new())
    }
}
