//! Changing authenticators and certificates while pipelines run: those who have them start anew, and nobody else.

use cupola_pipeline::graph::ReloadError;

use super::{Secured, address, start};
use crate::graph::bench_components::{Bench, bodies, logs};

fn configuration(password: &str, endpoint: &str) -> String {
    format!(
        "receivers:\n  otlp: {{protocols: {{http: {{endpoint: '{endpoint}', auth: {{authenticator: basicauth/server}}}}}}}}\n  push:\n\
         exporters:\n  keep:\n  otlphttp: {{endpoint: 'http://127.0.0.1:9', auth: {{authenticator: basicauth/client}}}}\n\
         extensions:\n  basicauth/server: {{htpasswd: {{inline: 'agent:{password}'}}}}\n  \
         basicauth/client: {{client_auth: {{username: a, password: b}}}}\n\
         service:\n  pipelines:\n    logs: {{receivers: [otlp], exporters: [keep]}}\n    \
         metrics: {{receivers: [push], exporters: [otlphttp]}}\n"
    )
}

async fn post(address: std::net::SocketAddr, password: &str, body: &str) -> u16 {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client
        .post(format!("http://{address}/v1/logs"))
        .header("content-type", "application/x-protobuf")
        .basic_auth("agent", Some(password))
        .body(logs(&[body]).payload().to_vec());
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_changed_password_starts_anew_who_asks_for_it_and_nobody_else() {
    let bench = Bench::default();
    let pipelines = start(&bench, &configuration("one", "127.0.0.1:0")).await;
    let at = address(&pipelines, "otlp", "http");
    assert_eq!(
        (post(at, "one", "1").await, post(at, "two", "x").await),
        (200, 401)
    );
    let port = at.to_string();
    // The port is fixed first, so that it is only the password that changes after that.
    pipelines
        .reload(bench.plan(&configuration("one", &port)))
        .await
        .unwrap();
    let changed = pipelines
        .reload(bench.plan(&configuration("two", &port)))
        .await
        .unwrap();
    assert_eq!(changed.made, ["receivers.otlp"]);
    assert_eq!(
        (post(at, "one", "x").await, post(at, "two", "2").await),
        (401, 200)
    );
    let same = pipelines
        .reload(bench.plan(&configuration("two", &port)))
        .await
        .unwrap();
    assert!(same.made.is_empty(), "{same:?}");
    let client = configuration("two", &port).replace("password: b", "password: c");
    let changed = pipelines.reload(bench.plan(&client)).await.unwrap();
    assert_eq!(changed.made, ["exporters.otlphttp"]);
    assert_eq!(bodies(&bench.arrived("keep")), ["1", "2"]);
    pipelines.shutdown().await;
}

#[tokio::test]
async fn an_authenticator_that_cannot_be_made_changes_nothing() {
    let (bench, folder) = (Bench::default(), tempfile::tempdir().unwrap());
    let pipelines = start(&bench, &configuration("one", "127.0.0.1:0")).await;
    let at = address(&pipelines, "otlp", "http");
    let missing = folder.path().join("htpasswd").display().to_string();
    let broken =
        configuration("one", "127.0.0.1:0").replace("inline: 'agent:one'", &format!("file: {missing}"));
    let error = pipelines.reload(bench.plan(&broken)).await.unwrap_err();
    let ReloadError::Refused(refused) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(
        (refused.role, refused.id.to_string()),
        ("extension", "basicauth/server".to_owned())
    );
    assert!(refused.source.to_string().contains("htpasswd"), "{refused:?}");
    assert_eq!(post(at, "one", "1").await, 200, "what ran runs on, on its port");
    pipelines.shutdown().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_refuses_the_change_and_the_old_one_serves_on() {
    let (secured, bench) = (Secured::new(), Bench::default());
    let with = |tls: &str| {
        format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:0', tls: {tls}}}}}}}}}\nexporters: {{keep: }}\n\
             service: {{pipelines: {{logs: {{receivers: [otlp], exporters: [keep]}}}}}}\n"
        )
    };
    let pipelines = start(&bench, &with(&secured.server())).await;
    let broken = secured.server().replace("server.key", "nobody.key");
    let error = pipelines.reload(bench.plan(&with(&broken))).await.unwrap_err();
    assert!(matches!(error, ReloadError::Refused(_)), "{error:?}");
    let url = format!(
        "https://localhost:{}/v1/logs",
        address(&pipelines, "otlp", "http").port()
    );
    let request = secured
        .https()
        .post(url)
        .header("content-type", "application/json");
    assert_eq!(request.body("{}").send().await.unwrap().status(), 200);
    pipelines.shutdown().await;
}
