//! Tests of the query crate as its users see it: through a store and SQL.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod attributes;
mod documentation;
mod explain;
mod hostile;
mod indexes;
mod levels;
mod limits;
mod overload;
mod sql;
mod support;
mod tenants;
