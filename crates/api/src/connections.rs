//! Connections of one listener: how many there may be, and how long one may take to say what it wants. Owns the place of
//! each; refuses those beyond the bound by closing them, as whoever waits unseen in a backlog learns nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// After a failed accept, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Of `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`: whoever has sent as much has begun a request of HTTP/1.1 or is past the preface
/// of HTTP/2, and from there on the protocol has timers of its own.
/// <https://www.rfc-editor.org/rfc/rfc9113#preface>
const OPENING_BYTES: usize = 24;

/// The connections of one listener. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Places>);

#[derive(Debug)]
struct Places {
    permits: Arc<Semaphore>,
    max: usize,
    refused: AtomicU64,
    opening_timeout: Duration,
}

impl Connections {
    pub(crate) fn new(max: usize, opening_timeout: Duration) -> Self {
        let max = max.clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Places {
            permits: Arc::new(Semaphore::new(max)),
            max,
            refused: AtomicU64::new(0),
            opening_timeout,
        }))
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.0.max.saturating_sub(self.0.permits.available_permits()) as u64
    }

    /// Connections closed at once because there were too many.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// How long a connection may take to send its first bytes, and the head of a request.
    pub(crate) fn opening_timeout(&self) -> Duration {
        self.0.opening_timeout
    }

    /// The next connection that there is a place for.
    pub(crate) async fn accept(&self, listener: &TcpListener, what: &'static str) -> Connection {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(what, %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&self.0.permits).try_acquire_owned() else {
                let refused = self.0.refused.fetch_add(1, Ordering::Relaxed) + 1;
                // Ever more seldom: a flood must not fill the log as well.
                if refused.is_power_of_two() {
                    tracing::warn!(what, %peer, refused, max = self.0.max, "connection closed: too many are open");
                }
                continue;
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%peer, %error, "cannot set nodelay");
            }
            return Connection {
                stream,
                missing: OPENING_BYTES,
                overdue: Box::pin(tokio::time::sleep(self.0.opening_timeout)),
                _place: place,
            };
        }
    }
}

/// A connection that has its place, and ends if its first bytes do not come in time.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// Bytes of the opening still to come.
    missing: usize,
    overdue: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.missing > 0 {
            self.missing = self.missing.saturating_sub(buffer.filled().len() - before);
            if read.is_pending() && self.overdue.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}
