//! MariaDB from Debian, which speaks the protocol of MySQL: data of its own for each test, in a temporary directory, on loopback.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::{Missing, Process, debian, free_port};

/// Long enough for a busy machine.
const READY: Duration = Duration::from_secs(60);

/// A server with a database `test`, which asks nobody for a password.
#[derive(Debug)]
pub struct Running {
    process: Process,
    _folder: tempfile::TempDir,
    pub port: u16,
}

/// Starts a server. Without the tables of users, which a package of its own makes, it lets everybody in.
pub fn start() -> Result<Running, Missing> {
    let server = debian("mariadbd", &["/usr/sbin"], "mariadb-server-core")?;
    let failed = |error: std::io::Error| format!("cannot make a directory: {error}");
    let folder = tempfile::Builder::new()
        .prefix("peer-mariadb")
        .tempdir()
        .map_err(failed)?;
    let file = |name: &str| folder.path().join(name);
    // A database is a directory.
    std::fs::create_dir_all(file("data/test")).map_err(failed)?;
    let port = free_port();
    let mut command = Command::new(server);
    command
        .arg("--no-defaults")
        .arg(format!("--datadir={}", file("data").display()))
        .arg(format!("--socket={}", file("socket").display()))
        .arg(format!("--pid-file={}", file("pid").display()))
        .arg(format!("--port={port}"))
        .args(["--user=root", "--bind-address=127.0.0.1", "--skip-networking=0"])
        .args(["--skip-grant-tables", "--innodb-flush-log-at-trx-commit=0"])
        .arg("--innodb-buffer-pool-size=8M");
    let mut process = Process::start(command, file("log"))?;
    process.wait_until(READY, || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    Ok(Running {
        process,
        _folder: folder,
        port,
    })
}

impl Running {
    /// `mysql://root@127.0.0.1:port/test`.
    pub fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/test", self.port)
    }

    /// What the server printed.
    pub fn output(&self) -> String {
        self.process.output()
    }
}
