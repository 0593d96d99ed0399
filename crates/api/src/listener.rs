//! One listening socket: bind, serve, stop gracefully within a bound. Every server of this crate stands on it.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

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
pub(crate) fn serve_http(bound: Bound, router: Router) -> Listening {
    let what = bound.what;
    Listening::spawn(bound, move |socket, stop| async move {
        let served = axum::serve(socket, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!(what, %error, "server stopped");
        }
    })
}
