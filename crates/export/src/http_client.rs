//! What exporters that post bodies over HTTP have in common: the client with its TLS settings, one request, and the
//! judgement of the answer. Refuses to retry, to split, to follow redirects and to read proxies from the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use cupola_config::units::TimeSpan;
use cupola_config::{Secret, mask};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use reqwest::{Certificate, Client, Identity};
use serde::Deserialize;

use crate::SendError;
use crate::otlp::chain;
use crate::otlp::http::{read_limited, retry_after};

/// As much of a refusal's text is passed on.
const REASON_CHARACTERS_MAX: usize = 300;

/// The Collector's `tls` of a client. Files are read when the exporter is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// Read and of no effect: whether there is TLS is what the endpoint says, `http://` or `https://`.
    pub insecure: bool,
    /// Takes any certificate.
    pub insecure_skip_verify: bool,
    pub ca_file: Option<PathBuf>,
    pub ca_pem: Option<String>,
    pub cert_file: Option<PathBuf>,
    pub cert_pem: Option<String>,
    pub key_file: Option<PathBuf>,
    pub key_pem: Option<Secret>,
}

/// A client that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    #[error("`endpoint` {endpoint:?} is not an http:// or https:// URL")]
    Endpoint { endpoint: String },
    #[error("`headers`: {name:?} cannot be sent")]
    Header { name: String },
    #[error("`tls.{key}` cannot be used")]
    Tls {
        key: &'static str,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("no HTTP client")]
    Client { source: reqwest::Error },
}

/// One destination.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient {
    client: Client,
    endpoint: String,
}

impl HttpClient {
    pub(crate) fn new(
        endpoint: &str,
        headers: &BTreeMap<String, Secret>,
        tls: &TlsSettings,
        timeout: TimeSpan,
    ) -> Result<HttpClient, HttpClientError> {
        let refused = || HttpClientError::Endpoint {
            endpoint: mask::urls(endpoint).unwrap_or_else(|| endpoint.to_owned()),
        };
        let uri: Uri = endpoint.parse().map_err(|_| refused())?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            return Err(refused());
        }
        let mut builder = Client::builder()
            .default_headers(header_map(headers)?)
            .user_agent(concat!("cupola/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true);
        if !timeout.0.is_zero() {
            builder = builder.timeout(timeout.0);
        }
        let client = with_tls(builder, tls)?.build();
        Ok(HttpClient {
            client: client.map_err(|source| HttpClientError::Client { source })?,
            endpoint: endpoint.to_owned(),
        })
    }

    /// Posts a body; the headers of the answer if it was taken.
    pub(crate) async fn post(&self, headers: HeaderMap, body: Bytes) -> Result<HeaderMap, SendError> {
        let request = self.client.post(&self.endpoint).headers(headers).body(body);
        let answer = request
            .send()
            .await
            .map_err(|error| SendError::retryable(chain(&error.without_url())))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        if status.is_success() {
            return Ok(headers);
        }
        let body = read_limited(answer).await;
        Err(judge(status, &headers, &body))
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

fn with_tls(
    mut builder: reqwest::ClientBuilder,
    tls: &TlsSettings,
) -> Result<reqwest::ClientBuilder, HttpClientError> {
    if tls.insecure_skip_verify {
        builder = builder.danger_accept_invalid_certs(true);
    }
    if let Some(pem) = pem(tls.ca_pem.as_deref(), tls.ca_file.as_deref(), "ca_file")? {
        let failed = |source: reqwest::Error| HttpClientError::Tls {
            key: "ca_file",
            source: source.into(),
        };
        builder = builder.tls_built_in_root_certs(false);
        for certificate in Certificate::from_pem_bundle(&pem).map_err(failed)? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    let certificate = pem(tls.cert_pem.as_deref(), tls.cert_file.as_deref(), "cert_file")?;
    let key = pem(
        tls.key_pem.as_ref().map(Secret::expose),
        tls.key_file.as_deref(),
        "key_file",
    )?;
    let missing = |key, other| HttpClientError::Tls {
        key,
        source: format!("needs `tls.{other}` too").into(),
    };
    match (certificate, key) {
        (None, None) => Ok(builder),
        (Some(_), None) => Err(missing("cert_file", "key_file")),
        (None, Some(_)) => Err(missing("key_file", "cert_file")),
        (Some(certificate), Some(key)) => {
            let failed = |source: reqwest::Error| HttpClientError::Tls {
                key: "cert_file",
                source: source.into(),
            };
            let identity = [certificate.as_slice(), b"\n", &key].concat();
            Ok(builder.identity(Identity::from_pem(&identity).map_err(failed)?))
        }
    }
}

fn pem(
    text: Option<&str>,
    file: Option<&Path>,
    key: &'static str,
) -> Result<Option<Vec<u8>>, HttpClientError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| HttpClientError::Tls { key, source };
    match (text, file) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(text.as_bytes().to_vec())),
        (None, Some(file)) => match std::fs::read(file) {
            Ok(pem) => Ok(Some(pem)),
            Err(error) => Err(failed(format!("{}: {error}", file.display()).into())),
        },
        (Some(_), Some(_)) => Err(failed("is given as text and as a file; leave one out".into())),
    }
}

/// Too many requests and failures of the server are worth another attempt; everything else is about what was sent.
fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> SendError {
    let text = String::from_utf8_lossy(body);
    let text: String = text.trim().chars().take(REASON_CHARACTERS_MAX).collect();
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
