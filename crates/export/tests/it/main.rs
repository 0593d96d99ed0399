//! Behaviour of the exporters against small servers that misbehave on purpose. Tests named `c24_…` to
//! `c29_…` are the client's rules of `CONFORMANCE.md` in the pipeline crate.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod queue;
mod retries;
mod splitting;
mod support;
mod tls;
mod transport;
