//! A server of which no pipeline has the exporter `store`: it hands on what it takes, keeps nothing, and says so.

use std::path::Path;

use crate::pipelines::{agent, logs, write};
use crate::support::{Server, eventually};

const RECEIVED: &str = "SELECT count(*) FROM logs WHERE attributes->>'agent' = 'yes'";

fn resident(server: &Server) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/statm", server.pid())).unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

fn has_store(data: &Path) -> bool {
    ["journal", "manifest", "data", "FORMAT"]
        .iter()
        .any(|name| data.join(name).exists())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_forwards_without_a_store_and_answers_for_its_health() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&directory.path().join("server")).await;
    let copy = directory.path().join("copy.jsonl");
    let text = agent(
        &server.otlp_grpc,
        &format!("  file: {{path: '{}'}}\n", copy.display()),
    )
    .replace("exporters: [otlp]", "exporters: [otlp, file]");
    let file = write(directory.path(), &text);
    let data = directory.path().join("agent");
    let agent = Server::start_with(&data, &["--config", &file, "--postgres", "127.0.0.1:0"]).await;
    assert!(agent.log().contains("nothing is kept here"), "{}", agent.log());
    for off in ["page", "postgres", "flight_sql"] {
        assert_eq!(agent.ready[off], "off", "{off}");
    }
    agent.send_ok(&logs("acme", &["a", "b"])).await;
    eventually("the logs arrive", || async {
        server.count("acme", RECEIVED).await == 2
    })
    .await;
    eventually("and are in the file", || async {
        std::fs::read_to_string(&copy)
            .unwrap_or_default()
            .contains("\"agent\"")
    })
    .await;
    assert_eq!(agent.page("health", "/ready").await.0, 200);
    assert!(agent.metric("cupola_memory_limit_bytes").await > 0.0);
    assert_eq!(agent.metric("cupola_store_memory_bytes").await, 0.0);
    for path in ["/", "/api/v1/status", "/api/v1/logs"] {
        let (status, text) = agent.page("api", path).await;
        assert!(status == 404 && text.contains("no_store"), "{path}: {text}");
    }
    let (with, without) = (resident(&server), resident(&agent));
    assert!(without < with, "an agent takes {without} bytes, a server {with}");
    println!(
        "resident: {} KiB without a store, {} KiB with one",
        without >> 10,
        with >> 10
    );
    assert!(agent.stop().await.0.success());
    assert!(!has_store(&data));
    assert!(server.stop().await.0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_not_added_while_it_runs_and_is_found_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    // Nobody listens there: what cannot be delivered becomes a dead letter in the data directory.
    let without = agent("http://127.0.0.1:9", "").replace(
        "tls: {insecure: true}}",
        "tls: {insecure: true}, retry_on_failure: {enabled: false}}",
    );
    let file = write(directory.path(), &without);
    let data = directory.path().join("data");
    let flags = ["--config", file.as_str()];
    let agent = Server::start_with(&data, &flags).await;
    agent.send_ok(&logs("acme", &["lost on its way"])).await;
    let letters = data.join("pipeline/dead-letters");
    eventually("there is a dead letter", || async {
        letters.join("otlp").is_dir()
    })
    .await;
    let second = Server::try_start(&data, &flags).await.err().unwrap();
    assert!(
        second.contains("another process") || second.contains("in use"),
        "{second}"
    );

    let with = without
        .replace("exporters: [otlp]", "exporters: [otlp, store]")
        .replace("exporters:\n", "exporters:\n  store:\n");
    write(directory.path(), &with);
    let url = format!("{}/api/v1/admin/reload", agent.api);
    let answer = agent.http.post(&url).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 422);
    let told = answer.text().await.unwrap();
    assert!(told.contains("`store` cannot be added"), "{told}");
    agent.send_ok(&logs("acme", &["the old one goes on"])).await;
    assert!(agent.stop().await.0.success());
    assert!(!has_store(&data));

    let server = Server::start_with(&data, &flags).await;
    server.send_ok(&logs("acme", &["kept"])).await;
    assert_eq!(server.count("acme", "SELECT count(*) FROM logs").await, 1);
    assert!(server.stop().await.0.success());
    assert!(has_store(&data) && letters.join("otlp").is_dir());
    write(directory.path(), &without);
    let agent = Server::start_with(&data, &flags).await;
    assert!(
        agent.log().contains("there is a store in the data directory"),
        "{}",
        agent.log()
    );
    assert!(agent.stop().await.0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_telemetry_that_is_asked_for_is_a_reason_to_have_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), &agent("http://127.0.0.1:9", ""));
    let flags = ["--config", file.as_str(), "--own-telemetry", "self"];
    let server = Server::start_with(&directory.path().join("data"), &flags).await;
    eventually("an own log is kept", || async {
        server.count("self", "SELECT count(*) FROM logs").await > 0
    })
    .await;
    assert!(server.stop().await.0.success());
}
