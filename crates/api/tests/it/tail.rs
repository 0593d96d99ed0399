//! The live tail: what it shows, to whom, and that a slow reader holds nobody up.

use std::time::Duration;

use cupola_api::{ApiConfig, TENANT_HEADER};
use cupola_telemetry::TenantId;
use cupola_telemetry::encode::LogsEncoder;
use serde_json::Value;

use crate::support::{OTHER, START, Server, TRACE_HEX, logs, secrets, traces};

/// One open tail and what has come of it.
struct Events {
    response: reqwest::Response,
    text: String,
}

impl Events {
    async fn open(server: &Server, tenant: &str, query: &str) -> Self {
        let request = server
            .http
            .get(server.url(&format!("/api/v1/tail?{query}")))
            .header(TENANT_HEADER, tenant);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut events = Self {
            response,
            text: String::new(),
        };
        assert_eq!(events.next().await.0, "ready");
        events
    }

    /// Name and data of the next event; comments are passed over.
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .map(str::trim)
                };
                if let (Some(name), Some(data)) = (field("event:"), field("data:")) {
                    return (name.to_owned(), serde_json::from_str(data).unwrap());
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(60), self.response.chunk()).await;
            let chunk = chunk
                .expect("an event in time")
                .unwrap()
                .expect("the tail goes on");
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_the_tenant_that_match_are_shown() {
    let server = Server::empty().await;
    let mut all = Events::open(&server, "default", "").await;
    let mut errors = Events::open(&server, "default", "level=error").await;
    let mut words = Events::open(&server, "default", "words=OPENED&service=front").await;
    let mut attribute = Events::open(&server, "default", "attribute=retries%3D3").await;
    let mut spans = Events::open(
        &server,
        "default",
        &format!("signal=spans&errors=true&trace_id={TRACE_HEX}"),
    )
    .await;
    let mut other = Events::open(&server, OTHER, "").await;
    for batch in secrets() {
        server.store.append(batch).await.unwrap();
    }
    server.store.append(traces()).await.unwrap();
    server.store.append(logs()).await.unwrap();

    let mut bodies = Vec::new();
    for _ in 0..3 {
        let (name, log) = all.next().await;
        assert_eq!(name, "log");
        bodies.push(log["body"].clone());
    }
    assert_eq!(bodies[0], "cart opened by user");
    assert_eq!(bodies[2], serde_json::json!({"step": 1}));
    let (_, log) = errors.next().await;
    assert_eq!(
        (&log["level"], &log["service_name"]),
        (&"error".into(), &"cart".into())
    );
    assert_eq!(words.next().await.1["body"], "cart opened by user");
    assert_eq!(attribute.next().await.1["attributes"]["user.id"], "u2");
    let (name, span) = spans.next().await;
    assert_eq!(
        (name.as_str(), &span["name"], &span["kind"]),
        ("span", &"SELECT".into(), &"client".into())
    );
    assert_eq!(other.next().await.1["body"], "sesame");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_tail_shows_is_what_the_list_shows() {
    let server = Server::empty().await;
    let mut tail = Events::open(&server, "default", "").await;
    let mut spans = Events::open(&server, "default", "signal=spans").await;
    server.store.append(logs()).await.unwrap();
    server.store.append(traces()).await.unwrap();
    let listed = server.get("/api/v1/logs").await.ok();
    for index in (0..3).rev() {
        assert_eq!(tail.next().await.1, listed["logs"][index]);
    }
    let trace = server.get(&format!("/api/v1/traces/{TRACE_HEX}")).await.ok();
    assert_eq!(spans.next().await.1, trace["spans"][0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_nobody_up_and_is_told_what_it_missed() {
    let server = Server::with(ApiConfig::ephemeral(), |store| store.subscription_batches_max = 4).await;
    let mut tail = Events::open(&server, "default", "").await;
    let text = "x".repeat(64 * 1024);
    // More than sockets and buffers hold, while nobody reads.
    for _ in 0..400 {
        let mut logs = LogsEncoder::new();
        logs.resource_logs()
            .scope_logs()
            .record()
            .time_unix_nano(START)
            .body(&text);
        server
            .store
            .append(logs.finish(TenantId::default_tenant()))
            .await
            .unwrap();
    }
    let mut shown = 0;
    let skipped = loop {
        match tail.next().await {
            (name, data) if name == "lag" => break data["skipped_batches"].as_u64().unwrap(),
            _ => shown += 1,
        }
    };
    assert!(
        skipped > 0 && shown + skipped <= 400,
        "{shown} shown, {skipped} skipped"
    );
    let metrics = server.get("/metrics").await.text;
    assert!(
        metrics.contains("cupola_api_tail_skipped_batches_total "),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tails_are_bounded_and_end_at_shutdown() {
    let config = ApiConfig {
        tails_max: 1,
        ..ApiConfig::ephemeral()
    };
    let server = Server::with(config, |_| {}).await;
    let mut tail = Events::open(&server, "default", "").await;
    let refused = server.get("/api/v1/tail").await;
    assert_eq!(refused.refused(429), "overloaded");
    assert!(!refused.header("retry-after").is_empty());
    for query in ["signal=metrics", "level=loud", "attribute=a", "from=1h"] {
        assert_eq!(
            server.get(&format!("/api/v1/tail?{query}")).await.refused(400),
            "bad_request",
            "{query}"
        );
    }
    let Server { api, .. } = server;
    tokio::time::timeout(Duration::from_secs(30), api.shutdown())
        .await
        .unwrap();
    while let Ok(Some(_)) = tail.response.chunk().await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_tail_sends_comments() {
    let config = ApiConfig {
        tail_keep_alive: Duration::from_millis(20),
        ..ApiConfig::ephemeral()
    };
    let server = Server::with(config, |_| {}).await;
    let mut tail = Events::open(&server, "default", "").await;
    let chunk = tokio::time::timeout(Duration::from_secs(60), tail.response.chunk())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(chunk.starts_with(b":"), "{chunk:?}");
}
