//! For tests that read back from real destinations what an application has recorded: the application, a process of its own that
//! says much of everything through the SDK, and what arrived is to be, worked out beside the SDK from what was said.
//!
//! The way of a test: [`run`] starts the application with a `cupola.yaml` that names the destinations and, beside them, a file of
//! OTLP requests. What is in that file is held against what was said, field by field ([`Ran::checked`]); what a destination has is
//! held against that file, whose times it shares.

#![expect(
    clippy::unwrap_used,
    reason = "this is for tests, where a failed unwrap is a failed test"
)]

mod application;
mod check;
mod content;
mod expect;
pub mod items;
mod said;
mod say;

pub use application::{Ran, main, run};
