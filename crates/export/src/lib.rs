//! Exporting: what takes a [`cupola_telemetry::Batch`] and carries it somewhere else.
//!
//! Owns the [`Sink`] trait, delivery (queues in memory and on disk, retry, dead letters, rate limits, failover) and the sinks
//! themselves. Refuses to know where batches come from: receivers and processors live in the pipeline, and this crate stays
//! light enough for an application to depend on.

pub mod auth;
mod component;
mod condition;
pub mod dead_letter;
pub mod debug;
pub mod elasticsearch;
pub mod exporter;
pub mod failover;
pub mod file;
pub mod fs;
pub mod http_client;
mod items;
pub mod json_lines;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod loki;
mod object;
pub mod otlp;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod prometheus;
pub mod prometheus_page;
pub mod prometheus_remote_write;
pub mod queue;
pub mod rate_limit;
mod record;
mod refused;
pub mod reloading;
pub mod retry;
pub mod rpc_status;
#[cfg(test)]
mod simulation;
mod sink;
pub mod spool;
pub mod tls;

pub use component::{Component, Sample};
pub use condition::{Condition, Trouble};
pub use exporter::{DeliveryConfig, Exporter, ExporterError};
pub use sink::{Accepted, Outlook, SendError, Sink, share_out};
