//! `cupola serve`: OTLP in, SQL out; a restart keeps everything; a graceful stop drains.

use std::sync::Arc;

use cupola_generator::{Generator, GeneratorConfig};
use cupola_telemetry::TenantId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Server, by_first, eventually};

fn generator(tenant: &str) -> Generator {
    let tenants = vec![TenantId::parse(tenant).unwrap()];
    Generator::new(GeneratorConfig {
        tenants,
        services: 6,
        pods: 2,
        ..GeneratorConfig::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_found_at_once_and_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let mut generator = generator("acme");
    for _ in 0..3 {
        server.send_ok(&generator.logs(400)).await;
        server.send_ok(&generator.traces(300)).await;
        server.send_ok(&generator.points(500)).await;
    }
    let counts = "SELECT 'logs', count(*) FROM logs UNION ALL SELECT 'spans', count(*) FROM spans \
                  UNION ALL SELECT 'metrics', count(*) FROM metrics";
    let found = by_first(server.sql("acme", counts).await);
    assert_eq!(
        (found["logs"], found["spans"], found["metrics"]),
        (1_200, 900, 1_500)
    );
    assert!(
        server.sql("globex", "SELECT body FROM logs").await.is_empty(),
        "no tenant sees another's data"
    );
    let services = "SELECT service_name, count(*) FROM spans GROUP BY service_name ORDER BY service_name";
    let before = server.sql("acme", services).await;
    let (status, log) = server.stop().await;
    assert!(status.success(), "{log}");

    let server = Server::start(data.path()).await;
    assert_eq!(by_first(server.sql("acme", counts).await), found);
    assert_eq!(server.sql("acme", services).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_loses_nothing_that_was_acknowledged() {
    let data = tempfile::tempdir().unwrap();
    let server = Arc::new(Server::start(data.path()).await);
    let mut senders = tokio::task::JoinSet::new();
    for number in 0..4_u64 {
        let server = server.clone();
        senders.spawn(async move {
            let mut generator = Generator::new(GeneratorConfig {
                seed: number,
                ..GeneratorConfig::default()
            });
            let mut acknowledged = 0;
            // Until the server takes no more.
            while let Some(200) = server.send(&generator.logs(50)).await {
                acknowledged += 50;
            }
            acknowledged
        });
    }
    let asked = server.clone();
    eventually("some load", || async {
        asked.count("default", "SELECT count(*) FROM logs").await > 500
    })
    .await;
    drop(asked);
    server.signal("TERM").await;
    let acknowledged: i64 = senders.join_all().await.into_iter().sum();
    let mut server = Arc::into_inner(server).unwrap();
    let status = server.wait().await;
    assert_eq!(status.code(), Some(0), "{}", server.log());
    assert!(
        server.log().contains("everything acknowledged is kept"),
        "{}",
        server.log()
    );

    let server = Server::start(data.path()).await;
    let found = server.count("default", "SELECT count(*) FROM logs").await;
    // A request that was answered too late to be heard may be kept all the same.
    assert!(
        (acknowledged..=acknowledged + 4 * 50).contains(&found),
        "{found} of {acknowledged}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_tell_the_state() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let get = async |url: String| {
        let response = server.http.get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(get(format!("{}/health", server.health)).await.0, 200);
    eventually("readiness", || async {
        get(format!("{}/ready", server.health)).await.0 == 200
    })
    .await;
    server.send_ok(&generator("default").logs(7)).await;
    let (status, metrics) = get(format!("{}/metrics", server.api)).await;
    assert_eq!(status, 200);
    for expected in [
        "cupola_build_info{version=",
        "cupola_memory_limit_bytes 1073741824",
        "cupola_store_appended_items_total ",
        "cupola_memory_budget_ceiling_bytes{budget=\"ingest\"}",
    ] {
        assert!(metrics.contains(expected), "{expected} is not in\n{metrics}");
    }
    let received = metrics
        .lines()
        .find(|line| line.starts_with("otelcol_receiver_accepted_log_records") && line.contains("\"http\""));
    assert!(received.is_some_and(|line| line.ends_with(" 7")), "{received:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_process_at_once() {
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
    server.signal("INT").await;
    eventually("the drain to begin", || async {
        server.log().contains("shutting down: taking no more")
    })
    .await;
    server.signal("INT").await;
    let status = server.wait().await;
    assert_eq!(status.code(), Some(130), "{}", server.log());
}
