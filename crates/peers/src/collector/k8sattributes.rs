//! The k8s attributes processor of the Collector as a program of its own.

use std::path::Path;

use super::program::{Program, SUPPORT, run};
use crate::Missing;

/// The k8s attributes processor, over one batch of logs.
#[derive(Debug)]
pub struct K8sAttributes(Program);

impl K8sAttributes {
    /// Builds the program, if it is not there yet; that takes minutes, so that it has to be asked for.
    pub fn install() -> Result<Self, Missing> {
        let files = [
            ("main.go", include_str!("k8sattributes.go")),
            SUPPORT,
            ("go.mod", include_str!("k8sattributes.mod")),
            ("go.sum", include_str!("k8sattributes.sum")),
        ];
        Program::install("k8sattributes", &files).map(Self)
    }

    /// What the processor makes of encoded logs, encoded, with settings in JSON and the API server of a kubeconfig file.
    pub fn run(&self, settings: &str, kubeconfig: &Path, logs: &[u8]) -> Result<Vec<u8>, Missing> {
        let mut command = self.0.command();
        command.arg(settings).env("KUBECONFIG", kubeconfig);
        run(command, logs.to_vec())
    }
}
