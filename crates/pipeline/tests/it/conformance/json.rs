//! Rules 17 to 21: OTLP/JSON as it arrives over HTTP.

use cupola_telemetry::Batch;
use cupola_telemetry::view::{AnyValue, MetricData, NumberValue};
use serde_json::{Value, json};

use crate::support::{Answer, JSON, Receiver, start};

async fn post(receiver: &Receiver, path: &str, body: &Value) -> Answer {
    receiver.post(path, JSON, body.to_string()).await
}

fn span(fields: &Value) -> Value {
    json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [fields] }] }] })
}

fn log(fields: &Value) -> Value {
    json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [fields] }] }] })
}

fn gauge(point: &Value) -> Value {
    let metric = json!({ "name": "m", "gauge": { "dataPoints": [point] } });
    json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [metric] }] }] })
}

/// Sends what must be taken and returns it.
async fn taken(receiver: &Receiver, path: &str, body: &Value) -> Batch {
    let answer = post(receiver, path, body).await;
    assert_eq!(answer.status, 200, "{body}: {answer:?}");
    receiver.sink.drain().pop().unwrap()
}

async fn refused(receiver: &Receiver, path: &str, body: &Value) {
    let answer = post(receiver, path, body).await;
    assert_eq!(answer.status, 400, "{body}: {answer:?}");
    assert!(!answer.rpc_status().violations.is_empty());
    assert!(receiver.sink.drain().is_empty());
}

#[tokio::test]
async fn c17_ids_are_hex_in_either_case_and_of_the_right_length() {
    let receiver = start().await;
    let ids = [
        (
            "5b8efff798038103d269b633813fc60c",
            "eee19b7ec3c1b174",
            "eee19b7ec3c1b173",
        ),
        (
            "5B8EFFF798038103D269B633813FC60C",
            "EEE19B7EC3C1B174",
            "EEe19b7EC3C1b173",
        ),
    ];
    for (trace_id, span_id, parent) in ids {
        let body =
            span(&json!({ "traceId": trace_id, "spanId": span_id, "parentSpanId": parent, "name": "a" }));
        let batch = taken(&receiver, "/v1/traces", &body).await;
        let scopes = batch.traces().resources().flat_map(|resource| resource.scopes());
        let spans: Vec<_> = scopes.flat_map(|scope| scope.spans()).collect();
        assert_eq!(spans[0].trace_id, hex("5b8efff798038103d269b633813fc60c"));
        assert_eq!(spans[0].span_id, hex("eee19b7ec3c1b174"));
        assert_eq!(spans[0].parent_span_id, hex("eee19b7ec3c1b173"));
    }
    let wrong = [
        json!({ "traceId": "5b8e", "spanId": "eee19b7ec3c1b174" }),
        json!({ "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b17" }),
        json!({ "traceId": "5b8efff798038103d269b633813fc60c", "parentSpanId": "eee19b7ec3c1b17400" }),
        // Base64, as proto3 JSON would otherwise have it.
        json!({ "traceId": "W47/95gDgQPSabYzgT/GDA==", "spanId": "7uGbfsPBsXQ=" }),
        json!({ "traceId": "zzzefff798038103d269b633813fc60c" }),
    ];
    for fields in wrong {
        refused(&receiver, "/v1/traces", &span(&fields)).await;
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[tokio::test]
async fn c17_other_bytes_are_base64() {
    let receiver = start().await;
    let body = log(&json!({ "body": { "bytesValue": "AP9hYmM=" } }));
    let batch = taken(&receiver, "/v1/logs", &body).await;
    assert!(matches!(
        first_body(&batch),
        Some(AnyValue::Bytes(b"\x00\xffabc"))
    ));
    refused(
        &receiver,
        "/v1/logs",
        &log(&json!({ "body": { "bytesValue": "not base64!" } })),
    )
    .await;
}

fn first_body(batch: &Batch) -> Option<AnyValue<'_>> {
    let scopes = batch.logs().resources().flat_map(|resource| resource.scopes());
    scopes.flat_map(|scope| scope.records()).next().unwrap().body
}

#[tokio::test]
async fn c18_enums_are_integers_and_their_names_are_refused() {
    let receiver = start().await;
    let batch = taken(
        &receiver,
        "/v1/traces",
        &span(&json!({ "kind": 2, "status": { "code": 2 } })),
    )
    .await;
    let scopes = batch.traces().resources().flat_map(|resource| resource.scopes());
    assert_eq!(scopes.flat_map(|scope| scope.spans()).next().unwrap().kind, 2);
    let written: Value = serde_json::from_str(&batch.to_json()).unwrap();
    assert_eq!(
        written["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["kind"],
        json!(2)
    );

    refused(
        &receiver,
        "/v1/traces",
        &span(&json!({ "kind": "SPAN_KIND_SERVER" })),
    )
    .await;
    refused(
        &receiver,
        "/v1/traces",
        &span(&json!({ "status": { "code": "STATUS_CODE_ERROR" } })),
    )
    .await;
    refused(
        &receiver,
        "/v1/logs",
        &log(&json!({ "severityNumber": "SEVERITY_NUMBER_INFO" })),
    )
    .await;
}

#[tokio::test]
async fn c19_64_bit_integers_are_read_as_strings_and_numbers_and_written_as_strings() {
    let receiver = start().await;
    for time in [json!("1544712660300000001"), json!(1_544_712_660_300_000_001_u64)] {
        let batch = taken(
            &receiver,
            "/v1/logs",
            &log(&json!({ "timeUnixNano": time, "severityNumber": 9 })),
        )
        .await;
        let scopes = batch.logs().resources().flat_map(|resource| resource.scopes());
        let record = scopes.flat_map(|scope| scope.records()).next().unwrap();
        assert_eq!(record.time_unix_nano, 1_544_712_660_300_000_001);
        let written: Value = serde_json::from_str(&batch.to_json()).unwrap();
        let record = &written["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
        assert_eq!(record["timeUnixNano"], json!("1544712660300000001"));
    }
    for value in [json!("-9223372036854775808"), json!(i64::MIN)] {
        let batch = taken(
            &receiver,
            "/v1/logs",
            &log(&json!({ "body": { "intValue": value } })),
        )
        .await;
        assert!(matches!(first_body(&batch), Some(AnyValue::Int(i64::MIN))));
    }
    refused(&receiver, "/v1/logs", &log(&json!({ "timeUnixNano": "soon" }))).await;
}

#[tokio::test]
async fn c20_unknown_fields_are_ignored_nested_too_and_snake_case_is_unknown() {
    let receiver = start().await;
    let body = json!({
        "futureField": [1, { "a": null }],
        "resourceLogs": [{
            "resource": { "attributes": [], "future": true },
            "scopeLogs": [{
                "logRecords": [{
                    "severityNumber": 9,
                    "severity_number": 17,
                    "time_unix_nano": "1",
                    "nested": { "deep": [{ "er": 1.5e300 }] },
                    "body": { "stringValue": "kept", "futureValue": {} },
                }],
            }],
        }],
    });
    let batch = taken(&receiver, "/v1/logs", &body).await;
    let scopes = batch.logs().resources().flat_map(|resource| resource.scopes());
    let record = scopes.flat_map(|scope| scope.records()).next().unwrap();
    assert_eq!((record.severity_number, record.time_unix_nano), (9, 0));
    assert!(matches!(record.body, Some(AnyValue::String("kept"))));
    assert!(!batch.to_json().contains("future"));
}

#[tokio::test]
async fn c21_nan_and_infinities_are_strings_and_null_is_the_default() {
    let receiver = start().await;
    for (text, expected) in [
        ("NaN", f64::NAN),
        ("Infinity", f64::INFINITY),
        ("-Infinity", f64::NEG_INFINITY),
    ] {
        let batch = taken(&receiver, "/v1/metrics", &gauge(&json!({ "asDouble": text }))).await;
        let value = first_point(&batch);
        assert!(
            value.to_bits() == expected.to_bits() || (value.is_nan() && expected.is_nan()),
            "{text}: {value}"
        );
        assert!(
            batch.to_json().contains(&format!("\"asDouble\":\"{text}\"")),
            "{}",
            batch.to_json()
        );
    }
    let nulls = json!({ "traceId": null, "name": null, "kind": null, "attributes": null, "status": null });
    let batch = taken(&receiver, "/v1/traces", &span(&nulls)).await;
    let scopes = batch.traces().resources().flat_map(|resource| resource.scopes());
    let span = scopes.flat_map(|scope| scope.spans()).next().unwrap();
    assert_eq!((span.name, span.kind, span.trace_id), ("", 0, &[][..]));
}

fn first_point(batch: &Batch) -> f64 {
    let scopes = batch.metrics().resources().flat_map(|resource| resource.scopes());
    let metric = scopes.flat_map(|scope| scope.metrics()).next().unwrap();
    let Some(MetricData::Gauge(points)) = metric.data() else {
        panic!("not a gauge")
    };
    match points.into_iter().next().unwrap().value {
        Some(NumberValue::Double(value)) => value,
        other => panic!("{other:?}"),
    }
}
