//! From the bytes of a message to a batch. Owns the encodings by name; the formats of others are read by their receivers.

use bytes::Bytes;
use cupola_telemetry::edit::{VALUE_NESTING_MAX, Value};
use cupola_telemetry::encode::LogsEncoder;
use cupola_telemetry::memory::Reservation;
use cupola_telemetry::view::AnyValue;
use cupola_telemetry::{Batch, DecodeError, DecodeLimits, Problem, Signal, TenantId};
use serde_json::Value as Json;

use crate::receivers::http::intake::{Room, now_unix_nano};
use crate::receivers::http::refusal::Refusal;
use crate::receivers::{jaeger, zipkin};

/// OTLP may be this many times as large as the message that it is made of.
const GROWTH_MAX: usize = 8;
/// A message may come to as much whatever its size.
const UNFOLDED_BYTES_MIN: usize = 1 << 20;
/// And to no more than this part of the memory for ingest.
const MEMORY_SHARE: usize = 8;
/// What a parsed JSON value takes over its text.
const PARSED_GROWTH: usize = 8;

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    OtlpProto,
    OtlpJson,
    JaegerProto,
    ZipkinProto,
    ZipkinJson,
    /// A log record with the message as a text body.
    Text(&'static encoding_rs::Encoding),
    /// A log record with the bytes of the message as its body.
    Raw,
    /// A log record with the object as its body.
    Json,
}

const OF_ALL: &str = "otlp_proto, otlp_json";
const OF_TRACES: &str = "jaeger_proto, zipkin_proto, zipkin_json";
const OF_LOGS: &str = "text, text_CHARSET such as text_shift_jis, raw, json";

impl Encoding {
    pub(super) fn parse(signal: Signal, name: &str) -> Result<Encoding, String> {
        let found = match (signal, name) {
            (_, "otlp_proto") => Some(Encoding::OtlpProto),
            (_, "otlp_json") => Some(Encoding::OtlpJson),
            (Signal::Traces, "jaeger_proto") => Some(Encoding::JaegerProto),
            (Signal::Traces, "zipkin_proto") => Some(Encoding::ZipkinProto),
            (Signal::Traces, "zipkin_json") => Some(Encoding::ZipkinJson),
            (Signal::Logs, "text") => Some(Encoding::Text(encoding_rs::UTF_8)),
            (Signal::Logs, "raw") => Some(Encoding::Raw),
            (Signal::Logs, "json") => Some(Encoding::Json),
            (Signal::Logs, other) => match other.strip_prefix("text_") {
                Some(charset) => Some(Encoding::Text(self::charset(charset)?)),
                None => None,
            },
            _ => None,
        };
        found.ok_or_else(|| {
            let known = match signal {
                Signal::Logs => format!("{OF_ALL}, {OF_LOGS}"),
                Signal::Traces => format!("{OF_ALL}, {OF_TRACES}"),
                Signal::Metrics => OF_ALL.to_owned(),
            };
            format!("Cupola has no encoding {name:?} of {signal}; it has {known}")
        })
    }
}

/// A character set by its name on the web, or as the Collector also calls it.
fn charset(name: &str) -> Result<&'static encoding_rs::Encoding, String> {
    let name = match name {
        "utf8" => "utf-8",
        "utf16" => "utf-16",
        "us_ascii" => "us-ascii",
        other => other,
    };
    encoding_rs::Encoding::for_label(name.as_bytes()).ok_or_else(|| {
        format!("{name:?} is no character set; write for example text_utf-8 or text_shift_jis")
    })
}

/// What a message came to.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) batch: Batch,
    /// Items that were left out, and what was wrong with the first.
    pub(super) left_out: Option<(u64, String)>,
}

impl From<Batch> for Decoded {
    fn from(batch: Batch) -> Decoded {
        Decoded {
            batch,
            left_out: None,
        }
    }
}

/// Reads a message. `memory` holds it, and grows with what is made of it.
pub(super) fn decode(
    encoding: Encoding,
    signal: Signal,
    tenant: TenantId,
    payload: Bytes,
    memory: &mut Reservation,
) -> Result<Decoded, Refusal> {
    let bytes_max = payload.len().saturating_mul(GROWTH_MAX).max(UNFOLDED_BYTES_MIN);
    // What might never fit is refused for good, and not for now: as much again is held while it grows, and what waits
    // elsewhere has its part.
    let bytes_max = bytes_max.min(memory.budget().ceiling() / MEMORY_SHARE);
    let limits = |memory| DecodeLimits { bytes_max, memory };
    match encoding {
        Encoding::OtlpProto => {
            let batch = Batch::decode_protobuf_within(signal, tenant, payload, limits(memory));
            Ok(batch.map_err(refuse)?.into())
        }
        Encoding::OtlpJson => {
            let batch = Batch::decode_json_within(signal, tenant, &payload, limits(memory));
            Ok(batch.map_err(refuse)?.into())
        }
        Encoding::JaegerProto => {
            let (batch, left_out) = jaeger::read_span(&payload, tenant, &mut Room::new(memory, bytes_max))?;
            Ok(Decoded { batch, left_out })
        }
        Encoding::ZipkinProto | Encoding::ZipkinJson => {
            let read = match encoding {
                Encoding::ZipkinProto => zipkin::read_protobuf,
                _ => zipkin::read_json,
            };
            let (batch, left_out) = read(&payload, tenant, &mut Room::new(memory, bytes_max))?;
            Ok(Decoded { batch, left_out })
        }
        Encoding::Text(charset) => {
            Room::new(memory, bytes_max).hold(payload.len())?;
            let (text, _) = charset.decode_without_bom_handling(&payload);
            Ok(record(tenant, AnyValue::String(&text)).into())
        }
        Encoding::Raw => {
            Room::new(memory, bytes_max).hold(payload.len())?;
            Ok(record(tenant, AnyValue::Bytes(&payload)).into())
        }
        Encoding::Json => object(tenant, &payload, &mut Room::new(memory, bytes_max)),
    }
}

fn refuse(error: DecodeError) -> Refusal {
    match error.problem {
        Problem::TooLarge { bytes_max } => Refusal::TooLarge { bytes_max },
        Problem::OverMemory => Refusal::OverMemory,
        _ => Refusal::invalid(error.path.clone(), error),
    }
}

/// A log record of which nothing is known but its body.
fn record(tenant: TenantId, body: AnyValue<'_>) -> Batch {
    let mut logs = LogsEncoder::new();
    let mut resource = logs.resource_logs();
    let mut scope = resource.scope_logs();
    scope.record().observed_time_unix_nano(now_unix_nano()).body(body);
    drop(scope);
    drop(resource);
    logs.finish(tenant)
}

fn object(tenant: TenantId, payload: &[u8], room: &mut Room<'_>) -> Result<Decoded, Refusal> {
    let invalid = |problem: String| Refusal::invalid("body", problem);
    room.hold(payload.len().saturating_mul(PARSED_GROWTH) / 2)?;
    let object: serde_json::Map<String, Json> =
        serde_json::from_slice(payload).map_err(|error| invalid(format!("not a JSON object: {error}")))?;
    let value = value(Json::Object(object));
    if value.nesting() > VALUE_NESTING_MAX {
        return Err(invalid("the JSON is nested too deeply".to_owned()));
    }
    let body = value.encode();
    let mut logs = LogsEncoder::new();
    logs.resource_logs()
        .scope_logs()
        .record()
        .observed_time_unix_nano(now_unix_nano())
        .body_raw(&body);
    Ok(logs.finish(tenant).into())
}

/// Whole numbers stay whole; the Collector makes doubles of them, and so changes long ids.
fn value(json: Json) -> Value<'static> {
    match json {
        Json::Null => Value::Empty,
        Json::Bool(flag) => Value::Bool(flag),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(text.into()),
        Json::Array(items) => Value::Array(items.into_iter().map(value).collect()),
        Json::Object(pairs) => {
            let pairs = pairs.into_iter().map(|(key, json)| (key.into(), value(json)));
            Value::Map(pairs.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use cupola_telemetry::memory::MemoryBudget;
    use proptest::prelude::*;

    use super::*;

    fn read(signal: Signal, encoding: &str, payload: &[u8]) -> Result<Decoded, Refusal> {
        let encoding = Encoding::parse(signal, encoding).unwrap();
        let mut memory = MemoryBudget::new(1 << 24).reservation();
        let payload = Bytes::copy_from_slice(payload);
        decode(encoding, signal, TenantId::default_tenant(), payload, &mut memory)
    }

    fn body(encoding: &str, payload: &[u8]) -> String {
        let decoded = read(Signal::Logs, encoding, payload).unwrap();
        let json: Json = serde_json::from_str(&decoded.batch.to_json()).unwrap();
        json["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["body"].to_string()
    }

    #[test]
    fn logs_of_other_formats_become_bodies() {
        assert_eq!(body("text", "grüße".as_bytes()), r#"{"stringValue":"grüße"}"#);
        assert_eq!(body("text_utf-8", b"a\xff"), "{\"stringValue\":\"a\u{fffd}\"}");
        assert_eq!(
            body("text_shift_jis", b"\x93\xfa\x96\x7b"),
            r#"{"stringValue":"日本"}"#
        );
        assert_eq!(body("text_utf16", b"h\0i\0"), r#"{"stringValue":"hi"}"#);
        assert_eq!(body("raw", b"\0\xff"), r#"{"bytesValue":"AP8="}"#);
        assert_eq!(
            body(
                "json",
                br#"{"a": {"b": [1, 2.5, "x", null, true]}, "id": 9007199254740993}"#
            ),
            r#"{"kvlistValue":{"values":[{"key":"a","value":{"kvlistValue":{"values":[{"key":"b","value":{"arrayValue":{"values":[{"intValue":"1"},{"doubleValue":2.5},{"stringValue":"x"},{},{"boolValue":true}]}}}]}}},{"key":"id","value":{"intValue":"9007199254740993"}}]}}"#
        );
        for wrong in [&b"[1]"[..], b"{", b"", b"{\"a\":1} x"] {
            assert!(matches!(
                read(Signal::Logs, "json", wrong),
                Err(Refusal::Invalid { .. })
            ));
        }
        let deep = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
        assert!(matches!(
            read(Signal::Logs, "json", deep.as_bytes()),
            Err(Refusal::Invalid { .. })
        ));
    }

    #[test]
    fn an_encoding_of_another_signal_or_of_none_is_refused_with_those_there_are() {
        for (signal, name, told) in [
            (Signal::Metrics, "text", "otlp_proto, otlp_json"),
            (Signal::Logs, "zipkin_json", "text_CHARSET"),
            (Signal::Logs, "text_klingon", "no character set"),
            (Signal::Traces, "zipkin_thrift", "zipkin_json"),
            (Signal::Traces, "jaeger_json", "jaeger_proto"),
        ] {
            let problem = Encoding::parse(signal, name).unwrap_err();
            assert!(problem.contains(told), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_an_encoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for name in ["otlp_proto", "otlp_json", "jaeger_proto", "zipkin_proto", "zipkin_json"] {
                let _ = read(Signal::Traces, name, &bytes);
            }
            for name in ["text", "text_utf-16", "text_gbk", "raw"] {
                prop_assert!(read(Signal::Logs, name, &bytes).is_ok());
            }
            let _ = read(Signal::Logs, "json", &bytes);
        }
    }
}
