//! The messages of a response, and the status behind them.

use std::pin::Pin;
use std::task::{self, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Status;

use super::BoxError;
use super::call::Call;
use super::errors::status_of;
use crate::context::Context;

pin_project! {
    /// A body whose trailers are the end of a call.
    #[derive(Debug)]
    pub struct CallBody<B> {
        #[pin]
        inner: B,
        call: Call,
        context: Context,
    }
}

impl<B> CallBody<B> {
    /// What makes the messages of a stream does so in this context.
    pub(super) fn new(inner: B, call: Call, context: Context) -> CallBody<B> {
        CallBody { inner, call, context }
    }
}

impl<B> Body for CallBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let this = self.project();
        let polled = this.context.clone().run(|| this.inner.poll_frame(task));
        Poll::Ready(match polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.call.ended(trailers);
                }
                Some(Ok(frame))
            }
            Poll::Ready(Some(Err(error))) => {
                let (status, code) = status_of(error.into());
                this.call.failed(code, status.message());
                Some(Err(status))
            }
            Poll::Ready(None) => {
                this.call.end_without();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
