//! Calls that are answered.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Instant;

use cupola_sdk_core::Sdk;
use cupola_sdk_core::context::SpanContext;
use cupola_sdk_core::span::SpanKind;
use cupola_sdk_core::tracer::Start;
use cupola_sdk_core::value::Value;
use http::header::HOST;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tonic::Code;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tower_layer::Layer;
use tower_service::Service;

use super::body::CallBody;
use super::call::{Call, Calls, Open, Side};
use super::errors::end_of;
use super::{is_call, method_of, timeout_of};
use crate::context::{Context, InContext as _, WithContext};
use crate::http::incoming::Incoming;
use crate::http::{Claims, split_port};

/// Traces and measures the calls of a server: for [`Server::layer`](tonic::transport::Server::layer). What is no call of gRPC
/// is let through as if the layer were not there.
#[derive(Clone, Debug)]
pub struct ServerLayer(Arc<Shared>);

#[derive(Clone, Debug)]
struct Shared {
    calls: Calls,
    excluded: Vec<String>,
    incoming: Incoming,
}

impl ServerLayer {
    pub fn new(sdk: &Sdk) -> ServerLayer {
        ServerLayer(Arc::new(Shared {
            calls: Calls::new(sdk, Side::Server),
            excluded: Vec::new(),
            incoming: Incoming::default(),
        }))
    }

    /// These methods (`package.Service/Method`), and all of those that end in `/` (`package.Service/`), are let through as if
    /// the layer were not there.
    #[must_use]
    pub fn excluded<M: Into<String>>(mut self, methods: impl IntoIterator<Item = M>) -> ServerLayer {
        let more = methods.into_iter().map(Into::into);
        Arc::make_mut(&mut self.0).excluded.extend(more);
        self
    }

    /// A key of the metadata whose value is a member of the baggage: on the span and on everything inside, and on what other
    /// services are asked. What is no such key is never found.
    #[must_use]
    pub fn metadata(mut self, key: &str, member: &str) -> ServerLayer {
        Arc::make_mut(&mut self.0).incoming.header(key, member);
        self
    }

    /// Claims of the bearer token that are members of the baggage.
    #[must_use]
    pub fn claims(mut self, claims: Claims) -> ServerLayer {
        Arc::make_mut(&mut self.0).incoming.claims(claims);
        self
    }

    /// Lets nobody force a trace: neither a caller that says its own is forced, nor a call with the key of the metadata that the
    /// settings name.
    #[must_use]
    pub fn without_force(mut self) -> ServerLayer {
        Arc::make_mut(&mut self.0).incoming.without_force();
        self
    }

    /// Takes neither context nor baggage from whoever calls: for servers at the border. Their trace is linked.
    #[must_use]
    pub fn at_the_border(mut self) -> ServerLayer {
        Arc::make_mut(&mut self.0).incoming.distrust();
        self
    }
}

impl Shared {
    fn is_excluded(&self, method: &str) -> bool {
        self.excluded.iter().any(|excluded| {
            method == excluded || (excluded.ends_with('/') && method.starts_with(excluded.as_str()))
        })
    }

    /// Starts the span of a call; in which context it is answered, and what ends it.
    fn begin<B>(&self, request: &Request<B>) -> (Context, Call) {
        let sdk = self.calls.tracer.sdk();
        let (incoming, link) = self.incoming.context(sdk, None, request.headers());
        let method = method_of(request.uri().path());
        let mut attributes = vec![
            ("rpc.system.name", Value::String("grpc")),
            ("rpc.method", Value::String(method)),
        ];
        let host = request.uri().authority().map(|authority| authority.as_str());
        let named = || request.headers().get(HOST).and_then(|host| host.to_str().ok());
        if let Some((address, port)) = host.or_else(named).map(split_port) {
            attributes.extend(address.map(|address| ("server.address", Value::String(address))));
            attributes.extend(port.map(|port| ("server.port", Value::Int(port))));
        }
        let client = client_of(request);
        let address = client.map(|client| client.ip().to_string());
        if let (Some(client), Some(address)) = (client, &address) {
            attributes.push(("client.address", Value::String(address)));
            attributes.push(("client.port", Value::Int(client.port().into())));
        }
        let links: Vec<(SpanContext, &[(&str, Value<'_>)])> =
            link.into_iter().map(|link| (link, &[][..])).collect();
        let started = self.calls.tracer.start(Start {
            kind: SpanKind::Server,
            parent: incoming.span(),
            baggage: incoming.baggage(),
            is_forced: incoming.is_forced(),
            attributes: &attributes,
            links: &links,
            ..Start::new(method.to_owned())
        });
        let context = incoming.with_span(started.context);
        let call = Call::of(Open {
            calls: self.calls.clone(),
            recording: started.recording,
            context: context.clone(),
            begun: Instant::now(),
            method: method.to_owned(),
            server: None,
            timeout: timeout_of(request.headers()),
            without: Code::Unknown,
        });
        (context, call)
    }
}

fn client_of<B>(request: &Request<B>) -> Option<std::net::SocketAddr> {
    let extensions = request.extensions();
    let plain = extensions.get::<TcpConnectInfo>();
    let secured = || {
        let connected = extensions.get::<TlsConnectInfo<TcpConnectInfo>>();
        connected.map(|connected| connected.get_ref())
    };
    plain.or_else(secured)?.remote_addr()
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

/// Services behind the layer.
#[derive(Clone, Debug)]
pub struct ServerService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S, B, R> Service<Request<B>> for ServerService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: 'static,
{
    type Response = Response<CallBody<R>>;
    type Error = S::Error;
    type Future = ServerFuture<S::Future>;

    fn poll_ready(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<B>) -> ServerFuture<S::Future> {
        let is_seen = is_call(request.headers()) && !self.shared.is_excluded(method_of(request.uri().path()));
        if !is_seen {
            let context = Context::current();
            return ServerFuture {
                inner: self.inner.call(request).in_context(context.clone()),
                call: Call::default(),
                context,
            };
        }
        let (context, call) = self.shared.begin(&request);
        // What the handler does before it first waits is inside too.
        let inner = context.clone().run(|| self.inner.call(request));
        ServerFuture {
            inner: inner.in_context(context.clone()),
            call,
            context,
        }
    }
}

pin_project! {
    /// A response that is being made.
    pub struct ServerFuture<F> {
        #[pin]
        inner: WithContext<F>,
        call: Call,
        context: Context,
    }
}

impl<F, R, E> Future for ServerFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: 'static,
{
    type Output = Result<Response<CallBody<R>>, E>;

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
                let (code, message) = end_of(&error);
                call.failed(code, &message);
                Err(error)
            }
        })
    }
}
