//! TLS of every listener and of every client, over rustls: the settings as the Collector has them, and what is made of
//! them. Certificates, keys and authorities are looked at again while connections go on; see [`crate::reloading`].
//!
//! Owns the settings, handshakes and their bounds. Refuses versions before TLS 1.2 and whatever rustls refuses: neither
//! can be switched on.

mod client;
mod material;
mod server;
mod settings;
mod stream;

pub use client::{ClientTls, Connector, Identity};
pub use server::{HANDSHAKE_TIME_MAX, HANDSHAKES_MAX, ServerTls};
pub use settings::{ServerTlsSettings, TlsSettings, TlsVersion};
pub use stream::Stream;

/// What protocols a peer of HTTP is offered.
pub const HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];
/// Where only HTTP/1.1 is spoken.
pub const HTTP1: &[&[u8]] = &[b"http/1.1"];

/// TLS settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`tls.{key}`: {problem}")]
pub struct TlsError {
    /// Below `tls`.
    pub key: &'static str,
    pub problem: String,
}

impl TlsError {
    pub(crate) fn new(key: &'static str, problem: impl Into<String>) -> TlsError {
        TlsError {
            key,
            problem: problem.into(),
        }
    }
}
