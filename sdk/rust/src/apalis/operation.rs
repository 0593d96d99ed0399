//! An operation on a queue: its span, and what is measured of it.

use std::any::Any;
use std::error::Error;
use std::time::Instant;

use cupola_sdk_core::Sdk;
use cupola_sdk_core::metrics::{self, Description, Instrument};
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::span::{Exception, Status};
use cupola_sdk_core::tracer::{Recording, Start, Tracer};
use cupola_sdk_core::value::Value;

use crate::context::Context;
use crate::layer::visit::Failure;
use crate::panics;

const SYSTEM: &str = "apalis";
/// Bounds of the buckets of durations, in seconds, as the semantic conventions advise.
const SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// What one side of a queue is traced and measured with.
#[derive(Clone, Debug)]
pub(super) struct Instruments {
    pub(super) tracer: Tracer,
    duration: Instrument<f64>,
    messages: Instrument<u64>,
}

impl Instruments {
    pub(super) fn new(sdk: &Sdk, duration: Description<'_>, messages: Description<'_>) -> Instruments {
        let scope = Scope::of("cupola-sdk/apalis", env!("CARGO_PKG_VERSION"), "", &[]);
        let meter = sdk.meter(scope);
        Instruments {
            tracer: sdk.tracer(scope),
            duration: meter.histogram(&Description {
                unit: "s",
                boundaries: Some(SECONDS),
                ..duration
            }),
            messages: meter.counter(&Description {
                unit: "{message}",
                ..messages
            }),
        }
    }

    /// Starts the span of an operation on a queue.
    pub(super) fn begin<'s>(
        &self,
        operation: &'static str,
        queue: String,
        around: &'s Context,
        mut start: Start<'s>,
    ) -> Operation {
        start.name = format!("{operation} {queue}").into();
        start.baggage = around.baggage();
        start.is_forced = around.is_forced();
        let mut attributes = vec![
            ("messaging.system", Value::String(SYSTEM)),
            ("messaging.operation.name", Value::String(operation)),
            ("messaging.operation.type", Value::String(operation)),
            ("messaging.destination.name", Value::String(&queue)),
        ];
        attributes.extend_from_slice(start.attributes);
        let started = self.tracer.start(Start {
            attributes: &attributes,
            ..start
        });
        Operation(Some(Open {
            context: around.clone().with_span(started.context),
            recording: started.recording,
            instruments: self.clone(),
            begun: Instant::now(),
            operation,
            queue,
        }))
    }
}

/// An operation on a queue that has begun.
#[derive(Debug)]
pub(super) struct Operation(Option<Open>);

#[derive(Debug)]
struct Open {
    instruments: Instruments,
    recording: Option<Recording>,
    context: Context,
    begun: Instant,
    operation: &'static str,
    queue: String,
}

impl Operation {
    pub(super) fn context(&self) -> Context {
        self.0
            .as_ref()
            .map_or_else(Context::root, |open| open.context.clone())
    }

    pub(super) fn done(mut self) {
        if let Some(open) = self.0.take() {
            open.end(None);
        }
    }

    pub(super) fn failed(mut self, error: &(dyn Error + 'static)) {
        let Some(mut open) = self.0.take() else { return };
        let failure = Failure::of(error);
        let now = open.instruments.tracer.sdk().clock().now();
        if let Some(span) = &mut open.recording {
            failure.add_to(span, now);
        }
        let kind = match failure.kind.is_empty() {
            true => "_OTHER",
            false => &failure.kind,
        };
        open.end(Some((kind, &failure.message)));
    }

    pub(super) fn panicked(mut self, payload: &(dyn Any + Send)) {
        let Some(mut open) = self.0.take() else { return };
        let message = panics::message(payload);
        let now = open.instruments.tracer.sdk().clock().now();
        if let Some(span) = &mut open.recording {
            // The stack is in the log record of the hook.
            let exception = Exception {
                kind: "panic",
                message,
                stack_trace: None,
            };
            span.record_exception(&exception, now, &[]);
        }
        open.end(Some(("panic", message)));
    }
}

impl Drop for Operation {
    /// Nobody waits for it any more.
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            open.end(Some(("cancelled", "")));
        }
    }
}

impl Open {
    /// Ends, with the type of an error and what it says.
    fn end(self, error: Option<(&str, &str)>) {
        let mut attributes = vec![
            ("messaging.system", Value::String(SYSTEM)),
            ("messaging.operation.name", Value::String(self.operation)),
            ("messaging.destination.name", Value::String(&self.queue)),
        ];
        attributes.extend(error.map(|(kind, _)| ("error.type", Value::String(kind))));
        let within = metrics::Context {
            span: self.context.span(),
            baggage: self.context.baggage(),
        };
        let instruments = &self.instruments;
        let seconds = self.begun.elapsed().as_secs_f64();
        instruments.duration.record_in(seconds, &attributes, &within);
        instruments.messages.record_in(1, &attributes, &within);
        let Some(mut span) = self.recording else {
            return;
        };
        if let Some((kind, message)) = error {
            span.set("error.type", kind);
            span.set_status(Status::Error {
                description: message.to_owned(),
            });
        }
        instruments.tracer.end(span);
    }
}
