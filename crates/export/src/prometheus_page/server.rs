//! The listener of the page. Owns its connections, which are bounded in number and time, and knows one path.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::Sample;
use crate::auth::{Denied, ServerAuth};
use crate::tls::{ServerTls, Stream};

/// Connections at the same time; more wait in the backlog of the system.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long answers may take to finish at the end.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);
/// How long accepting rests after it failed, as it does without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Makes the page: whether OpenMetrics is wanted goes in, content type and text come out.
pub(super) type Render = Arc<dyn Fn(bool) -> (&'static str, String) + Send + Sync>;

/// The page, and who may have it.
pub(super) struct Page {
    render: Render,
    tls: Option<ServerTls>,
    auth: Option<Arc<dyn ServerAuth>>,
    denied: AtomicU64,
    /// Not told whether they may, because too many were being asked about.
    busy: AtomicU64,
}

impl Page {
    pub(super) fn new(
        render: Render,
        tls: Option<ServerTls>,
        auth: Option<Arc<dyn ServerAuth>>,
    ) -> Arc<Page> {
        Arc::new(Page {
            render,
            tls,
            auth,
            denied: AtomicU64::new(0),
            busy: AtomicU64::new(0),
        })
    }
}

pub(super) struct Server {
    page: Arc<Page>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
}

impl Server {
    pub(super) fn start(address: SocketAddr, page: Arc<Page>) -> std::io::Result<Server> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, page.clone(), stopped));
        Ok(Server {
            page,
            address,
            stop,
            tasks: Mutex::new(tasks),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds what is counted.
    pub(super) fn collect(&self, samples: &mut Vec<Sample>) {
        if let Some(tls) = &self.page.tls {
            tls.collect(samples);
        }
        if self.page.auth.is_some() {
            for (name, help, count) in [
                (
                    "cupola_exporter_prometheus_denied_scrapes",
                    "Scrapes refused for want of credentials",
                    &self.page.denied,
                ),
                (
                    "cupola_exporter_prometheus_auth_busy_scrapes",
                    "Scrapes refused for now because too many credentials were being checked",
                    &self.page.busy,
                ),
            ] {
                samples.push(Sample::count(name, help, count.load(Ordering::Relaxed)));
            }
        }
    }

    pub(super) async fn shutdown(&self) {
        self.stop.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        let finished = async { while tasks.join_next().await.is_some() {} };
        // What has not finished by then is ended with its set.
        let _ = tokio::time::timeout(SHUTDOWN_LIMIT, finished).await;
    }
}

async fn accept(listener: TcpListener, page: Arc<Page>, mut stopped: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = end(&mut stopped) => break,
        };
        match accepted {
            Ok((connection, peer)) => {
                let (page, stopped) = (page.clone(), stopped.clone());
                connections.spawn(async move {
                    serve(connection, peer, page, stopped).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(connection: TcpStream, peer: SocketAddr, page: Arc<Page>, mut stopped: watch::Receiver<bool>) {
    let connection = match &page.tls {
        None => Stream::Plain(connection),
        Some(tls) => match tls.accept(connection, peer).await {
            Some(stream) => stream,
            None => return,
        },
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let page = page.clone();
        async move {
            if let Some(refusal) = denied(&page, request.headers()).await {
                return Ok(refusal);
            }
            let answer = answer(
                request.method(),
                request.uri().path(),
                request.headers(),
                &page.render,
            );
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(connection), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => log(ended),
        () = end(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            log(connection.await);
        }
    }
}

/// Waits for the end, or for the server to be dropped.
async fn end(stopped: &mut watch::Receiver<bool>) {
    drop(stopped.wait_for(|stopped| *stopped).await);
}

fn log(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// The answer to whoever may not have the page.
async fn denied(page: &Page, headers: &HeaderMap) -> Option<Response<Full<Bytes>>> {
    let denied = page.auth.as_ref()?.authenticate(headers).await.err()?;
    Some(match denied {
        Denied::Unknown { challenge } => {
            page.denied.fetch_add(1, Ordering::Relaxed);
            let mut response = plain(StatusCode::UNAUTHORIZED, "credentials are needed\n");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            response
        }
        Denied::Busy => {
            page.busy.fetch_add(1, Ordering::Relaxed);
            let text = "too many credentials are being checked\n";
            let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, text);
            let soon = HeaderValue::from_static("1");
            response.headers_mut().insert(RETRY_AFTER, soon);
            response
        }
    })
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}

fn answer(method: &Method, path: &str, headers: &HeaderMap, render: &Render) -> Response<Full<Bytes>> {
    if path != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "the page is at /metrics\n");
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "the page can be read only\n");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let accept = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let open_metrics = accept.flat_map(|value| value.split(',')).any(|kind| {
        kind.trim()
            .to_ascii_lowercase()
            .starts_with("application/openmetrics-text")
    });
    let (content_type, text) = render(open_metrics);
    let mut response = Response::new(Full::new(Bytes::from(text)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
