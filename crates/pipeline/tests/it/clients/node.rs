//! The official JavaScript SDK, from npm.

use std::path::PathBuf;

use tokio::process::Command;
use tokio::sync::OnceCell;

use super::programs::{Program, run, step};
use super::{endpoint, expected, start};

static PROGRAM: Program = Program {
    name: "node",
    lock: "package-lock.json",
    installed: OnceCell::const_new(),
};

async fn install(folder: PathBuf) -> Result<(), String> {
    step(Command::new("node").arg("--version")).await?;
    for file in ["package.json", "package-lock.json", ".npmrc", "client.mjs"] {
        std::fs::copy(PROGRAM.sources().join(file), folder.join(file)).map_err(|error| error.to_string())?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&folder);
    step(&mut npm).await
}

async fn check(protocol: &str, compression: &str) {
    let folder = match PROGRAM.install(install).await {
        Ok(folder) => folder,
        Err(reason) => return println!("skipped: the JavaScript SDK cannot be installed: {reason}"),
    };
    // Modules are looked for beside the program, so it runs from where they are.
    std::fs::copy(PROGRAM.sources().join("client.mjs"), folder.join("client.mjs")).unwrap();
    let receiver = start().await;
    let mut command = Command::new("node");
    command.arg("client.mjs").current_dir(&folder);
    run(command.args([protocol, &endpoint(&receiver, protocol), compression])).await;
    expected::check(
        &receiver.sink.batches(),
        &format!("JavaScript over {protocol}, {compression}"),
    );
}

/// One test, not three: they would overwrite the program for each other.
#[tokio::test]
async fn javascript_over_grpc_and_http_with_protobuf_and_json() {
    for protocol in ["grpc", "http/protobuf", "http/json"] {
        for compression in ["none", "gzip"] {
            check(protocol, compression).await;
        }
    }
}
