//! What the store promises, one module a promise.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod catalog;
mod compaction;
mod crash;
mod deletion;
#[path = "../../../telemetry/tests/it/dice.rs"]
mod dice;
mod directory;
mod doctor;
mod failures;
mod flush;
mod journal;
mod kill;
mod memory;
mod normal;
mod parquet_readers;
mod random;
mod readers;
mod remote;
mod retention;
mod round_trip;
mod rows;
mod segments;
mod simulated;
mod upgrade;
