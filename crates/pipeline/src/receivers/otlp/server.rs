//! Connections: accepting, serving HTTP/1.1 and HTTP/2 on each, and letting go of them at shutdown. Owns the
//! bound on connections, the HTTP settings, and the tasks.

mod opening;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::{HttpConfig, OtlpReceiverConfig};
use super::ingest::Ingest;
use super::stats::{TransportStats, count};
use super::{grpc, http};
use opening::Opening;

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
const HEADERS_BYTES_MAX: u32 = 64 * 1024;
/// After a failed accept, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Grpc,
    Http,
}

impl Port {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Port::Grpc => "grpc",
            Port::Http => "http",
        }
    }
}

/// Where everything runs that a receiver spawns: waited for at shutdown, and ended when waiting does.
#[derive(Clone)]
pub(super) struct Tasks {
    tracker: TaskTracker,
    abort: CancellationToken,
}

impl Tasks {
    pub(super) fn new(tracker: TaskTracker, abort: CancellationToken) -> Tasks {
        Tasks { tracker, abort }
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

pub(super) struct Server {
    ingest: Ingest,
    config: OtlpReceiverConfig,
    /// Largest message of gRPC on either port, and largest body of plain HTTP on the gRPC port.
    grpc_message_bytes_max: usize,
    connections: Arc<Semaphore>,
    builder: Builder<Tasks>,
    stop: CancellationToken,
    tasks: Tasks,
}

impl Server {
    pub(super) fn new(
        config: OtlpReceiverConfig,
        ingest: Ingest,
        stop: CancellationToken,
        tasks: Tasks,
    ) -> Server {
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
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        let connections = Arc::new(Semaphore::new(config.connections_max));
        let grpc_message_bytes_max = config.grpc.clone().unwrap_or_default().message_bytes_max;
        Server {
            ingest,
            grpc_message_bytes_max,
            connections,
            builder,
            stop,
            tasks,
            config,
        }
    }

    pub(super) fn ingest(&self) -> &Ingest {
        &self.ingest
    }

    pub(super) fn body_timeout(&self) -> Duration {
        self.config.body_timeout
    }

    fn transport(&self, port: Port) -> &TransportStats {
        match port {
            Port::Grpc => &self.ingest.stats().grpc,
            Port::Http => &self.ingest.stats().http,
        }
    }

    /// Accepts connections until told to stop. Each is a task.
    pub(super) async fn accept(self: Arc<Server>, listener: TcpListener, port: Port) {
        let stop = self.stop.clone();
        let accepting = async {
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) => {
                        // Without a free place this one waits, and the system's backlog holds the rest.
                        if self.connections.available_permits() == 0 {
                            count(&self.transport(port).connections_waited, 1);
                        }
                        let Ok(place) = self.connections.clone().acquire_owned().await else {
                            return;
                        };
                        let server = self.clone();
                        self.tasks.tracker.spawn(async move {
                            server.connection(stream, peer, port).await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, port = port.as_str(), "cannot accept connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accepting => {}
            () = stop.cancelled() => {}
        }
    }

    async fn connection(self: Arc<Server>, stream: TcpStream, peer: SocketAddr, port: Port) {
        let stats = self.transport(port);
        count(&stats.connections_total, 1);
        count(&stats.connections, 1);
        tokio::select! {
            () = self.clone().serve(stream, peer, port) => {}
            () = self.tasks.abort.cancelled() => {}
        }
        stats.connections.fetch_sub(1, Ordering::Relaxed);
    }

    async fn serve(self: Arc<Server>, stream: TcpStream, peer: SocketAddr, port: Port) {
        // Whoever connects and says nothing is let go like whoever falls silent later.
        tokio::select! {
            spoke = tokio::time::timeout(IDLE_TIMEOUT, stream.readable()) => {
                if !matches!(spoke, Ok(Ok(()))) { return }
            }
            () = self.stop.cancelled() => return,
        }
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "cannot set nodelay");
        }
        let opening = Opening::default();
        let stream = TokioIo::new(opening.watch(stream));
        let (server, served) = (self.clone(), opening.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            served.complete();
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.handle(port, request).await) }
        });
        let mut connection = pin!(self.builder.serve_connection(stream, service));
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = opening.overdue(self.config.body_timeout) => {
                tracing::debug!(%peer, "connection never got as far as a request");
                return;
            }
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%peer, %error, "connection ended");
        }
    }

    async fn handle(&self, port: Port, request: Request<Incoming>) -> Response<ResponseBody> {
        if grpc::is_grpc(&request) {
            return grpc::serve(self, self.grpc_message_bytes_max, request).await;
        }
        match (port, &self.config.http) {
            (Port::Http, Some(config)) => http::serve(self, config, request).await,
            // Plain HTTP on the gRPC port gets the same answers, without CORS.
            _ => {
                let config = HttpConfig {
                    body_bytes_max: self.grpc_message_bytes_max,
                    ..HttpConfig::default()
                };
                http::serve(self, &config, request).await
            }
        }
    }
}

/// The body of an answer: at most one piece, and trailers for gRPC.
#[derive(Debug, Default)]
pub(super) struct ResponseBody {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl ResponseBody {
    pub(super) fn new(data: Bytes) -> ResponseBody {
        ResponseBody {
            data: Some(data).filter(|data| !data.is_empty()),
            trailers: None,
        }
    }

    pub(super) fn with_trailers(data: Bytes, trailers: HeaderMap) -> ResponseBody {
        ResponseBody {
            trailers: Some(trailers),
            ..ResponseBody::new(data)
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
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
