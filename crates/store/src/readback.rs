//! Rows back to OTLP: what came in goes out. Rows in the physical layout become one canonical batch, grouped by
//! resource, scope and metric; groups and attributes may come in another order than they were sent in.
//!
//! Refuses: finding the rows. Give it the rows of a query or of whole segments, all columns of the table.

mod columns;
mod logs;
mod metrics;
mod origin;
mod spans;
mod values;

pub use logs::logs;
pub use metrics::{MetricRows, metrics};
pub use spans::traces;

/// Why rows could not be turned back.
#[derive(Debug, thiserror::Error)]
pub enum ReadbackError {
    #[error("column {column} is missing or has an unexpected type: {found}")]
    Column { column: String, found: String },
    #[error("a value of type {tag} of attribute {key:?} cannot be read")]
    Value { key: String, tag: i8 },
    #[error("a point refers to series {series_id}, which is not among the given rows")]
    UnknownSeries { series_id: u64 },
}
