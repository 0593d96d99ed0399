//! Rule 16: browsers.

use std::sync::Arc;
use std::time::Duration;

use cupola_pipeline::receivers::otlp::{CorsConfig, OtlpReceiver, OtlpReceiverConfigError, ReceiverError};
use cupola_telemetry::memory::MemoryBudget;

use crate::support::{Answer, Capture, JSON, Receiver, config, start, start_with};

const APP: &str = "https://app.example.com";

async fn preflight(receiver: &Receiver, origin: &str) -> Answer {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type,x-api-key"),
    ];
    receiver.request("OPTIONS", "/v1/traces", &headers, "").await
}

async fn start_cors(cors: CorsConfig) -> Receiver {
    let mut config = config();
    config.http.as_mut().unwrap().cors = Some(cors);
    start_with(config, MemoryBudget::unlimited()).await
}

fn cors(origins: &[&str], allow_credentials: bool) -> CorsConfig {
    CorsConfig {
        allowed_origins: origins.iter().map(ToString::to_string).collect(),
        allowed_headers: vec!["x-api-key".to_owned()],
        max_age: Some(Duration::from_secs(600)),
        allow_credentials,
    }
}

fn has_cors_headers(answer: &Answer) -> bool {
    answer
        .headers
        .keys()
        .any(|name| name.as_str().starts_with("access-control-"))
}

#[tokio::test]
async fn c16_cors_is_off_by_default() {
    let receiver = start().await;
    let answer = preflight(&receiver, APP).await;
    assert_eq!(answer.status, 405);
    assert!(!has_cors_headers(&answer));
    let answer = receiver
        .request(
            "POST",
            "/v1/traces",
            &[("origin", APP), ("content-type", JSON)],
            "{}",
        )
        .await;
    assert_eq!(answer.status, 200);
    assert!(!has_cors_headers(&answer));
}

#[tokio::test]
async fn c16_preflight_honours_origins_headers_and_max_age() {
    let receiver = start_cors(cors(&["https://*.example.com", "http://localhost:3000"], true)).await;
    for origin in [APP, "http://localhost:3000"] {
        let answer = preflight(&receiver, origin).await;
        assert_eq!(answer.status, 204);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
        assert_eq!(answer.header("access-control-max-age"), Some("600"));
        assert_eq!(answer.header("vary"), Some("origin"));
        let allowed = answer.header("access-control-allow-headers").unwrap();
        assert!(
            allowed.contains("x-api-key") && allowed.contains("content-type"),
            "{allowed}"
        );
    }
    for origin in [
        "https://example.com",
        "https://app.example.com.evil.net",
        "http://app.example.com",
        "null",
    ] {
        let answer = preflight(&receiver, origin).await;
        assert_eq!(answer.status, 403, "{origin}");
        assert!(!has_cors_headers(&answer), "{origin}");
        answer.rpc_status();
    }
}

#[tokio::test]
async fn c16_answers_can_be_read_by_allowed_origins_even_when_they_are_errors() {
    let receiver = start_cors(cors(&[APP], false)).await;
    for (body, status) in [("{}", 200), ("{", 400)] {
        let headers = [("origin", APP), ("content-type", JSON)];
        let answer = receiver.request("POST", "/v1/traces", &headers, body).await;
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (status, Some(APP))
        );
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        let headers = [("origin", "https://evil.example"), ("content-type", JSON)];
        assert!(!has_cors_headers(
            &receiver.request("POST", "/v1/traces", &headers, body).await
        ));
    }
}

#[tokio::test]
async fn c16_the_wildcard_never_goes_with_credentials() {
    let receiver = start_cors(cors(&["*"], false)).await;
    let answer = preflight(&receiver, APP).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);

    let mut config = config();
    config.http.as_mut().unwrap().cors = Some(cors(&["*"], true));
    let started = OtlpReceiver::start(config, Arc::new(Capture::default()), MemoryBudget::unlimited()).await;
    let refused = OtlpReceiverConfigError::CredentialsForEveryone;
    assert!(matches!(started, Err(ReceiverError::Config(error)) if error == refused));
}
