//! Processors: what works on batches between a receiver and an exporter.
//!
//! Each is a `Config` as the Collector has it and the work as a function over one batch, which [`stage`] makes a
//! component of; those that hold batches back are components themselves. Refuses to know of other components: each is
//! given the sink that comes next.

mod actions;
pub mod attributes;
pub mod batch;
pub mod cumulativetodelta;
pub mod deltatocumulative;
pub mod filter;
pub mod groupbyattrs;
mod histogram;
pub mod k8sattributes;
mod lru;
mod matching;
pub mod memory_limiter;
pub(crate) mod origin;
pub mod probabilistic_sampler;
pub mod redaction;
mod regroup;
pub mod resource;
pub mod resourcedetection;
mod series;
pub mod stage;
mod statements;
pub mod tail_sampling;
pub mod tenant;
pub mod transform;

pub use actions::{ActionConfig, ActionKind};
pub use matching::{MatchConfig, MatchType, Named, Severity};
pub use statements::{ConditionGroup, ConfigError, StatementGroup, StatementProblem};
