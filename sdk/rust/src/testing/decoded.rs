//! Records as tests look at them.

use std::collections::BTreeMap;
use std::fmt;

use cupola_telemetry::json::plain;
use cupola_telemetry::view::{AnyValue, Attributes, LogsData, TracesData};
use cupola_telemetry::{Batch, Signal};

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum CapturedValue {
    String(String),
    Bool(bool),
    Int(i64),
    Double(f64),
    /// Anything else, as JSON.
    Other(String),
}

impl fmt::Display for CapturedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CapturedValue::String(text) => write!(f, "{text:?}"),
            CapturedValue::Bool(value) => value.fmt(f),
            CapturedValue::Int(value) => value.fmt(f),
            CapturedValue::Double(value) => write!(f, "{value:?}"),
            CapturedValue::Other(json) => f.write_str(json),
        }
    }
}

impl From<AnyValue<'_>> for CapturedValue {
    fn from(value: AnyValue<'_>) -> CapturedValue {
        match value {
            AnyValue::String(text) => CapturedValue::String(text.to_owned()),
            AnyValue::Bool(value) => CapturedValue::Bool(value),
            AnyValue::Int(value) => CapturedValue::Int(value),
            AnyValue::Double(value) => CapturedValue::Double(value),
            other => CapturedValue::Other(plain(other)),
        }
    }
}

impl PartialEq<&str> for CapturedValue {
    fn eq(&self, other: &&str) -> bool {
        matches!(self, CapturedValue::String(text) if text == other)
    }
}

impl PartialEq<i64> for CapturedValue {
    fn eq(&self, other: &i64) -> bool {
        *self == CapturedValue::Int(*other)
    }
}

impl PartialEq<f64> for CapturedValue {
    fn eq(&self, other: &f64) -> bool {
        *self == CapturedValue::Double(*other)
    }
}

impl PartialEq<bool> for CapturedValue {
    fn eq(&self, other: &bool) -> bool {
        *self == CapturedValue::Bool(*other)
    }
}

/// Attributes by name.
pub type CapturedAttributes = BTreeMap<String, CapturedValue>;

/// A span that has ended. Ids are in hex digits; an empty one is none.
#[derive(Clone, Debug, PartialEq)]
pub struct CapturedSpan {
    pub scope: String,
    pub name: String,
    pub trace_id: String,
    pub span_id: String,
    pub parent_span_id: String,
    /// As OTLP numbers it: 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub kind: i32,
    pub start_unix_nano: u64,
    pub end_unix_nano: u64,
    pub attributes: CapturedAttributes,
    pub events: Vec<CapturedEvent>,
    pub links: Vec<CapturedLink>,
    /// 0 unset, 1 ok, 2 error.
    pub status_code: i32,
    pub status_message: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CapturedEvent {
    pub name: String,
    pub unix_nano: u64,
    pub attributes: CapturedAttributes,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CapturedLink {
    pub trace_id: String,
    pub span_id: String,
    pub attributes: CapturedAttributes,
}

/// A log record. Ids are in hex digits; an empty one is none.
#[derive(Clone, Debug, PartialEq)]
pub struct CapturedLog {
    pub scope: String,
    pub unix_nano: u64,
    pub severity_number: i32,
    pub severity_text: String,
    pub event_name: String,
    pub body: CapturedValue,
    pub trace_id: String,
    pub span_id: String,
    pub attributes: CapturedAttributes,
}

pub(super) fn spans(batch: &Batch) -> Vec<CapturedSpan> {
    let mut found = Vec::new();
    if batch.signal() != Signal::Traces {
        return found;
    }
    for resource in TracesData::new(batch.payload()).resources() {
        for scope in resource.scopes() {
            let name = scope.scope().name;
            found.extend(scope.spans().map(|span| {
                CapturedSpan {
                    scope: name.to_owned(),
                    name: span.name.to_owned(),
                    trace_id: hex(span.trace_id),
                    span_id: hex(span.span_id),
                    parent_span_id: hex(span.parent_span_id),
                    kind: span.kind,
                    start_unix_nano: span.start_time_unix_nano,
                    end_unix_nano: span.end_time_unix_nano,
                    attributes: attributes(span.attributes),
                    events: span
                        .events
                        .iter()
                        .map(|event| CapturedEvent {
                            name: event.name.to_owned(),
                            unix_nano: event.time_unix_nano,
                            attributes: attributes(event.attributes),
                        })
                        .collect(),
                    links: span
                        .links
                        .iter()
                        .map(|link| CapturedLink {
                            trace_id: hex(link.trace_id),
                            span_id: hex(link.span_id),
                            attributes: attributes(link.attributes),
                        })
                        .collect(),
                    status_code: span.status.map_or(0, |status| status.code),
                    status_message: span
                        .status
                        .map_or_else(String::new, |status| status.message.to_owned()),
                }
            }));
        }
    }
    found
}

pub(super) fn logs(batch: &Batch) -> Vec<CapturedLog> {
    let mut found = Vec::new();
    if batch.signal() != Signal::Logs {
        return found;
    }
    for resource in LogsData::new(batch.payload()).resources() {
        for scope in resource.scopes() {
            let name = scope.scope().name;
            found.extend(scope.records().map(|record| CapturedLog {
                scope: name.to_owned(),
                unix_nano: record.time_unix_nano,
                severity_number: record.severity_number,
                severity_text: record.severity_text.to_owned(),
                event_name: record.event_name.to_owned(),
                body: record.body.unwrap_or_default().into(),
                trace_id: hex(record.trace_id),
                span_id: hex(record.span_id),
                attributes: attributes(record.attributes),
            }));
        }
    }
    found
}

pub(super) fn attributes(attributes: Attributes<'_>) -> CapturedAttributes {
    let pairs = attributes.iter();
    pairs
        .map(|pair| (pair.key.to_owned(), pair.value.into()))
        .collect()
}

pub(super) fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
