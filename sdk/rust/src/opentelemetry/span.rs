//! A span in the hands of whoever uses the API.
//!
//! <https://opentelemetry.io/docs/specs/otel/trace/api/#span>

use std::borrow::Cow;
use std::error::Error;
use std::time::SystemTime;

use ::opentelemetry::KeyValue;
use ::opentelemetry::trace::{self as api, SpanContext, Status};
use bumpalo::Bump;
use cupola_sdk_core::fork;
use cupola_sdk_core::tracer::{Recording, Tracer};

use super::convert;
use crate::context::bridge;
use crate::layer::visit::Failure;

/// A span that has started. Ended when it is dropped, if not before; nothing changes it after that.
#[derive(Debug)]
pub struct Span {
    context: SpanContext,
    /// Until it ends; `None` from the beginning if it is not recorded.
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    tracer: Tracer,
    recording: Recording,
    /// The process that started it, which ends it too.
    generation: u64,
}

impl Span {
    #[inline]
    pub(super) fn recorded(context: SpanContext, tracer: Tracer, recording: Recording) -> Span {
        Span {
            context,
            running: Some(Running {
                tracer,
                recording,
                generation: fork::generation(),
            }),
        }
    }

    pub(super) fn not_recorded(context: SpanContext) -> Span {
        Span {
            context,
            running: None,
        }
    }

    /// `None` also in the child of a fork: its parent ends the span.
    #[inline]
    fn running(&mut self) -> Option<&mut Running> {
        let running = self.running.as_mut();
        running.filter(|running| running.generation == fork::generation())
    }

    #[inline]
    fn finish(&mut self, unix_nano: Option<u64>) {
        let Some(running) = self.running.take() else {
            return;
        };
        if running.generation != fork::generation() {
            return;
        }
        match unix_nano {
            None => running.tracer.end(running.recording),
            Some(unix_nano) => running.tracer.end_at(running.recording, unix_nano),
        }
    }
}

impl Running {
    fn add_event(&mut self, name: &str, unix_nano: u64, attributes: &[KeyValue]) {
        let arena = Bump::new();
        convert::with_pairs(attributes, &arena, |attributes| {
            self.recording.add_event(name, unix_nano, attributes);
        });
    }

    fn now(&self) -> u64 {
        self.tracer.sdk().clock().now()
    }
}

impl api::Span for Span {
    fn add_event<T>(&mut self, name: T, attributes: Vec<KeyValue>)
    where
        T: Into<Cow<'static, str>>,
    {
        if let Some(running) = self.running() {
            let now = running.now();
            running.add_event(&name.into(), now, &attributes);
        }
    }

    /// Adds it as an exception: its text, and those of its causes as the stack trace if it has any.
    fn record_error(&mut self, error: &dyn Error) {
        if self.running().is_none() {
            return;
        }
        // Before the span is changed: what says what it is, is code of the application.
        let failure = Failure::of_borrowed(error);
        if let Some(running) = self.running() {
            let now = running.now();
            failure.add_to(&mut running.recording, now);
        }
    }

    fn add_event_with_timestamp<T>(&mut self, name: T, timestamp: SystemTime, attributes: Vec<KeyValue>)
    where
        T: Into<Cow<'static, str>>,
    {
        if let Some(running) = self.running() {
            running.add_event(&name.into(), convert::unix_nano(timestamp), &attributes);
        }
    }

    fn span_context(&self) -> &SpanContext {
        &self.context
    }

    fn is_recording(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| running.generation == fork::generation())
    }

    fn set_attribute(&mut self, attribute: KeyValue) {
        if let Some(running) = self.running() {
            convert::set(running.recording.attributes_mut(), &attribute);
        }
    }

    fn set_status(&mut self, status: Status) {
        if let Some(running) = self.running() {
            running.recording.set_status(convert::status(status));
        }
    }

    fn update_name<T>(&mut self, name: T)
    where
        T: Into<Cow<'static, str>>,
    {
        if let Some(running) = self.running() {
            running.recording.rename(name);
        }
    }

    fn add_link(&mut self, to: SpanContext, attributes: Vec<KeyValue>) {
        if let Some(running) = self.running() {
            let (to, arena) = (bridge::from_api_span(&to), Bump::new());
            convert::with_pairs(&attributes, &arena, |attributes| {
                running.recording.add_link(&to, attributes);
            });
        }
    }

    fn end(&mut self) {
        self.finish(None);
    }

    fn end_with_timestamp(&mut self, timestamp: SystemTime) {
        self.finish(Some(convert::unix_nano(timestamp)));
    }
}

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        self.finish(None);
    }
}
