//! Behaviour of the receivers, seen from outside: one test per rule of the protocol, real clients, and noise.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod clients;
mod conformance;
mod connectors;
mod garbage;
mod graph;
mod lifecycle;
mod ottl;
mod payloads;
mod processors;
mod receivers;
mod security;
mod support;
mod throughput;
