//! What headers say of a request: its tenant and its compression; and what is said back with a refusal.

use std::fmt::Display;

use ::http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use ::http::{Request, Version};
use bytes::Bytes;
use cupola_export::otlp::TENANT_HEADER;
use cupola_telemetry::TenantId;
use http_body::Body;

use super::body::drain;
use super::decompress::Compression;
use super::refusal::Refusal;

/// The tenant a request names, or the default one.
pub(crate) fn tenant(headers: &HeaderMap) -> Result<TenantId, Refusal> {
    let mut values = headers.get_all(TENANT_HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(TenantId::default_tenant());
    };
    if values.next().is_some() {
        return Err(Refusal::invalid(
            TENANT_HEADER,
            "the request names more than one tenant",
        ));
    }
    let text = value
        .to_str()
        .map_err(|_| Refusal::invalid(TENANT_HEADER, "the tenant id is not ASCII text"))?;
    TenantId::parse(text).map_err(|error| Refusal::invalid(TENANT_HEADER, error))
}

pub(crate) fn compression(headers: &HeaderMap) -> Result<Option<Compression>, Refusal> {
    let mut found = None;
    for value in headers.get_all(CONTENT_ENCODING) {
        let text = value
            .to_str()
            .map_err(|_| Refusal::ContentEncoding("?".to_owned()))?;
        let compression = Compression::parse(text)?;
        if found.is_some() && compression.is_some() {
            return Err(Refusal::ContentEncoding("more than one".to_owned()));
        }
        found = found.or(compression);
    }
    Ok(found)
}

/// Over HTTP/1 a client that is still writing would see a closed connection instead of the answer. Over
/// HTTP/2 it gets both.
pub(crate) async fn finish_body<B>(request: Request<B>)
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    // Whoever asked before sending (`Expect: 100-continue`) and was not told to go on has sent nothing.
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    let unasked = request.headers().contains_key(EXPECT) && announced == request.body().size_hint().exact();
    if request.version() < Version::HTTP_2 && !unasked {
        drain(&mut request.into_body()).await;
    }
}

/// The headers that tell a refused client what to do.
pub(crate) fn advise(refusal: &Refusal, headers: &mut HeaderMap) {
    if let Some(delay) = refusal.retry_after() {
        // Whole seconds, rounded up: never earlier than asked.
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    match refusal {
        Refusal::Unauthenticated { challenge } => {
            headers.insert(WWW_AUTHENTICATE, challenge.clone());
        }
        Refusal::NotPost(_) => drop(headers.insert(ALLOW, HeaderValue::from_static("POST"))),
        Refusal::ContentEncoding(_) => {
            headers.insert(
                ACCEPT_ENCODING,
                HeaderValue::from_static("gzip, zstd, deflate, identity"),
            );
        }
        _ => {}
    }
}
