//! The core of the SDK: what an application's spans and log records go through before they are exported. Made for the Rust
//! crate and the Python package to share, which bring the surface that their users see.
//!
//! The way of a span, which is that of a log record too:
//!
//! 1. A sampler looks at its parent, its name and its attributes and says whether it is recorded ([`sampling`]).
//! 2. While it runs it is a [`span::Span`] in the hands of the application. Attributes, events and links are kept in the
//!    form in which they will be sent ([`attributes`]): there is no tree of objects to build and to walk again.
//! 3. When it ends it is written, as OTLP, behind what its thread has recorded before ([`recorder`]). Threads do not wait
//!    for one another, and for nobody else: where memory is short the record is dropped and counted.
//! 4. What has been recorded is taken from time to time, becomes batches with the resource in front
//!    ([`cupola_telemetry::Batch`]), and is what exporters take.
//!
//! Metrics go another way, as they are added up: see [`metrics`].
//!
//! Never panics into an application, never blocks it, starts no thread before something is recorded. Knows neither
//! `tracing` nor Python, and reads neither files nor the environment except where a module says so.

pub mod attributes;
pub mod backend;
pub mod baggage;
pub mod clock;
pub mod configuration;
pub mod context;
mod exporting;
pub mod fork;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod ids;
pub mod log;
pub mod logger;
pub mod metrics;
pub mod pending;
mod per_thread;
pub mod propagation;
pub mod rate_limit;
pub mod recorder;
pub mod resource;
mod room;
pub mod sampling;
pub mod say;
pub mod scrub;
pub mod sdk;
pub mod settings;
pub mod span;
mod spool;
pub mod suppress;
pub mod tail;
pub mod tracer;
pub mod value;
mod wildcard;

pub use context::SpanContext;
pub use sdk::{Sdk, Surroundings};
pub use settings::Settings;
pub use value::Value;
