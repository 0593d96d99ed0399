//! Futures that are polled in a context.

use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};

use pin_project_lite::pin_project;

use super::Context;

/// Running a future in a context, on whatever thread it is polled.
pub trait InContext: Sized {
    fn in_context(self, context: Context) -> WithContext<Self> {
        WithContext {
            future: self,
            context,
        }
    }

    /// In the context of now: what a task wants that is spawned.
    fn in_current_context(self) -> WithContext<Self> {
        self.in_context(Context::current())
    }
}

impl<F: Future> InContext for F {}

pin_project! {
    /// A future in a context.
    #[derive(Debug)]
    pub struct WithContext<F> {
        #[pin]
        future: F,
        context: Context,
    }
}

impl<F: Future> Future for WithContext<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _attached = this.context.clone().attach();
        this.future.poll(task)
    }
}
