//! A server that runs as long as its test.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Missing;

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);

/// A child process with its output in a file, killed with all its children when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in a process group of its own; what it prints goes to the file `log`.
    pub fn start(mut command: Command, log: PathBuf) -> Result<Process, Missing> {
        use std::os::unix::process::CommandExt as _;
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |error: io::Error| format!("cannot start {program}: {error}");
        let output = File::create(&log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        Ok(Process { child, log })
    }

    /// What it printed so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until `ready` holds; an error with the end of the output if the process ends before or `limit` passes.
    #[expect(
        clippy::disallowed_methods,
        reason = "a test waits for another process, of which nothing tells"
    )]
    pub fn wait_until(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<(), Missing> {
        let start = Instant::now();
        loop {
            if ready() {
                return Ok(());
            }
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || start.elapsed() > limit {
                let output = self.output();
                let tail = output.lines().rev().take(15).collect::<Vec<_>>();
                let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
                return Err(match ended {
                    Some(status) => format!("the server ended with {status}:\n{tail}"),
                    None => format!("the server was not ready after {limit:?}:\n{tail}"),
                });
            }
            std::thread::sleep(POLL);
        }
    }

    /// Sends a signal such as `-STOP` or `-KILL` to the whole group.
    pub fn signal(&self, signal: &str) {
        let _ = Command::new("kill")
            .args([signal, "--", &format!("-{}", self.child.id())])
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal("-KILL");
        let _ = self.child.wait();
    }
}

/// A port nobody listens on now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let port = listener
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port());
    port.expect("loopback has a free port")
}

/// Waits until `condition` holds; whether it did within `limit`.
#[expect(
    clippy::disallowed_methods,
    reason = "a test waits for another process, of which nothing tells"
)]
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}
