//! What the crate promises to applications, seen through what it hands to backends.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod context;
mod events;
mod filters;
mod spans;
