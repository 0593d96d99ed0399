//! What the crate promises to applications, seen through what it hands to backends.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod alone;
mod captured_metrics;
mod console;
mod context;
mod events;
mod filters;
mod http;
mod init;
mod jobs;
mod macros;
mod measured;
mod opentelemetry_context;
mod opentelemetry_logs;
mod opentelemetry_metrics;
mod opentelemetry_peer;
mod opentelemetry_same;
mod opentelemetry_traces;
mod peers_collector;
mod redis;
mod spans;
mod sqlx;
mod tonic;
