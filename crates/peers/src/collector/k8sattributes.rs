//! The k8s attributes processor of the Collector as a program of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::build;
use crate::{Missing, once, slow};

/// The k8s attributes processor, over one batch of logs.
#[derive(Debug)]
pub struct K8sAttributes {
    program: PathBuf,
}

impl K8sAttributes {
    /// Builds the program, if it is not there yet; that takes minutes, so that it has to be asked for.
    pub fn install() -> Result<Self, Missing> {
        slow("the Collector's k8s attributes processor")?;
        let folder = once("collector-k8sattributes", |folder| {
            let files = [
                ("main.go", include_str!("k8sattributes.go")),
                ("go.mod", include_str!("k8sattributes.mod")),
                ("go.sum", include_str!("k8sattributes.sum")),
            ];
            build(folder, &files)
        })?;
        Ok(Self {
            program: folder.join("program"),
        })
    }

    /// What the processor makes of encoded logs, encoded, with settings in JSON and the API server of a kubeconfig file.
    pub fn run(&self, settings: &str, kubeconfig: &Path, logs: &[u8]) -> Result<Vec<u8>, Missing> {
        let failed = |error: std::io::Error| format!("cannot run {}: {error}", self.program.display());
        let mut child = Command::new(&self.program)
            .arg(settings)
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        // It reads everything before it writes anything.
        if let Some(mut input) = child.stdin.take() {
            input.write_all(logs).map_err(failed)?;
        }
        let output = child.wait_with_output().map_err(failed)?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}
