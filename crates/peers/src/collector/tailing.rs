//! The filelog and syslog receivers of the Collector as a program of its own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::build;
use crate::{Missing, once, slow};

/// The receivers of text of the Collector.
#[derive(Debug)]
pub struct Tailing {
    program: PathBuf,
}

/// A receiver that runs.
#[derive(Debug)]
pub struct RunningTailing(Child);

impl Tailing {
    /// Builds the program, if it is not there yet; that takes minutes, so that it has to be asked for.
    pub fn install() -> Result<Self, Missing> {
        slow("the Collector's filelog and syslog receivers")?;
        let folder = once("collector-tailing", |folder| {
            let files = [
                ("main.go", include_str!("tailing.go")),
                ("go.mod", include_str!("tailing.mod")),
                ("go.sum", include_str!("tailing.sum")),
            ];
            build(folder, &files)
        })?;
        Ok(Self {
            program: folder.join("program"),
        })
    }

    /// Starts a receiver (`filelog` or `syslog`) with settings in JSON, which ends when it has `records` or after `limit`,
    /// such as `5s`.
    pub fn start(
        &self,
        receiver: &str,
        settings: &str,
        records: usize,
        limit: &str,
    ) -> Result<RunningTailing, Missing> {
        Command::new(&self.program)
            .args([receiver, settings, &records.to_string(), limit])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map(RunningTailing)
            .map_err(|error| format!("cannot run {}: {error}", self.program.display()))
    }
}

impl RunningTailing {
    /// Waits until it has ended: encoded logs.
    pub fn logs(self) -> Result<Vec<u8>, Missing> {
        let output = self
            .0
            .wait_with_output()
            .map_err(|error| format!("cannot wait for the receiver: {error}"))?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}
