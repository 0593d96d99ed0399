//! A server under measurement: started as a child process, pinned to processors, read through `/proc`.
//!
//! Figures are the operating system's own (`utime + stime`, `VmRSS`, `VmHWM`), not the process's opinion of itself.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a server may take until it answers; a benchmark that waits longer is broken.
const READY_WITHIN: Duration = Duration::from_secs(180);
const READY_POLL: Duration = Duration::from_millis(2);

/// Addresses of one running Cupola.
pub(crate) struct Addresses {
    pub(crate) grpc: String,
    pub(crate) api: String,
    pub(crate) health: String,
}

pub(crate) struct Server {
    child: Child,
    pub(crate) addresses: Addresses,
    /// From the start of the process to the first success of `/ready`.
    pub(crate) ready_after: Duration,
}

/// CPU time and memory of a process at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// In user and system mode.
    pub(crate) cpu: Duration,
    /// Of it, in user mode: without the system's work, which is mostly handing out memory.
    pub(crate) user: Duration,
    pub(crate) resident_bytes: u64,
    pub(crate) resident_bytes_max: u64,
}

/// A free port of the loopback interface. Another process could take it before the child does; then the child says so.
pub(crate) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The release binary next to the benchmark's own: `cargo xtask bench` builds both.
pub(crate) fn cupola_binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own
        .parent()
        .context("the benchmark has no directory")?
        .join("cupola");
    if !path.exists() {
        bail!(
            "{} does not exist; build it with: cargo build --release --bin cupola",
            path.display()
        );
    }
    Ok(path)
}

impl Server {
    /// Starts `cupola serve` on `directory`, on the processors of `cpus` (a `taskset` list) if given.
    pub(crate) async fn start(directory: &Path, cpus: Option<&str>, extra: &[&str]) -> Result<Server> {
        let addresses = Addresses {
            grpc: format!("127.0.0.1:{}", free_port()?),
            api: format!("127.0.0.1:{}", free_port()?),
            health: format!("127.0.0.1:{}", free_port()?),
        };
        let http = format!("127.0.0.1:{}", free_port()?);
        let binary = cupola_binary()?;
        let mut command = match cpus {
            Some(list) => {
                let mut command = Command::new("taskset");
                command.args(["-c", list]).arg(&binary);
                command
            }
            None => Command::new(&binary),
        };
        let log = std::fs::File::create(directory.with_extension("log"))?;
        command
            .arg("serve")
            .args(["--data-dir"])
            .arg(directory)
            .args(["--otlp-grpc", &addresses.grpc, "--otlp-http", &http])
            .args([
                "--api",
                &addresses.api,
                "--health",
                &addresses.health,
                "--postgres",
                "off",
                "--flight-sql",
                "off",
            ])
            .args(extra)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let started = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("could not start {}", binary.display()))?;
        let mut server = Server {
            child,
            addresses,
            ready_after: Duration::ZERO,
        };
        server.wait_ready(started).await?;
        Ok(server)
    }

    async fn wait_ready(&mut self, started: Instant) -> Result<()> {
        let url = format!("http://{}/ready", self.addresses.health);
        let client = reqwest::Client::new();
        loop {
            if let Ok(answer) = client.get(&url).send().await
                && answer.status().is_success()
            {
                self.ready_after = started.elapsed();
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("cupola ended with {status} before it was ready; its log is beside the data directory");
            }
            if started.elapsed() > READY_WITHIN {
                bail!("cupola was not ready within {READY_WITHIN:?}");
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        usage(self.child.id())
    }

    /// Asks the server to write everything it holds in memory to Parquet, and waits until it has.
    pub(crate) async fn flush(&self) -> Result<()> {
        let url = format!("http://{}/api/v1/admin/flush", self.addresses.api);
        let answer = reqwest::Client::new().post(url).send().await?;
        if !answer.status().is_success() {
            bail!(
                "flush: {} {}",
                answer.status(),
                answer.text().await.unwrap_or_default()
            );
        }
        Ok(())
    }

    pub(crate) async fn sql(&self, query: &str) -> Result<serde_json::Value> {
        let url = format!("http://{}/api/v1/sql", self.addresses.api);
        let answer = reqwest::Client::new()
            .post(url)
            .json(&serde_json::json!({ "query": query }))
            .send()
            .await?;
        if !answer.status().is_success() {
            bail!(
                "{query}: {} {}",
                answer.status(),
                answer.text().await.unwrap_or_default()
            );
        }
        Ok(answer.json().await?)
    }

    /// SIGTERM, then wait: a server that does not stop by itself is a finding, so there is no SIGKILL here.
    pub(crate) fn stop(mut self) -> Result<()> {
        terminate(&mut self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn terminate(child: &mut Child) -> Result<()> {
    if let Some(pid) = rustix::process::Pid::from_raw(child.id() as i32) {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    }
    child.wait()?;
    Ok(())
}

/// Reads `/proc/PID/stat` and `/proc/PID/status`.
pub(crate) fn usage(pid: u32) -> Result<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the command in parentheses and may hold blanks: count from behind it.
    let rest = stat
        .rsplit_once(')')
        .context("/proc/PID/stat without a command")?
        .1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let user: u64 = fields.get(11).context("utime")?.parse()?;
    let system: u64 = fields.get(12).context("stime")?.parse()?;
    let seconds = |ticks: u64| ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |name: &str| -> u64 {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
            .unwrap_or(0)
    };
    Ok(Usage {
        cpu: Duration::from_secs_f64(seconds(user + system)),
        user: Duration::from_secs_f64(seconds(user)),
        resident_bytes: kib("VmRSS:") * 1024,
        resident_bytes_max: kib("VmHWM:") * 1024,
    })
}

/// Bytes of all files below a directory whose path `keep` accepts.
pub(crate) fn bytes_below(directory: &Path, keep: &dyn Fn(&Path) -> bool) -> Result<u64> {
    let mut total = 0;
    let mut pending = vec![directory.to_path_buf()];
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(&next)? {
            let path = entry?.path();
            if path.is_dir() {
                pending.push(path);
            } else if keep(&path) {
                total += path.metadata()?.len();
            }
        }
    }
    Ok(total)
}
