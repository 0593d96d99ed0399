//! The component graph: receivers, processors, connectors and exporters, as a configuration joins them, running.
//!
//! ```text
//! receiver ─ edge ─ pipeline's entry ─ processor ─ edge ─ … ─ edge ─┬─ exporter
//!                                                                   └─ connector ─ other pipelines' entries
//! ```
//!
//! A batch flows by calls: each component calls `send` of the next and gives its answer back, so that the sender of a
//! batch hears what the last component before a queue said. Between two components stands an [`edge::Edge`], which is the
//! one place where the graph can be changed while it runs.
//!
//! The way from a file to this: [`kinds`] knows the components by name and reads their settings, [`plan`] is a whole
//! configuration read and checked with every problem that it has, and [`running`] makes components of a plan, changes
//! them to another plan, and ends them. Refuses to know any component: they are registered by name in
//! [`crate::components`], and further ones by whoever links this crate; so are [`options`] that are read without effect.

pub mod context;
pub mod edge;
pub mod extensions;
pub mod fanout;
pub mod id;
pub mod kinds;
pub mod options;
pub mod plan;
pub mod running;
mod station;

pub use context::{Context, Extensions};
pub use id::PipelineId;
pub use kinds::{BuildError, Receiver, Registry, SignalSinks};
pub use plan::Plan;
pub use running::{Counts, Pipelines, ReloadError, Role, RunningPart, RunningPipeline, StartError};
