//! Receivers: servers that turn a protocol into batches.

pub mod otlp;
