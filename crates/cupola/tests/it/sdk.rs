//! What an application records through the SDK is found by statements, equal in every field.

use std::collections::BTreeMap;

use cupola_peers::expected::{map, normal, plain};
use cupola_sdk_peers::Ran;
use cupola_sdk_peers::items::{self, Of};
use cupola_telemetry::time::from_rfc3339;
use cupola_telemetry::{Batch, Signal};
use serde_json::{Value, json};

use crate::support::Server;

#[test]
#[ignore = "is run as a process by the test below"]
fn an_application() {
    cupola_sdk_peers::main();
}

async fn run(server: &Server) -> Ran {
    let endpoint = server.otlp_http.clone();
    let running = tokio::task::spawn_blocking(move || {
        let backend = format!("{{backend_type: otlp, config: {{endpoint: {endpoint}, compression: gzip}}}}");
        cupola_sdk_peers::run("sdk::an_application", 200, &[backend])
    });
    running.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_application_records_is_found_as_it_was_said() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), &["--own-telemetry", "off"]).await;
    let exported = run(&server).await.checked();
    logs(&server, &exported).await;
    spans(&server, &exported).await;
    points(&server, &exported).await;
}

/// The answers to a statement as text, in an order of their own.
async fn found(server: &Server, columns: &[&str], table: &str) -> Vec<String> {
    let statement = format!("SELECT {} FROM {table}", columns.join(", "));
    let rows = server.sql("default", &statement).await;
    sorted(rows.into_iter().map(Value::Array))
}

fn sorted(rows: impl Iterator<Item = Value>) -> Vec<String> {
    let mut rows: Vec<String> = rows.map(|row| format!("{:#}", exact(normal(row)))).collect();
    rows.sort();
    rows
}

/// As answers have it: integers that readers of JSON would round are texts. Bodies that are no texts are JSON in a text, in which
/// numbers may be written in several ways; times have as many digits as are wanted, and are compared in nanoseconds.
fn exact(value: Value) -> Value {
    const EXACT_MAX: u64 = (1 << 53) - 1;
    match value {
        Value::Number(number)
            if number
                .as_i64()
                .is_some_and(|number| number.unsigned_abs() > EXACT_MAX) =>
        {
            Value::String(number.to_string())
        }
        Value::String(text) if text == "inf" => json!("Infinity"),
        Value::String(text) if text == "-inf" => json!("-Infinity"),
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(list @ (Value::Array(_) | Value::Object(_))) => exact(list),
            Ok(Value::Number(number)) if number.is_f64() => Value::Number(number),
            _ => Value::String(from_rfc3339(&text).map_or(text, |nanos| nanos.to_string())),
        },
        Value::Array(members) => members.into_iter().map(exact).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(key, value)| (key, exact(value)))
            .collect(),
        other => other,
    }
}

fn hex(id: &[u8]) -> Value {
    match id.is_empty() {
        true => Value::Null,
        false => json!(id.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
}

/// Null for nothing.
fn some(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

fn resource<T>(of: &Of<T>) -> Value {
    map(&of.resource.as_ref().unwrap().attributes)
}

const LOGS: [&str; 12] = [
    "timestamp::bigint",
    "observed_timestamp::bigint",
    "severity_number",
    "severity_text",
    "body::text",
    "trace_id",
    "span_id",
    "flags",
    "event_name",
    "scope_name",
    "attributes",
    "resource_attributes",
];

async fn logs(server: &Server, exported: &[Batch]) {
    let wanted = items::logs(exported).into_iter().map(|log| {
        let record = &log.item;
        let body = record.body.as_ref().map(|body| match plain(body.value.as_ref()) {
            Value::String(text) => json!(text),
            other => json!(other.to_string()),
        });
        // A record without a time has that of its observation.
        let time = if record.time_unix_nano == 0 {
            record.observed_time_unix_nano
        } else {
            record.time_unix_nano
        };
        json!([
            time,
            record.observed_time_unix_nano,
            record.severity_number,
            some(&record.severity_text),
            body,
            hex(&record.trace_id),
            hex(&record.span_id),
            record.flags,
            some(&record.event_name),
            log.scope_name(),
            map(&record.attributes),
            resource(&log),
        ])
    });
    let wanted = sorted(wanted);
    items::assert_same("log records", &found(server, &LOGS, "logs").await, &wanted);
}

const SPANS: [&str; 16] = [
    "timestamp::bigint",
    "end_timestamp::bigint",
    "name",
    "kind",
    "status_code",
    "status_message",
    "trace_id",
    "span_id",
    "parent_span_id",
    "trace_state",
    "flags",
    "scope_name",
    "attributes",
    "resource_attributes",
    "events",
    "links",
];

async fn spans(server: &Server, exported: &[Batch]) {
    let wanted = items::spans(exported).into_iter().map(|of| {
        let span = &of.item;
        let kind = ["unspecified", "internal", "server", "client", "producer", "consumer"][span.kind as usize];
        let status = span.status.clone().unwrap_or_default();
        let status_code = ["unset", "ok", "error"][status.code as usize];
        let events = span.events.iter().map(|event| json!({
            "timestamp": event.time_unix_nano, "name": some(&event.name), "attributes": map(&event.attributes),
            "dropped_attributes_count": event.dropped_attributes_count,
        }));
        let links = span.links.iter().map(|link| json!({
            "trace_id": hex(&link.trace_id), "span_id": hex(&link.span_id), "trace_state": some(&link.trace_state),
            "flags": link.flags, "attributes": map(&link.attributes),
            "dropped_attributes_count": link.dropped_attributes_count,
        }));
        json!([
            span.start_time_unix_nano, span.end_time_unix_nano, some(&span.name), kind,
            status_code, some(&status.message), hex(&span.trace_id),
            hex(&span.span_id), hex(&span.parent_span_id), some(&span.trace_state), span.flags, of.scope_name(),
            map(&span.attributes), resource(&of), events.collect::<Vec<_>>(), links.collect::<Vec<_>>(),
        ])
    });
    let wanted = sorted(wanted);
    items::assert_same("spans", &found(server, &SPANS, "spans").await, &wanted);
}

/// How many points of each metric there are, and what their values come to.
async fn points(server: &Server, exported: &[Batch]) {
    let statement = "SELECT name, count(*) FROM metrics GROUP BY name";
    let found = crate::support::by_first(server.sql("default", statement).await);
    let found: BTreeMap<String, i64> = found.into_iter().collect();
    let mut wanted: BTreeMap<String, i64> = BTreeMap::new();
    let metrics: Vec<Batch> = exported
        .iter()
        .filter(|batch| batch.signal() == Signal::Metrics)
        .cloned()
        .collect();
    for row in metrics.iter().flat_map(cupola_peers::expected::rows::rows) {
        *wanted
            .entry(row["metric_name"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    assert_eq!(found, wanted);
}
