//! PostgreSQL from Debian: a cluster of its own for each test, in a temporary directory, on loopback, without fsync.
//! Asked with `psql`, which is not the client under test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::{Missing, Process, debian, free_port};

/// Long enough for a busy machine.
const READY: Duration = Duration::from_secs(60);
const PROGRAMS: &str = "/usr/lib/postgresql";

/// The superuser's password.
pub const PASSWORD: &str = "correct horse";

/// How the server is to be.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Speaks TLS with this certificate and key, both PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// More settings, as `max_connections=5`.
    pub settings: Vec<String>,
}

/// A server with a database `postgres`, a user `postgres` and [`PASSWORD`].
#[derive(Debug)]
pub struct Running {
    process: Option<Process>,
    programs: PathBuf,
    folder: tempfile::TempDir,
    settings: Vec<String>,
    pub port: u16,
}

/// A server with default settings.
pub fn start() -> Result<Running, Missing> {
    start_with(&Options::default())
}

/// Makes a cluster and starts it.
pub fn start_with(options: &Options) -> Result<Running, Missing> {
    let programs = programs()?;
    let folder = tempfile::Builder::new()
        .prefix("peer-postgres")
        .tempdir()
        .map_err(|error| format!("cannot make a directory: {error}"))?;
    let failed = |error: std::io::Error| format!("cannot prepare PostgreSQL: {error}");
    let password = folder.path().join("password");
    fs::write(&password, PASSWORD).map_err(failed)?;
    let mut settings = vec![
        "fsync=off".to_owned(),
        "synchronous_commit=off".to_owned(),
        "full_page_writes=off".to_owned(),
        "shared_buffers=16MB".to_owned(),
    ];
    settings.extend(options.settings.iter().cloned());
    if let Some((certificate, key)) = &options.tls {
        fs::copy(certificate, folder.path().join("server.pem")).map_err(failed)?;
        fs::copy(key, folder.path().join("server.key")).map_err(failed)?;
        run(Command::new("chmod")
            .arg("600")
            .arg(folder.path().join("server.key")))?;
        settings.push("ssl=on".to_owned());
        settings.push(format!(
            "ssl_cert_file={}",
            folder.path().join("server.pem").display()
        ));
        settings.push(format!(
            "ssl_key_file={}",
            folder.path().join("server.key").display()
        ));
    }
    if is_root() {
        run(Command::new("chown").args(["-R", "postgres:"]).arg(folder.path()))?;
    }
    run(as_postgres(&programs.join("initdb"))
        .args([
            "--auth=scram-sha-256",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
        ])
        .args(["--no-sync", "--no-instructions"])
        .arg("--pwfile")
        .arg(&password)
        .arg("--pgdata")
        .arg(folder.path().join("data")))?;
    let mut running = Running {
        process: None,
        programs,
        folder,
        settings,
        port: free_port(),
    };
    running.resume()?;
    Ok(running)
}

impl Running {
    /// `postgres://postgres:…@localhost:port/postgres`.
    pub fn url(&self) -> String {
        let password = PASSWORD.replace(' ', "%20");
        format!("postgres://postgres:{password}@localhost:{}/postgres", self.port)
    }

    /// Starts it, or starts it again on the same port with the same data.
    pub fn resume(&mut self) -> Result<(), Missing> {
        let data = self.folder.path().join("data");
        let mut command = as_postgres(&self.programs.join("postgres"));
        command.arg("-D").arg(&data).args(["-h", "localhost", "-p"]);
        command
            .arg(self.port.to_string())
            .arg("-k")
            .arg(self.folder.path());
        for setting in &self.settings {
            command.arg("-c").arg(setting);
        }
        let mut process = Process::start(command, self.folder.path().join("log"))?;
        process.wait_until(READY, || self.sql("SELECT 1").is_ok())?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it at once, with its connections, as a crash would; the next start recovers.
    pub fn kill(&mut self) {
        let mut command = as_postgres(&self.programs.join("pg_ctl"));
        command.args(["stop", "-m", "immediate", "-w", "-D"]);
        command.arg(self.folder.path().join("data"));
        let _ = run(&mut command);
        self.process = None;
    }

    /// What the server printed.
    pub fn output(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }

    /// What `psql` prints for a statement, unaligned and without headings; its error otherwise.
    pub fn sql(&self, statement: &str) -> Result<String, String> {
        let output = Command::new("psql")
            .args([
                "-XAtq",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                "localhost",
                "-U",
                "postgres",
                "-p",
            ])
            .arg(self.port.to_string())
            .args(["-d", "postgres", "-c", statement])
            .env("PGPASSWORD", PASSWORD)
            .env("PGCONNECT_TIMEOUT", "5")
            .env("PGTZ", "UTC")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot start psql: {error}"))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

/// The processes of connections are in groups of their own, so the server has to end them.
impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The newest version that is installed; Debian's, if there is none and this is root.
fn programs() -> Result<PathBuf, Missing> {
    if let Some(folder) = newest() {
        return Ok(folder);
    }
    // Its programs are in no path; the command that manages its clusters is.
    debian("pg_lsclusters", &["/usr/bin"], "postgresql")?;
    newest().ok_or_else(|| format!("PostgreSQL was installed, but is not in {PROGRAMS}"))
}

fn newest() -> Option<PathBuf> {
    let versions = fs::read_dir(PROGRAMS).ok()?.filter_map(Result::ok);
    let usable = versions.map(|version| version.path().join("bin"));
    usable
        .filter(|folder| folder.join("initdb").is_file())
        .max_by_key(|folder| version_of(folder))
}

fn version_of(programs: &Path) -> u32 {
    let name = programs.parent().and_then(Path::file_name).unwrap_or_default();
    name.to_string_lossy().parse().unwrap_or(0)
}

fn is_root() -> bool {
    let user = Command::new("id").arg("-u").output();
    user.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// PostgreSQL refuses to run as root.
fn as_postgres(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    command.arg(program);
    command
}

fn run(command: &mut Command) -> Result<(), Missing> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{program} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}
