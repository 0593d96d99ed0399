//! What this crate guarantees, through its public interface.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod expand;
mod properties;
mod read;
mod schema;
mod show;
