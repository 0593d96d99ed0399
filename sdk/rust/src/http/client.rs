//! Requests that are made.

use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use cupola_sdk_core::Sdk;
use cupola_sdk_core::metrics::{self, Description, Instrument};
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::span::{SpanKind, Status};
use cupola_sdk_core::tracer::{Recording, Start, Tracer};
use cupola_sdk_core::value::Value;
use http::{HeaderMap, Method, Request, Response, Uri};
use pin_project_lite::pin_project;
use std::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::headers::HeadersMut;
use super::method_name;
use crate::context::Context;

/// Traces and measures the requests of a client, and has the context go along with them.
#[derive(Clone, Debug)]
pub struct ClientLayer {
    tracer: Tracer,
    duration: Instrument<f64>,
}

impl ClientLayer {
    pub fn new(sdk: &Sdk) -> ClientLayer {
        let scope = Scope::of("cupola-sdk/http", env!("CARGO_PKG_VERSION"), "", &[]);
        let duration = sdk.meter(scope).histogram(&Description::of(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
        ));
        ClientLayer {
            tracer: sdk.tracer(scope),
            duration,
        }
    }

    /// Starts the span of a request below the current one, and writes its context into the headers.
    pub(super) fn begin(&self, method: &Method, uri: &Uri, headers: &mut HeaderMap) -> Outgoing {
        let context = Context::current();
        let name = method_name(method);
        let host = uri.host().unwrap_or_default();
        // Credentials in an address are nobody's business.
        let address = format!(
            "{}://{}{}",
            uri.scheme_str().unwrap_or("http"),
            authority(uri),
            path(uri)
        );
        let mut attributes = vec![
            ("http.request.method", Value::String(name)),
            ("url.full", Value::String(&address)),
            ("server.address", Value::String(host)),
        ];
        let port = uri.port_u16().or(match uri.scheme_str() {
            Some("https") => Some(443),
            Some("http") => Some(80),
            _ => None,
        });
        attributes.extend(port.map(|port| ("server.port", Value::Int(i64::from(port)))));
        let started = self.tracer.start(Start {
            kind: SpanKind::Client,
            parent: context.span(),
            baggage: context.baggage(),
            is_forced: context.is_forced(),
            attributes: &attributes,
            ..Start::new(name)
        });
        let context = context.with_span(started.context);
        let carried = context.to_carried();
        self.tracer
            .sdk()
            .propagators()
            .inject(&carried, &mut HeadersMut(headers));
        Outgoing(Some(Box::new(Open {
            layer: self.clone(),
            recording: started.recording,
            context,
            begun: Instant::now(),
            method: name,
            host: host.to_owned(),
            port,
        })))
    }
}

/// The authority of an address without who asks.
fn authority(uri: &Uri) -> &str {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

fn path(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |path| path.as_str())
}

/// The span of a request that has been sent.
pub(super) struct Outgoing(Option<Box<Open>>);

struct Open {
    layer: ClientLayer,
    recording: Option<Recording>,
    context: Context,
    begun: Instant,
    method: &'static str,
    host: String,
    port: Option<u16>,
}

impl Outgoing {
    pub(super) fn answered(mut self, status: u16) {
        let error = (status >= 400).then(|| status.to_string());
        if let Some(open) = self.0.take() {
            open.end(Some(status), error.as_deref(), "");
        }
    }

    pub(super) fn failed(mut self, kind: &str, message: &str) {
        if let Some(open) = self.0.take() {
            open.end(None, Some(kind), message);
        }
    }
}

impl Drop for Outgoing {
    /// Nobody waits for the answer any more.
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            open.end(None, Some("cancelled"), "");
        }
    }
}

impl Open {
    fn end(self, status: Option<u16>, error: Option<&str>, message: &str) {
        let mut attributes = vec![
            ("http.request.method", Value::String(self.method)),
            ("server.address", Value::String(&self.host)),
        ];
        attributes.extend(self.port.map(|port| ("server.port", Value::Int(i64::from(port)))));
        attributes.extend(status.map(|status| ("http.response.status_code", Value::Int(i64::from(status)))));
        attributes.extend(error.map(|error| ("error.type", Value::String(error))));
        let within = metrics::Context {
            span: self.context.span(),
            baggage: self.context.baggage(),
        };
        let seconds = self.begun.elapsed().as_secs_f64();
        self.layer.duration.record_in(seconds, &attributes, &within);
        let Some(mut span) = self.recording else {
            return;
        };
        if let Some(status) = status {
            span.set("http.response.status_code", i64::from(status));
        }
        if let Some(error) = error {
            span.set("error.type", error);
            span.set_status(Status::Error {
                description: message.to_owned(),
            });
        }
        self.layer.tracer.end(span);
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = ClientService<S>;

    fn layer(&self, inner: S) -> ClientService<S> {
        ClientService {
            inner,
            layer: self.clone(),
        }
    }
}

/// A client behind the layer.
#[derive(Clone, Debug)]
pub struct ClientService<S> {
    inner: S,
    layer: ClientLayer,
}

impl<S, B, R> Service<Request<B>> for ClientService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: std::fmt::Display,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ClientFuture<S::Future>;

    fn poll_ready(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, mut request: Request<B>) -> ClientFuture<S::Future> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let outgoing = self.layer.begin(&method, &uri, request.headers_mut());
        ClientFuture {
            inner: self.inner.call(request),
            outgoing: Some(outgoing),
        }
    }
}

pin_project! {
    /// An answer that is waited for.
    pub struct ClientFuture<F> {
        #[pin]
        inner: F,
        outgoing: Option<Outgoing>,
    }
}

impl<F, R, E> Future for ClientFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: std::fmt::Display,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answered = ready!(this.inner.poll(task));
        if let Some(outgoing) = this.outgoing.take() {
            match &answered {
                Ok(response) => outgoing.answered(response.status().as_u16()),
                Err(error) => outgoing.failed(std::any::type_name::<E>(), &error.to_string()),
            }
        }
        Poll::Ready(answered)
    }
}
