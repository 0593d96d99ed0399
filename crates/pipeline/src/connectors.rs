//! Connectors: the end of one pipeline and the beginning of others.
//!
//! A connector takes batches as an exporter does and hands batches to the pipelines that name it as their receiver:
//! the same items (`forward`, `routing`, `failover`) or metrics made of them (`count`, `spanmetrics`,
//! `servicegraph`). It is given those pipelines as [`Outputs`], by their ids. What it makes keeps the tenant of what
//! it was made of. Refuses to know how pipelines are built: whoever builds the graph gives it the sinks.

mod activity;
mod aggregate;
pub mod count;
pub mod failover;
mod flusher;
pub mod forward;
mod outputs;
pub mod routing;
pub mod servicegraph;
pub mod spanmetrics;
mod spans;

pub use activity::Activity;
pub use outputs::{Output, Outputs};

use std::sync::Arc;

use cupola_telemetry::memory::MemoryBudget;

use crate::ottl::Env;

/// What connectors that make metrics are given of the world.
#[derive(Clone)]
pub struct Surroundings {
    /// The clock of points and of expiry.
    pub env: Arc<dyn Env + Send + Sync>,
    /// What their series may take together; beyond it, spans are counted in the overflow series.
    pub memory: MemoryBudget,
    /// Goes as the label `collector.instance.id` onto every series if it is given, so that two processes that see
    /// spans of one service do not write one series.
    pub instance: Option<String>,
}
