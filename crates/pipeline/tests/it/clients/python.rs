//! The official Python SDK, from PyPI.

use std::path::{Path, PathBuf};

use tokio::process::Command;
use tokio::sync::OnceCell;

use super::programs::{Program, run, step};
use super::{endpoint, expected, start};

static PROGRAM: Program = Program {
    name: "python",
    lock: "requirements.txt",
    installed: OnceCell::const_new(),
};

async fn install(folder: PathBuf) -> Result<(), String> {
    step(Command::new("python3").args(["-m", "venv"]).arg(&folder)).await?;
    let requirements = PROGRAM.sources().join("requirements.txt");
    let mut pip = Command::new(python(&folder));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "-r",
    ]);
    step(pip.arg(requirements)).await
}

fn python(folder: &Path) -> PathBuf {
    folder.join("bin/python")
}

/// The program that sends everything once, with its environment still to be given.
pub(crate) async fn client(protocol: &str, endpoint: &str, compression: &str) -> Result<Command, String> {
    let folder = PROGRAM.install(install).await;
    let folder = folder.map_err(|reason| format!("the Python SDK cannot be installed: {reason}"))?;
    let mut command = Command::new(python(&folder));
    command.arg(PROGRAM.sources().join("client.py"));
    command.args([protocol, endpoint, compression]);
    Ok(command)
}

async fn check(protocol: &str, compression: &str) {
    let receiver = start().await;
    match client(protocol, &endpoint(&receiver, protocol), compression).await {
        Ok(mut command) => run(&mut command).await,
        Err(reason) => return println!("skipped: {reason}"),
    }
    expected::check(
        &receiver.sink.batches(),
        &format!("Python over {protocol}, {compression}"),
    );
}

#[tokio::test]
async fn python_over_grpc() {
    check("grpc", "none").await;
    check("grpc", "gzip").await;
}

#[tokio::test]
async fn python_over_http_with_protobuf() {
    check("http/protobuf", "none").await;
    check("http/protobuf", "gzip").await;
    check("http/protobuf", "deflate").await;
}
