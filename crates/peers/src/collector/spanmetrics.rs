//! The spanmetrics connector of the Collector as a program of its own.

use super::program::{Program, SUPPORT, run};
use crate::Missing;

/// The spanmetrics connector, over one batch of traces.
#[derive(Debug)]
pub struct SpanMetrics(Program);

impl SpanMetrics {
    /// Builds the program, if it is not there yet; that takes minutes, so that it has to be asked for.
    pub fn install() -> Result<Self, Missing> {
        let files = [
            ("main.go", include_str!("spanmetrics.go")),
            SUPPORT,
            ("go.mod", include_str!("spanmetrics.mod")),
            ("go.sum", include_str!("spanmetrics.sum")),
        ];
        Program::install("spanmetrics", &files).map(Self)
    }

    /// The metrics that the connector makes of encoded traces, encoded, with settings in JSON.
    pub fn run(&self, settings: &str, traces: &[u8]) -> Result<Vec<u8>, Missing> {
        let mut command = self.0.command();
        command.arg(settings);
        run(command, traces.to_vec())
    }
}
