//! Prometheus from Debian: takes remote write, scrapes, and answers PromQL.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::{Missing, Process, debian, free_port};

const START_LIMIT: Duration = Duration::from_secs(60);

/// A server of its own, with an empty store.
#[derive(Debug)]
pub struct RunningPrometheus {
    port: u16,
    _process: Process,
    _folder: TempDir,
}

impl RunningPrometheus {
    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Starts a server that scrapes `targets` every second, keeping their labels and times.
pub fn start(targets: &[SocketAddr]) -> Result<RunningPrometheus, Missing> {
    let program = program()?;
    let folder = TempDir::new().map_err(|error| format!("no temporary directory: {error}"))?;
    let config = folder.path().join("prometheus.yml");
    std::fs::write(&config, configuration(targets))
        .map_err(|error| format!("cannot write settings: {error}"))?;
    let port = free_port();
    let mut command = Command::new(program);
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.path().join("data").display()
        ))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--web.enable-remote-write-receiver")
        .arg("--enable-feature=exemplar-storage,native-histograms");
    let mut process = Process::start(command, folder.path().join("log"))?;
    process.wait_until(START_LIMIT, || ready(port))?;
    Ok(RunningPrometheus {
        port,
        _process: process,
        _folder: folder,
    })
}

fn configuration(targets: &[SocketAddr]) -> String {
    let targets: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
    format!(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n\
         scrape_configs:\n- job_name: page\n  honor_labels: true\n  static_configs:\n  - targets: [{}]\n",
        targets.join(", ")
    )
}

fn program() -> Result<PathBuf, Missing> {
    debian("prometheus", &["/usr/bin"], "prometheus")
}

fn ready(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        connection.write_all(b"GET /-/ready HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| {
        answer
            .lines()
            .next()
            .is_some_and(|status| status.contains(" 200 "))
    })
}
