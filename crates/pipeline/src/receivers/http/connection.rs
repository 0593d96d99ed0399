//! One connection: HTTP/1.1 and HTTP/2 with the bounds that all receivers share, from its first byte to its end.
//! Owns the HTTP settings and the tasks. Refuses to know what requests mean.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use ::http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::guard::Guard;
use super::opening::Opening;
use super::response::ResponseBody;

/// A connection may be idle for this long: longer than the minute between two exports of metrics.
const IDLE_TIMEOUT: Duration = Duration::from_secs(150);
/// Finds peers that went away without a word.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(60);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Room for a whole default-sized batch of one call, and for some calls at once.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Fewer, larger frames: less work per byte. The default is 16 KiB. A connection holds one while it arrives, which
/// no budget counts.
const FRAME_BYTES_MAX: u32 = 64 * 1024;
/// What an HTTP/1 connection reads ahead, and so the longest head of a request.
const HTTP1_BUFFER_BYTES: usize = 64 * 1024;
const STREAMS_MAX: u32 = 256;
/// What still arrives of a body that was refused before it was read counts against the connection, which is closed beyond
/// this; of a client that retries at once under overload that is much.
const RESET_STREAMS_MAX: usize = 1 << 20;
const HEADERS_BYTES_MAX: u32 = 64 * 1024;
/// Where everything runs that a receiver spawns: waited for at shutdown, and ended when waiting does.
#[derive(Clone)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    abort: CancellationToken,
}

impl Tasks {
    pub(crate) fn new(tracker: TaskTracker, abort: CancellationToken) -> Tasks {
        Tasks { tracker, abort }
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    /// Returns when nothing is waited for any longer.
    pub(crate) async fn aborted(&self) {
        self.abort.cancelled().await;
    }
}

/// The streams of HTTP/2 connections.
impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, stream: F) {
        let abort = self.abort.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                _ = stream => {}
                () = abort.cancelled() => {}
            }
        });
    }
}

/// How every connection is served.
pub(crate) fn builder(tasks: &Tasks) -> Builder<Tasks> {
    let mut builder = Builder::new(tasks.clone());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(HTTP1_BUFFER_BYTES)
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_local_error_reset_streams(RESET_STREAMS_MAX)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    builder
}

/// Serves one connection until it ends, is idle for too long, or `stop` is called and its requests are done.
pub(crate) async fn serve_connection<F>(
    builder: &Builder<Tasks>,
    stream: TcpStream,
    peer: SocketAddr,
    stop: &CancellationToken,
    guard: &Guard,
    opening_time_max: Duration,
    handle: impl Fn(Request<Incoming>) -> F + Send + 'static,
) where
    F: Future<Output = Response<ResponseBody>> + Send + 'static,
{
    // Whoever connects and says nothing is let go like whoever falls silent later. `readable` would not do: tokio takes what
    // was accepted just now for readable.
    let mut first = [0];
    tokio::select! {
        spoke = tokio::time::timeout(IDLE_TIMEOUT, stream.peek(&mut first)) => {
            if !matches!(spoke, Ok(Ok(1..))) { return }
        }
        () = stop.cancelled() => return,
    }
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot set nodelay");
    }
    let stream = tokio::select! {
        stream = guard.open(stream, peer) => stream,
        () = stop.cancelled() => return,
    };
    let Some(stream) = stream else { return };
    let opening = Opening::default();
    let stream = TokioIo::new(opening.watch(stream));
    let served = opening.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        served.complete();
        let answer = handle(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = pin!(builder.serve_connection(stream, service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = opening.overdue(opening_time_max) => {
            tracing::debug!(%peer, "connection never got as far as a request");
            return;
        }
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn streams_are_waited_for_at_shutdown_and_end_when_it_does_not_wait_longer() {
        let (tracker, abort) = (TaskTracker::new(), CancellationToken::new());
        let tasks = Tasks::new(tracker.clone(), abort.clone());
        tasks.execute(std::future::pending::<()>());
        tracker.close();
        assert_eq!(tracker.len(), 1);
        abort.cancel();
        tracker.wait().await;
    }
}
