//! One gRPC request: a payload out, a response or an error back. Owns the channel and the judgement of
//! gRPC codes. Refuses to retry or split.

use std::time::Duration;

use cupola_telemetry::Batch;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::call::{Answer, unary};
use super::compression::compressed;
use super::{Compression, OtlpConfig, OtlpConfigError, TENANT_HEADER, chain, grpc_path, response, within};
use crate::auth::Credentials;
use crate::rpc_status::RpcStatus;
use crate::tls::ClientTls;
use crate::{Accepted, SendError};

/// Keeps a silent connection from looking alive.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(super) struct GrpcTransport {
    channel: Channel,
    credentials: Credentials,
    compression: Compression,
    headers: HeaderMap,
    timeout: Duration,
    tenant_header: bool,
}

impl GrpcTransport {
    pub(super) fn new(
        config: &OtlpConfig,
        tls: &ClientTls,
        credentials: Credentials,
    ) -> Result<GrpcTransport, OtlpConfigError> {
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
            channel: channel(config, tls)?,
            credentials,
            compression: config.compression,
            headers,
            timeout: config.timeout,
            tenant_header: config.tenant_header,
        })
    }

    /// Sends a batch within the time that one attempt may take.
    pub(super) async fn send(&self, batch: &Batch) -> Result<Accepted, SendError> {
        match within(self.timeout, self.answer(batch)).await? {
            // The request was taken; a malformed answer changes nothing about that.
            Answer::Success(message) => Ok(response::decode(&message).unwrap_or_default()),
            Answer::Failure(status) => Err(judge(&status)),
        }
    }

    async fn answer(&self, batch: &Batch) -> Result<Answer, SendError> {
        let message = compressed(self.compression, batch)
            .await
            .map_err(|error| SendError::retryable(format!("the message cannot be compressed: {error}")))?;
        let send = |headers| async {
            let answer = unary(
                self.channel.clone(),
                grpc_path(batch.signal()),
                headers,
                self.compression,
                message.clone(),
                self.timeout,
            );
            answer
                .await
                .map_err(|broken| SendError::retryable(chain(&*broken)))
        };
        let is_refused = |answer: &Answer| match answer {
            Answer::Failure(status) => status.code() == Code::Unauthenticated,
            Answer::Success(_) => false,
        };
        self.credentials
            .send(batch.into(), self.headers_of(batch), send, is_refused)
            .await
    }

    fn headers_of(&self, batch: &Batch) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.tenant_header
            && let Ok(tenant) = HeaderValue::try_from(batch.tenant().as_str())
        {
            headers.insert(TENANT_HEADER, tenant);
        }
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        headers
    }
}

fn channel(config: &OtlpConfig, tls: &ClientTls) -> Result<Channel, OtlpConfigError> {
    let refused = || OtlpConfigError::Endpoint {
        endpoint: config.endpoint.clone(),
    };
    let uri: http::Uri = config.endpoint.parse().map_err(|_| refused())?;
    let secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(refused()),
    };
    if !secure {
        let endpoint = with_bounds(Endpoint::from(uri), config).map_err(|_| refused())?;
        return Ok(endpoint.connect_lazy());
    }
    // The connector does TLS by itself; to the channel it is a plain connection, whose requests say what they are.
    let mut parts = uri.clone().into_parts();
    parts.scheme = Some(http::uri::Scheme::HTTP);
    let plain = http::Uri::from_parts(parts).map_err(|_| refused())?;
    let endpoint = with_bounds(Endpoint::from(plain).origin(uri), config).map_err(|_| refused())?;
    Ok(endpoint.connect_with_connector_lazy(tls.connector()))
}

fn with_bounds(endpoint: Endpoint, config: &OtlpConfig) -> Result<Endpoint, tonic::transport::Error> {
    endpoint
        .connect_timeout(config.timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .user_agent(concat!("cupola/", env!("CARGO_PKG_VERSION")))
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
