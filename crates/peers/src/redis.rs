//! Redis from Debian: a server of its own for each test, on loopback, which keeps nothing.

use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use crate::{Missing, Process, debian, found, free_port};

/// Long enough for a busy machine.
const READY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Running {
    process: Process,
    _folder: tempfile::TempDir,
    pub port: u16,
}

/// Starts a server: Redis or Valkey, whichever is there.
pub fn start() -> Result<Running, Missing> {
    let mut command = program()?;
    let folder = tempfile::Builder::new()
        .prefix("peer-redis")
        .tempdir()
        .map_err(|error| format!("cannot make a directory: {error}"))?;
    let port = free_port();
    command
        .arg("--port")
        .arg(port.to_string())
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
        .arg(folder.path());
    let mut process = Process::start(command, folder.path().join("log"))?;
    process.wait_until(READY, || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    Ok(Running {
        process,
        _folder: folder,
        port,
    })
}

/// The server is the same program as the tool that checks its files, which Debian has in a package that starts no service.
fn program() -> Result<Command, Missing> {
    if let Some(server) = found("redis-server", &[]).or_else(|| found("valkey-server", &[])) {
        return Ok(Command::new(server));
    }
    let mut command = Command::new(debian("redis-check-rdb", &["/usr/bin"], "redis-tools")?);
    command.arg0("redis-server");
    Ok(command)
}

impl Running {
    /// `redis://127.0.0.1:port/0`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// What the server printed.
    pub fn output(&self) -> String {
        self.process.output()
    }
}
