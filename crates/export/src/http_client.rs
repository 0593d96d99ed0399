//! What exporters that post bodies over HTTP have in common: the client, one request with its credentials, and the judgement
//! of the answer. Refuses to retry, to split, to follow redirects and to read proxies from the environment.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cupola_config::units::TimeSpan;
use cupola_config::{Secret, mask};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use reqwest::{Client, Response};

use crate::auth::{Credentials, Sender};
use crate::otlp::http::{read_limited, retry_after, said};
use crate::otlp::{chain, within};
use crate::tls::{ClientTls, TlsError};
use crate::{Sample, SendError};

pub use crate::tls::TlsSettings;

/// A client that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    #[error("`endpoint` {endpoint:?} is not an http:// or https:// URL")]
    Endpoint { endpoint: String },
    #[error("`headers`: {name:?} cannot be sent")]
    Header { name: String },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("no HTTP client")]
    Client { source: reqwest::Error },
}

/// One destination.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient {
    client: Client,
    endpoint: String,
    /// Of every request; those of a single one go before them, and credentials before all.
    headers: HeaderMap,
    tls: ClientTls,
    credentials: Credentials,
    /// Zero is none.
    timeout: Duration,
}

impl HttpClient {
    pub(crate) fn new(
        endpoint: &str,
        headers: &BTreeMap<String, Secret>,
        tls: &TlsSettings,
        timeout: TimeSpan,
        credentials: Credentials,
    ) -> Result<HttpClient, HttpClientError> {
        let refused = || HttpClientError::Endpoint {
            endpoint: mask::urls(endpoint).unwrap_or_else(|| endpoint.to_owned()),
        };
        let uri: Uri = endpoint.parse().map_err(|_| refused())?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            return Err(refused());
        }
        let tls = ClientTls::new(tls)?;
        let mut builder = Client::builder()
            .user_agent(concat!("cupola/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .use_preconfigured_tls(tls.config())
            .tcp_nodelay(true);
        if !timeout.0.is_zero() {
            builder = builder.timeout(timeout.0);
        }
        Ok(HttpClient {
            client: builder
                .build()
                .map_err(|source| HttpClientError::Client { source })?,
            endpoint: endpoint.to_owned(),
            headers: header_map(headers)?,
            tls,
            credentials,
            timeout: timeout.0,
        })
    }

    /// Posts a body; the headers of the answer if it was taken. It is answered within the time that one attempt
    /// may take.
    pub(crate) async fn post(
        &self,
        sender: Sender<'_>,
        own: HeaderMap,
        body: Bytes,
    ) -> Result<HeaderMap, SendError> {
        let mut headers = self.headers.clone();
        headers.extend(own);
        let send = |headers| async {
            let request = self.client.post(&self.endpoint).headers(headers);
            let sent = request.body(body.clone()).send().await;
            sent.map_err(|error| SendError::retryable(chain(&error.without_url())))
        };
        let is_refused = |answer: &Response| answer.status() == StatusCode::UNAUTHORIZED;
        let sending = self.credentials.send(sender, headers, send, is_refused);
        let answer = within(self.timeout, sending).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        if status.is_success() {
            return Ok(headers);
        }
        let body = read_limited(answer).await;
        Err(judge(status, &headers, &body))
    }

    /// Adds what is counted.
    pub(crate) fn collect(&self, samples: &mut Vec<Sample>) {
        self.tls.collect(samples);
    }
}

fn header_map(headers: &BTreeMap<String, Secret>) -> Result<HeaderMap, HttpClientError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let refused = || HttpClientError::Header { name: name.clone() };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| refused())?;
        value.set_sensitive(true);
        map.append(key, value);
    }
    Ok(map)
}

/// Too many requests and failures of the server are worth another attempt; everything else is about what was sent.
fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> SendError {
    let text = said(body);
    let reason = if text.is_empty() {
        status.to_string()
    } else {
        format!("{status}: {text}")
    };
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        let retry_after = retry_after(headers, SystemTime::now()).filter(|wait| !wait.is_zero());
        return SendError::Retryable { reason, retry_after };
    }
    SendError::Permanent { reason }
}
