//! Logs, metrics and traces of a Rust application, over the core that the SDK's languages share.
//!
//! [`context`] knows which span and which baggage are the current ones, whoever made them: spans of `tracing`, spans of the
//! API of OpenTelemetry, or a request that was taken in.
//!
//! Never panics into an application, and never blocks it.

pub mod console;
pub mod context;
pub mod layer;
#[cfg(feature = "opentelemetry")]
pub mod opentelemetry;
#[cfg(feature = "testing")]
pub mod testing;

pub use context::{Context, ContextGuard, InContext};
pub use cupola_sdk_core as core;
