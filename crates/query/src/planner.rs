//! From SQL to plans: the PostgreSQL flavour of attributes, levels, durations and ids, and what is refused.

mod attributes;
mod chains;
mod comparisons;
mod guard;
mod keys;
mod levels;
mod trace;

pub(crate) use attributes::AttributePlanner;
pub(crate) use chains::prepare_statement;
pub use chains::{check_chains, prepare};
pub(crate) use comparisons::ComparisonRewrite;
pub use guard::check_reads;
pub(crate) use guard::{check_statement, check_text};
pub(crate) use keys::KeyTypes;
pub(crate) use levels::LevelOrder;
pub(crate) use trace::TraceFunction;
