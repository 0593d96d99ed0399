//! `Export{Logs,Metrics,Trace}ServiceResponse`: the partial success it may carry, in protobuf and JSON,
//! written by servers and read by clients. The three messages differ only in the JSON name of the count.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#partial-success>

use cupola_telemetry::Signal;
use cupola_telemetry::wire::write_bytes;
use serde_json::{Value as Json, json};

use super::wire::{self, Malformed, Value};
use crate::Accepted;

/// A response body that is not an export response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an export response")]
pub struct NotAResponse;

impl From<Malformed> for NotAResponse {
    fn from(_: Malformed) -> NotAResponse {
        NotAResponse
    }
}

/// The protobuf form. Full success is the empty message: `partial_success` must stay unset.
#[must_use]
pub fn encode(accepted: &Accepted) -> Vec<u8> {
    let mut out = Vec::new();
    if accepted.is_partial() {
        let mut partial = Vec::with_capacity(accepted.message.len() + 16);
        if accepted.rejected > 0 {
            wire::put_varint_field(&mut partial, 1, accepted.rejected);
        }
        wire::put_bytes_field(&mut partial, 2, accepted.message.as_bytes());
        write_bytes(&mut out, 1, &partial);
    }
    out
}

/// Reads the protobuf form.
pub fn decode(bytes: &[u8]) -> Result<Accepted, NotAResponse> {
    let mut accepted = Accepted::all();
    for field in wire::fields(bytes) {
        if let (1, Value::Bytes(partial)) = field? {
            for field in wire::fields(partial) {
                match field? {
                    // int64; a negative count makes no sense and counts as none.
                    (1, Value::Varint(count)) => accepted.rejected = i64::max(count as i64, 0) as u64,
                    (2, Value::Bytes(text)) => accepted.message = String::from_utf8_lossy(text).into_owned(),
                    _ => {}
                }
            }
        }
    }
    Ok(accepted)
}

/// The JSON form; `{}` on full success. The count is a string, as proto3 JSON writes 64-bit integers.
#[must_use]
pub fn to_json(signal: Signal, accepted: &Accepted) -> String {
    if !accepted.is_partial() {
        return "{}".to_owned();
    }
    let mut partial = serde_json::Map::new();
    if accepted.rejected > 0 {
        partial.insert(
            rejected_name(signal).to_owned(),
            Json::String(accepted.rejected.to_string()),
        );
    }
    if !accepted.message.is_empty() {
        partial.insert("errorMessage".to_owned(), Json::String(accepted.message.clone()));
    }
    json!({ "partialSuccess": partial }).to_string()
}

/// Reads the JSON form.
pub fn from_json(signal: Signal, text: &[u8]) -> Result<Accepted, NotAResponse> {
    let value: Json = serde_json::from_slice(text).map_err(|_| NotAResponse)?;
    let partial = value.as_object().ok_or(NotAResponse)?.get("partialSuccess");
    let field = |name| partial.and_then(|partial| partial.get(name));
    let rejected = match field(rejected_name(signal)) {
        Some(Json::String(text)) => text.parse::<i64>().map_err(|_| NotAResponse)?,
        Some(Json::Number(number)) => number.as_i64().ok_or(NotAResponse)?,
        _ => 0,
    };
    let message = field("errorMessage").and_then(Json::as_str).unwrap_or_default();
    Ok(Accepted::partial(u64::try_from(rejected).unwrap_or(0), message))
}

fn rejected_name(signal: Signal) -> &'static str {
    match signal {
        Signal::Logs => "rejectedLogRecords",
        Signal::Metrics => "rejectedDataPoints",
        Signal::Traces => "rejectedSpans",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_come_back_in_both_forms() {
        let outcomes = [
            Accepted::all(),
            Accepted::partial(7, "seven too old"),
            Accepted::partial(0, "deprecated"),
            Accepted::partial(3, String::new()),
        ];
        for accepted in outcomes {
            assert_eq!(decode(&encode(&accepted)), Ok(accepted.clone()));
            for signal in [Signal::Logs, Signal::Metrics, Signal::Traces] {
                assert_eq!(
                    from_json(signal, to_json(signal, &accepted).as_bytes()),
                    Ok(accepted.clone())
                );
            }
        }
        assert!(encode(&Accepted::all()).is_empty());
        assert_eq!(to_json(Signal::Logs, &Accepted::all()), "{}");
    }
}
