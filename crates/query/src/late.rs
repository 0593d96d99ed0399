//! Late materialisation: `ORDER BY … LIMIT n` first finds which n rows, reading sort keys and filtered columns alone,
//! and then reads the other columns of those rows.
//!
//! Without it every row that was among the best for a moment is read with all its columns: within a segment rows are
//! sorted by service and time, so "newest first" meets ever newer rows.

mod bound;
mod exec;
mod locate;
mod rule;

pub(crate) use rule::LateMaterialization;
