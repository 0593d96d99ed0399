//! `jaeger.api_v2.CollectorService/PostSpans`: one unary method, on the framing of gRPC.

use std::fmt::Display;

use ::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use ::http::{Request, Response, Version};
use bytes::{Buf, Bytes};
use http_body::Body;
use hyper::body::Incoming;

use super::{REFUSED, proto};
use crate::receivers::http::body::read;
use crate::receivers::http::decompress::Compression;
use crate::receivers::http::headers::tenant;
use crate::receivers::http::intake::{Intake, Room, client};
use crate::receivers::http::refusal::{Refusal, quote};
use crate::receivers::http::response::ResponseBody;
use crate::receivers::http::server::Service;
use crate::receivers::http::stats::count;

const METHOD: &str = "/jaeger.api_v2.CollectorService/PostSpans";
/// Of a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// An empty message behind its prefix.
const EMPTY: &[u8] = &[0; PREFIX_BYTES];

#[derive(Debug)]
pub(super) struct Calls {
    pub(super) intake: Intake,
}

impl Service for Calls {
    async fn serve(&self, mut request: Request<Incoming>) -> Response<ResponseBody> {
        if request.uri().path() != METHOD {
            return failure(&tonic::Status::from(&Refusal::UnknownMethod(quote(
                request.uri().path(),
            ))));
        }
        count(&self.intake.stats.requests, 1);
        match self.take(&mut request).await {
            Ok(None) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                answer(ResponseBody::with_trailers(Bytes::from_static(EMPTY), trailers))
            }
            Ok(Some(problem)) => failure(&tonic::Status::invalid_argument(problem)),
            Err(refusal) => {
                self.intake.count_refusal(&refusal);
                failure(&tonic::Status::from(&refusal))
            }
        }
    }
}

impl From<&Refusal> for tonic::Status {
    fn from(refusal: &Refusal) -> tonic::Status {
        refusal.grpc_status()
    }
}

impl Calls {
    /// What was wrong with a part of the call, the rest of which has been taken.
    async fn take<B>(&self, request: &mut Request<B>) -> Result<Option<String>, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let kind = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if request.version() != Version::HTTP_2 || !kind.starts_with("application/grpc") {
            return Err(Refusal::GrpcContentType(quote(kind)));
        }
        let tenant = tenant(request.headers())?;
        let client = client(request);
        let encoding = request
            .headers()
            .get("grpc-encoding")
            .and_then(|value| value.to_str().ok());
        let compression = Compression::parse(encoding.unwrap_or_default())?;
        let intake = &self.intake;
        let admission = intake.admit()?;
        let mut memory = intake.memory.reservation();
        let bytes_max = intake.body_bytes_max.saturating_add(PREFIX_BYTES);
        let mut body = read(request.body_mut(), bytes_max, &mut memory, intake.body_timeout).await?;
        count(&intake.stats.wire_bytes, body.len() as u64);
        if body.len() < PREFIX_BYTES {
            return Err(Refusal::invalid("body", "the call has no message"));
        }
        let (compressed, length) = (body.get_u8() == 1, body.get_u32() as usize);
        if length != body.len() {
            return Err(Refusal::invalid(
                "body",
                "the call is not one message of the length that it says",
            ));
        }
        let compression = match (compressed, compression) {
            (false, _) => None,
            (true, Some(compression)) => Some(compression),
            (true, None) => return Err(Refusal::ContentEncoding("none".to_owned())),
        };
        let convert = |body: Bytes, tenant, room: &mut Room<'_>| proto::convert(&body, tenant, room);
        let (accepted, outcome) = intake
            .take_body(body, (tenant, client, admission), compression, memory, convert)
            .await?;
        count(&intake.stats.failed_items, outcome.refused);
        Ok(match (outcome.refused, accepted.rejected) {
            (0, 0) => None,
            (0, rejected) => Some(format!("{rejected} spans were refused: {}", accepted.message)),
            (refused, _) => Some(format!("{refused} {REFUSED}")),
        })
    }
}

fn answer(body: ResponseBody) -> Response<ResponseBody> {
    let mut answer = Response::new(body);
    let kind = HeaderValue::from_static("application/grpc");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn failure(status: &tonic::Status) -> Response<ResponseBody> {
    let mut answer = answer(ResponseBody::default());
    // A text that cannot be part of a header leaves the answer without a status, which clients read as unknown.
    let _ = status.add_header(answer.headers_mut());
    answer
}
