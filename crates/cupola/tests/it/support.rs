//! Running the binary: a server as a child process, and commands with their output.

use std::collections::HashMap;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cupola_export::otlp::{OtlpConfig, OtlpSink, Protocol};
use cupola_export::retry::RetryConfig;
use cupola_export::{SendError, Sink as _};
use cupola_telemetry::{Batch, Signal};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Generous, because tests share the machine with others; what is waited for usually takes a second.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A command of the binary without whatever the environment of the test says.
pub(crate) fn cupola(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cupola"));
    command
        .args(arguments)
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .env("COLUMNS", "100");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CUPOLA_") || name == "NO_COLOR" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end.
pub(crate) async fn run(arguments: &[&str]) -> Output {
    tokio::time::timeout(PATIENCE, cupola(arguments).output())
        .await
        .unwrap()
        .unwrap()
}

/// Runs a command that must succeed; gives what it printed.
pub(crate) async fn succeed(arguments: &[&str]) -> String {
    let output = run(arguments).await;
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A running server with its own data directory and ports that the system chose.
pub(crate) struct Server {
    child: Child,
    pub(crate) api: String,
    pub(crate) otlp_http: String,
    pub(crate) otlp_grpc: String,
    pub(crate) health: String,
    /// The line that says that it is ready, with all addresses.
    pub(crate) ready: Value,
    lines: Arc<Mutex<Vec<String>>>,
    pub(crate) http: reqwest::Client,
    grpc: OtlpSink,
}

const FREE_PORTS: [&str; 12] = [
    "--otlp-grpc",
    "0",
    "--otlp-http",
    "0",
    "--api",
    "0",
    "--health",
    "127.0.0.1:0",
    "--postgres",
    "off",
    "--flight-sql",
    "off",
];

impl Server {
    pub(crate) async fn start(data: &Path) -> Server {
        Server::start_with(data, &[]).await
    }

    pub(crate) async fn start_with(data: &Path, more: &[&str]) -> Server {
        Server::try_start(data, more)
            .await
            .unwrap_or_else(|lines| panic!("the server did not start:\n{lines}"))
    }

    /// Waits until the server says that it is ready; what it printed if it ends before.
    pub(crate) async fn try_start(data: &Path, more: &[&str]) -> Result<Server, String> {
        let mut arguments = vec![
            "serve",
            "--log-format",
            "json",
            "--data-dir",
            data.to_str().unwrap(),
        ];
        for port in FREE_PORTS.chunks(2).filter(|port| !more.contains(&port[0])) {
            arguments.extend(port);
        }
        if !more.contains(&"--memory-limit") {
            arguments.extend(["--memory-limit", "1GiB"]);
        }
        arguments.extend(more);
        let mut child = cupola(&arguments)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut reader = BufReader::new(child.stderr.take().unwrap()).lines();
        let (ready, became_ready) = tokio::sync::oneshot::channel();
        let kept = lines.clone();
        tokio::spawn(async move {
            let mut ready = Some(ready);
            while let Ok(Some(line)) = reader.next_line().await {
                let parsed: Value = serde_json::from_str(&line).unwrap_or_default();
                if parsed["message"] == "cupola is ready"
                    && let Some(ready) = ready.take()
                {
                    let _ = ready.send(parsed);
                }
                kept.lock().push(line);
            }
        });
        let addresses = match tokio::time::timeout(PATIENCE, became_ready).await {
            Ok(Ok(addresses)) => addresses,
            _ => {
                let _ = child.kill().await;
                return Err(lines.lock().join("\n"));
            }
        };
        let url = |name: &str| format!("http://{}", addresses[name].as_str().unwrap());
        let mut grpc = OtlpConfig::new(Protocol::Grpc, url("otlp_grpc"));
        grpc.retry = RetryConfig::disabled();
        grpc.timeout = PATIENCE;
        Ok(Server {
            child,
            api: url("api"),
            otlp_http: url("otlp_http"),
            otlp_grpc: url("otlp_grpc"),
            health: url("health"),
            ready: addresses.clone(),
            lines,
            http: reqwest::Client::builder()
                .timeout(PATIENCE)
                .no_proxy()
                .build()
                .unwrap(),
            grpc: OtlpSink::new(grpc).unwrap(),
        })
    }

    /// Where something is, by its name in the line that says that the server is ready.
    pub(crate) fn url(&self, name: &str, path: &str) -> String {
        let address = self.ready[name].as_str().unwrap();
        format!("http://{address}{path}")
    }

    /// Status and text of a page.
    pub(crate) async fn page(&self, name: &str, path: &str) -> (u16, String) {
        let response = self.http.get(self.url(name, path)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        self.lines.lock().join("\n")
    }

    /// Asks the server to stop, and waits.
    pub(crate) async fn stop(mut self) -> (ExitStatus, String) {
        self.signal("TERM").await;
        let status = tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .unwrap()
            .unwrap();
        (status, self.log())
    }

    pub(crate) async fn signal(&self, name: &str) {
        signal(name, self.pid()).await;
    }

    /// One number of `/metrics`, 0 if it is not there.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        self.metrics([name]).await[0]
    }

    /// Some numbers of `/metrics`, of one moment.
    pub(crate) async fn metrics<const N: usize>(&self, names: [&str; N]) -> [f64; N] {
        let response = self.http.get(format!("{}/metrics", self.api)).send().await;
        let text = response.unwrap().text().await.unwrap();
        names.map(|name| {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.map_or(0.0, |value| value.parse().unwrap())
        })
    }

    /// `kill -9`.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) async fn wait(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .unwrap()
            .unwrap()
    }

    /// Sends a batch over OTLP/HTTP; the status, or nothing if the connection broke.
    pub(crate) async fn send(&self, batch: &Batch) -> Option<u16> {
        post(&self.http, &self.otlp_http, batch).await
    }

    /// Sends a batch over OTLP/gRPC, once.
    pub(crate) async fn send_grpc(&self, batch: Batch) -> Result<(), SendError> {
        let accepted = self.grpc.send(batch).await?;
        assert!(!accepted.is_partial(), "{accepted:?}");
        Ok(())
    }

    pub(crate) async fn send_ok(&self, batch: &Batch) {
        assert_eq!(self.send(batch).await, Some(200), "{}", self.log());
    }

    /// The rows of a statement.
    pub(crate) async fn sql(&self, tenant: &str, sql: &str) -> Vec<Vec<Value>> {
        try_sql(&self.http, &self.api, tenant, sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}\n{}", self.log()))
    }

    /// One number.
    pub(crate) async fn count(&self, tenant: &str, sql: &str) -> i64 {
        self.sql(tenant, sql).await[0][0].as_i64().unwrap()
    }
}

pub(crate) async fn post(http: &reqwest::Client, base: &str, batch: &Batch) -> Option<u16> {
    let path = match batch.signal() {
        Signal::Logs => "logs",
        Signal::Traces => "traces",
        Signal::Metrics => "metrics",
    };
    let request = http
        .post(format!("{base}/v1/{path}"))
        .header("content-type", "application/x-protobuf")
        .header("x-scope-orgid", batch.tenant().as_str())
        .body(batch.payload().clone());
    let response = request.send().await.ok()?;
    let status = response.status().as_u16();
    // An answer whose end did not arrive is no acknowledgement.
    response.bytes().await.ok()?;
    Some(status)
}

pub(crate) async fn try_sql(
    http: &reqwest::Client,
    api: &str,
    tenant: &str,
    sql: &str,
) -> Result<Vec<Vec<Value>>, String> {
    let request = http
        .post(format!("{api}/api/v1/sql"))
        .header("x-scope-orgid", tenant)
        .json(&serde_json::json!({ "query": sql }));
    let answer: Value = request
        .send()
        .await
        .map_err(|error| error.to_string())?
        .json()
        .await
        .map_err(|error| error.to_string())?;
    if !answer["error"].is_null() {
        return Err(answer["error"].to_string());
    }
    serde_json::from_value(answer["rows"].clone()).map_err(|error| format!("{error}: {answer}"))
}

pub(crate) async fn signal(name: &str, pid: u32) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .await;
    assert!(status.unwrap().success());
}

/// Waits until `condition` holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "{what} did not come true");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What a user sees, with what differs from run to run replaced.
pub(crate) fn normalized(text: &[u8], replace: &[(&str, &str)]) -> String {
    let mut text = String::from_utf8(text.to_vec()).unwrap();
    let mut replace: Vec<_> = replace.to_vec();
    replace.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
    for (from, to) in replace {
        text = text.replace(from, to);
    }
    text
}

/// Copies a directory.
pub(crate) fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Rows as a map from the first column to the second.
pub(crate) fn by_first(rows: Vec<Vec<Value>>) -> HashMap<String, i64> {
    rows.into_iter()
        .map(|row| (row[0].as_str().unwrap().to_owned(), row[1].as_i64().unwrap()))
        .collect()
}
