//! Every listener speaks TLS and asks for credentials before it reads a body, each in its own terms.

use cupola_export::otlp::grpc_path;
use cupola_telemetry::Signal;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::Endpoint;
use tower::{Service, ServiceExt};

use super::{BASIC, BCRYPT, Secured, address, count, start};
use crate::graph::bench_components::{Bench, bodies, logs};
use crate::support::frame;

fn all(tls: &str) -> String {
    let guarded = format!("endpoint: '127.0.0.1:0', tls: {tls}, auth: {{authenticator: basicauth/server}}");
    format!(
        "receivers:\n  otlp: {{protocols: {{grpc: {{{guarded}}}, http: {{{guarded}, cors: {{allowed_origins: ['https://page']}}}}}}}}\n  \
         loki: {{protocols: {{http: {{{guarded}}}}}}}\n  prometheusremotewrite: {{{guarded}}}\n  zipkin: {{{guarded}}}\n  \
         jaeger: {{protocols: {{grpc: {{{guarded}}}, thrift_http: {{{guarded}}}}}}}\n\
         exporters: {{keep: }}\nextensions:\n  basicauth/server: {{htpasswd: {{inline: '{BCRYPT}'}}}}\n\
         service:\n  pipelines:\n    logs: {{receivers: [otlp, loki], exporters: [keep]}}\n    \
         metrics: {{receivers: [prometheusremotewrite], exporters: [keep]}}\n    \
         traces: {{receivers: [zipkin, jaeger], exporters: [keep]}}\n"
    )
}

/// The code of a call over TLS, with a header for credentials if there is one.
async fn grpc(
    secured: &Secured,
    address: std::net::SocketAddr,
    path: &str,
    authorization: Option<&str>,
    message: &[u8],
) -> Code {
    let uri: http::Uri = format!("https://localhost:{}{path}", address.port())
        .parse()
        .unwrap();
    let endpoint = Endpoint::from_shared(format!("http://localhost:{}", address.port())).unwrap();
    let mut channel = endpoint
        .origin(uri.clone())
        .connect_with_connector(secured.tls().connector())
        .await
        .unwrap();
    let mut request = http::Request::post(uri).header("content-type", "application/grpc");
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let body = tonic::body::Body::new(Full::new(frame(false, message)));
    let answer = channel.ready().await.unwrap().call(request.body(body).unwrap());
    let (head, body) = answer.await.unwrap().into_parts();
    let trailers = body
        .collect()
        .await
        .unwrap()
        .trailers()
        .cloned()
        .unwrap_or_default();
    let status = tonic::Status::from_header_map(&trailers);
    status
        .or_else(|| tonic::Status::from_header_map(&head.headers))
        .unwrap()
        .code()
}

/// What a receiver over HTTP is posted, and what it answers to it.
struct Case {
    receiver: &'static str,
    protocol: &'static str,
    path: &'static str,
    kind: &'static str,
    body: Vec<u8>,
    success: u16,
}

fn cases() -> Vec<Case> {
    let case = |receiver, path, kind, body: &[u8], success| Case {
        receiver,
        protocol: if receiver == "jaeger" {
            "thrift_http"
        } else {
            "http"
        },
        path,
        kind,
        body: body.to_vec(),
        success,
    };
    let (json, protobuf) = ("application/json", "application/x-protobuf");
    let record = logs(&["over TLS"]);
    vec![
        case("otlp", "/v1/logs", protobuf, record.payload(), 200),
        case("loki", "/loki/api/v1/push", json, b"{\"streams\":[]}", 204),
        case("prometheusremotewrite", "/api/v1/write", protobuf, &[0], 204),
        case("zipkin", "/api/v2/spans", json, b"[]", 202),
        // As far as the body, which is none.
        case("jaeger", "/api/traces", "application/x-thrift", &[1], 400),
    ]
}

#[tokio::test]
async fn posts_are_taken_with_credentials_and_refused_without() {
    let (secured, bench) = (Secured::new(), Bench::default());
    let pipelines = start(&bench, &all(&secured.server())).await;
    let client = secured.https();
    for Case {
        receiver,
        protocol,
        path,
        kind,
        body,
        success,
    } in cases()
    {
        let port = address(&pipelines, receiver, protocol).port();
        let url = format!("https://localhost:{port}{path}");
        let post = |authorization: &'static str| {
            let request = client.post(&url).header("content-type", kind).body(body.clone());
            match authorization {
                "" => request.send(),
                value => request.header("authorization", value).send(),
            }
        };
        for wrong in ["", "Basic YWdlbnQ6d3Jvbmc=", "Bearer password"] {
            let refused = post(wrong).await.unwrap();
            assert_eq!(refused.status(), 401, "{receiver} {wrong}");
            let challenge = refused.headers()["www-authenticate"].to_str().unwrap().to_owned();
            assert!(challenge.starts_with("Basic realm="), "{receiver}: {challenge}");
        }
        let taken = post(BASIC).await.unwrap();
        assert_eq!(
            taken.status().as_u16(),
            success,
            "{receiver}: {:?}",
            taken.text().await
        );
        // Without TLS there is no answer at all.
        let plain = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://localhost:{port}{path}");
        assert!(
            plain.post(url).body(body.clone()).send().await.is_err(),
            "{receiver}"
        );
    }
    assert_eq!(bodies(&bench.arrived("keep")), ["over TLS"]);
    assert_eq!(
        count(&pipelines, "cupola_receiver_requests_unauthenticated_total"),
        15.0
    );
    // Right once, and wrong five times; the rest was remembered or needed no look.
    assert_eq!(count(&pipelines, "cupola_auth_passwords_checked_total"), 6.0);
    pipelines.shutdown().await;
}

#[tokio::test]
async fn calls_are_taken_with_credentials_and_unauthenticated_without() {
    let (secured, bench) = (Secured::new(), Bench::default());
    let pipelines = start(&bench, &all(&secured.server())).await;
    let record = logs(&["over gRPC"]).payload().to_vec();
    for (receiver, path, message) in [
        ("otlp", grpc_path(Signal::Logs), &record[..]),
        ("jaeger", "/jaeger.api_v2.CollectorService/PostSpans", &[]),
    ] {
        let at = address(&pipelines, receiver, "grpc");
        for wrong in [None, Some("Basic YWdlbnQ6d3Jvbmc=")] {
            let code = grpc(&secured, at, path, wrong, message).await;
            assert_eq!(code, Code::Unauthenticated, "{receiver} {wrong:?}");
        }
        let code = grpc(&secured, at, path, Some(BASIC), message).await;
        assert_eq!(code, Code::Ok, "{receiver}");
    }
    assert_eq!(bodies(&bench.arrived("keep")), ["over gRPC"]);
    assert_eq!(
        count(&pipelines, "cupola_receiver_requests_unauthenticated_total"),
        4.0
    );
    pipelines.shutdown().await;
}

#[tokio::test]
async fn browsers_may_ask_without_credentials_and_pages_can_read_the_refusal() {
    let (secured, bench) = (Secured::new(), Bench::default());
    let pipelines = start(&bench, &all(&secured.server())).await;
    let port = address(&pipelines, "otlp", "http").port();
    let url = format!("https://localhost:{port}/v1/logs");
    let client = secured.https();
    let preflight = client
        .request(reqwest::Method::OPTIONS, &url)
        .header("origin", "https://page")
        .header("access-control-request-method", "POST");
    assert_eq!(preflight.send().await.unwrap().status(), 204);
    let refused = client
        .post(&url)
        .header("origin", "https://page")
        .header("content-type", "application/json")
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["access-control-allow-origin"], "https://page");
    // The code of the protocol is in the body: 16.
    assert!(refused.text().await.unwrap().contains("\"code\":16"));
    let elsewhere = client.get(format!("https://localhost:{port}/secret")).send();
    assert_eq!(
        elsewhere.await.unwrap().status(),
        401,
        "nobody learns what there is"
    );
    pipelines.shutdown().await;
}

#[tokio::test]
async fn whoever_asks_before_sending_is_refused_without_having_sent_a_body() {
    let bench = Bench::default();
    let configuration = "\
receivers: {zipkin: {endpoint: '127.0.0.1:0', auth: {authenticator: bearertokenauth}}}
exporters: {keep: }
extensions: {bearertokenauth: {token: right}}
service: {pipelines: {traces: {receivers: [zipkin], exporters: [keep]}}}
";
    let pipelines = start(&bench, configuration).await;
    let mut stream = TcpStream::connect(address(&pipelines, "zipkin", "http"))
        .await
        .unwrap();
    let head = "POST /api/v2/spans HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\
                content-type: application/json\r\ncontent-length: 2\r\n";
    let ask = |more: &str| format!("{head}{more}\r\n");
    stream.write_all(ask("").as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    let text = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(text.starts_with("HTTP/1.1 401 "), "{text}");
    assert!(
        text.to_lowercase().contains("www-authenticate: bearer realm="),
        "{text}"
    );
    let mut stream = TcpStream::connect(address(&pipelines, "zipkin", "http"))
        .await
        .unwrap();
    stream
        .write_all(ask("authorization: Bearer right\r\n").as_bytes())
        .await
        .unwrap();
    let length = stream.read(&mut answer).await.unwrap();
    let text = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(text.starts_with("HTTP/1.1 100 "), "{text}");
    pipelines.shutdown().await;
}

#[tokio::test]
async fn a_peer_that_does_not_finish_its_handshake_holds_up_nobody_and_not_the_end() {
    let (secured, bench) = (Secured::new(), Bench::default());
    let pipelines = start(&bench, &all(&secured.server())).await;
    let at = address(&pipelines, "otlp", "http");
    let mut silent = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(&[0x16, 3, 1, 2, 0]).await.unwrap();
        silent.push(stream);
    }
    let url = format!("https://localhost:{}/v1/logs", at.port());
    let answer = secured
        .https()
        .post(url)
        .header("content-type", "application/x-protobuf")
        .header("authorization", BASIC)
        .body(logs(&["meanwhile"]).payload().to_vec());
    assert_eq!(answer.send().await.unwrap().status(), 200);
    pipelines.shutdown().await;
    for mut stream in silent {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    }
    assert_eq!(bodies(&bench.arrived("keep")), ["meanwhile"]);
}

#[tokio::test]
async fn the_page_to_scrape_is_for_those_who_are_known() {
    let (secured, bench) = (Secured::new(), Bench::default());
    let port = cupola_peers::free_port();
    let configuration = format!(
        "receivers: {{push: }}\nexporters: {{prometheus: {{endpoint: '127.0.0.1:{port}', tls: {}, \
         auth: {{authenticator: bearertokenauth}}}}}}\nextensions: {{bearertokenauth: {{token: right}}}}\n\
         service: {{pipelines: {{metrics: {{receivers: [push], exporters: [prometheus]}}}}}}\n",
        secured.server()
    );
    let pipelines = start(&bench, &configuration).await;
    let get = |token: &str| {
        let url = format!("https://localhost:{port}/metrics");
        secured.https().get(url).bearer_auth(token).send()
    };
    let refused = get("wrong").await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["www-authenticate"], "Bearer realm=\"cupola\"");
    assert_eq!(get("right").await.unwrap().status(), 200);
    assert!(
        reqwest::get(format!("http://localhost:{port}/metrics"))
            .await
            .is_err()
    );
    assert_eq!(
        count(&pipelines, "cupola_exporter_prometheus_denied_scrapes"),
        1.0
    );
    assert_eq!(count(&pipelines, "cupola_exporter_prometheus_scrapes"), 1.0);
    pipelines.shutdown().await;
}
