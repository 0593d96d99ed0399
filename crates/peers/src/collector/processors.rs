//! Processors of the Collector as programs of their own: many cases in, an answer for each out.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{Missing, once, slow};

/// A program with some of the Collector's processors.
#[derive(Debug)]
pub struct Processors {
    program: PathBuf,
}

impl Processors {
    /// The `filter` and `transform` processors of the newest release whose modules the Go proxy serves completely.
    pub fn statements() -> Result<Self, Missing> {
        Self::install(
            "statements",
            include_str!("statements.go"),
            include_str!("statements.mod"),
            include_str!("statements.sum"),
        )
    }

    /// The `redaction` processor.
    pub fn redaction() -> Result<Self, Missing> {
        Self::install(
            "redaction",
            include_str!("redaction.go"),
            include_str!("redaction.mod"),
            include_str!("redaction.sum"),
        )
    }

    /// Builds the program, if it is not there yet; that takes minutes, so that it has to be asked for.
    fn install(name: &str, factories: &str, module: &str, sums: &str) -> Result<Self, Missing> {
        slow(&format!("the Collector's {name}"))?;
        let folder = once(&format!("collector-{name}"), |folder| {
            let files = [
                ("main.go", include_str!("processors.go")),
                ("factories.go", factories),
                ("go.mod", module),
                ("go.sum", sums),
            ];
            super::build(folder, &files)
        })?;
        Ok(Self {
            program: folder.join("program"),
        })
    }

    /// One line of JSON for each line of JSON; what they are is said in `processors.go`.
    pub fn answer(&self, cases: String) -> Result<String, Missing> {
        let failed = |error: std::io::Error| format!("cannot run {}: {error}", self.program.display());
        let mut child = Command::new(&self.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let input = child.stdin.take();
        // It answers while it still reads.
        let writing = std::thread::spawn(move || match input {
            Some(mut input) => input.write_all(cases.as_bytes()),
            None => Ok(()),
        });
        let output = child.wait_with_output().map_err(failed)?;
        let written = writing.join();
        match (output.status.success(), written) {
            (true, Ok(Ok(()))) => String::from_utf8(output.stdout).map_err(|error| error.to_string()),
            _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}
