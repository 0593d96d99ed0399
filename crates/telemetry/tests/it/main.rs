//! Behaviour of the telemetry crate, with prost and opentelemetry-proto as the oracle.

mod dice;
mod encoder;
mod goldens;
mod hostile;
mod json;
mod memory;
mod nesting;
mod oracle;
mod protobuf;
mod scramble;
mod values;
mod views;
