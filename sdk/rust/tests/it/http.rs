//! Servers of axum and clients of reqwest and tower, over sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::{get, post};
use cupola_sdk::core::propagation::{Format, Injector as _, Propagators};
use cupola_sdk::core::recorder::Scope;
use cupola_sdk::core::sampling::{AlwaysOff, ForceSettings};
use cupola_sdk::core::tracer::Start;
use cupola_sdk::core::{Sdk, Settings};
use cupola_sdk::http::{Claims, ClientLayer, SendTraced as _, ServerLayer};
use cupola_sdk::layer::LayerOptions;
use cupola_sdk::testing::{Capture, CapturedSpan};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message as _;

/// Serves routes on a port of its own until the test ends.
async fn serve(routes: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    format!("http://{address}")
}

fn routes(sdk: &Sdk, layer: impl FnOnce(ServerLayer) -> ServerLayer) -> Router {
    let order = || async {
        tracing::info!("looking");
        "order"
    };
    Router::new()
        .route("/orders/{id}", get(order))
        .route("/broken", post(|| async { (StatusCode::BAD_GATEWAY, "broken") }))
        .route("/health", get(|| async { "ok" }))
        .route("/panics", get(|| async { panic!("on purpose") as &str }))
        .route("/slow", get(|| async { std::future::pending::<&str>().await }))
        .layer(layer(ServerLayer::new(sdk)))
}

/// Waits for the spans of so many requests: a server's ends after its client has read all of it.
async fn spans(capture: &Capture, count: usize) -> Vec<CapturedSpan> {
    loop {
        let spans = capture.spans();
        if spans.len() >= count {
            return spans;
        }
        tokio::task::yield_now().await;
    }
}

fn of_kind(spans: &[CapturedSpan], kind: i32) -> &CapturedSpan {
    spans.iter().find(|span| span.kind == kind).unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn a_request_is_one_trace_from_client_to_handler_with_who_asks_on_everything() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let payload = r#"{"sub":"alice"}"#;
    let payload = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, payload);
    let base = serve(routes(capture.sdk(), |layer| {
        layer
            .header("x-tenant", "tenant.id")
            .claims(Claims::verified_by_a_gateway([("sub", "user.id")]))
    }))
    .await;
    let client = ClientLayer::new(capture.sdk());
    let answer = reqwest::Client::new()
        .get(format!("{base}/orders/17?full=1"))
        .header("x-tenant", "acme")
        .bearer_auth(format!("e30.{payload}.c2ln"))
        .send_traced(&client)
        .await
        .unwrap();
    assert_eq!(answer.text().await.unwrap(), "order");

    let spans = spans(&capture, 2).await;
    let (server, client) = (of_kind(&spans, 2), of_kind(&spans, 3));
    assert_eq!(
        (server.name.as_str(), client.name.as_str()),
        ("GET /orders/{id}", "GET")
    );
    assert_eq!(
        (&server.trace_id, &server.parent_span_id),
        (&client.trace_id, &client.span_id)
    );
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/orders/{id}"),
        ("url.path", "/orders/17"),
        ("url.query", "full=1"),
        ("url.scheme", "http"),
        ("client.address", "127.0.0.1"),
        ("server.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("tenant.id", "acme"),
        ("user.id", "alice"),
    ] {
        assert_eq!(server.attributes[key], value, "{key}");
    }
    assert_eq!(server.attributes["http.response.status_code"], 200i64);
    assert_eq!(server.attributes["http.response.body.size"], 5i64);
    assert_eq!(
        client.attributes["url.full"],
        format!("{base}/orders/17?full=1").as_str()
    );
    assert_eq!(client.attributes["http.response.status_code"], 200i64);
    assert_eq!((server.status_code, client.status_code), (0, 0));
    let logs = capture.logs();
    let looking = logs.iter().find(|log| log.body == "looking").unwrap();
    assert_eq!(looking.span_id, server.span_id);
    assert_eq!(looking.attributes["tenant.id"], "acme");
    assert_eq!(looking.attributes["user.id"], "alice");
}

#[tokio::test(flavor = "current_thread")]
async fn failures_are_told_and_excluded_paths_are_not() {
    let capture = Capture::new();
    let base = serve(routes(capture.sdk(), |layer| layer.excluded(["/health"]))).await;
    let client = reqwest::Client::new();
    client.get(format!("{base}/health")).send().await.unwrap();
    client
        .post(format!("{base}/broken"))
        .body("abc")
        .send()
        .await
        .unwrap();
    let nowhere = client
        .request("BREW".parse().unwrap(), format!("{base}/none"))
        .send()
        .await
        .unwrap();
    assert_eq!(nowhere.status(), 404);
    let spans = spans(&capture, 2).await;
    let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let broken = find("POST /broken");
    assert_eq!(broken.status_code, 2);
    assert_eq!(broken.attributes["error.type"], "502");
    assert_eq!(broken.attributes["http.request.body.size"], 3i64);
    let unknown = find("_OTHER");
    assert_eq!(unknown.attributes["http.request.method_original"], "BREW");
    assert_eq!((unknown.status_code, spans.len()), (0, 2));
}

#[tokio::test(flavor = "current_thread")]
async fn a_handler_that_panics_is_not_taken_for_a_client_that_went_away() {
    let capture = Capture::new();
    let base = serve(routes(capture.sdk(), |layer| layer)).await;
    let answer = reqwest::Client::new().get(format!("{base}/panics")).send().await;
    assert!(answer.is_err(), "the connection is closed");
    let spans = spans(&capture, 1).await;
    assert_eq!(spans[0].name, "GET /panics");
    assert_eq!(spans[0].status_code, 2);
    assert_eq!(spans[0].attributes["error.type"], "panic");
}

#[tokio::test(flavor = "current_thread")]
async fn a_client_that_goes_away_and_a_server_that_is_not_there_are_failures() {
    let capture = Capture::new();
    let base = serve(routes(capture.sdk(), |layer| layer)).await;
    let layer = ClientLayer::new(capture.sdk());
    let client = reqwest::Client::builder()
        .timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    assert!(
        client
            .get(format!("{base}/slow"))
            .send_traced(&layer)
            .await
            .unwrap_err()
            .is_timeout()
    );
    let spans = spans(&capture, 2).await;
    assert_eq!(of_kind(&spans, 2).attributes["error.type"], "cancelled");
    assert_eq!(of_kind(&spans, 3).attributes["error.type"], "timeout");
    capture.clear();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let failed = client
        .get(format!("http://user:secret@{closed}/"))
        .send_traced(&layer)
        .await;
    assert!(failed.is_err());
    let span = capture.span("GET");
    assert_eq!(span.status_code, 2);
    assert_eq!(span.attributes["error.type"], "connect");
    assert_eq!(span.attributes["url.full"], format!("http://{closed}/").as_str());
}

#[tokio::test(flavor = "current_thread")]
async fn a_server_at_the_border_links_what_it_is_told_and_believes_none_of_it() {
    let capture = Capture::new();
    let base = serve(routes(capture.sdk(), ServerLayer::at_the_border)).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let client = reqwest::Client::new();
    client
        .get(format!("{base}/orders/1"))
        .header("traceparent", parent)
        .header("baggage", "tenant.id=evil")
        .send()
        .await
        .unwrap();
    let spans = spans(&capture, 1).await;
    let server = &spans[0];
    assert_ne!(server.trace_id, "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(server.links[0].trace_id, "0af7651916cd43dd8448eb211c80319c");
    assert!(!server.attributes.contains_key("tenant.id"));
}

/// A capture of nothing but what is forced, with `force` as settings.
fn forced_alone(force: ForceSettings) -> Capture {
    let mut settings = Settings::default();
    settings.traces.sampler = Arc::new(AlwaysOff);
    settings.traces.force = force;
    settings.propagators = Propagators(vec![Format::TraceContext, Format::Baggage, Format::B3]);
    Capture::with(settings, LayerOptions::default())
}

/// Whether each of several requests is recorded: forced by baggage, by B3, by its query, by its header.
async fn forced(force: ForceSettings, layer: impl FnOnce(ServerLayer) -> ServerLayer) -> Vec<&'static str> {
    let capture = forced_alone(force);
    let base = serve(routes(capture.sdk(), layer)).await;
    let client = reqwest::Client::new();
    let b3 = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-d";
    for (path, header, value) in [
        ("/orders/baggage", "baggage", "cupola.force=1"),
        ("/orders/b3", "b3", b3),
        ("/orders/query?force_full_trace=1", "x", "y"),
        ("/orders/header", "x-force-full-trace", "true"),
        ("/orders/none", "x-force-full-trace", "0"),
    ] {
        let request = client.get(format!("{base}{path}")).header(header, value);
        assert_eq!(request.send().await.unwrap().text().await.unwrap(), "order");
    }
    // One that is asked for in this process comes after them.
    let tracer = capture.sdk().tracer(Scope::nameless());
    let last = tracer.start(Start {
        is_forced: true,
        ..Start::new("last")
    });
    tracer.end(last.recording.unwrap());
    let spans = capture.spans();
    let of = ["baggage", "b3", "query", "header", "none"];
    let has = |name: &&'static str| {
        let path = format!("/orders/{name}");
        spans.iter().any(|span| {
            span.attributes
                .get("url.path")
                .is_some_and(|found| *found == path.as_str())
        })
    };
    of.into_iter().filter(has).collect()
}

#[tokio::test(flavor = "current_thread")]
async fn who_may_force_a_trace_is_a_matter_of_the_settings_and_of_the_layer() {
    let strangers = || ForceSettings {
        from_callers: false,
        ..ForceSettings::usual()
    };
    let default = ForceSettings::default;
    assert_eq!(forced(default(), |layer| layer).await, ["baggage", "b3"]);
    assert_eq!(
        forced(ForceSettings::usual(), |layer| layer).await,
        ["baggage", "b3", "query", "header"]
    );
    assert_eq!(forced(strangers(), |layer| layer).await, ["query", "header"]);
    assert_eq!(
        forced(ForceSettings::usual(), ServerLayer::at_the_border).await,
        ["query", "header"]
    );
    let none: [&str; 0] = [];
    assert_eq!(forced(default(), ServerLayer::at_the_border).await, none);
    assert_eq!(
        forced(ForceSettings::usual(), ServerLayer::without_force).await,
        none
    );
}

#[tokio::test(flavor = "current_thread")]
async fn requests_are_measured_by_route() {
    let capture = Capture::new();
    let base = serve(routes(capture.sdk(), |layer| layer)).await;
    let client = reqwest::Client::new();
    for n in 0..3 {
        client
            .get(format!("{base}/orders/{n}"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
    }
    spans(&capture, 3).await;
    let mut found = Vec::new();
    for batch in capture
        .batches()
        .iter()
        .filter(|batch| batch.signal().as_str() == "metrics")
    {
        let request = ExportMetricsServiceRequest::decode(batch.payload().as_ref()).unwrap();
        for metric in request
            .resource_metrics
            .into_iter()
            .flat_map(|all| all.scope_metrics)
            .flat_map(|all| all.metrics)
        {
            let total = match metric.data.unwrap() {
                Data::Histogram(histogram) => {
                    histogram.data_points.iter().map(|point| point.count as i64).sum()
                }
                Data::Sum(sum) => sum
                    .data_points
                    .iter()
                    .map(|point| match point.value {
                        Some(opentelemetry_proto::tonic::metrics::v1::number_data_point::Value::AsInt(
                            value,
                        )) => value,
                        _ => 0,
                    })
                    .sum(),
                _ => continue,
            };
            found.push((metric.name, total));
        }
    }
    let last = |name: &str| {
        found
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, total)| *total)
    };
    assert_eq!(last("http.server.request.duration"), Some(3));
    assert_eq!(last("http.server.response.body.size"), Some(3));
    assert_eq!(last("http.server.active_requests"), Some(0));
}

#[tokio::test(flavor = "current_thread")]
async fn a_client_of_tower_has_its_context_go_along() {
    let capture = Capture::new();
    let seen = tower::service_fn(|request: axum::http::Request<Body>| async move {
        let parent = request.headers()["traceparent"].to_str().unwrap().to_owned();
        Ok::<_, std::convert::Infallible>(axum::http::Response::new(parent))
    });
    let service = tower::Layer::layer(&ClientLayer::new(capture.sdk()), seen);
    let request = axum::http::Request::get("http://shop.example:8080/x")
        .body(Body::empty())
        .unwrap();
    let answer = tower::ServiceExt::oneshot(service, request).await.unwrap();
    let span = capture.span("GET");
    assert_eq!(
        answer.into_body(),
        format!("00-{}-{}-03", span.trace_id, span.span_id)
    );
    assert_eq!(span.attributes["server.address"], "shop.example");
    assert_eq!(span.attributes["server.port"], 8080i64);
    // What cannot be a header is left out rather than panicked about.
    let mut headers = axum::http::HeaderMap::new();
    cupola_sdk::http::HeadersMut(&mut headers).set("not a name", "a\nb".to_owned());
    assert!(headers.is_empty());
}
