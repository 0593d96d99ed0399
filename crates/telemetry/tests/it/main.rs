//! Behaviour of the telemetry crate, with prost and opentelemetry-proto as the oracle.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failed unwrap is a failed test"
)]

mod dice;
mod edit;
mod encoder;
mod goldens;
mod hostile;
mod json;
mod limits;
mod map;
mod memory;
mod nesting;
mod oracle;
mod protobuf;
mod scramble;
mod values;
mod views;
