//! The spanmetrics connector of the Collector as a program of its own.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::build;
use crate::{Missing, once, slow};

/// The spanmetrics connector, over one batch of traces.
#[derive(Debug)]
pub struct SpanMetrics {
    program: PathBuf,
}

impl SpanMetrics {
    /// Builds the program, if it is not there yet; that takes minutes, so that it has to be asked for.
    pub fn install() -> Result<Self, Missing> {
        slow("the Collector's spanmetrics connector")?;
        let folder = once("collector-spanmetrics", |folder| {
            let files = [
                ("main.go", include_str!("spanmetrics.go")),
                ("go.mod", include_str!("spanmetrics.mod")),
                ("go.sum", include_str!("spanmetrics.sum")),
            ];
            for (name, text) in files {
                std::fs::write(folder.join(name), text)
                    .map_err(|error| format!("cannot write {name}: {error}"))?;
            }
            build(folder)
        })?;
        Ok(Self {
            program: folder.join("program"),
        })
    }

    /// The metrics that the connector makes of encoded traces, encoded, with settings in JSON.
    pub fn run(&self, settings: &str, traces: &[u8]) -> Result<Vec<u8>, Missing> {
        let failed = |error: std::io::Error| format!("cannot run {}: {error}", self.program.display());
        let mut child = Command::new(&self.program)
            .arg(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        // It reads everything before it writes anything.
        if let Some(mut input) = child.stdin.take() {
            input.write_all(traces).map_err(failed)?;
        }
        let output = child.wait_with_output().map_err(failed)?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}
