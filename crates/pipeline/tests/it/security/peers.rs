//! Real peers over TLS with credentials, in both directions: the Python SDK, the Collector, Prometheus.

use std::process::Command;
use std::time::{Duration, SystemTime};

use cupola_peers::collector::Collector;
use cupola_peers::{Missing, Process, debian, free_port, peer_or_skip, wait_until};
use cupola_telemetry::{Batch, Signal, TenantId};

use super::{BCRYPT, Secured, address, start};
use crate::clients::programs::run;
use crate::clients::{expected, python};
use crate::graph::bench_components::{Bench, bodies, logs};
use crate::receivers::prometheus_server::PrometheusServer;

const PATIENCE: Duration = Duration::from_secs(30);

/// An OTLP receiver over TLS that asks for what `server` says.
fn receiver(secured: &Secured, server: &str, more_tls: &str) -> String {
    let tls = secured.server().replace('}', &format!("{more_tls}}}"));
    let id = server.split(':').next().unwrap();
    let guarded = format!("endpoint: '127.0.0.1:0', tls: {tls}, auth: {{authenticator: {id}}}");
    format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{{guarded}}}, http: {{{guarded}}}}}}}}}\nexporters: {{keep: }}\n\
         extensions:\n  {server}\nservice:\n  pipelines:\n    logs: {{receivers: [otlp], exporters: [keep]}}\n    \
         metrics: {{receivers: [otlp], exporters: [keep]}}\n    traces: {{receivers: [otlp], exporters: [keep]}}\n"
    )
}

async fn python_sends(server: &str, authorization: &str) {
    let (secured, bench) = (Secured::new(), Bench::default());
    let pipelines = start(&bench, &receiver(&secured, server, "")).await;
    let mut before = 0;
    for protocol in ["grpc", "http/protobuf"] {
        let transport = protocol.split('/').next().unwrap();
        let port = address(&pipelines, "otlp", transport).port();
        let endpoint = format!("https://localhost:{port}");
        let mut client = peer_or_skip!(python::client(protocol, &endpoint, "gzip").await);
        client.env("OTEL_EXPORTER_OTLP_CERTIFICATE", secured.path("ca.pem"));
        client.env(
            "OTEL_EXPORTER_OTLP_HEADERS",
            format!("authorization={authorization}"),
        );
        // The library would take these instead.
        for bundle in ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"] {
            client.env_remove(bundle);
        }
        run(&mut client).await;
        let arrived = bench.arrived("keep");
        expected::check(&arrived[before..], &format!("Python over {protocol} with TLS"));
        before = arrived.len();
    }
    pipelines.shutdown().await;
}

#[tokio::test]
async fn the_python_sdk_sends_with_a_password() {
    let server = format!("basicauth/server: {{htpasswd: {{inline: '{BCRYPT}'}}}}");
    python_sends(&server, "Basic%20YWdlbnQ6cGFzc3dvcmQ%3D").await;
}

#[tokio::test]
async fn the_python_sdk_sends_with_a_token() {
    python_sends("bearertokenauth: {token: hunter2}", "Bearer%20hunter2").await;
}

/// Cupola to the Collector to Cupola, both ends asking for a certificate, and the last one for a token as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_collector_takes_and_sends_with_certificates_on_both_sides() {
    let (secured, near, far) = (Secured::new(), Bench::default(), Bench::default());
    secured
        .authority
        .issue(&["agent"])
        .write(secured.folder.path(), "client");
    let path = |name: &str| secured.path(name).display().to_string();
    let (ca, certificate, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
    let mutual = format!(", client_ca_file: {ca}");
    let token = "bearertokenauth: {token: hunter2}";
    let last = start(&far, &receiver(&secured, token, &mutual)).await;
    let client = format!("{{ca_file: {ca}, cert_file: {certificate}, key_file: {key}}}");
    let (grpc_in, http_in) = (free_port(), free_port());
    let server = secured.server().replace('}', &format!("{mutual}}}"));
    let (grpc_out, http_out) = (address(&last, "otlp", "grpc"), address(&last, "otlp", "http"));
    let headers = "headers: {authorization: 'Bearer hunter2'}";
    let collector = format!(
        "receivers:\n  otlp/grpc: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{grpc_in}', tls: {server}}}}}}}\n  \
         otlp/http: {{protocols: {{http: {{endpoint: '127.0.0.1:{http_in}', tls: {server}}}}}}}\n\
         exporters:\n  otlp: {{endpoint: 'localhost:{}', tls: {client}, {headers}}}\n  \
         otlphttp: {{endpoint: 'https://localhost:{}', tls: {client}, {headers}}}\n\
         service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n    \
         logs/grpc: {{receivers: [otlp/grpc], exporters: [otlphttp]}}\n    \
         logs/http: {{receivers: [otlp/http], exporters: [otlp]}}\n",
        grpc_out.port(),
        http_out.port()
    );
    let collector = peer_or_skip!(Collector::start(&collector));
    let configuration = format!(
        "receivers: {{push: , push/2: }}\nexporters:\n  otlp: {{endpoint: 'localhost:{grpc_in}', tls: {client}}}\n  \
         otlphttp: {{endpoint: 'https://localhost:{http_in}', tls: {client}}}\n\
         service:\n  pipelines:\n    logs: {{receivers: [push], exporters: [otlp]}}\n    \
         logs/2: {{receivers: [push/2], exporters: [otlphttp]}}\n"
    );
    let first = start(&near, &configuration).await;
    near.push("push", logs(&["over gRPC"])).await.unwrap();
    near.push("push/2", logs(&["over HTTP"])).await.unwrap();
    let arrived = || {
        let mut arrived = bodies(&far.arrived("keep"));
        arrived.sort();
        arrived
    };
    let all = tokio::task::block_in_place(|| wait_until(PATIENCE, || arrived().len() == 2));
    assert!(all, "{:?}\n{}", arrived(), collector.output());
    assert_eq!(arrived(), ["over HTTP", "over gRPC"]);
    first.shutdown().await;
    last.shutdown().await;
}

/// Prometheus scrapes itself, and writes what it finds to us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_writes_with_a_password() {
    let (secured, bench) = (Secured::new(), Bench::default());
    let configuration = format!(
        "receivers: {{prometheusremotewrite: {{endpoint: '127.0.0.1:0', tls: {}, auth: {{authenticator: basicauth}}}}}}\n\
         exporters: {{keep: }}\nextensions: {{basicauth: {{htpasswd: {{inline: '{BCRYPT}'}}}}}}\n\
         service: {{pipelines: {{metrics: {{receivers: [prometheusremotewrite], exporters: [keep]}}}}}}\n",
        secured.server()
    );
    let pipelines = start(&bench, &configuration).await;
    let port = address(&pipelines, "prometheusremotewrite", "http").port();
    let configuration = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: own, static_configs: [{{targets: ['127.0.0.1:PORT']}}]}}]\n\
         remote_write:\n- url: https://localhost:{port}/api/v1/write\n  basic_auth: {{username: agent, password: password}}\n  \
         tls_config: {{ca_file: {}}}\n  queue_config: {{batch_send_deadline: 1s}}\n",
        secured.path("ca.pem").display()
    );
    let _server = peer_or_skip!(tokio::task::block_in_place(|| PrometheusServer::start(
        &configuration
    )));
    let arrived = || bench.arrived("keep");
    let some = tokio::task::block_in_place(|| wait_until(PATIENCE, || !arrived().is_empty()));
    assert!(some, "nothing came");
    assert_eq!(arrived()[0].signal(), Signal::Metrics);
    pipelines.shutdown().await;
}

/// Prometheus over TLS, for whoever knows the password, and where it listens.
fn guarded_prometheus(secured: &Secured) -> Result<(Process, u16), Missing> {
    let program = debian("prometheus", &["/usr/bin"], "prometheus")?;
    let (user, hash) = BCRYPT.split_once(':').unwrap();
    let web = format!(
        "tls_server_config: {}\nbasic_auth_users: {{{user}: '{hash}'}}\n",
        secured.server()
    );
    let (settings, log) = (secured.path("web.yml"), secured.path("log"));
    std::fs::write(&settings, web).unwrap();
    std::fs::write(secured.path("prometheus.yml"), "{}\n").unwrap();
    let port = free_port();
    let mut command = Command::new(program);
    command
        .arg(format!(
            "--config.file={}",
            secured.path("prometheus.yml").display()
        ))
        .arg(format!("--web.config.file={}", settings.display()))
        .arg(format!("--storage.tsdb.path={}", secured.path("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--web.enable-remote-write-receiver");
    let mut process = Process::start(command, log.clone())?;
    let is_ready = || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("Server is ready"));
    process.wait_until(PATIENCE, is_ready)?;
    Ok((process, port))
}

fn gauge() -> Batch {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let point = format!("{{\"timeUnixNano\":\"{}\",\"asDouble\":42}}", since.as_nanos());
    let json = format!(
        "{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[{{\"name\":\"guarded\",\
         \"gauge\":{{\"dataPoints\":[{point}]}}}}]}}]}}]}}"
    );
    Batch::decode_json(Signal::Metrics, TenantId::default_tenant(), json.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_knows_us_by_our_password_and_not_by_another() {
    let (secured, bench) = (Secured::new(), Bench::default());
    let started = tokio::task::block_in_place(|| guarded_prometheus(&secured));
    let (_process, port) = peer_or_skip!(started);
    let configuration = |password: &str| {
        format!(
            "receivers: {{push: }}\nexporters:\n  prometheusremotewrite: {{endpoint: 'https://localhost:{port}/api/v1/write', \
             tls: {}, auth: {{authenticator: basicauth}}, sending_queue: {{enabled: false}}, \
             retry_on_failure: {{enabled: false}}}}\n\
             extensions: {{basicauth: {{client_auth: {{username: agent, password: {password}}}}}}}\n\
             service: {{pipelines: {{metrics: {{receivers: [push], exporters: [prometheusremotewrite]}}}}}}\n",
            secured.client()
        )
    };
    let pipelines = start(&bench, &configuration("wrong")).await;
    let refused = bench.push("push", gauge()).await.unwrap_err();
    assert!(refused.reason().contains("401"), "{refused}");
    pipelines
        .reload(bench.plan(&configuration("password")))
        .await
        .unwrap();
    bench.push("push", gauge()).await.unwrap();
    let url = format!("https://localhost:{port}/api/v1/query?query=guarded");
    let answer = secured.https().get(url).basic_auth("agent", Some("password"));
    let text = answer.send().await.unwrap().text().await.unwrap();
    assert!(text.contains("\"42\""), "{text}");
    pipelines.shutdown().await;
}
