//! The bound on nesting: what is within can be forwarded to prost, what is beyond is refused, in both formats.

use cupola_telemetry::{Batch, NESTING_MAX, Problem, Signal, TenantId, json, view};

use crate::oracle::{decode, normalised};
use crate::scramble::varint;

/// A log record whose body holds `levels` arrays, each in the one before.
fn nested_body(levels: usize) -> Vec<u8> {
    let mut contents = Vec::new();
    // AnyValue.array_value, then ArrayValue.values, so two messages a level.
    for _ in 0..levels {
        contents = field(1, &contents);
        contents = field(5, &contents);
    }
    [5, 2, 2, 1]
        .iter()
        .fold(contents, |contents, number| field(*number, &contents))
}

fn field(number: u8, contents: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    field.extend(varint(contents.len() as u64, 0));
    field.extend_from_slice(contents);
    field
}

#[test]
fn deepest_allowed_nesting_is_read_by_all() {
    // Resource, scope, record and body are four messages; 38 levels of two messages make 80.
    let levels = (NESTING_MAX - 4) / 2;
    let batch = decode(Signal::Logs, nested_body(levels)).unwrap();
    normalised(Signal::Logs, batch.payload()).unwrap();
    let again = Batch::decode_json(
        Signal::Logs,
        TenantId::default_tenant(),
        batch.to_json().as_bytes(),
    )
    .unwrap();
    assert_eq!(again.payload(), batch.payload());
    let record = batch
        .logs()
        .resources()
        .next()
        .unwrap()
        .scopes()
        .next()
        .unwrap()
        .records()
        .next()
        .unwrap();
    assert_eq!(
        json::plain(record.body.unwrap()),
        "[".repeat(levels) + "null" + &"]".repeat(levels)
    );
}

#[test]
fn one_level_more_is_refused() {
    let error = decode(Signal::Logs, nested_body((NESTING_MAX - 4) / 2 + 1)).unwrap_err();
    assert_eq!(error.problem, Problem::Nesting);
    assert!(
        error
            .path
            .starts_with("resource_logs[0].scope_logs[0].log_records[0].body.array_value.values[0]")
    );
}

#[test]
fn json_one_level_more_is_refused() {
    let levels = (NESTING_MAX - 4) / 2 + 1;
    let body = r#"{"arrayValue":{"values":["#.repeat(levels) + "{}" + &"]}}".repeat(levels);
    let request = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{body}}}]}}]}}]}}"#);
    let error = Batch::decode_json(Signal::Logs, TenantId::default_tenant(), request.as_bytes()).unwrap_err();
    assert_eq!(error.problem, Problem::Nesting);
}

#[test]
fn a_million_levels_overflow_no_stack() {
    let depth = 1_000_000;
    // Lengths need not be right: the bound is reached first. Groups nest without lengths.
    let groups = [0x9b, 1].repeat(depth);
    assert_eq!(
        decode(Signal::Logs, groups).unwrap_err().problem,
        Problem::Nesting
    );
    let arrays = "[".repeat(depth);
    Batch::decode_json(Signal::Logs, TenantId::default_tenant(), arrays.as_bytes()).unwrap_err();
    let unknown = format!("{{\"x\":{arrays}");
    Batch::decode_json(Signal::Logs, TenantId::default_tenant(), unknown.as_bytes()).unwrap_err();
}

#[test]
fn trusted_bytes_that_are_too_deep_overflow_no_stack() {
    let payload = nested_body(2_000);
    let batch = Batch::from_canonical(Signal::Logs, TenantId::default_tenant(), payload.into(), 1);
    assert!(!batch.to_json().is_empty());
    for record in batch
        .logs()
        .resources()
        .flat_map(|r| r.scopes())
        .flat_map(|s| s.records())
    {
        assert!(!json::plain(record.body.unwrap_or(view::AnyValue::Empty)).is_empty());
    }
}
