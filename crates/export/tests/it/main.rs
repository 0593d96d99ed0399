//! Behaviour of the exporters against small servers that misbehave on purpose. Tests named `c24_…` to
//! `c29_…` are the client's rules of `CONFORMANCE.md` in the pipeline crate.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod credentials;
mod elasticsearch;
mod handshakes;
#[cfg(feature = "kafka")]
mod kafka;
mod killed;
mod loki;
mod metrics;
mod metrics_v2;
#[cfg(feature = "postgres")]
mod postgres;
mod prometheus_page;
mod prometheus_remote_write;
mod queue;
mod retries;
mod splitting;
mod support;
mod telemetry;
mod tls;
mod transport;
