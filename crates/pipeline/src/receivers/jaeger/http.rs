//! Thrift over HTTP: `POST /api/traces`.

use std::fmt::Display;

use ::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;

use super::{REFUSED, thrift};
use crate::receivers::http::headers::compression;
use crate::receivers::http::intake::{self, Intake, Room, media_type};
use crate::receivers::http::refusal::{Refusal, quote};
use crate::receivers::http::response::ResponseBody;
use crate::receivers::http::server::Service;
use crate::receivers::http::stats::count;

#[derive(Debug)]
pub(super) struct Posts {
    pub(super) intake: Intake,
}

impl Service for Posts {
    async fn serve(&self, mut request: Request<Incoming>) -> Response<ResponseBody> {
        let path = request.uri().path();
        if path != "/api/traces" {
            let refusal = Refusal::UnknownPath {
                path: quote(path),
                known: "batches are posted to /api/traces",
            };
            self.intake.refused(&refusal, request).await;
            return intake::refusal(&refusal);
        }
        count(&self.intake.stats.requests, 1);
        match self.take(&mut request).await {
            Ok(None) => intake::empty(StatusCode::ACCEPTED),
            Ok(Some(problem)) => intake::text(StatusCode::BAD_REQUEST, problem),
            Err(refusal) => {
                self.intake.refused(&refusal, request).await;
                intake::refusal(&refusal)
            }
        }
    }
}

impl Posts {
    /// What was wrong with a part of the request, the rest of which has been taken.
    async fn take<B>(&self, request: &mut Request<B>) -> Result<Option<String>, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        if request.method() != Method::POST {
            return Err(Refusal::NotPost(quote(request.method().as_str())));
        }
        let (kind, _) = media_type(request.headers());
        if !matches!(
            kind.as_str(),
            "application/x-thrift" | "application/vnd.apache.thrift.binary"
        ) {
            return Err(Refusal::ContentType {
                given: quote(&kind),
                wanted: "Jaeger's; send application/x-thrift",
            });
        }
        let compression = compression(request.headers())?;
        let convert = |body: Bytes, tenant, room: &mut Room<'_>| thrift::convert(&body, tenant, room);
        let (accepted, outcome) = self.intake.take(request, compression, convert).await?;
        count(&self.intake.stats.failed_items, outcome.refused);
        Ok(match (outcome.refused, accepted.rejected) {
            (0, 0) => None,
            (0, rejected) => Some(format!("{rejected} spans were refused: {}\n", accepted.message)),
            (refused, _) => Some(format!("{refused} {REFUSED}\n")),
        })
    }
}
