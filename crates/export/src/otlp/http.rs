//! One HTTP request: a payload out, a response or an error back. Owns the client, the two body formats and
//! the judgement of HTTP statuses. Refuses to retry or split, and to follow redirects.

use std::io;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use cupola_config::mask;
use cupola_telemetry::{Batch, Signal};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{StatusCode, Uri};
use reqwest::{Client, Response, Url};

use super::compression::{INLINE_BYTES_MAX, compress, compressed};
use super::{
    Compression, OtlpConfig, OtlpConfigError, Protocol, TENANT_HEADER, chain, http_path, response, within,
};
use crate::auth::Credentials;
use crate::rpc_status::RpcStatus;
use crate::tls::ClientTls;
use crate::{Accepted, SendError};

/// Answers beyond this are not read: they are a few bytes.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;
/// As much of a refusal's text is passed on.
const SAID_CHARACTERS_MAX: usize = 300;

#[derive(Debug)]
pub(in crate::otlp) struct HttpTransport {
    client: Client,
    /// Of every request; credentials go before them.
    headers: HeaderMap,
    credentials: Credentials,
    /// By signal, in the order of [`url_of`](HttpTransport::url_of).
    urls: [Url; 3],
    json: bool,
    compression: Compression,
    timeout: Duration,
    tenant_header: bool,
}

impl HttpTransport {
    pub(in crate::otlp) fn new(
        config: &OtlpConfig,
        tls: &ClientTls,
        credentials: Credentials,
    ) -> Result<HttpTransport, OtlpConfigError> {
        let refused = |endpoint: &String| OtlpConfigError::Endpoint {
            endpoint: mask::urls(endpoint).unwrap_or_else(|| endpoint.clone()),
        };
        let own = config.signal_endpoints.iter().flatten();
        for endpoint in std::iter::once(&config.endpoint).chain(own) {
            let uri: Option<Uri> = endpoint.parse().ok();
            let scheme = uri.as_ref().and_then(|uri| uri.scheme_str());
            // A base is added to, which a query would come in the way of.
            let query = uri.as_ref().is_some_and(|uri| uri.query().is_some());
            if !matches!(scheme, Some("http" | "https")) || (query && *endpoint == config.endpoint) {
                return Err(refused(endpoint));
            }
        }
        let base = config.endpoint.trim_end_matches('/');
        // Read once here: requests would do it each.
        let url = |signal: Signal| match &config.signal_endpoints[signal as usize] {
            Some(whole) => Url::parse(whole).map_err(|_| refused(whole)),
            None => {
                Url::parse(&format!("{base}{}", http_path(signal))).map_err(|_| refused(&config.endpoint))
            }
        };
        Ok(HttpTransport {
            client: client(config, tls)?,
            headers: headers(config)?,
            credentials,
            urls: [url(Signal::Logs)?, url(Signal::Metrics)?, url(Signal::Traces)?],
            json: config.protocol == Protocol::HttpJson,
            compression: config.compression,
            timeout: config.timeout,
            tenant_header: config.tenant_header,
        })
    }

    fn url_of(&self, signal: Signal) -> &Url {
        let [logs, metrics, traces] = &self.urls;
        match signal {
            Signal::Logs => logs,
            Signal::Metrics => metrics,
            Signal::Traces => traces,
        }
    }

    /// Sends a batch; it is answered within the time that one attempt may take.
    pub(in crate::otlp) async fn send(&self, batch: &Batch) -> Result<Accepted, SendError> {
        let answer = within(self.timeout, self.answer(batch)).await?;
        let status = answer.status();
        let retry_after = retry_after(answer.headers(), SystemTime::now());
        let form = Form::of(answer.headers());
        let body = read_limited(answer).await;
        if status.is_success() {
            // The request was taken; a malformed or missing answer changes nothing about that.
            let accepted = match form {
                Form::Json => response::from_json(batch.signal(), &body),
                Form::Protobuf => response::decode(&body),
                Form::Text => Ok(Accepted::all()),
            };
            return Ok(accepted.unwrap_or_default());
        }
        Err(judge(status, retry_after, form, &body))
    }

    async fn answer(&self, batch: &Batch) -> Result<Response, SendError> {
        let (headers, body) = (self.headers_of(batch)?, self.body(batch).await?);
        let send = |headers| async {
            let request = self.client.post(self.url_of(batch.signal()).clone());
            let sent = request.headers(headers).body(body.clone()).send().await;
            sent.map_err(|error| SendError::retryable(chain(&error.without_url())))
        };
        let is_refused = |answer: &Response| answer.status() == StatusCode::UNAUTHORIZED;
        self.credentials
            .send(batch.into(), headers, send, is_refused)
            .await
    }

    fn headers_of(&self, batch: &Batch) -> Result<HeaderMap, SendError> {
        let mut headers = self.headers.clone();
        let content_type = match self.json {
            true => "application/json",
            false => "application/x-protobuf",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(encoding) = self.compression.encoding() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        if self.tenant_header {
            let tenant = HeaderValue::from_str(batch.tenant().as_str());
            let tenant = tenant.map_err(|_| SendError::permanent("the tenant cannot be sent as a header"))?;
            headers.insert(TENANT_HEADER, tenant);
        }
        Ok(headers)
    }

    async fn body(&self, batch: &Batch) -> Result<Bytes, SendError> {
        let made = match self.json {
            false => compressed(self.compression, batch).await,
            true => self.json_body(batch).await,
        };
        made.map_err(|error| SendError::retryable(format!("the body cannot be compressed: {error}")))
    }

    async fn json_body(&self, batch: &Batch) -> io::Result<Bytes> {
        let (compression, owned) = (self.compression, batch.clone());
        let make = move || compress(compression, &Bytes::from(owned.to_json()));
        match batch.payload().len() <= INLINE_BYTES_MAX {
            true => make(),
            false => tokio::task::spawn_blocking(make).await?,
        }
    }
}

/// The headers of the settings.
fn headers(config: &OtlpConfig) -> Result<HeaderMap, OtlpConfigError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &config.headers {
        let refused = || OtlpConfigError::Header { name: name.clone() };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| refused())?;
        value.set_sensitive(true);
        headers.append(key, value);
    }
    Ok(headers)
}

fn client(config: &OtlpConfig, tls: &ClientTls) -> Result<Client, OtlpConfigError> {
    let builder = Client::builder()
        .user_agent(concat!("cupola/", env!("CARGO_PKG_VERSION")))
        .timeout(config.timeout)
        .redirect(reqwest::redirect::Policy::none())
        // The environment is the binary's to read.
        .no_proxy()
        .use_preconfigured_tls(tls.config())
        .tcp_nodelay(true);
    builder.build().map_err(|source| OtlpConfigError::Client {
        endpoint: config.endpoint.clone(),
        source,
    })
}

/// Whether a failed request is worth repeating.
/// <https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes>
fn judge(status: StatusCode, retry_after: Option<Duration>, form: Form, body: &[u8]) -> SendError {
    let details = match form {
        Form::Json => RpcStatus::from_json(body),
        Form::Protobuf => RpcStatus::decode(body),
        Form::Text => None,
    };
    let details = details.unwrap_or_default();
    // Whatever stands before a receiver answers in its own way.
    let text = match details.message.is_empty() {
        true => said(body),
        false => said(details.message.as_bytes()),
    };
    let reason = match text.is_empty() {
        true => status.to_string(),
        false => format!("{status}: {text}"),
    };
    match status.as_u16() {
        429 | 502 | 503 | 504 => {
            let wanted = retry_after
                .or(details.retry_delay)
                .filter(|delay| !delay.is_zero());
            SendError::Retryable {
                reason,
                retry_after: wanted,
            }
        }
        _ => SendError::Permanent { reason },
    }
}

/// `Retry-After` in either of its forms: seconds, or a date.
/// <https://www.rfc-editor.org/rfc/rfc9110#name-retry-after>
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let moment = httpdate::parse_http_date(text).ok()?;
    Some(moment.duration_since(now).unwrap_or(Duration::ZERO))
}

/// How an answer says what it has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Protobuf,
    Text,
}

impl Form {
    /// By what the answer says of itself; without a word it is taken for protobuf.
    fn of(headers: &HeaderMap) -> Form {
        let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default();
        match kind.trim().to_ascii_lowercase().as_str() {
            "application/json" => Form::Json,
            "text/plain" | "text/html" => Form::Text,
            _ => Form::Protobuf,
        }
    }
}

/// What a body of text says, on one line and no longer than is worth telling; nothing where it is no text.
pub(crate) fn said(body: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(body) else {
        return String::new();
    };
    let is_binary = |letter: char| letter.is_control() && !letter.is_whitespace();
    if text.contains(is_binary) {
        return String::new();
    }
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(SAID_CHARACTERS_MAX) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// The body as far as it is worth reading. A broken one is empty: the status line has been answered.
pub(crate) async fn read_limited(mut answer: Response) -> BytesMut {
    let mut body = BytesMut::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        if body.len() + chunk.len() > RESPONSE_BYTES_MAX {
            return BytesMut::new();
        }
        body.extend_from_slice(&chunk);
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_passes_on_what_the_destination_says() {
        let reason = |kind: &str, body: &[u8]| {
            let mut headers = HeaderMap::new();
            if !kind.is_empty() {
                headers.insert(CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
            }
            let error = judge(StatusCode::BAD_REQUEST, None, Form::of(&headers), body);
            error.reason().to_owned()
        };
        for kind in ["text/plain; charset=utf-8", "", "application/octet-stream"] {
            let told = reason(kind, "tenant limits:\n  too many labels (größer)\n".as_bytes());
            assert_eq!(
                told, "400 Bad Request: tenant limits: too many labels (größer)",
                "{kind}"
            );
        }
        let json = "application/json";
        assert_eq!(
            reason(json, br#"{"code": 3, "message": "bad\nbody"}"#),
            "400 Bad Request: bad body"
        );
        assert_eq!(
            reason(json, br#"{"error": "no"}"#),
            r#"400 Bad Request: {"error": "no"}"#
        );
        assert_eq!(
            reason("application/x-protobuf", &[0x12, 2, b'n', b'o']),
            "400 Bad Request: no"
        );
        for nothing in [&b""[..], b" \n", &[0xff, 0xfe], b"a\0b"] {
            assert_eq!(reason("text/plain", nothing), "400 Bad Request");
        }
        let long = reason("text/plain", "ü".repeat(5000).as_bytes());
        assert_eq!(
            long,
            format!("400 Bad Request: {}…", "ü".repeat(SAID_CHARACTERS_MAX))
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(
            read("Sun, 09 Sep 2001 01:47:10 GMT"),
            Some(Duration::from_secs(30))
        );
        assert_eq!(read("Sun, 09 Sep 2001 01:46:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("soon"), None);
    }
}
