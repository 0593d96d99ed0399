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

use super::body::{drain, drain_stream};
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

/// Over HTTP/1 a client that is still writing would see a closed connection instead of the answer. Over HTTP/2 it gets both, but
/// each frame that arrives of a body that nobody reads counts against its connection.
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
    if unasked {
        return;
    }
    match request.version() < Version::HTTP_2 {
        true => drain(&mut request.into_body()).await,
        false => drain_stream(&mut request.into_body()).await,
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    const CHUNK: &[u8] = &[0; 64 * 1024];

    /// How many of so many chunks are read of a request that is answered before it was.
    async fn read_of(chunks: usize, version: Version) -> usize {
        let read = AtomicUsize::new(0);
        let body = StreamBody::new(stream::iter((0..chunks).map(|_| {
            read.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(CHUNK)))
        })));
        let mut request = Request::new(body);
        *request.version_mut() = version;
        finish_body(request).await;
        read.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn what_is_refused_is_read_to_its_end_and_no_endless_body_is() {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            assert_eq!(read_of(60, version).await, 60);
        }
        assert_eq!(
            read_of(1_000, Version::HTTP_2).await,
            65,
            "4 MiB, and what passes the bound"
        );
        assert_eq!(read_of(1_000, Version::HTTP_11).await, 513, "32 MiB");
    }
}
