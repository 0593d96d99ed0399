//! The four services as processes, seen through what they send to a receiver of OTLP.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod processes;
mod receiver;
mod traces;
