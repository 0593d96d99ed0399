//! Clients from npm, installed once.

use std::path::PathBuf;

use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::clients::programs::{Program, run, step};

static PROGRAM: Program = Program {
    name: "push",
    lock: "package-lock.json",
    installed: OnceCell::const_new(),
};

async fn install(folder: PathBuf) -> Result<(), String> {
    step(Command::new("node").arg("--version")).await?;
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(PROGRAM.sources().join(file), folder.join(file)).map_err(|error| error.to_string())?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&folder);
    step(&mut npm).await
}

/// Runs a client to its good end; `false`, and the reason printed, if it cannot be had.
pub(super) async fn client(program: &str, arguments: &[&str]) -> bool {
    let folder = match PROGRAM.install(install).await {
        Ok(folder) => folder,
        Err(reason) => {
            println!("skipped: the clients cannot be installed: {reason}");
            return false;
        }
    };
    // Modules are looked for beside the program, so it runs from where they are.
    let own = folder.join(format!("{}-{program}", uuid::Uuid::new_v4()));
    std::fs::copy(PROGRAM.sources().join(program), &own).unwrap();
    let mut command = Command::new("node");
    command.arg(&own).args(arguments).current_dir(&folder);
    run(&mut command).await;
    std::fs::remove_file(own).unwrap();
    true
}
