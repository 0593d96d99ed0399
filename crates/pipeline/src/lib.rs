//! Pipelines: what takes telemetry in and works on it before it is exported.
//!
//! Owns receivers, processors and connectors, and the graph that joins them with exporters as a configuration says.
//! Refuses to know where batches end up: whoever links it registers further exporters, the store among them.

pub mod auth;
pub mod components;
pub mod connectors;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod graph;
pub mod operators;
pub mod ottl;
pub mod processors;
pub mod receivers;
mod text_parts;
mod time_text;
