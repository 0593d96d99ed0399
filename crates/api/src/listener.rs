//! One listening socket: bind, serve, stop gracefully within a bound. Every server of this crate stands on it.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::connections::{Connection, Connections};

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {addr} for {what}")]
    Bind {
        what: &'static str,
        addr: SocketAddr,
        source: std::io::Error,
    },
    #[error("cannot set up {what}: {reason}")]
    Setup { what: &'static str, reason: String },
}

/// How long a stopping server waits for answers under way before it drops them.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Finds peers of HTTP/2 that went away without a word.
pub(crate) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(60);
pub(crate) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// A socket that is bound but not yet served.
pub(crate) struct Bound {
    pub(crate) what: &'static str,
    pub(crate) addr: SocketAddr,
    pub(crate) socket: TcpListener,
}

pub(crate) async fn bind(what: &'static str, addr: SocketAddr) -> Result<Bound, StartError> {
    let failed = |source| StartError::Bind { what, addr, source };
    let socket = TcpListener::bind(addr).await.map_err(failed)?;
    let addr = socket.local_addr().map_err(failed)?;
    Ok(Bound { what, addr, socket })
}

/// A task that serves one socket, and the way to stop it. Dropping it stops it at once.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) addr: SocketAddr,
    what: &'static str,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Listening {
    /// Runs `serve(socket, stop)` as a task. The future must end soon after `stop` is cancelled.
    pub(crate) fn spawn<F>(bound: Bound, serve: impl FnOnce(TcpListener, CancellationToken) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(bound.socket, stop.clone()));
        Self {
            addr: bound.addr,
            what: bound.what,
            stop,
            task,
        }
    }

    /// Stops accepting, waits for answers under way, drops those that take too long.
    pub(crate) async fn shutdown(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(DRAIN_TIMEOUT, &mut self.task).await.is_err() {
            tracing::warn!(
                what = self.what,
                "answers still under way at shutdown were dropped"
            );
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}

/// Serves HTTP/1 and HTTP/2 without TLS.
pub(crate) fn serve_http(bound: Bound, router: Router, connections: Connections) -> Listening {
    let what = bound.what;
    Listening::spawn(bound, move |socket, stop| async move {
        let server = http_server(connections.opening_timeout());
        // Dropping the set closes what is still open.
        let mut open = JoinSet::new();
        loop {
            let connection = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = open.join_next() => continue,
                connection = connections.accept(&socket, what) => connection,
            };
            open.spawn(serve_connection(
                server.clone(),
                connection,
                router.clone(),
                stop.clone(),
            ));
        }
        drop(socket);
        while open.join_next().await.is_some() {}
    })
}

fn http_server(opening_timeout: Duration) -> Builder<TokioExecutor> {
    let mut server = Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(opening_timeout)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    server
}

async fn serve_connection(
    server: Builder<TokioExecutor>,
    connection: Connection,
    router: Router,
    stop: CancellationToken,
) {
    let service = TowerToHyperService::new(router);
    let mut served = pin!(server.serve_connection(TokioIo::new(connection), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
