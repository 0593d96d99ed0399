//! One gRPC request: a payload out, a response or an error back. Owns the channel and the judgement of
//! gRPC codes. Refuses to retry or split.

use std::error::Error as _;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use cupola_telemetry::Batch;
use http::HeaderMap;
use tonic::codec::{BufferSettings, Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::{Compression, OtlpConfig, OtlpConfigError, TENANT_HEADER, chain, grpc_path, response};
use crate::auth::Credentials;
use crate::rpc_status::RpcStatus;
use crate::tls::ClientTls;
use crate::{Accepted, SendError};

/// Keeps a silent connection from looking alive.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Responses are a few bytes.
const RESPONSE_BYTES_MAX: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) struct GrpcTransport {
    channel: Channel,
    credentials: Credentials,
    compression: Compression,
    headers: Vec<(AsciiMetadataKey, AsciiMetadataValue)>,
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
                let key = AsciiMetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes())
                    .map_err(|_| refused())?;
                let value = AsciiMetadataValue::try_from(value.expose()).map_err(|_| refused())?;
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

    /// Sends a batch within the time that one attempt may take. Credentials that are refused are renewed and tried once
    /// more.
    pub(super) async fn send(&self, batch: &Batch) -> Result<Accepted, SendError> {
        let sending = async {
            match self.call(batch).await {
                (Err(Failure::Answered(status)), sent) if status.code() == Code::Unauthenticated => {
                    match self.credentials.renewed(&sent).await {
                        true => self.call(batch).await.0,
                        false => Err(Failure::Answered(status)),
                    }
                }
                (result, _) => result,
            }
        };
        let sent = tokio::time::timeout(self.timeout, sending)
            .await
            .map_err(|_| SendError::retryable(format!("no answer within {:?}", self.timeout)))?;
        match sent {
            // The request was taken; a malformed answer changes nothing about that.
            Ok(answer) => Ok(response::decode(&answer).unwrap_or_default()),
            Err(Failure::Answered(status)) => Err(judge(&status)),
            Err(Failure::Unsent(error)) => Err(error),
        }
    }

    /// The answer to one call, and the headers that were sent.
    async fn call(&self, batch: &Batch) -> (Result<Bytes, Failure>, HeaderMap) {
        let mut request = tonic::Request::new(batch.payload().clone());
        request.set_timeout(self.timeout);
        let metadata = request.metadata_mut();
        if self.tenant_header
            && let Ok(tenant) = AsciiMetadataValue::try_from(batch.tenant().as_str())
        {
            metadata.insert(TENANT_HEADER, tenant);
        }
        for (name, value) in &self.headers {
            metadata.insert(name.clone(), value.clone());
        }
        let mut headers = std::mem::take(metadata).into_headers();
        if let Err(problem) = self.credentials.authorize(batch.tenant(), &mut headers).await {
            return (Err(Failure::Unsent(problem.into())), headers);
        }
        *metadata = MetadataMap::from_headers(headers.clone());
        let mut client = tonic::client::Grpc::new(self.channel.clone())
            .max_decoding_message_size(RESPONSE_BYTES_MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd);
        client = match self.compression {
            Compression::None => client,
            Compression::Gzip => client.send_compressed(CompressionEncoding::Gzip),
            Compression::Zstd => client.send_compressed(CompressionEncoding::Zstd),
        };
        let path = PathAndQuery::from_static(grpc_path(batch.signal()));
        if let Err(error) = client.ready().await {
            let error = SendError::retryable(chain(&error));
            return (Err(Failure::Unsent(error)), headers);
        }
        let codec = RawCodec {
            request_bytes: batch.payload().len(),
        };
        let answer = client.unary(request, path, codec).await;
        let answer = answer.map(tonic::Response::into_inner);
        (answer.map_err(Failure::Answered), headers)
    }
}

/// Why a call came to nothing.
enum Failure {
    /// It was not made.
    Unsent(SendError),
    Answered(Status),
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
    if status.source().is_some() {
        // Made here, from a broken connection: the destination never gave an answer.
        return SendError::retryable(chain(status));
    }
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

/// Messages as raw bytes: a batch is an encoded request already.
struct RawCodec {
    request_bytes: usize,
}

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = RawEncoder;
    type Decoder = RawDecoder;

    fn encoder(&mut self) -> RawEncoder {
        RawEncoder {
            request_bytes: self.request_bytes,
        }
    }

    fn decoder(&mut self) -> RawDecoder {
        RawDecoder
    }
}

struct RawEncoder {
    request_bytes: usize,
}

/// Of the length prefix in front of a gRPC message.
const GRPC_PREFIX_BYTES: usize = 5;

impl Encoder for RawEncoder {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(message.len());
        buffer.put(message);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        // The whole message in one piece: it is in memory anyway.
        let bytes = self.request_bytes + GRPC_PREFIX_BYTES;
        BufferSettings::new(bytes, bytes.max(32 * 1024))
    }
}

struct RawDecoder;

impl Decoder for RawDecoder {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length)))
    }
}
