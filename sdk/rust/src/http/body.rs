//! The body of a response, which tells when it has ended and how long it was.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf as _;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// What is done when a body has ended: called once, also when it is dropped before its end.
pub trait AtEnd {
    /// After so many bytes; `failed` if the last of them did not come.
    fn at_end(self, bytes: u64, failed: bool);
}

pin_project! {
    /// A body whose end is the end of a span.
    pub struct TracedBody<B, E: AtEnd> {
        #[pin]
        inner: B,
        bytes: u64,
        end: Option<E>,
    }

    impl<B, E: AtEnd> PinnedDrop for TracedBody<B, E> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            // Whoever reads it has gone, or has read all that it was told to expect.
            if let Some(end) = this.end.take() {
                end.at_end(*this.bytes, false);
            }
        }
    }
}

impl<B, E: AtEnd> TracedBody<B, E> {
    pub(super) fn new(inner: B, end: E) -> TracedBody<B, E> {
        TracedBody {
            inner,
            bytes: 0,
            end: Some(end),
        }
    }
}

impl<B: Body, E: AtEnd> Body for TracedBody<B, E> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let polled = this.inner.poll_frame(task);
        let failed = match &polled {
            Poll::Pending => return polled,
            Poll::Ready(Some(Ok(frame))) => {
                *this.bytes += frame.data_ref().map_or(0, |data| data.remaining() as u64);
                return polled;
            }
            Poll::Ready(Some(Err(_))) => true,
            Poll::Ready(None) => false,
        };
        if let Some(end) = this.end.take() {
            end.at_end(*this.bytes, failed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
