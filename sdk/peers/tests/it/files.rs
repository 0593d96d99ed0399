//! Files: OTLP requests, and JSON lines whose log records have their eight members and no others.

use std::path::Path;

use chrono::DateTime;
use cupola_peers::expected::{finite, finite_map};
use cupola_sdk_peers::items::{self, Of};
use cupola_telemetry::Batch;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde_json::{Value, json};

use crate::application::run;
use crate::levels::at_least;

const MEMBERS: [&str; 8] = [
    "attributes",
    "body",
    "resource",
    "severity_number",
    "severity_text",
    "span_id",
    "timestamp",
    "trace_id",
];

#[test]
fn what_is_exported_is_what_was_said_and_lines_have_it_too() {
    let ran = run(
        300,
        &["{backend_type: filesystem, config: {log_file: ./logs/shop.jsonl, max_bytes: 1GiB}}".to_owned()],
    );
    let exported = ran.checked();
    check(&ran.directory.path().join("logs/shop.jsonl"), &exported, 0);
}

/// The file has the log records that are at least so severe, in its own words, and nothing else.
pub(crate) fn check(file: &Path, exported: &[Batch], severity_number: i32) {
    let text = std::fs::read_to_string(file).unwrap();
    let mut arrived: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for line in &mut arrived {
        let keys: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert_eq!(keys, MEMBERS, "{line}");
        for place in ["/timestamp", "/attributes/otel.observed_timestamp"] {
            if let Some(time) = line.pointer_mut(place) {
                *time = nanos(time);
            }
        }
    }
    let exported = at_least(exported, severity_number);
    let wanted = items::logs(&exported);
    let wanted = wanted.iter().map(line).collect();
    items::assert_same("lines", &sorted(arrived), &sorted(wanted));
}

fn sorted(lines: Vec<Value>) -> Vec<String> {
    let mut lines: Vec<String> = lines.iter().map(|line| format!("{line:#}")).collect();
    lines.sort();
    lines
}

fn nanos(time: &Value) -> Value {
    let time = time.as_str().unwrap();
    assert!(time.ends_with('Z'), "{time}");
    json!(DateTime::parse_from_rfc3339(time).unwrap().timestamp_nanos_opt())
}

/// By the documentation.
fn line(log: &Of<LogRecord>) -> Value {
    let record = &log.item;
    let moment = if record.time_unix_nano == 0 {
        record.observed_time_unix_nano
    } else {
        record.time_unix_nano
    };
    let mut attributes = finite_map(&record.attributes);
    let own = attributes.as_object_mut().unwrap();
    own.insert("otel.scope.name".to_owned(), json!(log.scope_name()));
    if !record.event_name.is_empty() {
        own.insert("event.name".to_owned(), json!(record.event_name));
    }
    if record.observed_time_unix_nano != moment {
        own.insert(
            "otel.observed_timestamp".to_owned(),
            json!(record.observed_time_unix_nano),
        );
    }
    let body = record.body.as_ref().map(|body| finite(body.value.as_ref()));
    json!({
        "timestamp": moment, "severity_text": record.severity_text, "severity_number": record.severity_number,
        "body": body, "trace_id": hex(&record.trace_id), "span_id": hex(&record.span_id),
        "resource": finite_map(&log.resource.as_ref().unwrap().attributes), "attributes": attributes,
    })
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
