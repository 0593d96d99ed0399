//! One gRPC request: a payload out, a response or an error back. Owns the channel and the judgement of
//! gRPC codes. Refuses to retry or split.

use std::time::Duration;

use cupola_telemetry::Batch;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};

use super::call::{Answer, unary};
use super::compression::compressed;
use super::{Compression, OtlpConfig, OtlpConfigError, TENANT_HEADER, chain, grpc_path, response};
use crate::rpc_status::RpcStatus;
use crate::{Accepted, SendError};

/// Keeps a silent connection from looking alive.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(super) struct GrpcTransport {
    channel: Channel,
    compression: Compression,
    headers: HeaderMap,
    timeout: Duration,
    tenant_header: bool,
}

impl GrpcTransport {
    pub(super) fn new(config: &OtlpConfig) -> Result<GrpcTransport, OtlpConfigError> {
        let headers = config
            .headers
            .iter()
            .map(|(name, value)| {
                let refused = || OtlpConfigError::Header { name: name.clone() };
                // gRPC metadata is lower case; `-bin` keys would need base64 and are refused.
                let key = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes())
                    .ok()
                    .filter(|key| !key.as_str().ends_with("-bin"))
                    .ok_or_else(refused)?;
                let mut value = HeaderValue::try_from(value.expose()).map_err(|_| refused())?;
                value.set_sensitive(true);
                Ok((key, value))
            })
            .collect::<Result<_, OtlpConfigError>>()?;
        Ok(GrpcTransport {
            channel: endpoint(config)?.connect_lazy(),
            compression: config.compression,
            headers,
            timeout: config.timeout,
            tenant_header: config.tenant_header,
        })
    }

    pub(super) async fn send(&self, batch: &Batch) -> Result<Accepted, SendError> {
        let mut headers = self.headers.clone();
        if self.tenant_header
            && let Ok(tenant) = HeaderValue::try_from(batch.tenant().as_str())
            && !headers.contains_key(TENANT_HEADER)
        {
            headers.insert(TENANT_HEADER, tenant);
        }
        let message = compressed(self.compression, batch)
            .await
            .map_err(|error| SendError::retryable(format!("the message cannot be compressed: {error}")))?;
        let path = grpc_path(batch.signal());
        let call = unary(
            self.channel.clone(),
            path,
            headers,
            self.compression,
            message,
            self.timeout,
        );
        let answer = tokio::time::timeout(self.timeout, call)
            .await
            .map_err(|_| SendError::retryable(format!("no answer within {:?}", self.timeout)))?
            .map_err(|error| SendError::retryable(chain(&*error)))?;
        match answer {
            // The request was taken; a malformed answer changes nothing about that.
            Answer::Success(message) => Ok(response::decode(&message).unwrap_or_default()),
            Answer::Failure(status) => Err(judge(&status)),
        }
    }
}

fn endpoint(config: &OtlpConfig) -> Result<Endpoint, OtlpConfigError> {
    let refused = || OtlpConfigError::Endpoint {
        endpoint: config.endpoint.clone(),
    };
    let uri: http::Uri = config.endpoint.parse().map_err(|_| refused())?;
    let secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(refused()),
    };
    let endpoint = Endpoint::from(uri)
        .connect_timeout(config.timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .user_agent(concat!("cupola/", env!("CARGO_PKG_VERSION")))
        .map_err(|_| refused())?;
    if !secure {
        return Ok(endpoint);
    }
    let mut tls = match &config.tls.ca_pem {
        Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
        None => ClientTlsConfig::new().trust_anchors(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    };
    if let Some((certificate, key)) = &config.tls.identity_pem {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    endpoint.tls_config(tls).map_err(|source| OtlpConfigError::Tls {
        endpoint: config.endpoint.clone(),
        source: source.into(),
    })
}

/// Whether a failed call is worth repeating.
/// <https://opentelemetry.io/docs/specs/otlp/#failures>
fn judge(status: &Status) -> SendError {
    let reason = format!("{:?}: {}", status.code(), status.message());
    let retry_delay = RpcStatus::decode(status.details()).and_then(|details| details.retry_delay);
    let retryable = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        // Without RetryInfo the destination will not recover: a quota, or the size of the request.
        Code::ResourceExhausted => retry_delay.is_some(),
        _ => false,
    };
    if retryable {
        SendError::Retryable {
            reason,
            retry_after: retry_delay.filter(|delay| !delay.is_zero()),
        }
    } else {
        SendError::Permanent { reason }
    }
}
