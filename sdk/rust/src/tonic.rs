//! Calls of gRPC through tonic: a layer for its servers and one for its clients. Names of spans, attributes and metrics are
//! those of the semantic conventions for RPC since they are stable: `rpc.method` is `package.Service/Method` (in older ones
//! that was `rpc.service` and `rpc.method`), `rpc.response.status_code` a word such as `NOT_FOUND` (it was the number
//! `rpc.grpc.status_code`), and durations are in seconds.
//!
//! <https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>
//!
//! A call ends with its status, which comes behind the last message: a stream is one span, however long it is. What ends
//! without one was cancelled, or was too late if it had a deadline. A client has failed unless the status is `OK`; a server
//! if it is one that is not the client's fault.
//!
//! Methods that somebody made up may be answered before anybody asks whether they are there, as by a layer that lets nobody in who
//! has not said who they are. In the metrics of a server a method therefore has its name from its first answer on that is none of
//! `UNIMPLEMENTED`, `UNAUTHENTICATED`, `PERMISSION_DENIED`, `RESOURCE_EXHAUSTED` and `CANCELLED`, and is `_OTHER` until then; so are
//! those beyond the first 1,000, and those longer than 256 bytes.
//!
//! A layer of gRPC-Web belongs outside of that of a server, so before it on the builder: what it has translated is a call, and
//! what is still to be translated is let through as if the layer were not there.
//!
//! ```
//! use cupola_sdk::tonic::{ClientLayer, ServerLayer};
//! use tonic::transport::{Endpoint, Server};
//! use tonic_health::pb::health_client::HealthClient;
//!
//! # fn both(sdk: &cupola_sdk::core::Sdk) -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder().layer(ServerLayer::new(sdk).excluded(["grpc.health.v1.Health/"]));
//!
//! let endpoint = Endpoint::from_static("http://stock:50051");
//! let layer = ClientLayer::new(sdk).server(endpoint.uri());
//! let client = HealthClient::new(tower::Layer::layer(&layer, endpoint.connect_lazy()));
//! # Ok(())
//! # }
//! ```

mod body;
mod call;
mod client;
mod errors;
mod methods;
mod server;

pub use body::CallBody;
pub use client::{ClientFuture, ClientLayer, ClientService};
pub use server::{ServerFuture, ServerLayer, ServerService};

use std::error::Error;
use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use tonic::Code;

type BoxError = Box<dyn Error + Send + Sync>;

/// What stands for methods that nobody offers, so that nobody makes as many series as there are words.
const OTHER: &str = "_OTHER";

/// The method of a path, `package.Service/Method`.
fn method_of(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path)
}

/// Not one of gRPC-Web, which has its status among its messages.
fn is_call(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    let format = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    format.is_some_and(|format| matches!(format.first(), None | Some(b'+' | b';')))
}

/// How long the client waits: digits and a unit.
fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // Eight digits at most, says the protocol.
    let count: u64 = digits.parse::<u32>().ok()?.into();
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        let timeout = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_str(text).unwrap());
            timeout_of(&headers)
        };
        assert_eq!(timeout("50m"), Some(Duration::from_millis(50)));
        assert_eq!(timeout("2H"), Some(Duration::from_secs(7_200)));
        for none in ["", "m", "50", "-1S", "5x", "99999999999S"] {
            assert_eq!(timeout(none), None, "{none}");
        }
    }

    #[test]
    fn a_call_is_one_of_grpc_alone_in_whatever_format() {
        let is_call = |kind: &'static str| {
            let headers = [(CONTENT_TYPE, HeaderValue::from_static(kind))];
            super::is_call(&headers.into_iter().collect())
        };
        for kind in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;charset=utf-8",
        ] {
            assert!(is_call(kind), "{kind}");
        }
        for kind in [
            "application/grpc-web",
            "application/grpc-web-text+proto",
            "application/json",
            "",
        ] {
            assert!(!is_call(kind), "{kind}");
        }
        assert!(!super::is_call(&HeaderMap::new()));
    }

    proptest! {
        #[test]
        fn headers_of_strangers_are_read_without_panic(text in "[ -~]{0,20}", path in ".*") {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_str(&text).unwrap());
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(&text).unwrap());
            timeout_of(&headers);
            is_call(&headers);
            prop_assert!(path.ends_with(method_of(&path)));
        }
    }
}
