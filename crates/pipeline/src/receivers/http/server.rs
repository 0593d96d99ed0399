//! A small HTTP server for receivers that are pushed to. Owns the listening socket, the bound on connections, and the
//! end: what is in flight is finished, for a bounded time. Refuses to know of paths and formats.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::CONTENT_TYPE;
use ::http::{Request, Response};
use cupola_config::Endpoint;
use cupola_export::Sample;
use cupola_telemetry::Client;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Tasks, builder, serve_connection};
use super::guard::{Guard, GuardError};
use super::headers::finish_body;
use super::intake;
use super::response::ResponseBody;
use crate::processors::ConfigError;

/// After a failed accept, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections open at the same time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;
/// Time requests in flight have to finish at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// A receiver that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot listen on {endpoint} for {receiver}; is another process using the port?")]
    Listen {
        endpoint: SocketAddr,
        receiver: &'static str,
        source: io::Error,
    },
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error("{0}")]
    Client(String),
}

/// Answers requests, which have an `Arc<Client>` among their extensions. Never fails: a refusal is an answer.
pub(crate) trait Service: Send + Sync + 'static {
    fn serve(&self, request: Request<Incoming>) -> impl Future<Output = Response<ResponseBody>> + Send;
}

/// A server that runs. Dropping it stops it without waiting for requests in flight.
#[derive(Debug)]
pub(crate) struct HttpServer {
    pub(crate) addr: SocketAddr,
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
    guard: Guard,
}

impl HttpServer {
    /// Listens and serves on the current runtime. `body_timeout` also bounds the opening of a connection.
    pub(crate) async fn start<S: Service>(
        receiver: &'static str,
        endpoint: Endpoint,
        body_timeout: Duration,
        guard: Guard,
        service: Arc<S>,
    ) -> Result<HttpServer, StartError> {
        let endpoint = endpoint.0;
        let failed = |source| StartError::Listen {
            endpoint,
            receiver,
            source,
        };
        let listener = TcpListener::bind(endpoint).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let server = HttpServer {
            addr,
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
            guard: guard.clone(),
        };
        let tasks = Tasks::new(server.tasks.clone(), server.abort.clone());
        let stop = server.stop.clone();
        tracing::info!(%addr, receiver, "receiver listening");
        server.tasks.spawn(async move {
            tokio::select! {
                () = accept(listener, Arc::new(Guarded { guard, service }), body_timeout, tasks, stop.clone()) => {}
                () = stop.cancelled() => {}
            }
        });
        Ok(server)
    }

    /// Adds what is counted of the listener.
    pub(crate) fn collect(&self, transport: &'static str, samples: &mut Vec<Sample>) {
        self.guard.collect(transport, samples);
    }

    pub(crate) async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(connections = self.tasks.len(), "cutting off requests at shutdown");
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.cancel();
        self.abort.cancel();
    }
}

/// A service behind a guard.
struct Guarded<S> {
    guard: Guard,
    service: Arc<S>,
}

impl<S: Service> Guarded<S> {
    async fn serve(&self, peer: &Arc<Client>, mut request: Request<Incoming>) -> Response<ResponseBody> {
        let refusal = match self.guard.admit(peer, request.headers()).await {
            Ok(client) => {
                request.extensions_mut().insert(client);
                return self.service.serve(request).await;
            }
            Err(refusal) => refusal,
        };
        let kind = request.headers().get(CONTENT_TYPE);
        if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
            return refusal.grpc_status().into_http();
        }
        finish_body(request).await;
        intake::refusal(&refusal)
    }
}

async fn accept<S: Service>(
    listener: TcpListener,
    service: Arc<Guarded<S>>,
    body_timeout: Duration,
    tasks: Tasks,
    stop: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let builder = Arc::new(builder(&tasks));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Without a free place this one waits, and the system's backlog holds the rest.
        let Ok(place) = connections.clone().acquire_owned().await else {
            return;
        };
        let (service, builder, stop, ending) =
            (service.clone(), builder.clone(), stop.clone(), tasks.clone());
        tasks.spawn(async move {
            let guarded = service.clone();
            let from = Arc::new(Client::at(peer.ip()));
            let handle = move |request| {
                let (guarded, from) = (guarded.clone(), from.clone());
                async move { guarded.serve(&from, request).await }
            };
            let guard = &service.guard;
            tokio::select! {
                () = serve_connection(&builder, stream, peer, &stop, guard, body_timeout, handle) => {}
                () = ending.aborted() => {}
            }
            drop(place);
        });
    }
}
