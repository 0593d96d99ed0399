//! `/ready`: not before the store is open, not while the log cannot be written, not while shutting down. `/health` always.

use cupola_generator::{Generator, GeneratorConfig};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::{Server, cupola, eventually};

/// Status and reason.
async fn ready(http: &reqwest::Client, health: &str) -> Option<(u16, String)> {
    let answer = http.get(format!("{health}/ready")).send().await.ok()?;
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    Some((status, body["reason"].as_str().unwrap_or_default().to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn not_before_the_store_is_open() {
    let data = tempfile::tempdir().unwrap();
    // Whoever opens it waits for somebody who writes to it.
    let held = data.path().join("FORMAT");
    let made = Command::new("mkfifo").arg(&held).status().await.unwrap();
    assert!(made.success());
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (directory, health) = (data.path().to_str().unwrap(), free.to_string());
    let ports = [
        "--otlp-grpc",
        "0",
        "--otlp-http",
        "0",
        "--api",
        "0",
        "--postgres",
        "off",
        "--flight-sql",
        "off",
    ];
    let serve = [
        "serve",
        "--data-dir",
        directory,
        "--health",
        &health,
        "--log",
        "off",
    ];
    let mut child = cupola(&[&serve[..], &ports].concat()).spawn().unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{health}");
    eventually("an answer", async || ready(&http, &url).await.is_some()).await;
    eventually("the reason", async || {
        ready(&http, &url).await == Some((503, "opening the store".to_owned()))
    })
    .await;
    let alive = http.get(format!("{url}/health")).send().await.unwrap();
    assert_eq!(alive.status(), 200);
    child.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn not_while_the_log_cannot_be_written_and_again_without_another_batch() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), &["--own-telemetry", "off"]).await;
    let state = async || ready(&server.http, &server.health).await.unwrap();
    eventually("readiness", async || state().await.0 == 200).await;
    // The first batch begins the first file, which has nowhere to be.
    let (journal, elsewhere) = (data.path().join("journal"), data.path().join("elsewhere"));
    std::fs::rename(&journal, &elsewhere).unwrap();
    let mut generator = Generator::new(GeneratorConfig::default());
    assert_eq!(
        server.send(&generator.logs(10)).await,
        Some(503),
        "{}",
        server.log()
    );
    eventually("the refusal", async || {
        let (status, reason) = state().await;
        status == 503 && reason.contains("log cannot be written")
    })
    .await;
    assert_eq!(
        server.count("default", "SELECT count(*) FROM logs").await,
        0,
        "questions are answered"
    );

    std::fs::rename(&elsewhere, &journal).unwrap();
    eventually("readiness without a batch", async || state().await.0 == 200).await;
    server.send_ok(&generator.logs(10)).await;
    assert_eq!(server.count("default", "SELECT count(*) FROM logs").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn not_while_shutting_down() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::start(data.path()).await;
    // A request that does not end keeps the drain waiting.
    let address = server.otlp_http.trim_start_matches("http://");
    let mut half_sent = TcpStream::connect(address).await.unwrap();
    let head = "POST /v1/logs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\n\
                content-length: 1000\r\nexpect: 100-continue\r\n\r\n";
    half_sent.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    half_sent.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100", "the server waits for the body");
    server.signal("TERM").await;
    eventually("the refusal", async || {
        ready(&server.http, &server.health).await == Some((503, "shutting down".to_owned()))
    })
    .await;
    let alive = server
        .http
        .get(format!("{}/health", server.health))
        .send()
        .await
        .unwrap();
    assert_eq!(alive.status(), 200);
    drop(half_sent);
    let status = server.wait().await;
    assert!(status.success(), "{}", server.log());
}
