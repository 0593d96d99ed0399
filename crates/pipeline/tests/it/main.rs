//! Behaviour of the receivers, seen from outside: one test per rule of the protocol, real clients, and noise.

mod clients;
mod conformance;
mod garbage;
mod lifecycle;
mod payloads;
mod support;
mod throughput;
