//! Log records as they arrived, to be compared.

use std::sync::Arc;

use bytes::Bytes;
use cupola_telemetry::view::{AnyValue, LogsData};
use serde_json::{Map, Value, json};

use crate::support::Capture;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) body: Value,
    pub(super) attributes: Value,
    pub(super) resource: Value,
    pub(super) scope: String,
    pub(super) time: u64,
    pub(super) severity: (i32, String),
    pub(super) ids: (String, String, u32),
}

fn value(value: AnyValue<'_>) -> Value {
    match value {
        AnyValue::Empty => Value::Null,
        AnyValue::String(text) => json!(text),
        AnyValue::Bool(flag) => json!(flag),
        AnyValue::Int(number) => json!(number),
        AnyValue::Double(number) => json!(number),
        AnyValue::Bytes(bytes) => json!({ "bytes": bytes }),
        AnyValue::Array(items) => items.map(self::value).collect(),
        AnyValue::KeyValueList(pairs) => Value::Object(
            pairs
                .map(|pair| (pair.key.to_owned(), self::value(pair.value)))
                .collect::<Map<_, _>>(),
        ),
        other => json!(format!("{other:?}")),
    }
}

pub(super) fn records(payload: &Bytes) -> Vec<Record> {
    let mut found = Vec::new();
    for resource in LogsData::new(payload).resources() {
        for scope in resource.scopes() {
            for record in scope.records() {
                found.push(Record {
                    body: record.body.map_or(Value::Null, value),
                    attributes: value(AnyValue::KeyValueList(record.attributes)),
                    resource: value(AnyValue::KeyValueList(resource.resource().attributes)),
                    scope: scope.scope().name.to_owned(),
                    time: record.time_unix_nano,
                    severity: (record.severity_number, record.severity_text.to_owned()),
                    ids: (
                        hex::encode(record.trace_id),
                        hex::encode(record.span_id),
                        record.flags,
                    ),
                });
            }
        }
    }
    found
}

/// In an order that does not depend on batches.
pub(super) fn comparable(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_by_key(|record| format!("{record:?}"));
    records
}

/// The records so far, when there are at least so many.
pub(super) async fn arrived(sink: &Arc<Capture>, count: usize) -> Vec<Record> {
    loop {
        let found: Vec<Record> = sink
            .batches()
            .iter()
            .flat_map(|batch| records(batch.payload()))
            .collect();
        if found.len() >= count {
            return found;
        }
        sink.entered.notified().await;
    }
}
