//! One OpenSearch node from the jars of Maven Central: no distribution, no security, on loopback, with a small heap.
//!
//! The node is made in a class of ours with the HTTP plugin of the class path, because the launcher of the distribution
//! wants folders of modules, which Maven Central does not have. So there are no modules: data streams, index templates,
//! bulk and search are the server's own and work; ingest pipelines exist, but without any processor.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::{Missing, Process, found, free_port, once};

/// The last line that runs on Java 17.
const VERSION: &str = "2.19.6";
const HEAP: &str = "-Xmx256m";
/// A node takes ten seconds on an idle machine.
const READY: Duration = Duration::from_secs(180);
/// Of one question.
const PATIENCE: Duration = Duration::from_secs(60);

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>peer</groupId><artifactId>opensearch</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.opensearch</groupId><artifactId>opensearch</artifactId><version>VERSION</version></dependency>
    <dependency><groupId>org.opensearch.plugin</groupId><artifactId>transport-netty4-client</artifactId><version>VERSION</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>2.25.4</version></dependency>
  </dependencies>
</project>
"#;

const NODE: &str = r#"import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;

import org.opensearch.common.settings.Settings;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.transport.Netty4Plugin;

final class SingleNode extends Node {
    private SingleNode(Settings settings) {
        super(InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), null, () -> "single"),
            List.of(Netty4Plugin.class), true);
    }

    public static void main(String[] arguments) throws Exception {
        Settings settings = Settings.builder()
            .put("path.home", arguments[0])
            .put("cluster.name", "test")
            .put("node.name", "single")
            .put("discovery.type", "single-node")
            .put("network.host", "127.0.0.1")
            .put("http.port", arguments[1])
            .put("transport.port", arguments[2])
            .put("transport.type", "netty4")
            .put("http.type", "netty4")
            .put("node.processors", 1)
            .put("cluster.routing.allocation.disk.threshold_enabled", false)
            .build();
        new SingleNode(settings).start();
        new CountDownLatch(1).await();
    }
}
"#;

/// A node that answers.
#[derive(Debug)]
pub struct Running {
    process: Option<Process>,
    jars: PathBuf,
    folder: tempfile::TempDir,
    pub port: u16,
}

/// Starts a node with no data.
pub fn start() -> Result<Running, Missing> {
    for program in ["mvn", "java", "javac"] {
        found(program, &[])
            .ok_or_else(|| format!("{program} is not installed; OpenSearch needs Maven and a JDK 17"))?;
    }
    let jars = once("opensearch", install)?;
    let folder = tempfile::Builder::new()
        .prefix("peer-opensearch")
        .tempdir()
        .map_err(|error| format!("cannot make a directory: {error}"))?;
    fs::create_dir_all(folder.path().join("config"))
        .map_err(|error| format!("cannot make a directory: {error}"))?;
    let mut running = Running {
        process: None,
        jars,
        folder,
        port: free_port(),
    };
    running.resume()?;
    Ok(running)
}

impl Running {
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts it, or starts it again on the same port with the same data.
    pub fn resume(&mut self) -> Result<(), Missing> {
        let mut command = Command::new("java");
        command.args([
            "-Xms128m",
            HEAP,
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
        ]);
        command.arg(format!("{0}/classes:{0}/lib/*", self.jars.display()));
        command.arg("SingleNode").arg(self.folder.path());
        command.arg(self.port.to_string()).arg(free_port().to_string());
        let mut process = Process::start(command, self.folder.path().join("log"))?;
        process.wait_until(READY, || self.ask("GET", "/_cluster/health", "").is_ok())?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// The body of an answer that is a success; otherwise what went wrong.
    pub fn ask(&self, method: &str, path: &str, json: &str) -> Result<String, String> {
        let failed = |error: std::io::Error| format!("{method} {path}: {error}");
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).map_err(failed)?;
        connection.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            json.len()
        );
        connection.write_all(head.as_bytes()).map_err(failed)?;
        connection.write_all(json.as_bytes()).map_err(failed)?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).map_err(failed)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).unwrap_or_default();
        match status.starts_with('2') {
            true => Ok(body.to_owned()),
            false => Err(format!("{method} {path}: {status}: {body}")),
        }
    }
}

fn install(folder: &Path) -> Result<(), Missing> {
    let failed = |error: std::io::Error| format!("cannot install OpenSearch: {error}");
    fs::write(folder.join("pom.xml"), POM.replace("VERSION", VERSION)).map_err(failed)?;
    fs::write(folder.join("SingleNode.java"), NODE).map_err(failed)?;
    run(Command::new("mvn")
        .args([
            "-q",
            "-B",
            "dependency:copy-dependencies",
            "-DoutputDirectory=lib",
        ])
        .current_dir(folder))?;
    run(Command::new("javac")
        .args(["-cp", "lib/*", "-d", "classes", "SingleNode.java"])
        .current_dir(folder))
}

fn run(command: &mut Command) -> Result<(), Missing> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    // Maven writes its errors to the other stream.
    let text = [output.stdout, output.stderr].concat();
    Err(format!("{program} failed: {}", String::from_utf8_lossy(&text)))
}
