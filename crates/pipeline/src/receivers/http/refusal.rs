//! Every way a request can be refused, and what each is called in HTTP and in gRPC. One list, so that all
//! receivers agree.

use std::time::Duration;

use ::http::{HeaderValue, StatusCode};
use bytes::Bytes;
use cupola_export::SendError;
use cupola_export::rpc_status::{FieldViolation, RpcStatus};
use tonic::Code;

/// What a refused client is asked to wait when nobody knows better.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);
/// Most of what a request said that is told back to it.
const QUOTE_BYTES_MAX: usize = 200;
/// Longest description. Over gRPC it travels in headers, of which clients take 8 KiB, up to three times.
const DESCRIPTION_BYTES_MAX: usize = 1024;

/// Enough of a text to recognise it.
pub(crate) fn quote(text: &str) -> String {
    shortened(text.to_owned(), QUOTE_BYTES_MAX)
}

fn shortened(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('…');
    }
    text
}

/// Why a request is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is nothing at {path}; {known}")]
    UnknownPath { path: String, known: &'static str },
    #[error("method {0} is not served")]
    UnknownMethod(String),
    #[error("{0} is not allowed here; send a POST")]
    NotPost(String),
    #[error("content type {given:?} is not {wanted}")]
    ContentType { given: String, wanted: &'static str },
    #[error("{0:?} is not a gRPC content type of OTLP; send application/grpc")]
    GrpcContentType(String),
    #[error("content encoding {0:?} is not supported; send gzip, zstd, deflate or identity")]
    ContentEncoding(String),
    #[error("credentials are missing or wrong")]
    Unauthenticated { challenge: HeaderValue },
    /// Too many passwords are being checked.
    #[error("too many credentials are being checked")]
    Busy,
    #[error("origin {0:?} is not allowed")]
    Origin(String),
    #[error("the request is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
    #[error("{description}")]
    Invalid { field: String, description: String },
    #[error("the body did not arrive within {0:?}")]
    Slow(Duration),
    #[error("memory is at its ceiling")]
    OverMemory,
    #[error("shutting down")]
    Closing,
    #[error("{}", .0.reason())]
    Sink(SendError),
}

impl Refusal {
    pub(crate) fn invalid(field: impl Into<String>, description: impl ToString) -> Refusal {
        Refusal::Invalid {
            field: shortened(field.into(), DESCRIPTION_BYTES_MAX),
            description: shortened(description.to_string(), DESCRIPTION_BYTES_MAX),
        }
    }

    /// The wait to ask for, if the same request may succeed later.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Refusal::OverMemory | Refusal::Closing | Refusal::Slow(_) | Refusal::Busy => {
                Some(RETRY_AFTER_DEFAULT)
            }
            Refusal::Sink(SendError::Retryable { retry_after, .. }) => Some(
                retry_after
                    .filter(|delay| !delay.is_zero())
                    .unwrap_or(RETRY_AFTER_DEFAULT),
            ),
            _ => None,
        }
    }

    pub(crate) fn http_status(&self) -> StatusCode {
        match self {
            Refusal::UnknownPath { .. } | Refusal::UnknownMethod(_) => StatusCode::NOT_FOUND,
            Refusal::NotPost(_) => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::ContentType { .. } | Refusal::GrpcContentType(_) | Refusal::ContentEncoding(_) => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Refusal::Unauthenticated { .. } => StatusCode::UNAUTHORIZED,
            Refusal::Origin(_) => StatusCode::FORBIDDEN,
            Refusal::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Invalid { .. } | Refusal::Sink(SendError::Permanent { .. }) => StatusCode::BAD_REQUEST,
            // 408 would say more about a slow body, but OTLP clients do not come again after it.
            Refusal::Slow(_)
            | Refusal::Busy
            | Refusal::OverMemory
            | Refusal::Closing
            | Refusal::Sink(SendError::Retryable { .. }) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn code(&self) -> Code {
        match self {
            Refusal::UnknownPath { .. } => Code::NotFound,
            Refusal::UnknownMethod(_) | Refusal::NotPost(_) | Refusal::ContentEncoding(_) => {
                Code::Unimplemented
            }
            Refusal::ContentType { .. }
            | Refusal::GrpcContentType(_)
            | Refusal::Invalid { .. }
            | Refusal::Sink(SendError::Permanent { .. }) => Code::InvalidArgument,
            Refusal::Unauthenticated { .. } => Code::Unauthenticated,
            Refusal::Origin(_) => Code::PermissionDenied,
            // Without RetryInfo, which would promise that the same request fits later.
            Refusal::TooLarge { .. } => Code::ResourceExhausted,
            Refusal::Slow(_) => Code::DeadlineExceeded,
            Refusal::Busy
            | Refusal::OverMemory
            | Refusal::Closing
            | Refusal::Sink(SendError::Retryable { .. }) => Code::Unavailable,
        }
    }

    /// The error body of either transport.
    pub(crate) fn rpc_status(&self) -> RpcStatus {
        let message = shortened(self.to_string(), DESCRIPTION_BYTES_MAX);
        let mut status = RpcStatus::new(self.code() as i32, message);
        status.retry_delay = self.retry_after();
        match self {
            Refusal::Invalid { field, description } => {
                status.violations = vec![FieldViolation {
                    field: field.clone(),
                    description: description.clone(),
                }];
            }
            Refusal::Sink(SendError::Permanent { reason }) => {
                status.violations = vec![FieldViolation {
                    field: "body".to_owned(),
                    description: shortened(reason.clone(), DESCRIPTION_BYTES_MAX),
                }];
            }
            _ => {}
        }
        status
    }

    pub(crate) fn grpc_status(&self) -> tonic::Status {
        let status = self.rpc_status();
        if status.retry_delay.is_none() && status.violations.is_empty() {
            return tonic::Status::new(self.code(), status.message);
        }
        let details = Bytes::from(status.encode());
        tonic::Status::with_details(self.code(), status.message, details)
    }
}
