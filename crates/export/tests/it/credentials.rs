//! Credentials of exporters: with every request of every protocol, renewed in time and after a refusal, and never shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use cupola_config::units::TimeSpan;
use cupola_export::Sink;
use cupola_export::auth::{
    BasicClient, BearerClient, BearerSettings, ClientAuth, ClientCredentials, Credentials, NoCredentials,
    OAuth2Client, OAuth2Settings, Sender, Tokens,
};
use cupola_export::elasticsearch::{ElasticsearchConfig, ElasticsearchSink};
use cupola_export::loki::{LokiConfig, LokiSink};
use cupola_export::otlp::{OtlpConfig, OtlpSink};
use cupola_telemetry::TenantId;
use parking_lot::Mutex;
use tokio::net::TcpListener;

use crate::support::{PROTOCOLS, Reply, Server, logs};

const SOON: Duration = Duration::from_millis(1);

/// An authorization server whose tokens are numbered.
#[derive(Default)]
struct Issuer {
    asked: Mutex<Vec<(String, String)>>,
    tokens: AtomicUsize,
    lifetime_seconds: AtomicU64,
    /// Says no to credentials in a header.
    in_body: bool,
    broken: AtomicUsize,
}

async fn issue(State(issuer): State<Arc<Issuer>>, headers: HeaderMap, body: String) -> (StatusCode, String) {
    let header = headers.get("authorization").map(|value| value.to_str().unwrap());
    let header = header.unwrap_or_default().to_owned();
    let is_refused = issuer.in_body != header.is_empty();
    issuer.asked.lock().push((header, body));
    if issuer.broken.load(Ordering::Relaxed) > 0 {
        issuer.broken.fetch_sub(1, Ordering::Relaxed);
        return (
            StatusCode::INTERNAL_SERVER_ERROR,
            "{\"error\":\"out_of_order\"}".to_owned(),
        );
    }
    if is_refused {
        return (
            StatusCode::UNAUTHORIZED,
            "{\"error\":\"invalid_client\"}".to_owned(),
        );
    }
    let number = issuer.tokens.fetch_add(1, Ordering::Relaxed);
    let seconds = issuer.lifetime_seconds.load(Ordering::Relaxed);
    let answer =
        format!("{{\"access_token\":\"token-{number}\",\"token_type\":\"bearer\",\"expires_in\":{seconds}}}");
    (StatusCode::OK, answer)
}

async fn start(issuer: Issuer) -> (Arc<Issuer>, OAuth2Settings) {
    let issuer = Arc::new(issuer);
    issuer.lifetime_seconds.fetch_max(3600, Ordering::Relaxed);
    let router = axum::Router::new()
        .route("/token", post(issue))
        .with_state(issuer.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let settings = OAuth2Settings {
        client_id: "agent:1".to_owned(),
        client_secret: "hunter2 &".into(),
        token_url: url,
        scopes: vec!["write".to_owned(), "read".to_owned()],
        ..OAuth2Settings::default()
    };
    (issuer, settings)
}

fn oauth2(settings: &OAuth2Settings) -> Arc<OAuth2Client> {
    Arc::new(OAuth2Client::new(settings, SOON).unwrap())
}

fn authorization(server: &Server) -> Vec<String> {
    let requests = server.requests();
    requests
        .iter()
        .map(|one| one.header("authorization").to_owned())
        .collect()
}

async fn header(auth: &dyn ClientAuth) -> String {
    let mut headers = http::HeaderMap::new();
    let tenant = TenantId::default_tenant();
    let sender = Sender {
        tenant: &tenant,
        client: None,
    };
    auth.authorize(sender, &mut headers).await.unwrap();
    assert!(headers["authorization"].is_sensitive());
    headers["authorization"].to_str().unwrap().to_owned()
}

async fn until_header(auth: &dyn ClientAuth, wanted: &str) {
    while header(auth).await != wanted {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_protocol_sends_them_with_every_request() {
    let credentials = ClientCredentials {
        username: "agent".to_owned(),
        password: "hunter2".into(),
        ..ClientCredentials::default()
    };
    let auth: Arc<dyn ClientAuth> = Arc::new(BasicClient::new(&credentials, SOON).unwrap());
    assert!(!format!("{auth:?}{credentials:?}").contains("hunter2"));
    let server = Server::start([]).await;
    for protocol in PROTOCOLS {
        let sink = OtlpSink::authorized(server.config(protocol), Credentials::of(auth.clone())).unwrap();
        sink.send(logs(1, 1, 3, 0)).await.unwrap();
        sink.send(logs(1, 1, 3, 0)).await.unwrap();
    }
    let loki = LokiConfig {
        endpoint: format!("http://{}/loki/api/v1/push", server.address),
        ..LokiConfig::default()
    };
    let loki = LokiSink::authorized(&loki, Credentials::of(auth.clone())).unwrap();
    loki.send(logs(1, 1, 3, 0)).await.unwrap();
    let elastic = ElasticsearchConfig {
        endpoint: Some(format!("http://{}", server.address)),
        user: "other".to_owned(),
        ..ElasticsearchConfig::default()
    };
    let elastic = ElasticsearchSink::authorized(elastic, Credentials::of(auth)).unwrap();
    // What answers is no cluster, which it need not be for the question.
    assert!(elastic.send(logs(1, 1, 3, 0)).await.is_err());
    let sent = authorization(&server);
    assert!(sent.len() >= 8, "{sent:?}");
    assert!(
        sent.iter().all(|value| value == "Basic YWdlbnQ6aHVudGVyMg=="),
        "{sent:?}"
    );
}

#[tokio::test]
async fn files_with_passwords_and_tokens_are_looked_at_again() {
    let folder = tempfile::tempdir().unwrap();
    let (password, tokens) = (folder.path().join("password"), folder.path().join("tokens"));
    std::fs::write(&password, "one\n").unwrap();
    std::fs::write(&tokens, "one comment\ntwo\n").unwrap();
    let basic = BasicClient::new(
        &ClientCredentials {
            username: "a".to_owned(),
            password: "ignored".into(),
            password_file: Some(password.clone()),
            ..ClientCredentials::default()
        },
        SOON,
    )
    .unwrap();
    let settings = BearerSettings {
        filename: Some(tokens.clone()),
        token: "ignored".into(),
        ..BearerSettings::default()
    };
    settings.validate().unwrap();
    let bearer = BearerClient::new(Tokens::new(&settings, SOON).unwrap());
    assert_eq!(header(&basic).await, "Basic YTpvbmU=");
    assert_eq!(header(&bearer).await, "Bearer one");
    std::fs::write(&password, "two").unwrap();
    std::fs::write(&tokens, "three\n").unwrap();
    until_header(&basic, "Basic YTp0d28=").await;
    until_header(&bearer, "Bearer three").await;
}

#[tokio::test]
async fn a_token_is_asked_for_once_by_all_who_need_it_and_kept() {
    let (issuer, settings) = start(Issuer::default()).await;
    let auth = oauth2(&settings);
    let asking = (0..20).map(|_| header(auth.as_ref()));
    let tokens = futures::future::join_all(asking).await;
    assert!(tokens.iter().all(|token| token == "Bearer token-0"), "{tokens:?}");
    let asked = issuer.asked.lock().clone();
    // Written as in a form before they are encoded: `agent%3A1:hunter2+%26`.
    assert_eq!(
        asked,
        [(
            "Basic YWdlbnQlM0ExOmh1bnRlcjIrJTI2".to_owned(),
            "grant_type=client_credentials&scope=write+read".to_owned()
        )]
    );
    assert!(!format!("{auth:?}{settings:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_server_that_wants_the_credentials_among_the_parameters_gets_them_there() {
    let (issuer, settings) = start(Issuer {
        in_body: true,
        ..Issuer::default()
    })
    .await;
    assert_eq!(header(oauth2(&settings).as_ref()).await, "Bearer token-0");
    let asked = issuer.asked.lock().clone();
    assert_eq!(asked.len(), 2);
    assert!(
        asked[1]
            .1
            .ends_with("client_id=agent%3A1&client_secret=hunter2+%26"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let (issuer, settings) = start(Issuer::default()).await;
    let auth = oauth2(&settings);
    assert_eq!(header(auth.as_ref()).await, "Bearer token-0");
    tokio::time::pause();
    // The buffer is five minutes of an hour.
    tokio::time::advance(Duration::from_secs(3600 - 300 - 10)).await;
    tokio::time::resume();
    assert_eq!(header(auth.as_ref()).await, "Bearer token-0");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    assert_eq!(header(auth.as_ref()).await, "Bearer token-1");
    assert_eq!(issuer.asked.lock().len(), 2);
}

#[tokio::test]
async fn a_refusal_leads_to_a_new_token_once() {
    let (issuer, settings) = start(Issuer::default()).await;
    for protocol in PROTOCOLS {
        let refusal = || match protocol {
            cupola_export::otlp::Protocol::Grpc => Reply::grpc(tonic::Code::Unauthenticated as i32),
            _ => Reply::http(401),
        };
        let before = issuer.asked.lock().len();
        let server = Server::start([refusal()]).await;
        let auth: Arc<dyn ClientAuth> = oauth2(&settings);
        let sink = OtlpSink::authorized(server.config(protocol), Credentials::of(auth.clone())).unwrap();
        sink.send(logs(1, 1, 3, 0)).await.unwrap();
        let sent = authorization(&server);
        assert_eq!(sent.len(), 2, "{protocol:?}");
        assert_ne!(sent[0], sent[1], "{protocol:?}");
        // A destination that goes on refusing does not lead to a flood of tokens.
        let server = Server::start([refusal(), refusal(), refusal()]).await;
        let sink = OtlpSink::authorized(server.config(protocol), Credentials::of(auth)).unwrap();
        assert!(sink.send(logs(1, 1, 3, 0)).await.is_err());
        assert_eq!(server.requests().len(), 1, "{protocol:?}");
        assert_eq!(issuer.asked.lock().len(), before + 2, "{protocol:?}");
    }
}

/// Asks for credentials and gets no answer.
#[derive(Debug)]
struct Waiting;

#[async_trait]
impl ClientAuth for Waiting {
    async fn authorize(&self, _: Sender<'_>, _: &mut http::HeaderMap) -> Result<(), NoCredentials> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn waiting_for_credentials_is_a_part_of_the_time_of_an_attempt() {
    const LIMIT: TimeSpan = TimeSpan(Duration::from_millis(50));
    let credentials = || Credentials::of(Arc::new(Waiting));
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    for protocol in PROTOCOLS {
        let mut config = OtlpConfig::new(protocol, "http://127.0.0.1:9");
        (config.timeout, config.retry.enabled) = (LIMIT.0, false);
        sinks.push(Box::new(OtlpSink::authorized(config, credentials()).unwrap()));
    }
    let loki = LokiConfig {
        endpoint: "http://127.0.0.1:9/loki/api/v1/push".to_owned(),
        timeout: LIMIT,
        ..LokiConfig::default()
    };
    sinks.push(Box::new(LokiSink::authorized(&loki, credentials()).unwrap()));
    let mut elastic = ElasticsearchConfig {
        endpoint: Some("http://127.0.0.1:9".to_owned()),
        timeout: LIMIT,
        ..ElasticsearchConfig::default()
    };
    elastic.retry.enabled = false;
    let elastic = ElasticsearchSink::authorized(elastic, credentials());
    sinks.push(Box::new(elastic.unwrap()));
    for sink in sinks {
        let error = sink.send(logs(1, 1, 3, 0)).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert!(error.reason().contains("no answer within 50ms"), "{error}");
    }
}

#[tokio::test]
async fn without_a_token_a_batch_is_to_be_sent_again_and_the_secret_is_not_told() {
    let (issuer, settings) = start(Issuer::default()).await;
    issuer.broken.store(1, Ordering::Relaxed);
    let server = Server::start([]).await;
    let auth: Arc<dyn ClientAuth> = oauth2(&settings);
    let sink = OtlpSink::authorized(server.config(PROTOCOLS[1]), Credentials::of(auth)).unwrap();
    // The sink's own retries get over it.
    sink.send(logs(1, 1, 3, 0)).await.unwrap();
    assert_eq!(server.requests().len(), 1);
    issuer.broken.store(usize::MAX, Ordering::Relaxed);
    let mut config = server.config(PROTOCOLS[0]);
    config.retry.enabled = false;
    let auth: Arc<dyn ClientAuth> = oauth2(&settings);
    let error = OtlpSink::authorized(config, Credentials::of(auth))
        .unwrap()
        .send(logs(1, 1, 3, 0))
        .await
        .unwrap_err();
    assert!(
        error.is_retryable() && error.reason().contains("out_of_order"),
        "{error}"
    );
    assert!(!error.reason().contains("hunter2"));
}
