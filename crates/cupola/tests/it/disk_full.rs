//! A full file system: refusals ask to be sent again over either protocol, nothing acknowledged is lost or hidden, be the
//! process killed meanwhile, and it recovers by itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use cupola_export::SendError;
use cupola_telemetry::Signal;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::ledger::Ledger;
use crate::reader::Reader;
use crate::support::{Server, eventually};

/// Small enough to fill in a moment.
const SIZE: &str = "24m";
/// Kills while the disk is full.
const KILLS: usize = 3;

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

/// A server with a reader that looks at it all the time.
struct Watched {
    server: Server,
    stop: CancellationToken,
    looking: JoinHandle<()>,
}

impl Watched {
    async fn start(data: &Path, reader: &Arc<Reader>, context: &str) -> Watched {
        let more = ["--flush-interval", "200ms", "--own-telemetry", "off"];
        let server = Server::start_with(data, &more).await;
        let stop = CancellationToken::new();
        let looking = tokio::spawn(reader.look(&server, context.to_owned(), stop.clone()));
        Watched {
            server,
            stop,
            looking,
        }
    }

    /// Fails if the reader has found anything wrong.
    async fn kill(self) {
        self.server.kill().await;
        self.stop.cancel();
        self.looking.await.unwrap();
    }
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
    let ledger = Arc::new(Ledger::default());
    let reader = Reader::new(ledger.clone());
    let mut watched = Watched::start(&data, &reader, "filling the disk").await;
    for _ in 0..5 {
        acknowledge(&watched.server, &ledger).await;
    }
    fill(&disk.path.join("ballast-0"));
    until_refused(&watched.server, &ledger).await;
    ledger.verify(&watched.server, "with the disk full").await;
    for kill in 1..=KILLS {
        let context = format!("with the disk full, after kill {kill}");
        watched.kill().await;
        // What the process had not finished may have been removed.
        fill(&disk.path.join(format!("ballast-{kill}")));
        watched = Watched::start(&data, &reader, &context).await;
        ledger.verify(&watched.server, &context).await;
        until_refused(&watched.server, &ledger).await;
        ledger.verify(&watched.server, &context).await;
    }
    let server = &watched.server;
    let health = server.http.get(format!("{}/health", server.health)).send().await;
    assert_eq!(health.unwrap().status(), 200, "it is alive");

    for kill in 0..=KILLS {
        std::fs::remove_file(disk.path.join(format!("ballast-{kill}"))).unwrap();
    }
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
        acknowledge(server, &ledger).await;
    }
    ledger.verify(server, "with space again").await;
    watched.kill().await;
    let watched = Watched::start(&data, &reader, "after a restart").await;
    ledger.verify(&watched.server, "after a restart").await;
    watched.kill().await;
    assert!(reader.looks() > 0, "the reader never got an answer");
}

/// A batch of every signal over every protocol.
async fn acknowledge(server: &Server, ledger: &Ledger) {
    for signal in Signal::ALL {
        let (batch, numbers) = ledger.write(signal, 20);
        server.send_ok(&batch).await;
        ledger.acknowledge(signal, &numbers);
        let (batch, numbers) = ledger.write(signal, 20);
        server.send_grpc(batch).await.unwrap();
        ledger.acknowledge(signal, &numbers);
    }
}

/// Sends over either protocol until both have refused a batch, as what may be sent again; space that was set aside may
/// take some.
async fn until_refused(server: &Server, ledger: &Ledger) {
    let (mut by_http, mut by_grpc) = (false, false);
    for turn in 0..100_000 {
        let signal = Signal::ALL[turn % Signal::ALL.len()];
        let (batch, numbers) = ledger.write(signal, 200);
        match server.send(&batch).await {
            Some(200) => ledger.acknowledge(signal, &numbers),
            Some(503) => by_http = true,
            other => panic!("{other:?} over HTTP:\n{}", server.log()),
        }
        let (batch, numbers) = ledger.write(signal, 200);
        match server.send_grpc(batch).await {
            Ok(()) => ledger.acknowledge(signal, &numbers),
            Err(SendError::Retryable {
                reason,
                retry_after: Some(_),
            }) if reason.starts_with("Unavailable") => by_grpc = true,
            other => panic!("{other:?} over gRPC:\n{}", server.log()),
        }
        if by_http && by_grpc {
            return;
        }
    }
    panic!("a full disk took everything")
}
