//! Thrift over HTTP: `POST /api/traces`.

use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use hyper::body::Incoming;

use super::{REFUSED, thrift};
use crate::receivers::http::headers::compression;
use crate::receivers::http::intake::{Intake, Room, media_type};
use crate::receivers::http::posts::{LeftOut, Posts, post};
use crate::receivers::http::refusal::{Refusal, quote};
use crate::receivers::http::response::ResponseBody;
use crate::receivers::http::server::Service;

#[derive(Debug)]
pub(super) struct Batches {
    pub(super) intake: Intake,
}

impl Service for Batches {
    async fn serve(&self, request: Request<Incoming>) -> Response<ResponseBody> {
        post(self, request).await
    }
}

impl Posts for Batches {
    const PATHS: &'static [&'static str] = &["/api/traces"];
    const KNOWN: &'static str = "batches are posted to /api/traces";

    fn intake(&self) -> &Intake {
        &self.intake
    }

    async fn take(&self, request: &mut Request<Incoming>) -> Result<Response<ResponseBody>, Refusal> {
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
        let mut left_out = LeftOut::default();
        if outcome.refused > 0 {
            left_out.add(outcome.refused, || format!("{} {REFUSED}\n", outcome.refused));
        }
        Ok(left_out.answer(&self.intake, &accepted, StatusCode::ACCEPTED, "spans"))
    }
}
