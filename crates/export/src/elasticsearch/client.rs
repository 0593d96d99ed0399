//! One request to one of several endpoints. Owns the HTTP client, whose turn it is, and what a status means. Refuses to
//! show an address with its credentials: these are headers, marked as secret.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use cupola_telemetry::TenantId;
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use http::{Method, StatusCode};
use reqwest::{Client, Response};
use tokio::time::Instant;

use super::config::{BulkCompression, ElasticsearchConfig, ElasticsearchConfigError};
use crate::Sample;
use crate::auth::{Credentials, NoCredentials, Sender};
use crate::otlp::{Compression, chain, compress};
use crate::tls::ClientTls;

/// How long an endpoint that failed is left out, if others are there.
const LEFT_OUT: Duration = Duration::from_secs(5);
/// Largest answer that is read: a bulk answer is a line for each document.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bodies from this size are compressed off the IO threads.
const INLINE_BYTES_MAX: usize = 128 * 1024;

/// An answer with a status of any kind.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    pub(super) retry_after: Option<Duration>,
}

/// Why no endpoint answered.
#[derive(Debug)]
pub(super) struct Unasked {
    pub(super) reason: String,
    /// None ever will, for want of credentials for this batch.
    pub(super) lasting: bool,
}

/// Why there is no answer.
#[derive(Debug)]
enum Unanswered {
    NoCredentials(NoCredentials),
    /// The endpoint is at fault, or the way to it.
    Endpoint(String),
}

impl From<NoCredentials> for Unanswered {
    fn from(problem: NoCredentials) -> Unanswered {
        Unanswered::NoCredentials(problem)
    }
}

#[derive(Debug)]
struct Endpoint {
    base: String,
    /// Milliseconds after `started` until which it is left out.
    left_out_until: AtomicU64,
}

/// What is asked of an endpoint.
struct Asked<'a> {
    sender: Sender<'a>,
    method: &'a Method,
    path: &'a str,
    content_type: &'static str,
    body: Bytes,
}

#[derive(Debug)]
pub(super) struct Cluster {
    client: Client,
    /// Of every request; credentials go before them.
    headers: HeaderMap,
    tls: ClientTls,
    credentials: Credentials,
    /// Of one endpoint, for all that it takes.
    timeout: Duration,
    endpoints: Vec<Endpoint>,
    next: AtomicUsize,
    started: Instant,
    compression: Compression,
}

impl Cluster {
    pub(super) fn new(
        config: &ElasticsearchConfig,
        credentials: Credentials,
    ) -> Result<Cluster, ElasticsearchConfigError> {
        let endpoints = config.all_endpoints().map(|endpoint| Endpoint {
            base: endpoint.trim_end_matches('/').to_owned(),
            left_out_until: AtomicU64::new(0),
        });
        let tls = ClientTls::new(&config.tls)?;
        Ok(Cluster {
            client: client(&tls)?,
            headers: headers(config)?,
            tls,
            credentials,
            timeout: config.timeout.0,
            endpoints: endpoints.collect(),
            next: AtomicUsize::new(0),
            started: Instant::now(),
            compression: match config.compression {
                BulkCompression::None => Compression::None,
                BulkCompression::Gzip => Compression::Gzip,
            },
        })
    }

    /// Asks what belongs to no tenant in particular.
    pub(super) async fn ask(
        &self,
        method: &Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<Answer, String> {
        let tenant = TenantId::default_tenant();
        let nobody = Sender {
            tenant: &tenant,
            client: None,
        };
        let answer = self.ask_for(nobody, method, path, content_type, body).await;
        answer.map_err(|unasked| unasked.reason)
    }

    /// Asks the endpoints in turn until one answers at all; an error says why the last one did not.
    pub(super) async fn ask_for(
        &self,
        sender: Sender<'_>,
        method: &Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<Answer, Unasked> {
        let lasting = false;
        let unasked = |reason| Unasked { reason, lasting };
        let body = self.compressed(body).await.map_err(unasked)?;
        let mut problem = String::new();
        let request = Asked {
            sender,
            method,
            path,
            content_type,
            body,
        };
        for endpoint in self.in_turn() {
            match self.ask_one(endpoint, &request).await {
                Ok(answer) => {
                    endpoint.left_out_until.store(0, Ordering::Relaxed);
                    return Ok(answer);
                }
                // Nothing is known of the endpoint, and another one would not help.
                Err(Unanswered::NoCredentials(problem)) => {
                    return Err(Unasked {
                        lasting: problem.lasting,
                        reason: problem.to_string(),
                    });
                }
                Err(Unanswered::Endpoint(error)) => {
                    let until = self.started.elapsed() + LEFT_OUT;
                    let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
                    endpoint.left_out_until.store(until, Ordering::Relaxed);
                    problem = error;
                }
            }
        }
        Err(unasked(problem))
    }

    /// All endpoints, the next one first, those left out last.
    fn in_turn(&self) -> Vec<&Endpoint> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.endpoints.len().max(1);
        let (before, after) = self.endpoints.split_at(first);
        let now = self.started.elapsed().as_millis();
        let mut all: Vec<&Endpoint> = after.iter().chain(before).collect();
        all.sort_by_key(|endpoint| u128::from(endpoint.left_out_until.load(Ordering::Relaxed)) > now);
        all
    }

    async fn ask_one(&self, endpoint: &Endpoint, asked: &Asked<'_>) -> Result<Answer, Unanswered> {
        let is_sent = AtomicBool::new(false);
        let asking = tokio::time::timeout(self.timeout, self.answer(endpoint, asked, &is_sent));
        asking.await.unwrap_or_else(|_| {
            let late = format!("no answer within {:?}", self.timeout);
            Err(match is_sent.load(Ordering::Relaxed) {
                true => Unanswered::Endpoint(format!("{}: {late}", endpoint.base)),
                false => NoCredentials::now(late).into(),
            })
        })
    }

    async fn answer(
        &self,
        endpoint: &Endpoint,
        asked: &Asked<'_>,
        is_sent: &AtomicBool,
    ) -> Result<Answer, Unanswered> {
        let failed = |error: reqwest::Error| {
            Unanswered::Endpoint(format!("{}: {}", endpoint.base, chain(&error.without_url())))
        };
        let send = |headers| async {
            is_sent.store(true, Ordering::Relaxed);
            let url = format!("{}{}", endpoint.base, asked.path);
            let request = self.client.request(asked.method.clone(), url);
            let sent = request.headers(headers).body(asked.body.clone()).send().await;
            sent.map_err(failed)
        };
        let is_refused = |response: &Response| response.status() == StatusCode::UNAUTHORIZED;
        let headers = self.headers_of(asked);
        let mut response = self
            .credentials
            .send(asked.sender, headers, send, is_refused)
            .await?;
        let seconds = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Unanswered::Endpoint(format!(
                    "{}: the answer is longer than {ANSWER_BYTES_MAX} bytes",
                    endpoint.base
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status,
            body,
            retry_after: seconds.map(Duration::from_secs),
        })
    }

    fn headers_of(&self, asked: &Asked<'_>) -> HeaderMap {
        let mut headers = self.headers.clone();
        if !asked.body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(asked.content_type));
            if let Some(encoding) = self.compression.encoding() {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
            }
        }
        headers
    }

    /// Adds what is counted.
    pub(super) fn collect(&self, samples: &mut Vec<Sample>) {
        self.tls.collect(samples);
    }

    async fn compressed(&self, body: Bytes) -> Result<Bytes, String> {
        if body.is_empty() || self.compression == Compression::None {
            return Ok(body);
        }
        let compression = self.compression;
        let large = body.len() > INLINE_BYTES_MAX;
        let made = match large {
            true => tokio::task::spawn_blocking(move || compress(compression, &body))
                .await
                .map_err(|error| format!("compression was cut short: {error}"))?,
            false => compress(compression, &body),
        };
        made.map_err(|error| format!("the body cannot be compressed: {error}"))
    }
}

/// The headers of the settings, credentials among them.
fn headers(config: &ElasticsearchConfig) -> Result<HeaderMap, ElasticsearchConfigError> {
    let wrong = ElasticsearchConfigError::setting;
    let secret = |key: &'static str, text: &str| {
        let value = HeaderValue::from_str(text);
        let mut value = value.map_err(|_| wrong(key, "cannot be sent in a header".to_owned()))?;
        value.set_sensitive(true);
        Ok::<_, ElasticsearchConfigError>(value)
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &config.headers {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| wrong("headers", format!("`{name}` is no name of a header")))?;
        headers.insert(name, secret("headers", value.expose())?);
    }
    if !config.api_key.is_empty() {
        let value = format!("ApiKey {}", config.api_key.expose());
        headers.insert(AUTHORIZATION, secret("api_key", &value)?);
    } else if !config.user.is_empty() {
        let both = format!("{}:{}", config.user, config.password.expose());
        let value = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(both));
        headers.insert(AUTHORIZATION, secret("password", &value)?);
    }
    Ok(headers)
}

fn client(tls: &ClientTls) -> Result<Client, ElasticsearchConfigError> {
    let builder = Client::builder()
        .user_agent(concat!("cupola/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        // The environment is the binary's to read.
        .no_proxy()
        .tcp_nodelay(true)
        .use_preconfigured_tls(tls.config());
    builder
        .build()
        .map_err(|error| ElasticsearchConfigError::setting("tls", chain(&error)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use cupola_config::units::TimeSpan;

    use super::*;
    use crate::auth::ClientAuth;

    /// Has no credentials, and says so or nothing.
    #[derive(Debug, Default)]
    struct Without {
        is_silent: bool,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl ClientAuth for Without {
        async fn authorize(&self, _: Sender<'_>, _: &mut HeaderMap) -> Result<(), NoCredentials> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.is_silent {
                std::future::pending::<()>().await;
            }
            Err(NoCredentials::now("the issuer is down".to_owned()))
        }
    }

    #[tokio::test]
    async fn want_of_credentials_is_no_fault_of_an_endpoint() {
        let config = ElasticsearchConfig {
            endpoints: vec!["http://127.0.0.1:9".to_owned(), "http://[::1]:9".to_owned()],
            timeout: TimeSpan(Duration::from_millis(20)),
            ..ElasticsearchConfig::default()
        };
        for (is_silent, problem) in [(false, "the issuer is down"), (true, "no answer within 20ms")] {
            let auth = Arc::new(Without {
                is_silent,
                ..Without::default()
            });
            let cluster = Cluster::new(&config, Credentials::of(auth.clone())).unwrap();
            let answer = cluster
                .ask(&Method::GET, "/", "application/json", Bytes::new())
                .await;
            assert_eq!(answer.unwrap_err(), format!("no credentials: {problem}"));
            let asked = auth.asked.load(Ordering::Relaxed);
            assert_eq!(asked, 1, "another endpoint would not help");
            for endpoint in &cluster.endpoints {
                assert_eq!(endpoint.left_out_until.load(Ordering::Relaxed), 0);
            }
        }
    }
}
