//! The filelog and syslog receivers of the Collector as a program of its own.

use std::process::Child;

use super::program::{Program, SUPPORT, printed};
use crate::Missing;

/// The receivers of text of the Collector.
#[derive(Debug)]
pub struct Tailing(Program);

/// A receiver that runs.
#[derive(Debug)]
pub struct RunningTailing(Child);

impl Tailing {
    /// Builds the program, if it is not there yet; that takes minutes, so that it has to be asked for.
    pub fn install() -> Result<Self, Missing> {
        let files = [
            ("main.go", include_str!("tailing.go")),
            SUPPORT,
            ("go.mod", include_str!("tailing.mod")),
            ("go.sum", include_str!("tailing.sum")),
        ];
        Program::install("tailing", &files).map(Self)
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
        let mut command = self.0.command();
        command
            .args([settings, receiver, &records.to_string(), limit])
            .spawn()
            .map(RunningTailing)
            .map_err(|error| format!("cannot run the Collector's {receiver}: {error}"))
    }
}

impl RunningTailing {
    /// Waits until it has ended: encoded logs.
    pub fn logs(self) -> Result<Vec<u8>, Missing> {
        let output = self.0.wait_with_output();
        printed(output.map_err(|error| format!("cannot wait for the receiver: {error}"))?)
    }
}
