//! Prometheus itself, from Debian, for as long as a test.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use cupola_peers::{Missing, Process, free_port};
use tempfile::TempDir;

pub(crate) struct PrometheusServer {
    process: Process,
    pub(crate) port: u16,
    _folder: TempDir,
}

impl PrometheusServer {
    /// Starts one with `configuration`, in which `PORT` stands for its own port.
    pub(crate) fn start(configuration: &str) -> Result<PrometheusServer, Missing> {
        let program = debian("prometheus")?;
        let port = free_port();
        let folder = TempDir::new().map_err(|error| error.to_string())?;
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, configuration.replace("PORT", &port.to_string()))
            .map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--enable-feature=exemplar-storage", "--log.level=warn"]);
        let process = Process::start(command, folder.path().join("log"))?;
        let mut server = PrometheusServer {
            process,
            port,
            _folder: folder,
        };
        let ready = || is_ready(port).unwrap_or(false);
        server.process.wait_until(Duration::from_secs(60), ready)?;
        Ok(server)
    }
}

fn is_ready(port: u16) -> std::io::Result<bool> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"GET /-/ready HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.0 200"))
}

/// A program of the Debian package of its name, installed if it can be.
pub(crate) fn debian(package: &str) -> Result<PathBuf, Missing> {
    cupola_peers::debian(package, &["/usr/bin", "/usr/local/bin"], package)
}
