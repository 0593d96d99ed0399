//! What the core promises to the crates above it, seen through what it hands to exporters.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod attributes;
mod forked;
mod rates;
mod recording;
mod records;
mod resources;
mod scrubbing;
mod scrubbing_corpus;
