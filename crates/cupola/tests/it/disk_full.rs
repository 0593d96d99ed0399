//! A full file system: refusals ask to be sent again, nothing acknowledged is lost, and it recovers by itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use cupola_telemetry::Signal;

use crate::ledger::Ledger;
use crate::support::{Server, eventually};

/// Small enough to fill in a moment.
const SIZE: &str = "24m";

/// A file system of its own, unmounted at the end.
struct SmallDisk {
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, and why, where mounting is not allowed.
    fn mount() -> Result<SmallDisk, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={SIZE}"), "tmpfs"])
            .arg(&path)
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        Ok(SmallDisk {
            path,
            _directory: directory,
        })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// Takes all the space that is left.
fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).unwrap();
    let block = vec![0_u8; 64 * 1024];
    while file.write_all(&block).is_ok() {}
    // What is less than a block.
    while file.write_all(&[0]).is_ok() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_retryably_and_recovers_by_itself() {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(reason) => {
            eprintln!("skipped: a small file system cannot be mounted here: {reason}");
            return;
        }
    };
    let data = disk.path.join("data");
    let more = ["--flush-interval", "200ms", "--own-telemetry", "off"];
    let server = Server::start_with(&data, &more).await;
    let ledger = Ledger::default();
    for _ in 0..5 {
        acknowledge(&server, &ledger).await;
    }
    let ballast = disk.path.join("ballast");
    fill(&ballast);
    let refused = until_refused(&server, &ledger).await;
    assert_eq!(refused, 503, "{}", server.log());
    ledger.verify(&server, "with the disk full").await;
    let health = server
        .http
        .get(format!("{}/health", server.health))
        .send()
        .await
        .unwrap();
    assert_eq!(health.status(), 200, "it is alive");

    std::fs::remove_file(&ballast).unwrap();
    eventually("recovery", || async {
        let (batch, numbers) = ledger.write(Signal::Logs, 10);
        let taken = server.send(&batch).await == Some(200);
        if taken {
            ledger.acknowledge(Signal::Logs, &numbers);
        }
        taken
    })
    .await;
    for _ in 0..5 {
        acknowledge(&server, &ledger).await;
    }
    ledger.verify(&server, "with space again").await;
    server.kill().await;
    let server = Server::start_with(&data, &more).await;
    ledger.verify(&server, "after a restart").await;
}

async fn acknowledge(server: &Server, ledger: &Ledger) {
    for signal in Signal::ALL {
        let (batch, numbers) = ledger.write(signal, 20);
        server.send_ok(&batch).await;
        ledger.acknowledge(signal, &numbers);
    }
}

/// Sends until a batch is refused; space that was set aside may take some.
async fn until_refused(server: &Server, ledger: &Ledger) -> u16 {
    for _ in 0..100_000 {
        let (batch, numbers) = ledger.write(Signal::Logs, 200);
        match server.send(&batch).await {
            Some(200) => ledger.acknowledge(Signal::Logs, &numbers),
            Some(status) => return status,
            None => panic!("the connection broke:\n{}", server.log()),
        }
    }
    panic!("a full disk took everything")
}
