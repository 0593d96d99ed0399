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

async fn check(protocol: &str, compression: &str) {
    let folder = match PROGRAM.install(install).await {
        Ok(folder) => folder,
        Err(reason) => return println!("skipped: the Python SDK cannot be installed: {reason}"),
    };
    let receiver = start().await;
    let mut command = Command::new(python(&folder));
    command.arg(PROGRAM.sources().join("client.py"));
    run(command.args([protocol, &endpoint(&receiver, protocol), compression])).await;
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
