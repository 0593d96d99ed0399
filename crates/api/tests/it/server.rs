//! The server itself: health, metrics, the page, and what every answer has for safety's sake.

use cupola_api::{HealthConfig, HealthServer, PROMETHEUS_CONTENT_TYPE};

use crate::support::{Server, reply};

#[tokio::test(flavor = "multi_thread")]
async fn health_comes_first_and_ready_when_it_is() {
    let health = HealthServer::start(HealthConfig::new("127.0.0.1:0".parse().unwrap()))
        .await
        .unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = |path: &str| reply(http.get(format!("http://{}{path}", health.addr)));
    assert_eq!(get("/").await.ok()["status"], "Server available");
    assert_eq!(get("/health").await.status, 200);
    assert_eq!(get("/ready").await.status, 503);
    health.readiness.set_not_ready("replaying the log");
    assert_eq!(get("/ready").await.json()["reason"], "replaying the log");
    health.readiness.set_ready();
    assert_eq!(get("/ready").await.status, 200);
    health.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_on_loopback_is_told_to_this_machine_and_to_probes_by_address() {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let start = async |listen: &str| {
        let config = HealthConfig {
            allowed_hosts: vec!["cupola.test".to_owned()],
            ..HealthConfig::new(listen.parse().unwrap())
        };
        HealthServer::start(config).await.unwrap()
    };
    let status = async |port: u16, path: &str, host: &str| {
        let request = http.get(format!("http://127.0.0.1:{port}{path}"));
        reply(request.header("host", host)).await.status
    };
    let health = start("127.0.0.1:0").await;
    let port = health.addr.port();
    for path in ["/", "/health", "/ready"] {
        // A page elsewhere that points its own name here (DNS rebinding) would read which destinations there are.
        assert_eq!(status(port, path, "evil.example").await, 421, "{path}");
        for host in ["127.0.0.1:13133", "localhost", "10.1.2.3:13133", "cupola.test"] {
            assert_ne!(status(port, path, host).await, 421, "{path} of {host}");
        }
    }
    health.shutdown().await;
    // As in a pod: the kubelet asks by the address of the pod, and a balancer by any name.
    let health = start("0.0.0.0:0").await;
    for host in ["10.1.2.3:13133", "cupola.observability.svc"] {
        assert_eq!(status(health.addr.port(), "/health", host).await, 200, "{host}");
    }
    health.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_in_the_prometheus_format() {
    let server = Server::filled().await;
    server.get("/api/v1/services").await.ok();
    server.get("/api/v1/traces/zz").await.refused(400);
    let metrics = server.get("/metrics").await;
    assert_eq!(metrics.header("content-type"), PROMETHEUS_CONTENT_TYPE);
    let has = |line: &str| {
        assert!(
            metrics.text.lines().any(|known| known == line),
            "{line} in {}",
            metrics.text
        )
    };
    has("# TYPE cupola_test gauge");
    has("cupola_test 1");
    has("# TYPE http_server_request_duration_seconds histogram");
    let labels =
        "http_request_method=\"GET\",http_route=\"/api/v1/services\",http_response_status_code=\"200\"";
    has(&format!(
        "http_server_request_duration_seconds_count{{{labels}}} 1"
    ));
    // The route, not the path: ids would be series without end.
    let labels =
        "http_request_method=\"GET\",http_route=\"/api/v1/traces/{id}\",http_response_status_code=\"400\"";
    has(&format!(
        "http_server_request_duration_seconds_count{{{labels}}} 1"
    ));
    for line in metrics.text.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_the_document_are_served_safely() {
    let server = Server::empty().await;
    let page = server.get("/").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    assert!(
        page.header("content-security-policy")
            .contains("default-src 'none'")
    );
    assert_eq!(page.header("x-frame-options"), "DENY");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(server.get("/logs").await.text, page.text, "a view of the page");
    for path in [
        "/nothing.js",
        "/assets/../../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/..%5cCargo.toml",
        "/.env",
    ] {
        // As written: a client would resolve the dots itself.
        let raw = raw_get(&server, path).await;
        assert!(raw.starts_with("HTTP/1.1 404"), "{path}: {raw}");
    }
    let document = server.get("/api/v1/openapi.json").await;
    assert_eq!(document.ok()["info"]["title"], "Cupola");
    assert_eq!(document.header("x-content-type-options"), "nosniff");
    assert_eq!(document.header("access-control-allow-origin"), "");
    let services = server.get("/api/v1/services").await;
    assert_eq!(services.header("cache-control"), "no-store");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_compressed_for_those_who_ask() {
    let server = Server::empty().await;
    let ask = |path: &str| {
        server
            .http
            .get(server.url(path))
            .header("accept-encoding", "gzip")
    };
    let response = ask("/api/v1/openapi.json").send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let bytes = response.bytes().await.unwrap();
    assert!(
        bytes.starts_with(&[0x1f, 0x8b]) && bytes.len() < server.get("/api/v1/openapi.json").await.text.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_names_and_origins_are_refused() {
    let server = Server::empty().await;
    let rebound = server
        .http
        .get(server.url("/api/v1/services"))
        .header("host", "rebind.example");
    assert_eq!(reply(rebound).await.refused(421), "host_not_allowed");
    let preflight = server
        .http
        .request(reqwest::Method::OPTIONS, server.url("/api/v1/sql"));
    let preflight = reply(
        preflight
            .header("origin", "https://evil.example")
            .header("access-control-request-method", "POST"),
    )
    .await;
    assert_eq!(preflight.header("access-control-allow-origin"), "");
    assert!(preflight.status >= 400);
}

async fn raw_get(server: &Server, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut socket = tokio::net::TcpStream::connect(server.api.addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    text
}
