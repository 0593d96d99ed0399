//! The API of OpenTelemetry over the core: whatever is instrumented with the crates `opentelemetry` or `tracing-opentelemetry`, or
//! logs through an appender of theirs, is recorded as what is instrumented with `tracing` is. Spans of either are parents of the
//! other's ([`context`](crate::context)).
//!
//! Nothing is kept in the types of the API: attributes and events are written as they come, in the form in which they are sent.
//!
//! <https://docs.rs/opentelemetry>

mod convert;
mod logs;
mod metrics;
mod propagation;
mod span;
mod trace;

use ::opentelemetry::{Context as ApiContext, global};
use cupola_sdk_core::Sdk;

pub use logs::{LogRecord, Logger, LoggerProvider};
pub use metrics::MeterProvider;
pub use propagation::Propagator;
pub use span::Span;
pub use trace::{Tracer, TracerProvider};

use crate::context::{Context, bridge};

/// Makes an SDK that of `opentelemetry::global`, in place of what was there: its providers of tracers and meters, and its
/// propagator. There is none for loggers; appenders are given a [`LoggerProvider`].
///
/// What is there holds the SDK until something else is put in its place; it is ended by [`Sdk::shutdown`] all the same.
pub fn install(sdk: &Sdk) {
    global::set_tracer_provider(TracerProvider::new(sdk.clone()));
    global::set_meter_provider(MeterProvider::new(sdk.clone()));
    global::set_text_map_propagator(Propagator::new(sdk.clone()));
}

impl Context {
    /// Ours of one of the API of OpenTelemetry.
    pub fn of_opentelemetry(context: &ApiContext) -> Context {
        bridge::from_api(context)
    }

    /// The current context of the API of OpenTelemetry with what is in ours.
    pub fn to_opentelemetry(&self) -> ApiContext {
        bridge::to_api(self)
    }
}
