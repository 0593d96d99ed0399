//! Exporting: what takes a [`cupola_telemetry::Batch`] and carries it somewhere else.
//!
//! Owns the [`Sink`] trait, the retry policy, the bounded queue and the sinks themselves. Refuses to know
//! where batches come from: receivers and processors live in the pipeline, and this crate stays light
//! enough for an application to depend on.

pub mod otlp;
pub mod queue;
pub mod retry;
pub mod rpc_status;
mod sink;

pub use sink::{Accepted, SendError, Sink};
