//! `google.rpc.Status`, the error body of OTLP on both transports, with the two details OTLP uses:
//! `BadRequest` and `RetryInfo`. Owns their protobuf and JSON forms, written and read. Refuses other
//! details: unknown ones are skipped when read.
//!
//! <https://github.com/googleapis/googleapis/blob/master/google/rpc/status.proto>,
//! <https://opentelemetry.io/docs/specs/otlp/#failures>

use std::time::Duration;

use cupola_telemetry::wire::write_bytes;
use serde_json::{Value, json};

use crate::otlp::wire;

const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// An error for the peer of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RpcStatus {
    /// A gRPC status code number.
    pub code: i32,
    pub message: String,
    /// What was wrong with the request; `BadRequest` detail.
    pub violations: Vec<FieldViolation>,
    /// The request may be repeated after this; `RetryInfo` detail.
    pub retry_delay: Option<Duration>,
}

/// One reason why a request was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field, or of the part of the request (`body`, a header name).
    pub field: String,
    pub description: String,
}

impl RpcStatus {
    pub fn new(code: i32, message: impl Into<String>) -> RpcStatus {
        RpcStatus {
            code,
            message: message.into(),
            ..RpcStatus::default()
        }
    }

    /// The protobuf form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.message.len());
        if self.code != 0 {
            wire::put_varint_field(&mut out, 1, i64::from(self.code) as u64);
        }
        wire::put_bytes_field(&mut out, 2, self.message.as_bytes());
        if !self.violations.is_empty() {
            let mut detail = Vec::new();
            for violation in &self.violations {
                let mut field = Vec::new();
                wire::put_bytes_field(&mut field, 1, violation.field.as_bytes());
                wire::put_bytes_field(&mut field, 2, violation.description.as_bytes());
                write_bytes(&mut detail, 1, &field);
            }
            put_any(&mut out, BAD_REQUEST, &detail);
        }
        if let Some(delay) = self.retry_delay {
            let mut duration = Vec::new();
            if delay.as_secs() != 0 {
                wire::put_varint_field(&mut duration, 1, delay.as_secs());
            }
            if delay.subsec_nanos() != 0 {
                wire::put_varint_field(&mut duration, 2, u64::from(delay.subsec_nanos()));
            }
            let mut detail = Vec::new();
            write_bytes(&mut detail, 1, &duration);
            put_any(&mut out, RETRY_INFO, &detail);
        }
        out
    }

    /// Reads the protobuf form; `None` when it is not one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<RpcStatus> {
        let mut status = RpcStatus::default();
        for field in wire::fields(bytes) {
            match field.ok()? {
                (1, wire::Value::Varint(code)) => status.code = code as i32,
                (2, wire::Value::Bytes(text)) => status.message = text_of(text),
                (3, wire::Value::Bytes(any)) => status.decode_any(any)?,
                _ => {}
            }
        }
        Some(status)
    }

    fn decode_any(&mut self, any: &[u8]) -> Option<()> {
        let (mut kind, mut value): (&[u8], &[u8]) = (&[], &[]);
        for field in wire::fields(any) {
            match field.ok()? {
                (1, wire::Value::Bytes(url)) => kind = url,
                (2, wire::Value::Bytes(bytes)) => value = bytes,
                _ => {}
            }
        }
        if kind == RETRY_INFO.as_bytes() {
            self.retry_delay = Some(decode_retry_info(value)?);
        } else if kind == BAD_REQUEST.as_bytes() {
            self.violations = decode_bad_request(value)?;
        }
        Some(())
    }

    /// The JSON form (proto3 JSON mapping).
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut status = json!({ "code": self.code, "message": self.message });
        let mut details = Vec::new();
        if !self.violations.is_empty() {
            let violations: Vec<Value> = self
                .violations
                .iter()
                .map(|violation| json!({ "field": violation.field, "description": violation.description }))
                .collect();
            details.push(json!({ "@type": BAD_REQUEST, "fieldViolations": violations }));
        }
        if let Some(delay) = self.retry_delay {
            details.push(json!({ "@type": RETRY_INFO, "retryDelay": duration_text(delay) }));
        }
        if !details.is_empty() {
            status["details"] = Value::Array(details);
        }
        status.to_string()
    }

    /// Reads the JSON form; `None` when it is not one.
    #[must_use]
    pub fn from_json(text: &[u8]) -> Option<RpcStatus> {
        let value: Value = serde_json::from_slice(text).ok()?;
        let object = value.as_object()?;
        let mut status = RpcStatus {
            code: object.get("code").and_then(Value::as_i64).unwrap_or(0) as i32,
            message: object
                .get("message")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            ..RpcStatus::default()
        };
        let details = object.get("details").and_then(Value::as_array);
        for detail in details.into_iter().flatten() {
            match detail.get("@type").and_then(Value::as_str) {
                Some(RETRY_INFO) => {
                    status.retry_delay = detail
                        .get("retryDelay")
                        .and_then(Value::as_str)
                        .and_then(parse_duration);
                }
                Some(BAD_REQUEST) => {
                    let violations = detail.get("fieldViolations").and_then(Value::as_array);
                    status.violations = violations.into_iter().flatten().map(violation_of).collect();
                }
                _ => {}
            }
        }
        Some(status)
    }
}

fn violation_of(value: &Value) -> FieldViolation {
    let text = |key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    FieldViolation {
        field: text("field"),
        description: text("description"),
    }
}

fn put_any(out: &mut Vec<u8>, kind: &str, value: &[u8]) {
    let mut any = Vec::with_capacity(kind.len() + value.len() + 8);
    wire::put_bytes_field(&mut any, 1, kind.as_bytes());
    wire::put_bytes_field(&mut any, 2, value);
    write_bytes(out, 3, &any);
}

fn decode_retry_info(bytes: &[u8]) -> Option<Duration> {
    let mut delay = Duration::ZERO;
    for field in wire::fields(bytes) {
        if let (1, wire::Value::Bytes(duration)) = field.ok()? {
            let (mut seconds, mut nanos) = (0i64, 0i32);
            for field in wire::fields(duration) {
                match field.ok()? {
                    (1, wire::Value::Varint(value)) => seconds = value as i64,
                    (2, wire::Value::Varint(value)) => nanos = value as i32,
                    _ => {}
                }
            }
            // A negative delay means now.
            let seconds = u64::try_from(seconds).unwrap_or(0);
            delay = Duration::new(seconds, u32::try_from(nanos).unwrap_or(0).min(999_999_999));
        }
    }
    Some(delay)
}

fn decode_bad_request(bytes: &[u8]) -> Option<Vec<FieldViolation>> {
    let mut violations = Vec::new();
    for field in wire::fields(bytes) {
        if let (1, wire::Value::Bytes(one)) = field.ok()? {
            let mut violation = FieldViolation::default();
            for field in wire::fields(one) {
                match field.ok()? {
                    (1, wire::Value::Bytes(text)) => violation.field = text_of(text),
                    (2, wire::Value::Bytes(text)) => violation.description = text_of(text),
                    _ => {}
                }
            }
            violations.push(violation);
        }
    }
    Some(violations)
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn duration_text(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}.{:09}s", duration.as_secs(), duration.subsec_nanos())
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds.max(0.0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_come_back_as_they_went() {
        let status = RpcStatus {
            code: 14,
            message: "überlastet".to_owned(),
            violations: vec![FieldViolation {
                field: "body".to_owned(),
                description: "bad".to_owned(),
            }],
            retry_delay: Some(Duration::from_millis(1500)),
        };
        assert_eq!(RpcStatus::decode(&status.encode()), Some(status.clone()));
        assert_eq!(RpcStatus::from_json(status.to_json().as_bytes()), Some(status));
    }

    #[test]
    fn garbage_is_not_a_status() {
        assert_eq!(RpcStatus::decode(&[0x0a, 0x7f]), None);
        assert_eq!(RpcStatus::from_json(b"[1]"), None);
        assert_eq!(RpcStatus::from_json(b"{"), None);
    }
}
