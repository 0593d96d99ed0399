//! Fetching a page: one bounded GET. Owns authentication, TLS and the limits; refuses anything but 200.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cupola_export::tls::{ClientTls, TlsSettings};
use cupola_telemetry::memory::Reservation;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue,
};

use super::config::{BODY_BYTES_MAX, ScrapeConfig};
use super::exposition::Format;
use crate::receivers::http::body::{Buffer, into_bytes};
use crate::receivers::http::decompress::{Compression, decompress};

const ACCEPTED: HeaderValue = HeaderValue::from_static(
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
     text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
);
/// Longest file with a password or a token.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    config: ScrapeConfig,
}

impl Client {
    /// The reason, if certificates cannot be read.
    pub(super) fn new(config: &ScrapeConfig) -> Result<Client, String> {
        let files = &config.tls_config;
        let tls = ClientTls::new(&TlsSettings {
            insecure_skip_verify: files.insecure_skip_verify,
            ca_file: files.ca_file.clone(),
            cert_file: files.cert_file.clone(),
            key_file: files.key_file.clone(),
            ..TlsSettings::default()
        });
        // The key by which Prometheus has it.
        let tls = tls.map_err(|error| format!("`tls_config.{}`: {}", error.key, error.problem))?;
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .user_agent(concat!("cupola/", env!("CARGO_PKG_VERSION")))
            .use_preconfigured_tls(tls.config());
        if !config.follow_redirects {
            builder = builder.redirect(reqwest::redirect::Policy::none());
        }
        let http = builder.build().map_err(|error| error.to_string())?;
        Ok(Client {
            http,
            config: config.clone(),
        })
    }

    /// The page of a target, held within `memory`.
    pub(super) async fn fetch(
        &self,
        url: &url::Url,
        timeout: Duration,
        memory: &mut Reservation,
    ) -> Result<(Bytes, Format), String> {
        let fetching = self.get(url, timeout, memory);
        match tokio::time::timeout(timeout, fetching).await {
            Ok(fetched) => fetched,
            Err(_) => Err(format!("no whole answer within {timeout:?}")),
        }
    }

    async fn get(
        &self,
        url: &url::Url,
        timeout: Duration,
        memory: &mut Reservation,
    ) -> Result<(Bytes, Format), String> {
        let mut request = self.http.get(url.clone()).header(ACCEPT, ACCEPTED);
        request = request.header(
            "X-Prometheus-Scrape-Timeout-Seconds",
            timeout.as_secs_f64().to_string(),
        );
        if self.config.enable_compression {
            request = request.header(ACCEPT_ENCODING, "gzip");
        }
        if let Some(mut value) = self.authorization().await? {
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let mut answer = request.send().await.map_err(|error| source(&error))?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(format!("the target answered {}", answer.status()));
        }
        let limit = usize::try_from(self.config.body_size_limit.0).unwrap_or(usize::MAX);
        let bytes_max = if limit == 0 { BODY_BYTES_MAX } else { limit };
        let expected = answer
            .content_length()
            .and_then(|length| usize::try_from(length).ok());
        let mut buffer = Buffer::new(expected, bytes_max, memory).map_err(|refusal| refusal.to_string())?;
        while let Some(chunk) = answer.chunk().await.map_err(|error| source(&error))? {
            buffer.push(&chunk).map_err(|refusal| refusal.to_string())?;
        }
        let mut body = buffer.finish();
        let encoding = header(answer.headers(), &CONTENT_ENCODING);
        if let Some(compression) = Compression::parse(encoding).map_err(|refusal| refusal.to_string())? {
            let unfolded =
                decompress(compression, &body, bytes_max, memory).map_err(|refusal| refusal.to_string())?;
            body = into_bytes(unfolded.bytes);
        }
        let format = match header(answer.headers(), &CONTENT_TYPE).starts_with("application/openmetrics-text")
        {
            true => Format::OpenMetrics,
            false => Format::Text,
        };
        Ok((body, format))
    }

    /// Files are read each time: what they hold is rotated.
    async fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        let config = &self.config;
        let text = if let Some(basic) = &config.basic_auth {
            use base64::Engine as _;
            let password = secret(basic.password.expose(), basic.password_file.as_deref()).await?;
            let both = format!("{}:{password}", basic.username);
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(both))
        } else if let Some(authorization) = &config.authorization {
            let file = authorization.credentials_file.as_deref();
            let credentials = secret(authorization.credentials.expose(), file).await?;
            format!("{} {credentials}", authorization.r#type)
        } else if config.bearer_token.is_some() || config.bearer_token_file.is_some() {
            let token = config.bearer_token.as_ref().map_or("", |token| token.expose());
            format!(
                "Bearer {}",
                secret(token, config.bearer_token_file.as_deref()).await?
            )
        } else {
            return Ok(None);
        };
        let value = HeaderValue::try_from(text)
            .map_err(|_| "the credentials cannot be part of a header".to_owned())?;
        Ok(Some(value))
    }
}

async fn secret(text: &str, file: Option<&Path>) -> Result<String, String> {
    use tokio::io::AsyncReadExt as _;
    let Some(file) = file else {
        return Ok(text.to_owned());
    };
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", file.display());
    let opened = tokio::fs::File::open(file).await.map_err(failed)?;
    let mut secret = String::new();
    opened
        .take(SECRET_BYTES_MAX)
        .read_to_string(&mut secret)
        .await
        .map_err(failed)?;
    Ok(secret.trim().to_owned())
}

fn header<'h>(headers: &'h HeaderMap, name: &reqwest::header::HeaderName) -> &'h str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// The innermost reason, which is the one that says something.
fn source(error: &reqwest::Error) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(deeper) = reason.source() {
        reason = deeper;
    }
    reason.to_string()
}
