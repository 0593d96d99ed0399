//! Which span, baggage and attributes are those of what runs now: on a thread while a guard lives, in a task while it is
//! polled. The one place that knows; spans of `tracing` and of the API of OpenTelemetry are put here when they are entered, so
//! that each sees the other as its parent.
//!
//! A thread has a stack of contexts of its own, so that there is no lock, and the child of a `fork()` goes on with what the
//! thread that forked had.

#[cfg(feature = "opentelemetry")]
pub(crate) mod bridge;
mod fields;
mod future;
pub(crate) mod node;
pub(crate) mod stack;

use std::sync::Arc;

use cupola_sdk_core::SpanContext;
use cupola_sdk_core::attributes::{AttributeLimits, Attributes};
use cupola_sdk_core::baggage::{Baggage, BaggageError};
use cupola_sdk_core::log;
use cupola_sdk_core::propagation::Carried;
use cupola_sdk_core::value::Value;
use node::Node;

pub use fields::FieldValue;
pub use future::{InContext, WithContext};
pub use stack::{ContextGuard, DEPTH_MAX};

/// What surrounds something that is recorded. Cheap to clone: what is not empty is shared.
#[derive(Clone, Debug, Default)]
pub struct Context {
    span: SpanContext,
    baggage: Baggage,
    is_forced: bool,
    /// For all that is recorded inside, in this process.
    attributes: Option<Arc<Attributes>>,
    /// The span of `tracing` whose fields log records inside have too.
    node: Option<Arc<Node>>,
}

impl Context {
    /// Outside of everything.
    pub const fn root() -> Context {
        Context {
            span: SpanContext::none(),
            baggage: Baggage::none(),
            is_forced: false,
            attributes: None,
            node: None,
        }
    }

    /// That of now, on this thread.
    pub fn current() -> Context {
        stack::with_current(|context, node| {
            let mut context = context.clone();
            context.node = node.cloned();
            context
        })
    }

    /// Calls `with` with the context of now: cheaper than [`current`](Self::current). What is to be attached elsewhere is asked
    /// for there: a clone of this one does not know the fields of the spans around it. No context is attached meanwhile.
    #[inline]
    pub fn with_current<T>(with: impl FnOnce(&Context) -> T) -> T {
        stack::with_current(|context, _| with(context))
    }

    /// What came with a request.
    pub fn of_carried(carried: Carried) -> Context {
        Context {
            span: carried.span,
            baggage: carried.baggage,
            is_forced: carried.is_forced,
            attributes: None,
            node: None,
        }
    }

    /// What goes along with a request.
    pub fn to_carried(&self) -> Carried {
        Carried {
            span: self.span.clone(),
            baggage: self.baggage.clone(),
            is_forced: self.is_forced,
        }
    }

    /// The current span; without ids if there is none.
    pub fn span(&self) -> &SpanContext {
        &self.span
    }

    pub fn baggage(&self) -> &Baggage {
        &self.baggage
    }

    /// Spans below it are recorded whatever the sampler says.
    pub fn is_forced(&self) -> bool {
        self.is_forced
    }

    /// What everything that is recorded inside has as attributes, in the process alone; `None` if nothing.
    pub fn attributes(&self) -> Option<&Attributes> {
        self.attributes.as_deref()
    }

    /// In another span.
    #[must_use]
    pub fn with_span(mut self, span: SpanContext) -> Context {
        self.span = span;
        self
    }

    /// It has nothing but a span.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn is_plain(&self) -> bool {
        self.baggage.is_empty() && !self.is_forced && self.attributes.is_none()
    }

    /// The same baggage and attributes in a span.
    pub(crate) fn inside(&self, span: SpanContext) -> Context {
        Context {
            span,
            baggage: self.baggage.clone(),
            is_forced: self.is_forced,
            attributes: self.attributes.clone(),
            node: None,
        }
    }

    #[must_use]
    pub fn with_baggage(mut self, baggage: Baggage) -> Context {
        self.baggage = baggage;
        self
    }

    /// With a member of baggage, which goes along with requests to other services.
    pub fn with_member(self, name: &str, value: &str) -> Result<Context, BaggageError> {
        let baggage = self.baggage.with(name, value)?;
        Ok(self.with_baggage(baggage))
    }

    #[must_use]
    pub fn with_forced(mut self, is_forced: bool) -> Context {
        self.is_forced = is_forced;
        self
    }

    /// With an attribute for everything that is recorded inside; it does not leave the process.
    #[must_use]
    pub fn with_attribute<'v>(mut self, key: &str, value: impl Into<Value<'v>>) -> Context {
        let none = || Arc::new(log::empty_attributes(AttributeLimits::default()));
        Arc::make_mut(self.attributes.get_or_insert_with(none)).set(key, value);
        self
    }

    /// Makes it that of this thread until the guard is dropped.
    #[must_use = "it ends with its guard"]
    pub fn attach(self) -> ContextGuard {
        stack::attach(self)
    }

    /// Calls `run` in it.
    pub fn run<T>(self, run: impl FnOnce() -> T) -> T {
        let _attached = self.attach();
        run()
    }
}
