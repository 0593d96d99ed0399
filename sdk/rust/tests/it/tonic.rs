//! A server and a client of tonic, over a socket: a generated service whose methods do what they are asked for.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cupola_sdk::core::Settings;
use cupola_sdk::core::sampling::{AlwaysOff, ForceSettings};
use cupola_sdk::http::Claims;
use cupola_sdk::layer::LayerOptions;
use cupola_sdk::testing::{Capture, CapturedSpan};
use cupola_sdk::tonic::{ClientLayer, ClientService, ServerLayer};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::load_shed::error::Overloaded;

use crate::measured::histogram;

const CHECK: &str = "grpc.health.v1.Health/Check";
const WATCH: &str = "grpc.health.v1.Health/Watch";
const SERVER: i32 = 2;
const CLIENT: i32 = 3;
/// Long enough for a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

// Each test has a subscriber: where a place in the code is first passed without one, `tracing` may take it that nobody listens.

type Messages = std::pin::Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[derive(Debug)]
struct Asked;

#[tonic::async_trait]
impl Health for Asked {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        tracing::info!("looking");
        match request.into_inner().service.as_str() {
            "missing" => Err(Status::not_found("no such thing: 7 %")),
            "broken" => Err(Status::internal("out of order")),
            "unfinished" => Err(Status::unimplemented("not yet")),
            "slow" => std::future::pending().await,
            "panics" => panic!("a handler panics"),
            _ => Ok(Response::new(HealthCheckResponse { status: 1 })),
        }
    }

    type WatchStream = Messages;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Messages>, Status> {
        let three = tokio_stream::iter(0..3).map(|status| {
            tracing::info!(status, "told");
            Ok(HealthCheckResponse { status })
        });
        let messages: Messages = match request.into_inner().service.as_str() {
            "breaks" => Box::pin(three.chain(tokio_stream::iter([Err(Status::data_loss("torn"))]))),
            "endless" => Box::pin(three.chain(tokio_stream::pending())),
            _ => Box::pin(three),
        };
        Ok(Response::new(messages))
    }
}

type Client = HealthClient<ClientService<Channel>>;

/// A server of its own until the test ends.
async fn serve(routes: Routes, layer: ServerLayer) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().layer(layer).add_routes(routes);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

fn client(capture: &Capture, address: SocketAddr) -> Client {
    let endpoint: Endpoint = format!("http://{address}").parse().unwrap();
    let layer = ClientLayer::new(capture.sdk()).server(endpoint.uri());
    HealthClient::new(tower::Layer::layer(&layer, endpoint.connect_lazy()))
}

async fn both(capture: &Capture) -> Client {
    let routes = Routes::new(HealthServer::new(Asked));
    let address = serve(routes, ServerLayer::new(capture.sdk())).await;
    client(capture, address)
}

fn ask(service: &str) -> Request<HealthCheckRequest> {
    Request::new(HealthCheckRequest {
        service: service.to_owned(),
    })
}

/// Those of calls, without what the libraries below say of connections.
fn now(capture: &Capture) -> Vec<CapturedSpan> {
    let mut spans = capture.spans();
    spans.retain(|span| span.scope == "cupola-sdk/tonic");
    spans
}

/// Waits for so many spans: a server's ends when it has written all of it.
async fn spans(capture: &Capture, count: usize) -> Vec<CapturedSpan> {
    let enough = async {
        loop {
            let spans = now(capture);
            if spans.len() >= count {
                return spans;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, enough).await.unwrap()
}

fn of_kind(spans: &[CapturedSpan], kind: i32) -> &CapturedSpan {
    spans.iter().find(|span| span.kind == kind).unwrap()
}

/// The code of both sides, and whether each has failed.
fn ends(spans: &[CapturedSpan]) -> [(String, bool); 2] {
    [CLIENT, SERVER].map(|kind| {
        let span = of_kind(spans, kind);
        let code = span.attributes["rpc.response.status_code"].to_string();
        let failed = span.status_code == 2;
        assert_eq!(failed, span.attributes.contains_key("error.type"), "{span:?}");
        (code.trim_matches('"').to_owned(), failed)
    })
}

fn end(code: &str, is_failed: bool) -> (String, bool) {
    (code.to_owned(), is_failed)
}

#[tokio::test(flavor = "current_thread")]
async fn a_call_is_one_trace_with_who_calls_on_everything() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let layer = ServerLayer::new(capture.sdk())
        .metadata("x-tenant", "tenant.id")
        .claims(Claims::verified_by_a_gateway([("sub", "user.id")]));
    let address = serve(Routes::new(HealthServer::new(Asked)), layer).await;
    let mut request = ask("");
    let payload = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, r#"{"sub":"alice"}"#);
    let bearer = format!("Bearer e30.{payload}.c2ln");
    request.metadata_mut().insert("x-tenant", "acme".parse().unwrap());
    request
        .metadata_mut()
        .insert("authorization", bearer.parse().unwrap());
    let context = cupola_sdk::Context::root()
        .with_member("correlation_id", "17")
        .unwrap();
    let mut client = client(&capture, address);
    let called = cupola_sdk::InContext::in_context(client.check(request), context);
    assert_eq!(called.await.unwrap().into_inner().status, 1);

    let spans = spans(&capture, 2).await;
    let (server, client) = (of_kind(&spans, SERVER), of_kind(&spans, CLIENT));
    assert_eq!((server.name.as_str(), client.name.as_str()), (CHECK, CHECK));
    assert_eq!(
        (&server.trace_id, &server.parent_span_id),
        (&client.trace_id, &client.span_id)
    );
    for span in [server, client] {
        assert_eq!(span.attributes["rpc.system.name"], "grpc");
        assert_eq!(span.attributes["rpc.method"], CHECK);
        assert_eq!(span.attributes["server.address"], "127.0.0.1");
        assert_eq!(span.attributes["server.port"], i64::from(address.port()));
        assert_eq!(span.attributes["correlation_id"], "17");
    }
    assert_eq!(server.attributes["client.address"], "127.0.0.1");
    assert_eq!(ends(&spans), [end("OK", false), end("OK", false)]);
    let logs = capture.logs();
    let looking = logs.iter().find(|log| log.body == "looking").unwrap();
    assert_eq!(looking.span_id, server.span_id);
    for (key, value) in [
        ("tenant.id", "acme"),
        ("user.id", "alice"),
        ("correlation_id", "17"),
    ] {
        assert_eq!(server.attributes[key], value, "{key}");
        assert_eq!(looking.attributes[key], value, "{key}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_failure_of_the_caller_is_none_of_the_server() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let mut client = both(&capture).await;
    for (service, code, is_of_server) in [
        ("missing", "NOT_FOUND", false),
        ("broken", "INTERNAL", true),
        ("unfinished", "UNIMPLEMENTED", true),
    ] {
        capture.clear();
        let told = client.check(ask(service)).await.unwrap_err();
        let spans = spans(&capture, 2).await;
        assert_eq!(
            ends(&spans),
            [end(code, true), end(code, is_of_server)],
            "{service}"
        );
        assert_eq!(of_kind(&spans, CLIENT).status_message, told.message());
        assert_eq!(of_kind(&spans, SERVER).attributes["rpc.method"], CHECK);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_stream_is_a_span_until_the_status_behind_its_last_message() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let mut client = both(&capture).await;
    let mut stream = client.watch(ask("")).await.unwrap().into_inner();
    for _ in 0..3 {
        stream.message().await.unwrap().unwrap();
    }
    assert!(
        now(&capture).iter().all(|span| span.kind == SERVER),
        "the client waits for the status"
    );
    assert_eq!(stream.message().await.unwrap(), None);
    let ended = spans(&capture, 2).await;
    assert_eq!(ends(&ended), [end("OK", false), end("OK", false)]);
    let server = of_kind(&ended, SERVER);
    assert_eq!(
        (server.name.as_str(), &server.parent_span_id),
        (WATCH, &of_kind(&ended, CLIENT).span_id)
    );
    let logs = capture.logs();
    let told: Vec<_> = logs.iter().filter(|log| log.body == "told").collect();
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|log| log.span_id == server.span_id));

    capture.clear();
    let mut stream = client.watch(ask("breaks")).await.unwrap().into_inner();
    while let Ok(message) = stream.message().await {
        assert!(message.is_some());
    }
    let ended = spans(&capture, 2).await;
    assert_eq!(ends(&ended), [end("DATA_LOSS", true), end("DATA_LOSS", true)]);
    assert_eq!(of_kind(&ended, CLIENT).status_message, "torn");
}

#[tokio::test(flavor = "current_thread")]
async fn whoever_goes_away_has_cancelled_the_call() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let mut client = both(&capture).await;
    let mut stream = client.watch(ask("endless")).await.unwrap().into_inner();
    for _ in 0..3 {
        stream.message().await.unwrap();
    }
    drop(stream);
    let ended = spans(&capture, 2).await;
    assert_eq!(ends(&ended), [end("CANCELLED", true), end("CANCELLED", false)]);

    capture.clear();
    {
        let called = client.check(ask("slow"));
        tokio::pin!(called);
        let looked = async {
            while !capture.logs().iter().any(|log| log.body == "looking") {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            answered = &mut called => panic!("{answered:?}"),
            looked = tokio::time::timeout(LIMIT, looked) => looked.unwrap(),
        }
    }
    let ended = spans(&capture, 2).await;
    assert_eq!(ends(&ended), [end("CANCELLED", true), end("CANCELLED", false)]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_handler_that_panics_is_a_failure_of_the_server() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let mut client = both(&capture).await;
    let told = client.check(ask("panics")).await.unwrap_err();
    let ended = spans(&capture, 2).await;
    let [of_client, of_server] = ends(&ended);
    assert!(of_client.1, "{told}");
    assert_eq!(of_server, end("INTERNAL", true));
}

#[tokio::test(flavor = "current_thread")]
async fn what_an_inner_layer_refuses_ends_as_its_error_says_and_the_error_goes_on() {
    type BoxError = Box<dyn std::error::Error + Send + Sync>;
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    for (code, refuse) in [
        (
            "RESOURCE_EXHAUSTED",
            (|| Overloaded::new().into()) as fn() -> BoxError,
        ),
        ("UNAVAILABLE", || Status::unavailable("not yet").into()),
        ("UNKNOWN", || "torn".into()),
    ] {
        capture.clear();
        let inner = tower::service_fn(move |_: http::Request<String>| async move {
            Err::<http::Response<String>, _>(refuse())
        });
        let service = tower::Layer::layer(&ServerLayer::new(capture.sdk()), inner);
        let request = http::Request::post(format!("/{CHECK}")).header("content-type", "application/grpc");
        let refused = tower::ServiceExt::oneshot(service, request.body(String::new()).unwrap()).await;
        assert_eq!(refused.unwrap_err().to_string(), refuse().to_string());
        let span = capture.span(CHECK);
        assert_eq!(span.attributes["rpc.response.status_code"], code);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn methods_that_nobody_has_answered_are_one_series() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let door = tower::service_fn(|request: http::Request<String>| async move {
        let status = match request.headers().contains_key("authorization") {
            true => Status::not_found("no such thing"),
            false => Status::unauthenticated("who is it?"),
        };
        Ok::<_, Infallible>(status.into_http::<String>())
    });
    let service = tower::Layer::layer(&ServerLayer::new(capture.sdk()), door);
    let ask = async |method: &str, is_let_in: bool| {
        let mut request =
            http::Request::post(format!("/{method}")).header("content-type", "application/grpc");
        if is_let_in {
            request = request.header("authorization", "Bearer x");
        }
        let request = request.body(String::new()).unwrap();
        let answer = tower::ServiceExt::oneshot(service.clone(), request)
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    };
    for made_up in ["a/1", "a/2", CHECK] {
        ask(made_up, false).await;
    }
    ask(CHECK, true).await;
    ask(CHECK, false).await;
    let series = histogram(&capture, "rpc.server.call.duration");
    let mut told: Vec<_> = series
        .iter()
        .map(|series| {
            let attribute = |key: &str| series.attributes[key].as_str();
            (
                attribute("rpc.method"),
                attribute("rpc.response.status_code"),
                series.count,
            )
        })
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            ("_OTHER", "UNAUTHENTICATED", 3),
            (CHECK, "NOT_FOUND", 1),
            (CHECK, "UNAUTHENTICATED", 1)
        ]
    );
}

/// Whether a call is recorded where nothing is but what is forced.
async fn is_forced(
    layer: impl FnOnce(ServerLayer) -> ServerLayer,
    key: &'static str,
    value: &'static str,
) -> bool {
    let mut settings = Settings::default();
    settings.traces.sampler = Arc::new(AlwaysOff);
    settings.traces.force = ForceSettings::usual();
    let capture = Capture::with(settings, LayerOptions::default());
    let _subscriber = capture.set_default();
    let routes = Routes::new(HealthServer::new(Asked));
    let address = serve(routes, layer(ServerLayer::new(capture.sdk()))).await;
    let endpoint: Endpoint = format!("http://{address}").parse().unwrap();
    let mut request = ask("");
    request.metadata_mut().insert(key, value.parse().unwrap());
    let mut client = HealthClient::new(endpoint.connect_lazy());
    client.check(request).await.unwrap();
    now(&capture).len() == 1
}

#[tokio::test(flavor = "current_thread")]
async fn a_call_may_force_its_trace_by_what_the_settings_name_unless_nobody_may() {
    let (caller, header) = (("baggage", "cupola.force=1"), ("x-force-full-trace", "true"));
    for (key, value) in [caller, header] {
        assert!(is_forced(|layer| layer, key, value).await, "{key}");
        assert!(!is_forced(ServerLayer::without_force, key, value).await, "{key}");
    }
    assert!(!is_forced(ServerLayer::at_the_border, caller.0, caller.1).await);
    assert!(!is_forced(|layer| layer, "x", "y").await);
}

#[tokio::test(flavor = "current_thread")]
async fn what_comes_after_its_deadline_is_a_failure_of_both() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let mut client = both(&capture).await;
    let mut request = ask("slow");
    request.set_timeout(Duration::from_millis(50));
    assert_eq!(client.check(request).await.unwrap_err().code(), Code::Cancelled);
    let ended = spans(&capture, 2).await;
    let [of_client, of_server] = ends(&ended);
    assert_eq!(of_client, end("DEADLINE_EXCEEDED", true));
    // Which began a little later, so that it may be told to stop a little before its own time.
    assert!(
        [end("DEADLINE_EXCEEDED", true), end("CANCELLED", false)].contains(&of_server),
        "{of_server:?}"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn methods_that_nobody_offers_and_servers_that_are_not_there_are_told() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let address = serve(Routes::builder().routes(), ServerLayer::new(capture.sdk())).await;
    let unknown = client(&capture, address).check(ask("")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);
    let ended = spans(&capture, 2).await;
    let server = of_kind(&ended, SERVER);
    assert_eq!((server.name.as_str(), server.status_code), ("grpc", 2));
    assert_eq!(server.attributes["rpc.method"], "_OTHER");
    assert_eq!(server.attributes["rpc.method_original"], CHECK);
    assert_eq!(of_kind(&ended, CLIENT).name, CHECK);

    capture.clear();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let nobody = client(&capture, closed).check(ask("")).await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unavailable);
    let span = capture.span(CHECK);
    assert_eq!(span.attributes["rpc.response.status_code"], "UNAVAILABLE");
    assert_eq!(
        (span.status_code, span.status_message.as_str()),
        (2, nobody.message())
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_server_at_the_border_links_what_it_is_told_and_excluded_methods_are_let_through() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let routes = || Routes::new(HealthServer::new(Asked));
    let address = serve(routes(), ServerLayer::new(capture.sdk()).at_the_border()).await;
    client(&capture, address).check(ask("")).await.unwrap();
    let ended = spans(&capture, 2).await;
    let (server, asking) = (of_kind(&ended, SERVER), of_kind(&ended, CLIENT));
    assert_ne!(server.trace_id, asking.trace_id);
    assert_eq!(server.links[0].span_id, asking.span_id);

    capture.clear();
    let layer = ServerLayer::new(capture.sdk()).excluded(["grpc.health.v1.Health/"]);
    let address = serve(routes(), layer).await;
    client(&capture, address).check(ask("")).await.unwrap();
    assert_eq!(now(&capture).len(), 1, "the client's");
}

#[tokio::test(flavor = "current_thread")]
async fn calls_are_measured_by_method_and_status() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let mut client = both(&capture).await;
    for service in ["", "", "broken"] {
        let _ = client.check(ask(service)).await;
    }
    spans(&capture, 6).await;
    for name in ["rpc.server.call.duration", "rpc.client.call.duration"] {
        let series = histogram(&capture, name);
        let counts: Vec<_> = series
            .iter()
            .map(|series| {
                (
                    series.attributes["rpc.response.status_code"].as_str(),
                    series.count,
                )
            })
            .collect();
        assert_eq!(counts, [("INTERNAL", 1), ("OK", 2)], "{series:?}");
        assert_eq!(series[0].attributes["error.type"], "INTERNAL");
        for series in series {
            assert_eq!(series.unit, "s");
            assert_eq!(series.attributes["rpc.method"], CHECK);
            assert_eq!(series.attributes["rpc.system.name"], "grpc");
        }
    }
}
