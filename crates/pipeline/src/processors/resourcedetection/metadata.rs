//! Questions to the metadata services of clouds, and to the Docker daemon: plain HTTP with small answers.
//!
//! Refuses to follow redirections and proxies: the addresses are those of the machine itself.

use std::path::Path;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use url::Url;

use super::{DetectError, MetadataConfig};

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A metadata service.
pub(super) struct Metadata {
    url: Url,
}

impl Metadata {
    pub(super) fn new(config: &MetadataConfig, usual: &str) -> Result<Self, DetectError> {
        let address = config.metadata_url.as_deref().unwrap_or(usual);
        let wrong = |error: url::ParseError| DetectError::Answer {
            address: address.to_owned(),
            problem: error.to_string(),
        };
        Ok(Self {
            url: Url::parse(address).map_err(wrong)?,
        })
    }

    pub(super) async fn text(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<String, DetectError> {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().unwrap_or(80);
        let address = format!("{host}:{port}");
        let stream = TcpStream::connect(&address)
            .await
            .map_err(|source| DetectError::Connect {
                address: address.clone(),
                source,
            })?;
        ask(stream, &address, method, path, headers).await
    }

    pub(super) async fn json(&self, path: &str, headers: &[(&str, &str)]) -> Result<Json, DetectError> {
        parse(&self.text("GET", path, headers).await?, self.url.as_str())
    }
}

/// What the Docker daemon says of itself.
pub(super) async fn docker(socket: &Path) -> Result<Json, DetectError> {
    let address = socket.display().to_string();
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|source| DetectError::Connect {
            address: address.clone(),
            source,
        })?;
    parse(&ask(stream, "docker", "GET", "/info", &[]).await?, &address)
}

fn parse(text: &str, address: &str) -> Result<Json, DetectError> {
    serde_json::from_str(text).map_err(|error| DetectError::Answer {
        address: address.to_owned(),
        problem: error.to_string(),
    })
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<String, DetectError> {
    let wrong = |problem: String| DetectError::Answer {
        address: format!("{host}{path}"),
        problem,
    };
    let mut request = Request::builder().method(method).uri(path).header("Host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| wrong(error.to_string()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| wrong(error.to_string()))?;
    let answer = async {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| wrong(error.to_string()))?;
        if answer.status() != StatusCode::OK {
            return Err(wrong(format!("status {}", answer.status())));
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| wrong(error.to_string()))?.to_bytes();
        String::from_utf8(body.into()).map_err(|_| wrong("it is no text".to_owned()))
    };
    // The connection does its work while the answer is waited for, and ends with it.
    tokio::pin!(connection);
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            // The answer may have been read by then.
            Ok(()) => answer.await,
            Err(error) => Err(wrong(error.to_string())),
        },
    }
}
