//! The first bytes of a connection. Nothing of hyper's has a timer while it waits for them, to tell HTTP/2 from
//! HTTP/1: owns the end of connections that begin the preface of HTTP/2 and leave it at that.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Of `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`. From there on either protocol has timers of its own.
/// <https://www.rfc-editor.org/rfc/rfc9113#preface>
const PREFACE_BYTES: usize = 24;

/// Whether a connection has got past its opening: a preface's worth of bytes, or a whole request.
#[derive(Clone, Default)]
pub(crate) struct Opening {
    complete: Arc<AtomicBool>,
}

impl Opening {
    pub(crate) fn complete(&self) {
        self.complete.store(true, Ordering::Relaxed);
    }

    /// Returns if the opening is not over after `limit`, else never.
    pub(crate) async fn overdue(&self, limit: Duration) {
        tokio::time::sleep(limit).await;
        if self.complete.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    /// Counts what is read from `stream`.
    pub(crate) fn watch<S>(&self, stream: S) -> Watched<S> {
        Watched {
            stream,
            missing: PREFACE_BYTES,
            opening: self.clone(),
        }
    }
}

/// A stream whose first bytes are counted.
pub(crate) struct Watched<S> {
    stream: S,
    /// Of the opening.
    missing: usize,
    opening: Opening,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if self.missing > 0 {
            self.missing = self.missing.saturating_sub(buffer.filled().len() - before);
            if self.missing == 0 {
                self.opening.complete();
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
