//! Requests that are answered.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Instant;

use cupola_sdk_core::Sdk;
use cupola_sdk_core::context::SpanContext;
use cupola_sdk_core::metrics::{self, Description, Instrument};
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::span::{SpanKind, Status};
use cupola_sdk_core::tracer::{Recording, Start, Tracer};
use cupola_sdk_core::value::Value;
use http::header::{CONTENT_LENGTH, HOST, USER_AGENT};
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::body::{AtEnd, TracedBody};
use super::claims::Claims;
use super::incoming::Incoming;
use super::{SECONDS, method_name, split_port, version_name};
use crate::context::{Context, InContext as _, WithContext};

/// Traces and measures the requests of a server. To be put around its routes, so that it knows which one it is.
#[derive(Clone, Debug)]
pub struct ServerLayer(Arc<Shared>);

#[derive(Clone, Debug)]
struct Shared {
    tracer: Tracer,
    metrics: Metrics,
    excluded: Vec<String>,
    incoming: Incoming,
    trusts_forwarded: bool,
}

#[derive(Clone, Debug)]
struct Metrics {
    duration: Instrument<f64>,
    active: Instrument<i64>,
    request_size: Instrument<u64>,
    response_size: Instrument<u64>,
}

impl ServerLayer {
    pub fn new(sdk: &Sdk) -> ServerLayer {
        let scope = Scope::of("cupola-sdk/http", env!("CARGO_PKG_VERSION"), "", &[]);
        let meter = sdk.meter(scope);
        let metrics = Metrics {
            duration: meter.histogram(&Description {
                boundaries: Some(SECONDS),
                ..Description::of(
                    "http.server.request.duration",
                    "s",
                    "Duration of HTTP server requests.",
                )
            }),
            active: meter.up_down_counter(&Description::of(
                "http.server.active_requests",
                "{request}",
                "Number of active HTTP server requests.",
            )),
            request_size: meter.histogram(&Description::of(
                "http.server.request.body.size",
                "By",
                "Size of HTTP server request bodies.",
            )),
            response_size: meter.histogram(&Description::of(
                "http.server.response.body.size",
                "By",
                "Size of HTTP server response bodies.",
            )),
        };
        ServerLayer(Arc::new(Shared {
            tracer: sdk.tracer(scope),
            metrics,
            excluded: Vec::new(),
            incoming: Incoming::default(),
            trusts_forwarded: false,
        }))
    }

    /// Requests for these paths, and for what is below those that end in `/`, are let through as if the layer were not there.
    #[must_use]
    pub fn excluded<P: Into<String>>(mut self, paths: impl IntoIterator<Item = P>) -> ServerLayer {
        let more = paths.into_iter().map(Into::into);
        Arc::make_mut(&mut self.0).excluded.extend(more);
        self
    }

    /// A header whose value is a member of the baggage: on the span and on everything inside, and on what other services are asked.
    /// What is no name of a header is never found.
    #[must_use]
    pub fn header(mut self, header: &str, member: &str) -> ServerLayer {
        Arc::make_mut(&mut self.0).incoming.header(header, member);
        self
    }

    /// Claims of the bearer token that are members of the baggage.
    #[must_use]
    pub fn claims(mut self, claims: Claims) -> ServerLayer {
        Arc::make_mut(&mut self.0).incoming.claims(claims);
        self
    }

    /// Believes `X-Forwarded-For` on who the client is: for servers behind a proxy that sets it.
    #[must_use]
    pub fn behind_a_proxy(mut self) -> ServerLayer {
        Arc::make_mut(&mut self.0).trusts_forwarded = true;
        self
    }

    /// Lets nobody force a trace: neither a caller that says its own is forced, nor a request with the flag or header of
    /// [`ForceSettings`](cupola_sdk_core::sampling::ForceSettings). Context and baggage are taken as before. The settings say the
    /// same for all that an SDK extracts, with `from_callers`.
    #[must_use]
    pub fn without_force(mut self) -> ServerLayer {
        Arc::make_mut(&mut self.0).incoming.without_force();
        self
    }

    /// Takes neither context nor baggage from whoever asks, and so not that a trace is forced: for servers at the border. Their
    /// trace is linked. A flag or header that the settings name forces a trace all the same, unless there is
    /// [`without_force`](Self::without_force).
    #[must_use]
    pub fn at_the_border(mut self) -> ServerLayer {
        Arc::make_mut(&mut self.0).incoming.distrust();
        self
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = ServerService<S>;

    fn layer(&self, inner: S) -> ServerService<S> {
        ServerService {
            inner,
            shared: self.0.clone(),
        }
    }
}

/// A service behind the layer.
#[derive(Clone, Debug)]
pub struct ServerService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S, B, R> Service<Request<B>> for ServerService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<TracedBody<R, Ending>>;
    type Error = S::Error;
    type Future = ServerFuture<S::Future>;

    fn poll_ready(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<B>) -> ServerFuture<S::Future> {
        if self.shared.is_excluded(request.uri().path()) {
            let inner = self.inner.call(request).in_current_context();
            return ServerFuture { inner, ending: None };
        }
        let (context, ending) = self.shared.begin(&request);
        // What the handler does before it first waits is inside too.
        let inner = context.clone().run(|| self.inner.call(request));
        ServerFuture {
            inner: inner.in_context(context),
            ending: Some(ending),
        }
    }
}

pin_project! {
    /// A response that is being made.
    pub struct ServerFuture<F> {
        #[pin]
        inner: WithContext<F>,
        ending: Option<Ending>,
    }
}

impl<F, R, E> Future for ServerFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<TracedBody<R, Ending>>, E>;

    fn poll(self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answered = ready!(this.inner.poll(task));
        let mut ending = this.ending.take().unwrap_or_default();
        Poll::Ready(match answered {
            Ok(response) => {
                ending.status(response.status().as_u16());
                Ok(response.map(|body| TracedBody::new(body, ending)))
            }
            Err(error) => {
                ending.fail("service");
                ending.at_end(0, false);
                Err(error)
            }
        })
    }
}

impl Shared {
    fn is_excluded(&self, path: &str) -> bool {
        self.excluded.iter().any(|excluded| {
            path == excluded || (excluded.ends_with('/') && path.starts_with(excluded.as_str()))
        })
    }

    /// Starts the span of a request; in which context it is answered, and what ends it.
    fn begin<B>(self: &Arc<Self>, request: &Request<B>) -> (Context, Ending) {
        let query = request.uri().query();
        let (incoming, link) = self.incoming.context(self.tracer.sdk(), query, request.headers());
        let method = method_name(request.method());
        let route = route_of(request);
        let name = match &route {
            Some(route) => format!("{method} {route}"),
            None => method.to_owned(),
        };
        let uri = request.uri();
        let mut attributes = vec![
            ("http.request.method", Value::String(method)),
            ("url.path", Value::String(uri.path())),
            ("url.scheme", Value::String(uri.scheme_str().unwrap_or("http"))),
            (
                "network.protocol.version",
                Value::String(version_name(request.version())),
            ),
        ];
        if method == "_OTHER" {
            attributes.push((
                "http.request.method_original",
                Value::String(request.method().as_str()),
            ));
        }
        attributes.extend(route.as_deref().map(|route| ("http.route", Value::String(route))));
        attributes.extend(uri.query().map(|query| ("url.query", Value::String(query))));
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        attributes.extend(text(USER_AGENT).map(|agent| ("user_agent.original", Value::String(agent))));
        let host = uri
            .authority()
            .map(|authority| authority.as_str())
            .or_else(|| text(HOST));
        let (address, port) = host.map_or((None, None), split_port);
        attributes.extend(address.map(|address| ("server.address", Value::String(address))));
        attributes.extend(port.map(|port| ("server.port", Value::Int(port))));
        let client = self.client_address(request);
        attributes.extend(
            client
                .as_deref()
                .map(|client| ("client.address", Value::String(client))),
        );
        let links: Vec<(SpanContext, &[(&str, Value<'_>)])> =
            link.into_iter().map(|link| (link, &[][..])).collect();
        let started = self.tracer.start(Start {
            kind: SpanKind::Server,
            parent: incoming.span(),
            baggage: incoming.baggage(),
            is_forced: incoming.is_forced(),
            attributes: &attributes,
            links: &links,
            ..Start::new(name)
        });
        let active = [
            ("http.request.method", Value::String(method)),
            ("url.scheme", Value::String(uri.scheme_str().unwrap_or("http"))),
        ];
        self.metrics.active.record(1, &active);
        let context = incoming.with_span(started.context);
        let ending = Ending(Some(Box::new(Open {
            shared: self.clone(),
            recording: started.recording,
            context: context.clone(),
            begun: Instant::now(),
            method,
            scheme: uri.scheme_str().unwrap_or("http").to_owned(),
            route,
            version: version_name(request.version()),
            request_bytes: text(CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            status: 0,
            error: None,
        })));
        (context, ending)
    }

    fn client_address<B>(&self, request: &Request<B>) -> Option<String> {
        let forwarded = self
            .trusts_forwarded
            .then(|| request.headers().get("x-forwarded-for"))
            .flatten();
        let forwarded = forwarded.and_then(|value| value.to_str().ok());
        if let Some(first) = forwarded.and_then(|all| all.split(',').next()) {
            return Some(first.trim().to_owned());
        }
        peer_of(request)
    }
}

#[cfg(feature = "axum")]
fn route_of<B>(request: &Request<B>) -> Option<String> {
    let matched = request.extensions().get::<axum::extract::MatchedPath>()?;
    Some(matched.as_str().to_owned())
}

#[cfg(not(feature = "axum"))]
fn route_of<B>(_: &Request<B>) -> Option<String> {
    None
}

#[cfg(feature = "axum")]
fn peer_of<B>(request: &Request<B>) -> Option<String> {
    let connected = request
        .extensions()
        .get::<axum::extract::ConnectInfo<std::net::SocketAddr>>()?;
    Some(connected.0.ip().to_string())
}

#[cfg(not(feature = "axum"))]
fn peer_of<B>(_: &Request<B>) -> Option<String> {
    None
}

/// What ends the span of a request.
#[derive(Default)]
pub struct Ending(Option<Box<Open>>);

struct Open {
    shared: Arc<Shared>,
    recording: Option<Recording>,
    context: Context,
    begun: Instant,
    method: &'static str,
    scheme: String,
    route: Option<String>,
    version: &'static str,
    request_bytes: Option<u64>,
    status: u16,
    error: Option<&'static str>,
}

impl Ending {
    fn status(&mut self, status: u16) {
        if let Some(open) = &mut self.0 {
            open.status = status;
        }
    }

    fn fail(&mut self, error: &'static str) {
        if let Some(open) = &mut self.0 {
            open.error = Some(error);
        }
    }
}

impl AtEnd for Ending {
    fn at_end(mut self, bytes: u64, failed: bool) {
        if failed {
            self.fail("body");
        }
        if let Some(open) = self.0.take() {
            open.end(bytes, true);
        }
    }
}

impl Drop for Ending {
    /// The connection was closed before there was an answer, or its handler has panicked.
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            open.end(0, false);
        }
    }
}

impl Open {
    fn end(self, response_bytes: u64, is_answered: bool) {
        let error = match (is_answered, self.error, self.status) {
            (false, ..) if std::thread::panicking() => Some("panic".to_owned()),
            (false, ..) => Some("cancelled".to_owned()),
            (_, Some(error), _) => Some(error.to_owned()),
            (_, None, 500..) => Some(self.status.to_string()),
            _ => None,
        };
        let mut attributes = vec![
            ("http.request.method", Value::String(self.method)),
            ("url.scheme", Value::String(&self.scheme)),
        ];
        let shared = &self.shared;
        shared.metrics.active.record(-1, &attributes);
        attributes.push(("network.protocol.version", Value::String(self.version)));
        attributes.extend(
            self.route
                .as_deref()
                .map(|route| ("http.route", Value::String(route))),
        );
        if self.status != 0 {
            attributes.push(("http.response.status_code", Value::Int(i64::from(self.status))));
        }
        attributes.extend(error.as_deref().map(|error| ("error.type", Value::String(error))));
        let within = metrics::Context {
            span: self.context.span(),
            baggage: self.context.baggage(),
        };
        let seconds = self.begun.elapsed().as_secs_f64();
        shared.metrics.duration.record_in(seconds, &attributes, &within);
        if let Some(bytes) = self.request_bytes {
            shared.metrics.request_size.record_in(bytes, &attributes, &within);
        }
        if is_answered {
            shared
                .metrics
                .response_size
                .record_in(response_bytes, &attributes, &within);
        }
        let Some(mut span) = self.recording else {
            return;
        };
        if self.status != 0 {
            span.set("http.response.status_code", i64::from(self.status));
        }
        if let Some(bytes) = self.request_bytes {
            span.set("http.request.body.size", bytes as i64);
        }
        if is_answered {
            span.set("http.response.body.size", response_bytes as i64);
        }
        if let Some(error) = error {
            span.set("error.type", error.as_str());
            span.set_status(Status::Error {
                description: String::new(),
            });
        }
        shared.tracer.end(span);
    }
}
