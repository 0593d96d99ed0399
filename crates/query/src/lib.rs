//! Queries: SQL over the snapshots of a store, in the flavour of PostgreSQL, through DataFusion.
//!
//! [`QueryEngine::sql`] takes a statement of a tenant and gives a stream of Arrow batches. What a table is, is in
//! `tables`; how its rows are read from segments and memory, in `scan`; how attributes find their columns, in
//! `adapter`.
//!
//! Refuses: writing, reading anything but the store, protocols and output formats (the api crate).

mod adapter;
mod config;
mod engine;
mod error;
mod functions;
mod late;
mod memory;
mod planner;
mod scan;
mod tables;

pub use config::{QueryConfig, QueryLimits};
pub use datafusion;
pub use engine::{
    PlannedQuery, QueryCounters, QueryEngine, QueryHandle, QueryId, QueryName, QueryProgress, QueryResult,
    QueryStatus, RunningQuery, information_schema, parse_statement, readable_names,
};
pub use error::QueryError;
pub use functions::level::{level_floor, level_of, span_kind, status_code};
pub use planner::{check_chains, check_reads, prepare};
pub use tables::metadata::is_json;
