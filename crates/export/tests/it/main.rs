//! Behaviour of the exporters against small servers that misbehave on purpose. Tests named `c24_…` to
//! `c29_…` are the client's rules of `CONFORMANCE.md` in the pipeline crate.

mod queue;
mod retries;
mod splitting;
mod support;
mod tls;
mod transport;
