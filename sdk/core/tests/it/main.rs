//! What the core promises to the crates above it, seen through what it hands to exporters.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod attributes;
mod backends;
mod collector;
mod configuration_backends;
mod configuration_declarative;
mod configuration_file;
mod configuration_page;
mod configuration_traces;
mod configuration_variables;
mod configuration_watch;
mod crashed;
mod exporting;
mod forked;
mod kept;
mod metrics;
mod pending;
mod rates;
mod recording;
mod records;
mod resources;
mod sampling;
mod scrubbing;
mod scrubbing_corpus;
mod tail;
mod taken_over;
