//! One call, from its beginning until its status is known: the span and the measurement of either side.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cupola_sdk_core::Sdk;
use cupola_sdk_core::metrics::{self, Description, Instrument};
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::span::Status as SpanStatus;
use cupola_sdk_core::tracer::{Recording, Tracer};
use cupola_sdk_core::value::Value;
use http::{HeaderMap, StatusCode};
use tonic::{Code, Status};

use super::methods::Methods;
use super::{OTHER, code_name};
use crate::context::Context;
use crate::http::SECONDS;

/// Which of both a call is seen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Server,
    Client,
}

impl Side {
    /// Whether a call that ends so has failed, seen from here.
    fn is_failure(self, code: Code) -> bool {
        match self {
            Side::Client => code != Code::Ok,
            Side::Server => matches!(
                code,
                Code::Unknown
                    | Code::DeadlineExceeded
                    | Code::Unimplemented
                    | Code::Internal
                    | Code::Unavailable
                    | Code::DataLoss
            ),
        }
    }
}

/// What records the calls of one side.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    pub tracer: Tracer,
    duration: Instrument<f64>,
    side: Side,
    methods: Arc<Methods>,
}

impl Calls {
    pub(super) fn new(sdk: &Sdk, side: Side) -> Calls {
        let scope = Scope::of("cupola-sdk/tonic", env!("CARGO_PKG_VERSION"), "", &[]);
        let (name, description) = match side {
            Side::Server => ("rpc.server.call.duration", "Duration of inbound calls."),
            Side::Client => ("rpc.client.call.duration", "Duration of outbound calls."),
        };
        let duration = sdk.meter(scope).histogram(&Description {
            boundaries: Some(SECONDS),
            ..Description::of(name, "s", description)
        });
        Calls {
            tracer: sdk.tracer(scope),
            duration,
            side,
            methods: Arc::default(),
        }
    }
}

/// What ends a call: its status, or that it is dropped.
#[derive(Debug, Default)]
pub(super) struct Call(Option<Box<Open>>);

#[derive(Debug)]
pub(super) struct Open {
    pub calls: Calls,
    pub recording: Option<Recording>,
    pub context: Context,
    pub begun: Instant,
    pub method: String,
    /// Where to, if this is the client.
    pub server: Option<(String, Option<u16>)>,
    pub timeout: Option<Duration>,
    /// What a response without a status in its trailers comes to.
    pub without: Code,
}

impl Call {
    pub(super) fn of(open: Open) -> Call {
        Call(Some(Box::new(open)))
    }

    /// The beginning of a response, which is all of it if nothing but a status comes.
    pub(super) fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        if let Some(open) = &mut self.0 {
            open.without = code_of(status);
        }
        if headers.contains_key(Status::GRPC_STATUS) {
            let nobody_offers_it = is_unimplemented(headers);
            self.trailers(headers, nobody_offers_it);
        }
    }

    /// What comes behind the messages.
    pub(super) fn ended(&mut self, trailers: &HeaderMap) {
        self.trailers(trailers, false);
    }

    fn trailers(&mut self, headers: &HeaderMap, nobody_offers_it: bool) {
        // Of strangers: what else is in there is not looked at.
        let mut own = HeaderMap::with_capacity(2);
        for name in [Status::GRPC_STATUS, Status::GRPC_MESSAGE] {
            if let Some(value) = headers.get(&name) {
                own.insert(name, value.clone());
            }
        }
        let status = Status::from_header_map(&own);
        match status {
            Some(status) => self.end(status.code(), status.message(), nobody_offers_it),
            None => self.end_without(),
        }
    }

    /// It ended in order, but nothing said how.
    pub(super) fn end_without(&mut self) {
        let without = self.0.as_ref().map_or(Code::Unknown, |open| open.without);
        self.end(without, "", false);
    }

    pub(super) fn failed(&mut self, code: Code, message: &str) {
        self.end(code, message, false);
    }

    fn end(&mut self, code: Code, message: &str, nobody_offers_it: bool) {
        if let Some(open) = self.0.take() {
            open.end(code, message, nobody_offers_it);
        }
    }
}

impl Drop for Call {
    /// Nobody waits for it any more, or its handler has panicked.
    fn drop(&mut self) {
        let code = match std::thread::panicking() {
            true => Code::Internal,
            false => Code::Cancelled,
        };
        self.end(code, "", false);
    }
}

impl Open {
    fn end(self, code: Code, message: &str, nobody_offers_it: bool) {
        // Before it is too late, which is nobody's answer either.
        let is_known = self.calls.side == Side::Client || self.calls.methods.knows(&self.method, code);
        let elapsed = self.begun.elapsed();
        let is_late = code == Code::Cancelled && self.timeout.is_some_and(|timeout| elapsed >= timeout);
        // Of what came too late, tonic says that it was cancelled.
        let code = if is_late { Code::DeadlineExceeded } else { code };
        let is_failure = self.calls.side.is_failure(code);
        let is_unknown = nobody_offers_it && self.calls.side == Side::Server;
        let method = match is_known && !is_unknown {
            true => self.method.as_str(),
            false => OTHER,
        };
        let name = code_name(code);
        let mut attributes = vec![
            ("rpc.system.name", Value::String("grpc")),
            ("rpc.method", Value::String(method)),
            ("rpc.response.status_code", Value::String(name)),
        ];
        if is_failure {
            attributes.push(("error.type", Value::String(name)));
        }
        if let Some((address, port)) = &self.server {
            attributes.push(("server.address", Value::String(address)));
            attributes.extend(port.map(|port| ("server.port", Value::Int(port.into()))));
        }
        let within = metrics::Context {
            span: self.context.span(),
            baggage: self.context.baggage(),
        };
        self.calls
            .duration
            .record_in(elapsed.as_secs_f64(), &attributes, &within);
        let Some(mut span) = self.recording else {
            return;
        };
        span.set("rpc.response.status_code", name);
        if is_unknown {
            span.rename(Cow::Borrowed("grpc"));
            span.set("rpc.method", OTHER);
            span.set("rpc.method_original", self.method.as_str());
        }
        if is_failure {
            span.set("error.type", name);
            span.set_status(SpanStatus::Error {
                description: message.to_owned(),
            });
        }
        self.calls.tracer.end(span);
    }
}

/// What tonic answers to methods that nobody has implemented: without a message, which those that are there and refuse have.
fn is_unimplemented(headers: &HeaderMap) -> bool {
    let status = headers.get(Status::GRPC_STATUS).map(|status| status.as_bytes());
    status == Some(b"12") && !headers.contains_key(Status::GRPC_MESSAGE)
}

/// Of an answer that is none of gRPC.
///
/// <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>
fn code_of(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}
