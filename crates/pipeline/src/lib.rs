//! Pipelines: what takes telemetry in and works on it before it is exported.
//!
//! Owns the receivers (and, later, processors and connectors). Refuses to know where batches end up: a
//! receiver is given a [`cupola_export::Sink`], which may be the store, an exporter or a processor.

#[cfg(fuzzing)]
pub mod fuzzing;
pub mod ottl;
pub mod processors;
pub mod receivers;
