//! The telemetry model: validated OTLP batches, zero-copy views over them, writers, OTLP/JSON.
//!
//! Pure: no IO, no async, no clock, no configuration. A [`Batch`] is one canonical `Export*ServiceRequest`
//! in protobuf bytes; everything that reads telemetry reads it through [`view`], everything that makes
//! telemetry writes it through [`encode`].
//!
//! Specification: <https://opentelemetry.io/docs/specs/otlp/>, opentelemetry-proto 1.x.

mod batch;
mod client;
mod decode;
pub mod edit;
pub mod encode;
pub mod id;
pub mod json;
pub mod memory;
mod output;
mod schema;
mod tenant;
pub mod time;
pub mod view;
pub mod wire;

pub use batch::{Batch, Signal, UnknownSignal};
pub use client::Client;
pub use decode::{DecodeError, NESTING_MAX, Problem};
pub use id::{SpanId, TraceId};
pub use output::DecodeLimits;
pub use tenant::{TENANT_ID_BYTES_MAX, TenantId, TenantIdError};
