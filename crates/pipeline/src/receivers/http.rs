//! What receivers that are HTTP servers share: connections, bodies, compression, refusals.
//!
//! Owns the bounds, and the order of things: memory is reserved before a byte is kept, and nothing unfolds beyond its
//! limit. Refuses to know of any protocol above HTTP.

pub(crate) mod body;
pub(crate) mod config;
pub(crate) mod connection;
pub(crate) mod decompress;
pub(crate) mod guard;
pub(crate) mod headers;
pub(crate) mod intake;
mod opening;
pub(crate) mod pool;
pub(crate) mod posts;
pub(crate) mod refusal;
pub(crate) mod response;
pub(crate) mod server;
pub(crate) mod stats;
