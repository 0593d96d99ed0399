//! Processors: what works on batches between a receiver and an exporter.
//!
//! Each is a `Config` as the Collector has it and the work as a function over one batch. Refuses to know of channels,
//! tasks and other components: whoever runs a pipeline calls them.

mod actions;
pub mod attributes;
pub mod filter;
mod matching;
pub mod resource;
mod statements;
pub mod transform;

pub use actions::{ActionConfig, ActionKind};
pub use matching::{MatchConfig, MatchType, Named, Severity};
pub use statements::{ConditionGroup, ConfigError, StatementGroup, StatementProblem};
