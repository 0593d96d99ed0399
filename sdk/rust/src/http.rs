//! HTTP over tower: a layer for servers (axum, hyper) and one for clients (hyper), and a way to send requests of
//! reqwest. Names of spans, attributes and metrics are those of the semantic conventions.
//!
//! <https://opentelemetry.io/docs/specs/semconv/http/>
//!
//! A server's span is the context of everything that its handler records; it ends with the last byte of the response. A client's
//! context goes along in the headers, in the formats of the settings.
//!
//! ```
//! use axum::Router;
//! use axum::routing::get;
//! use cupola_sdk::http::{Claims, ServerLayer};
//!
//! # fn serve(sdk: &cupola_sdk::core::Sdk) -> Router {
//! let telemetry = ServerLayer::new(sdk)
//!     .excluded(["/health", "/metrics"])
//!     .header("x-tenant-id", "tenant.id")
//!     .claims(Claims::verified_by_a_gateway([("sub", "user.id")]));
//! Router::new().route("/orders/{id}", get(|| async { "order" })).layer(telemetry)
//! # }
//! ```

mod body;
mod claims;
mod client;
mod headers;
pub(crate) mod incoming;
#[cfg(feature = "reqwest")]
mod reqwest;
mod server;

pub use body::TracedBody;
pub use claims::Claims;
pub use client::{ClientFuture, ClientLayer, ClientService};
pub use headers::{Headers, HeadersMut};
#[cfg(feature = "reqwest")]
pub use reqwest::SendTraced;
pub use server::{ServerFuture, ServerLayer, ServerService};

use http::{Method, Version};

/// Bounds of the buckets of durations, in seconds, as the semantic conventions advise.
pub(crate) const SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// The method as attributes and span names have it: those of the standards as they are, others as `_OTHER`, so that nobody makes
/// as many series as there are words.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "CONNECT" => "CONNECT",
        "OPTIONS" => "OPTIONS",
        "TRACE" => "TRACE",
        "PATCH" => "PATCH",
        _ => "_OTHER",
    }
}

fn version_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

/// `host:port`, of which the port may be missing and the host be an address in brackets.
pub(crate) fn split_port(host: &str) -> (Option<&str>, Option<i64>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (Some(name), port.parse().ok())
        }
        _ => (Some(host), None),
    }
}
