//! OTLP/HTTP: three paths, protobuf and JSON by content type. Owns routing and the form of answers: every
//! error has a `google.rpc.Status` as its body, in the encoding of the request where that is known and in
//! JSON otherwise.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

use std::fmt::Display;
use std::sync::Arc;

use ::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN};
use ::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use cupola_export::Accepted;
use cupola_export::otlp::{http_path, response};
use cupola_telemetry::{Client, Signal};
use http_body::Body;

use super::config::HttpConfig;
use super::cors;
use super::ingest::{self, Encoding, count_refusal};
use super::server::Server;
use super::stats::{SignalStats, count};
use crate::receivers::http::body::read;
use crate::receivers::http::guard::Guard;
use crate::receivers::http::headers::{advise, compression, finish_body, tenant};
use crate::receivers::http::refusal::{Refusal, quote};
use crate::receivers::http::response::ResponseBody;

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Serves one request.
pub(super) async fn serve<B>(
    server: &Server,
    guard: &Guard,
    peer: &Arc<Client>,
    config: &HttpConfig,
    request: Request<B>,
) -> Response<ResponseBody>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let origin = request.headers().get(ORIGIN).cloned();
    let encoding = encoding(request.headers());
    let routed = match route(config, &request, encoding) {
        // Browsers ask without credentials whether they may send some.
        Ok(Route::Preflight) => Ok((Route::Preflight, peer.clone())),
        routed => guard
            .admit(peer, request.headers())
            .await
            .and_then(|client| Ok((routed?, client))),
    };
    let mut answer = match routed {
        Ok((Route::Preflight, _)) => cors::preflight(config.cors.as_ref(), request.headers())
            .unwrap_or_else(|refusal| failure(&refusal, Encoding::Json)),
        Ok((Route::Export(signal, encoding), client)) => {
            let stats = server.ingest().stats().http.signal(signal);
            count(&stats.requests, 1);
            export(server, config, (signal, encoding), client, request, stats).await
        }
        Err(refusal) => {
            if !matches!(refusal, Refusal::Unauthenticated { .. } | Refusal::Busy) {
                count(&server.ingest().stats().http.requests_unknown, 1);
            }
            finish_body(request).await;
            failure(&refusal, encoding.unwrap_or(Encoding::Json))
        }
    };
    if let (Some(cors), Some(origin)) = (&config.cors, &origin) {
        cors::allow(cors, origin, answer.headers_mut());
    }
    answer
}

enum Route {
    Export(Signal, Encoding),
    Preflight,
}

fn route<B>(config: &HttpConfig, request: &Request<B>, encoding: Option<Encoding>) -> Result<Route, Refusal> {
    let path = request.uri().path();
    let signal = [Signal::Logs, Signal::Metrics, Signal::Traces]
        .into_iter()
        .find(|signal| http_path(*signal) == path)
        .ok_or_else(|| Refusal::UnknownPath {
            path: quote(path),
            known: "OTLP is at /v1/logs, /v1/metrics and /v1/traces",
        })?;
    if config.cors.is_some() && cors::is_preflight(request.method(), request.headers()) {
        return Ok(Route::Preflight);
    }
    if request.method() != Method::POST {
        return Err(Refusal::NotPost(quote(request.method().as_str())));
    }
    let encoding = encoding.ok_or_else(|| {
        let value = request
            .headers()
            .get(CONTENT_TYPE)
            .map(HeaderValue::as_bytes)
            .unwrap_or_default();
        Refusal::ContentType {
            given: quote(&String::from_utf8_lossy(value)),
            wanted: "OTLP; send application/x-protobuf or application/json",
        }
    })?;
    Ok(Route::Export(signal, encoding))
}

/// The encoding a content type names; parameters such as the character set are of no consequence.
fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = text.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/x-protobuf")
        || kind.eq_ignore_ascii_case("application/protobuf")
    {
        Some(Encoding::Protobuf)
    } else if kind.eq_ignore_ascii_case("application/json") {
        Some(Encoding::Json)
    } else {
        None
    }
}

async fn export<B>(
    server: &Server,
    config: &HttpConfig,
    (signal, encoding): (Signal, Encoding),
    client: Arc<Client>,
    mut request: Request<B>,
    stats: &SignalStats,
) -> Response<ResponseBody>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    match take(server, config, (signal, encoding), client, &mut request, stats).await {
        Ok(accepted) => success(signal, encoding, &accepted),
        Err(refusal) => {
            count_refusal(stats, &refusal);
            // Whoever is too slow is not waited for.
            if !matches!(refusal, Refusal::Slow(_)) {
                finish_body(request).await;
            }
            failure(&refusal, encoding)
        }
    }
}

async fn take<B>(
    server: &Server,
    config: &HttpConfig,
    (signal, encoding): (Signal, Encoding),
    client: Arc<Client>,
    request: &mut Request<B>,
    stats: &SignalStats,
) -> Result<Accepted, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let tenant = tenant(request.headers())?;
    let compression = compression(request.headers())?;
    let admission = server.ingest().admit(signal, stats)?;
    let mut memory = server.ingest().reservation();
    let bytes_max = config.body_bytes_max;
    let body = read(request.body_mut(), bytes_max, &mut memory, server.body_timeout()).await?;
    let request = ingest::Request {
        signal,
        tenant,
        client,
        admission,
        encoding,
        compression,
        body,
        gzip: None,
        bytes_max,
        memory,
    };
    server.ingest().take(request, stats).await
}

fn success(signal: Signal, encoding: Encoding, accepted: &Accepted) -> Response<ResponseBody> {
    let body = match encoding {
        Encoding::Protobuf => Bytes::from(response::encode(accepted)),
        Encoding::Json => Bytes::from(response::to_json(signal, accepted)),
    };
    answer(StatusCode::OK, encoding, body)
}

fn failure(refusal: &Refusal, encoding: Encoding) -> Response<ResponseBody> {
    let status = refusal.rpc_status();
    let body = match encoding {
        Encoding::Protobuf => Bytes::from(status.encode()),
        Encoding::Json => Bytes::from(status.to_json()),
    };
    let mut answer = answer(refusal.http_status(), encoding, body);
    advise(refusal, answer.headers_mut());
    answer
}

fn answer(status: StatusCode, encoding: Encoding, body: Bytes) -> Response<ResponseBody> {
    let mut answer = Response::new(ResponseBody::new(body));
    *answer.status_mut() = status;
    let content_type = match encoding {
        Encoding::Protobuf => PROTOBUF,
        Encoding::Json => JSON,
    };
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}
