//! The collector under test, ours or the other, on a processor of its own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::server::{Usage, cupola_binary, free_port, terminate, usage};

pub(super) enum Kind {
    Cupola,
    Collector(PathBuf),
}

impl Kind {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Kind::Cupola => "cupola",
            Kind::Collector(_) => "collector",
        }
    }
}

pub(super) struct Subject {
    child: Child,
    pub(super) address: String,
    directory: tempfile::TempDir,
}

const READY_WITHIN: Duration = Duration::from_secs(60);

impl Subject {
    /// `configuration` is the file, given where to listen and a directory for queues. `ceiling` in mebibytes bounds memory
    /// the way each is told to, beside what the file says.
    pub(super) async fn start(
        kind: &Kind,
        configuration: impl FnOnce(&str, &str) -> String,
        cpu: &str,
        ceiling: Option<u64>,
    ) -> Result<Subject> {
        let directory = tempfile::tempdir_in(".")?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let queue = directory.path().join("queue");
        std::fs::create_dir_all(&queue)?;
        let text = configuration(&address, &queue.canonicalize()?.to_string_lossy());
        let file = directory.path().join("collector.yaml");
        std::fs::write(&file, text)?;
        let mut command = Command::new("taskset");
        command.args(["-c", cpu]);
        match kind {
            Kind::Cupola => {
                command
                    .arg(cupola_binary()?)
                    .args(["serve", "--config"])
                    .arg(&file);
                command.arg("--data-dir").arg(directory.path().join("data"));
                command.args([
                    "--api",
                    "127.0.0.1:0",
                    "--health",
                    "off",
                    "--postgres",
                    "off",
                    "--flight-sql",
                    "off",
                ]);
                command.args(["--own-telemetry", "off"]);
                if let Some(ceiling) = ceiling {
                    command.args(["--memory-limit", &format!("{ceiling}MiB")]);
                }
            }
            Kind::Collector(path) => {
                // What it is told to do in a container of one processor.
                command
                    .arg(path)
                    .arg("--config")
                    .arg(&file)
                    .env("GOMAXPROCS", "1");
                if let Some(ceiling) = ceiling {
                    // As its documentation has it: four fifths.
                    command.env("GOMEMLIMIT", format!("{}MiB", ceiling * 4 / 5));
                }
            }
        }
        let log = std::fs::File::create(directory.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("cannot start the collector under test")?;
        let mut subject = Subject {
            child,
            address,
            directory,
        };
        subject.wait_until_listening().await?;
        Ok(subject)
    }

    async fn wait_until_listening(&mut self) -> Result<()> {
        let started = Instant::now();
        while tokio::net::TcpStream::connect(&self.address).await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}: {}", self.log());
            }
            if started.elapsed() > READY_WITHIN {
                bail!("it did not listen within {READY_WITHIN:?}: {}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    pub(super) fn usage(&self) -> Result<Usage> {
        usage(self.child.id())
    }

    /// What it said.
    pub(super) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    pub(super) fn stop(mut self) -> Result<()> {
        terminate(&mut self.child)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
