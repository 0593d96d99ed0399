//! Calls that are made.

use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};
use std::time::Instant;

use cupola_sdk_core::Sdk;
use cupola_sdk_core::span::SpanKind;
use cupola_sdk_core::tracer::Start;
use cupola_sdk_core::value::Value;
use http::{Request, Response, Uri};
use pin_project_lite::pin_project;
use tonic::{Code, Status};
use tower_layer::Layer;
use tower_service::Service;

use super::body::CallBody;
use super::call::{Call, Calls, Open, Side};
use super::errors::status_of;
use super::{BoxError, method_of, timeout_of};
use crate::context::{Context, InContext as _, WithContext};
use crate::http::HeadersMut;

/// Traces and measures the calls of a client, and has the context go along in their metadata.
#[derive(Clone, Debug)]
pub struct ClientLayer {
    calls: Calls,
    server: Option<(String, Option<u16>)>,
}

impl ClientLayer {
    pub fn new(sdk: &Sdk) -> ClientLayer {
        ClientLayer {
            calls: Calls::new(sdk, Side::Client),
            server: None,
        }
    }

    /// Says where the calls go, as [`Endpoint::uri`](tonic::transport::Endpoint::uri) has it: tonic itself adds it further inside.
    #[must_use]
    pub fn server(mut self, uri: &Uri) -> ClientLayer {
        self.server = address_of(uri);
        self
    }

    /// Starts the span of a call below the current one, and writes its context into the metadata.
    fn begin<B>(&self, request: &mut Request<B>) -> (Context, Call) {
        let context = Context::current();
        let method = method_of(request.uri().path()).to_owned();
        let server = address_of(request.uri()).or_else(|| self.server.clone());
        let mut attributes = vec![
            ("rpc.system.name", Value::String("grpc")),
            ("rpc.method", Value::String(&method)),
        ];
        if let Some((address, port)) = &server {
            attributes.push(("server.address", Value::String(address)));
            attributes.extend(port.map(|port| ("server.port", Value::Int(port.into()))));
        }
        let started = self.calls.tracer.start(Start {
            kind: SpanKind::Client,
            parent: context.span(),
            baggage: context.baggage(),
            is_forced: context.is_forced(),
            attributes: &attributes,
            ..Start::new(method.clone())
        });
        let context = context.with_span(started.context);
        let carried = context.to_carried();
        let propagators = self.calls.tracer.sdk().propagators();
        propagators.inject(&carried, &mut HeadersMut(request.headers_mut()));
        let call = Call::of(Open {
            calls: self.calls.clone(),
            recording: started.recording,
            context: context.clone(),
            begun: Instant::now(),
            method,
            server,
            timeout: timeout_of(request.headers()),
            without: Code::Unknown,
        });
        (context, call)
    }
}

fn address_of(uri: &Uri) -> Option<(String, Option<u16>)> {
    let port = uri.port_u16().or(match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    });
    Some((uri.host()?.to_owned(), port))
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

/// A channel behind the layer, to make clients of.
#[derive(Clone, Debug)]
pub struct ClientService<S> {
    inner: S,
    layer: ClientLayer,
}

impl<S, B, R> Service<Request<B>> for ClientService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<CallBody<R>>;
    type Error = Status;
    type Future = ClientFuture<S::Future>;

    fn poll_ready(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(), Status>> {
        self.inner
            .poll_ready(task)
            .map_err(|error| Status::from_error(error.into()))
    }

    fn call(&mut self, mut request: Request<B>) -> ClientFuture<S::Future> {
        let (context, call) = self.layer.begin(&mut request);
        let inner = context.clone().run(|| self.inner.call(request));
        ClientFuture {
            inner: inner.in_context(context.clone()),
            call,
            context,
        }
    }
}

pin_project! {
    /// An answer that is waited for.
    pub struct ClientFuture<F> {
        #[pin]
        inner: WithContext<F>,
        call: Call,
        context: Context,
    }
}

impl<F, R, E> Future for ClientFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<CallBody<R>>, Status>;

    fn poll(self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answered = ready!(this.inner.poll(task));
        let mut call = std::mem::take(this.call);
        Poll::Ready(match answered {
            Ok(response) => {
                call.answered(response.status(), response.headers());
                let context = std::mem::take(this.context);
                Ok(response.map(|body| CallBody::new(body, call, context)))
            }
            Err(error) => {
                let (status, code) = status_of(error.into());
                call.failed(code, status.message());
                Err(status)
            }
        })
    }
}
