//! `/health`: how every receiver, processor, exporter and connector is, in the Collector's shape. `/` stays what it is.

use serde_json::Value;

use crate::pipelines::{agent, logs, write};
use crate::support::{Server, eventually};

async fn health(server: &Server) -> Value {
    let (status, text) = server.page("health", "/health").await;
    assert_eq!(status, 200, "whatever its destinations do, the process lives");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_component_is_told_with_what_fails_and_that_it_recovered() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&directory.path().join("server")).await;
    let address = server.otlp_grpc.clone();
    server.kill().await;
    let text = agent(&address, "").replace(
        "tls: {insecure: true}}",
        "tls: {insecure: true}, retry_on_failure: {initial_interval: 50ms, max_interval: 200ms}}",
    );
    let text =
        format!("extensions: {{health_check: {{path: /alive, response_body: {{healthy: fine}}}}}}\n{text}");
    let file = write(directory.path(), &text);
    let agent = Server::start_with(&directory.path().join("agent"), &["--config", &file]).await;
    let all = health(&agent).await;
    assert_eq!(
        (&all["healthy"], &all["status"]),
        (&true.into(), &"StatusOK".into())
    );
    let parts = &all["components"]["pipeline:logs"]["components"];
    for part in ["receiver:otlp", "processor:transform", "exporter:otlp"] {
        assert_eq!(parts[part]["status"], "StatusOK", "{part} of {all}");
    }
    let extension = &all["components"]["extensions"]["components"]["extension:health_check"];
    assert_eq!(extension["healthy"], true, "{all}");
    for (path, status, body) in [("/alive", 200, "fine"), ("/", 200, "fine"), ("/else", 404, "")] {
        assert_eq!(
            agent.page("health", path).await,
            (status, body.to_owned()),
            "{path}"
        );
    }

    agent.send_ok(&logs("acme", &["a"])).await;
    let exporter =
        async || health(&agent).await["components"]["pipeline:logs"]["components"]["exporter:otlp"].clone();
    eventually("it fails", || async {
        let exporter = exporter().await;
        exporter["status"] == "StatusRecoverableError"
            && exporter["error"].is_string()
            && exporter["status_time"].is_string()
    })
    .await;
    assert_eq!(
        health(&agent).await["status"],
        "StatusRecoverableError",
        "and with it the whole"
    );
    let port = address.rsplit(':').next().unwrap();
    let flags = ["--otlp-grpc", &format!("127.0.0.1:{port}")];
    let server = Server::start_with(&directory.path().join("server"), &flags).await;
    eventually("it has recovered", || async {
        let exporter = exporter().await;
        exporter["status"] == "StatusOK" && exporter["recovered_time"].is_string()
    })
    .await;
    let recovered = exporter().await;
    assert!(
        recovered["error"].is_null() && recovered["last_error"].is_string(),
        "{recovered}"
    );
    assert!(agent.stop().await.0.success());
    assert!(server.stop().await.0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_settings_the_answer_is_that_of_the_collector() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let (status, text) = server.page("health", "/").await;
    assert_eq!(
        (status, text.as_str()),
        (200, "{\"status\":\"Server available\"}")
    );
    assert!(server.stop().await.0.success());
}
