//! Installing and running client programs. Installations live in the build directory, one for each content
//! of the file that pins the versions, and are used again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::OnceCell;

/// Longest a registry may take.
const INSTALL_TIME_MAX: Duration = Duration::from_secs(300);
const RUN_TIME_MAX: Duration = Duration::from_secs(60);

/// A client in another language, installed once for all tests of the process.
pub(crate) struct Program {
    /// Folder below `tests/clients`.
    pub(crate) name: &'static str,
    /// The file that pins what is installed.
    pub(crate) lock: &'static str,
    pub(crate) installed: OnceCell<Result<PathBuf, String>>,
}

impl Program {
    pub(crate) fn sources(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/clients")
            .join(self.name)
    }

    /// The folder of the installation, or why there is none. `install` fills an empty folder.
    pub(crate) async fn install<F>(&self, install: impl FnOnce(PathBuf) -> F) -> Result<PathBuf, String>
    where
        F: Future<Output = Result<(), String>>,
    {
        let once = async {
            let pinned = std::fs::read(self.sources().join(self.lock)).map_err(|error| error.to_string())?;
            let mut hasher = DefaultHasher::new();
            pinned.hash(&mut hasher);
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
                .join("clients")
                .join(format!("{}-{:016x}", self.name, hasher.finish()));
            let done = folder.join(".installed");
            if done.exists() {
                return Ok(folder);
            }
            // What an interrupted installation left.
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
            install(folder.clone()).await?;
            std::fs::write(done, "").map_err(|error| error.to_string())?;
            Ok(folder)
        };
        self.installed.get_or_init(|| once).await.clone()
    }
}

/// Runs a step of an installation; the reason is for a person to read.
pub(crate) async fn step(command: &mut Command) -> Result<(), String> {
    let name = format!("{:?}", command.as_std().get_program());
    let output = output(command, INSTALL_TIME_MAX)
        .await
        .map_err(|error| format!("{name}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let text = String::from_utf8_lossy(&output.stderr);
            let last: Vec<&str> = text.lines().rev().take(3).collect();
            Err(format!("{name} failed: {}", last.join(" / ")))
        }
    }
}

/// Runs a client to its end, which must be a good one.
pub(crate) async fn run(command: &mut Command) {
    let output = output(command, RUN_TIME_MAX).await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the client failed: {text}");
    // SDKs report failed exports on stderr and exit with success.
    assert!(
        !text.to_lowercase().contains("export"),
        "the client complains: {text}"
    );
}

async fn output(command: &mut Command, limit: Duration) -> std::io::Result<std::process::Output> {
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    tokio::time::timeout(limit, running)
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
}
