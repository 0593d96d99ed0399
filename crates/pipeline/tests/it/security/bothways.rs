//! Exporters of one pipeline and receivers of another, which know each other by each authenticator there is.

use cupola_export::SendError;
use cupola_pipeline::graph::Pipelines;

use super::{BCRYPT, Secured, address, start};
use crate::graph::bench_components::{Bench, bodies, tenant_logs};

/// Receivers that ask for what `server` says.
async fn receiving(bench: &Bench, secured: &Secured, server: &str) -> Pipelines {
    let guarded = format!(
        "endpoint: '127.0.0.1:0', tls: {}, auth: {{authenticator: {}}}",
        secured.server(),
        server.split(':').next().unwrap()
    );
    let configuration = format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{{guarded}}}, http: {{{guarded}}}}}}}}}\nexporters: {{keep: }}\n\
         extensions:\n  {server}\nservice: {{pipelines: {{logs: {{receivers: [otlp], exporters: [keep]}}}}}}\n"
    );
    start(bench, &configuration).await
}

/// Exporters over gRPC and HTTP that show what `client` says.
async fn sending(bench: &Bench, secured: &Secured, to: &Pipelines, client: &str) -> Pipelines {
    let (grpc, http) = (address(to, "otlp", "grpc"), address(to, "otlp", "http"));
    let auth = format!("auth: {{authenticator: {}}}", client.split(':').next().unwrap());
    let rest = format!(
        "tls: {}, {auth}, sending_queue: {{enabled: false}}, retry_on_failure: {{enabled: false}}",
        secured.client()
    );
    let configuration = format!(
        "receivers: {{push: , push/2: }}\nexporters:\n  otlp: {{endpoint: 'localhost:{}', {rest}}}\n  \
         otlphttp: {{endpoint: 'https://localhost:{}', {rest}}}\nextensions:\n  {client}\n\
         service:\n  pipelines:\n    logs: {{receivers: [push], exporters: [otlp]}}\n    \
         logs/2: {{receivers: [push/2], exporters: [otlphttp]}}\n",
        grpc.port(),
        http.port()
    );
    start(bench, &configuration).await
}

/// Whether what is pushed arrives, over both transports.
async fn check(server: &str, client: &str, is_known: bool) {
    let (secured, near, far) = (Secured::new(), Bench::default(), Bench::default());
    let receiving = receiving(&far, &secured, server).await;
    let sending = sending(&near, &secured, &receiving, client).await;
    for source in ["push", "push/2"] {
        let sent = near.push(source, tenant_logs("team-a", &[source])).await;
        match is_known {
            true => assert!(sent.is_ok(), "{client} to {server}: {sent:?}"),
            false => assert!(
                matches!(sent, Err(SendError::Permanent { .. })),
                "{client} to {server}: {sent:?}"
            ),
        }
    }
    let arrived = far.arrived("keep");
    assert!(arrived.iter().all(|batch| batch.tenant().as_str() == "team-a"));
    match is_known {
        true => assert_eq!(bodies(&arrived), ["push", "push/2"]),
        false => assert!(arrived.is_empty()),
    }
    sending.shutdown().await;
    receiving.shutdown().await;
}

#[tokio::test]
async fn by_a_name_and_a_password() {
    let server = format!("basicauth/s: {{htpasswd: {{inline: '{BCRYPT}'}}}}");
    let client =
        |password: &str| format!("basicauth/c: {{client_auth: {{username: agent, password: {password}}}}}");
    check(&server, &client("password"), true).await;
    check(&server, &client("wrong"), false).await;
}

#[tokio::test]
async fn by_a_token() {
    let server = "bearertokenauth/s: {tokens: [one, two]}";
    check(server, "bearertokenauth/c: {token: two}", true).await;
    check(server, "bearertokenauth/c: {token: three}", false).await;
    check(server, "bearertokenauth/c: {scheme: Token, token: two}", false).await;
    let own = "{header: X-Key, scheme: '', token: hunter2}";
    check(
        &format!("bearertokenauth/s: {own}"),
        &format!("bearertokenauth/c: {own}"),
        true,
    )
    .await;
}

#[tokio::test]
async fn by_headers_that_are_set() {
    let server = "bearertokenauth/s: {header: X-Key, scheme: '', tokens: [team-a, hunter2]}";
    let client = |value: &str| format!("headers_setter: {{headers: [{{key: x-key, {value}}}]}}");
    check(server, &client("value: hunter2"), true).await;
    check(server, &client("from_context: X-Scope-OrgID"), true).await;
    check(server, &client("value: other"), false).await;
}
