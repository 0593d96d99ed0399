//! OTLP/JSON: round trips, and each rule of the specification.

use cupola_telemetry::{Batch, DecodeError, Problem, Signal, TenantId, view};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{
    HistogramDataPoint, NumberDataPoint, metric, number_data_point,
};
use proptest::prelude::*;
use prost::Message;

use crate::dice::Dice;
use crate::oracle::{decode, normalised, random_request};
use crate::scramble::{Freedom, Type, scramble};

fn read(signal: Signal, text: &str) -> Result<Batch, DecodeError> {
    Batch::decode_json(signal, TenantId::default_tenant(), text.as_bytes())
}

proptest! {
    #[test]
    fn json_reads_back_equal(seed: u64) {
        for signal in Signal::ALL {
            let mut dice = Dice::new(seed);
            let request = random_request(signal, &mut dice);
            let payload = scramble(Type::Request(signal), &request, &mut dice, Freedom { overwrite: false });
            let batch = decode(signal, payload).unwrap();
            let again = read(signal, &batch.to_json()).unwrap();
            prop_assert_eq!(
                normalised(signal, again.payload()).unwrap(),
                normalised(signal, batch.payload()).unwrap()
            );
            prop_assert_eq!(again.items(), batch.items());
            // JSON gives canonical bytes.
            let decoded = decode(signal, again.payload().clone()).unwrap();
            prop_assert_eq!(decoded.payload().as_ptr(), again.payload().as_ptr());
            prop_assert_eq!(decoded.items(), again.items());
        }
    }

    #[test]
    fn doubles_are_exact(bits: u64) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        for text in [format!("{value:?}"), format!("{value:e}"), format!("\"{value:?}\"")] {
            prop_assert_eq!(double(&text).unwrap().to_bits(), bits);
        }
    }

    #[test]
    fn broken_json_never_panics(seed: u64) {
        for signal in Signal::ALL {
            let mut dice = Dice::new(seed);
            let mut json = decode(signal, random_request(signal, &mut dice)).unwrap().to_json().into_bytes();
            for _ in 0..1 + dice.below(3) {
                let at = dice.below(json.len());
                match dice.below(3) {
                    0 => json.truncate(at + 1),
                    1 => json[at] = b"\"{}[],:0-e.\\ntrue\xff"[dice.below(18)],
                    _ => json.insert(at, b"\"{}[],:0-e.\\ntrue\xff"[dice.below(18)]),
                }
            }
            if let Ok(batch) = Batch::decode_json(signal, TenantId::default_tenant(), &json) {
                let decoded = decode(signal, batch.payload().clone()).unwrap();
                prop_assert_eq!(decoded.payload().as_ptr(), batch.payload().as_ptr());
            }
        }
    }
}

fn record(fields: &str) -> Result<Batch, DecodeError> {
    read(
        Signal::Logs,
        &format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{{fields}}}]}}]}}]}}"#),
    )
}

fn with_record<T>(fields: &str, look: impl FnOnce(view::LogRecord<'_>) -> T) -> T {
    let batch = record(fields).unwrap();
    let scope = batch.logs().resources().next().unwrap().scopes().next().unwrap();
    look(scope.records().next().unwrap())
}

#[track_caller]
fn refused(fields: &str, path: &str, message: &str) {
    let error = record(fields).unwrap_err();
    let prefix = "resourceLogs[0].scopeLogs[0].logRecords[0]";
    assert_eq!(
        (error.path.as_str(), error.problem.to_string().as_str()),
        (format!("{prefix}.{path}").as_str(), message)
    );
}

fn point(fields: &str) -> Result<NumberDataPoint, DecodeError> {
    let text = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"gauge":{{"dataPoints":[{{{fields}}}]}}}}]}}]}}]}}"#
    );
    let batch = read(Signal::Metrics, &text)?;
    let request = ExportMetricsServiceRequest::decode(batch.payload().as_ref()).unwrap();
    match &request.resource_metrics[0].scope_metrics[0].metrics[0].data {
        Some(metric::Data::Gauge(gauge)) => Ok(gauge.data_points[0].clone()),
        other => panic!("expected a gauge, found {other:?}"),
    }
}

fn double(text: &str) -> Result<f64, DecodeError> {
    match point(&format!(r#""asDouble":{text}"#))?.value {
        Some(number_data_point::Value::AsDouble(value)) => Ok(value),
        other => panic!("expected a double, found {other:?}"),
    }
}

#[test]
fn ids_are_hex_of_either_case() {
    for text in [
        "5b8efff798038103d269b633813fc60c",
        "5B8EFFF798038103D269B633813FC60C",
    ] {
        with_record(
            &format!(r#""traceId":"{text}","spanId":"EEE19b7ec3c1b174""#),
            |record| {
                assert_eq!(record.trace_id[..3], [0x5b, 0x8e, 0xff]);
                assert_eq!(record.span_id[..3], [0xee, 0xe1, 0x9b]);
            },
        );
    }
    with_record(r#""traceId":"","spanId":null"#, |record| {
        assert!(record.trace_id.is_empty() && record.span_id.is_empty());
    });
}

#[test]
fn ids_of_the_wrong_length_are_refused() {
    refused(
        r#""traceId":"5b8e""#,
        "traceId",
        r#"expected 32 hex digits or none, found "5b8e""#,
    );
    refused(
        r#""spanId":"xyz""#,
        "spanId",
        r#"expected 16 hex digits or none, found "xyz""#,
    );
    refused(
        r#""spanId":5"#,
        "spanId",
        "invalid type: a number, expected a text in hex",
    );
}

#[test]
fn enums_are_numbers_and_names_are_refused() {
    with_record(r#""severityNumber":17"#, |record| {
        assert_eq!(record.severity_number, 17)
    });
    // Numbers that no enum has yet are kept.
    with_record(r#""severityNumber":99"#, |record| {
        assert_eq!(record.severity_number, 99)
    });
    refused(
        r#""severityNumber":"SEVERITY_NUMBER_ERROR""#,
        "severityNumber",
        "expected an enum's number, found the text \"SEVERITY_NUMBER_ERROR\"; OTLP/JSON has no enum names",
    );
}

#[test]
fn integers_of_64_bits_come_as_text_or_number() {
    for text in ["1544712660300000000", r#""1544712660300000000""#] {
        with_record(&format!(r#""timeUnixNano":{text}"#), |record| {
            assert_eq!(record.time_unix_nano, 1_544_712_660_300_000_000);
        });
    }
    with_record(r#""timeUnixNano":"18446744073709551615""#, |r| {
        assert_eq!(r.time_unix_nano, u64::MAX)
    });
    with_record(r#""timeUnixNano":1e3"#, |record| {
        assert_eq!(record.time_unix_nano, 1000)
    });
    with_record(r#""body":{"intValue":"-9223372036854775808"}"#, |record| {
        assert_eq!(record.body, Some(view::AnyValue::Int(i64::MIN)));
    });
    let out_of_range = "18446744073709551616 does not fit an unsigned 64-bit integer";
    refused(
        r#""timeUnixNano":"18446744073709551616""#,
        "timeUnixNano",
        out_of_range,
    );
    refused(
        r#""timeUnixNano":-1"#,
        "timeUnixNano",
        "-1 does not fit an unsigned 64-bit integer",
    );
    refused(
        r#""flags":4294967296"#,
        "flags",
        "4294967296 does not fit an unsigned 32-bit integer",
    );
    for text in ["1.5", "\"\"", "\" 1\"", "\"+1\"", "\"0x10\"", "true", "[]", "{}"] {
        assert!(record(&format!(r#""timeUnixNano":{text}"#)).is_err(), "{text}");
    }
}

#[test]
fn special_doubles_are_text() {
    assert!(double(r#""NaN""#).unwrap().is_nan());
    assert_eq!(double(r#""Infinity""#).unwrap(), f64::INFINITY);
    assert_eq!(double(r#""-Infinity""#).unwrap(), f64::NEG_INFINITY);
    assert_eq!(double(r#""1.5""#).unwrap(), 1.5);
    assert_eq!(double("5").unwrap(), 5.0);
    assert_eq!(double("-0.0").unwrap().to_bits(), (-0.0f64).to_bits());
    for text in [
        "NaN",
        r#""nan""#,
        r#""inf""#,
        r#""+1""#,
        r#""""#,
        "1e999",
        r#""1e999""#,
        "true",
    ] {
        assert!(double(text).is_err(), "{text}");
    }
}

#[test]
fn bytes_are_base64_of_either_alphabet() {
    for text in ["+/8=", "-_8=", "-_8", "+/8"] {
        with_record(&format!(r#""body":{{"bytesValue":"{text}"}}"#), |record| {
            assert_eq!(record.body, Some(view::AnyValue::Bytes(&[0xfb, 0xff])));
        });
    }
    let error = record(r#""body":{"bytesValue":"*"}"#).unwrap_err();
    assert!(matches!(error.problem, Problem::Base64(_)), "{error}");
    assert_eq!(
        error.path,
        "resourceLogs[0].scopeLogs[0].logRecords[0].body.bytesValue"
    );
}

#[test]
fn unknown_fields_are_ignored_wherever_they_are() {
    let text = r#"{"x":[{"y":[1,2,{}]}],"resourceLogs":[{"z":null,"resource":{"w":{"v":1}},
        "scopeLogs":[{"u":"","logRecords":[{"t":[[]],"severityText":"a","body":{"s":{},"stringValue":"b"}}]}]}]}"#;
    let batch = read(Signal::Logs, text).unwrap();
    let scope = batch.logs().resources().next().unwrap().scopes().next().unwrap();
    let record = scope.records().next().unwrap();
    assert_eq!(
        (record.severity_text, record.body),
        ("a", Some(view::AnyValue::String("b")))
    );
}

#[test]
fn names_are_lower_camel_case_only() {
    with_record(
        r#""severity_text":"a","time_unix_nano":"5","SeverityText":"b""#,
        |record| {
            assert_eq!((record.severity_text, record.time_unix_nano), ("", 0));
        },
    );
    assert_eq!(
        read(Signal::Logs, r#"{"resource_logs":[{}]}"#)
            .unwrap()
            .payload()
            .len(),
        0
    );
}

#[test]
fn null_means_default() {
    let nulls =
        r#""timeUnixNano":null,"severityNumber":null,"severityText":null,"body":null,"attributes":null"#;
    let batch = record(nulls).unwrap();
    assert_eq!(batch.payload(), record("").unwrap().payload());
    let point = point(r#""asDouble":null,"asInt":"3","exemplars":null"#).unwrap();
    assert_eq!(point.value, Some(number_data_point::Value::AsInt(3)));
    assert_eq!(read(Signal::Logs, r#"{"resourceLogs":null}"#).unwrap().items(), 0);
    // In an array it is an empty element.
    with_record(
        r#""body":{"arrayValue":{"values":[null,{"boolValue":true}]}}"#,
        |record| {
            let Some(view::AnyValue::Array(values)) = record.body else {
                panic!("{:?}", record.body)
            };
            assert_eq!(
                values.collect::<Vec<_>>(),
                [view::AnyValue::Empty, view::AnyValue::Bool(true)]
            );
        },
    );
}

#[test]
fn presence_is_kept_where_it_means_something() {
    let text = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"histogram":{"dataPoints":[
        {"sum":0,"min":0,"bucketCounts":["1",2],"explicitBounds":[0.5]}]}}]}]}]}"#;
    let batch = read(Signal::Metrics, text).unwrap();
    let request = ExportMetricsServiceRequest::decode(batch.payload().as_ref()).unwrap();
    let Some(metric::Data::Histogram(histogram)) =
        &request.resource_metrics[0].scope_metrics[0].metrics[0].data
    else {
        panic!("expected a histogram");
    };
    let expected = HistogramDataPoint {
        sum: Some(0.0),
        min: Some(0.0),
        bucket_counts: vec![1, 2],
        explicit_bounds: vec![0.5],
        ..Default::default()
    };
    assert_eq!(histogram.data_points, [expected]);
    assert_eq!(batch.items(), 1);
    with_record(r#""body":{"boolValue":false}"#, |r| {
        assert_eq!(r.body, Some(view::AnyValue::Bool(false)))
    });
    with_record(r#""body":{"stringValue":""}"#, |r| {
        assert_eq!(r.body, Some(view::AnyValue::String("")))
    });
    with_record(r#""body":{}"#, |record| {
        assert_eq!(record.body, Some(view::AnyValue::Empty))
    });
}

#[test]
fn what_is_given_twice_is_refused() {
    refused(
        r#""severityText":"a","severityText":"b""#,
        "severityText",
        "given twice",
    );
    refused(
        r#""body":{"stringValue":"a","intValue":1}"#,
        "body.intValue",
        "given beside stringValue, of which only one may be set",
    );
}

#[test]
fn errors_say_where() {
    let error = read(
        Signal::Logs,
        "{\n  \"resourceLogs\": [\n    {\"schemaUrl\": 5}\n  ]\n}",
    )
    .unwrap_err();
    assert_eq!(error.path, "resourceLogs[0].schemaUrl");
    assert_eq!(error.offset, 41);
    for (text, path) in [
        ("", "request"),
        ("[]", "request"),
        ("null", "request"),
        ("{}{}", "request"),
        ("{", "request"),
    ] {
        assert_eq!(read(Signal::Traces, text).unwrap_err().path, path, "{text}");
    }
    assert!(read(Signal::Traces, r#"{"resourceSpans":{}}"#).is_err());
    assert!(read(Signal::Traces, r#"{"resourceSpans":[[]]}"#).is_err());
    assert!(read(Signal::Traces, r#"{"resourceSpans":[{"resource":[]}]}"#).is_err());
    assert!(read(Signal::Traces, r#"{"resourceSpans":[{"resource":"x"}]}"#).is_err());
}

#[test]
fn lengths_are_the_shortest_whatever_was_expected() {
    // A document much longer than what it comes to, one that comes to nearly all of itself, and many small resources.
    let text = "x".repeat(20_000);
    let spaces = " ".repeat(100_000);
    let record =
        |text: &str| format!(r#"{{"scopeLogs":[{{"logRecords":[{{"body":{{"stringValue":"{text}"}}}}]}}]}}"#);
    let bodies = [
        format!(r#"{{"resourceLogs":[{}]{spaces}}}"#, record("a")),
        format!(r#"{{"resourceLogs":[{}]}}"#, record(&text)),
        format!(r#"{{"resourceLogs":[{}]}}"#, vec![record("a"); 500].join(",")),
        format!(r#"{{"resourceLogs":[{},{}]}}"#, record("a"), record(&text)),
        format!(r#"{{"resourceLogs":[{}]}}"#, record(&"\\u0000".repeat(500))),
    ];
    for body in bodies {
        let batch = read(Signal::Logs, &body).unwrap();
        // Prost writes the shortest.
        assert!(batch.payload() == &normalised(Signal::Logs, batch.payload()).unwrap());
    }
}

#[test]
fn an_error_quotes_no_more_than_the_start_of_a_text() {
    let text = "\\u007f".repeat(100_000);
    let bodies = [
        format!(r#""{text}""#),
        format!(r#"{{"resourceLogs":"{text}"}}"#),
        format!(r#"{{"resourceLogs":["{text}"]}}"#),
        format!(r#"{{"resourceLogs":[{{"resource":"{text}"}}]}}"#),
        format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"flags":"{text}"}}]}}]}}]}}"#),
    ];
    for body in bodies {
        let error = read(Signal::Logs, &body).unwrap_err();
        assert!(
            error.to_string().len() < 1_000,
            "{} bytes",
            error.to_string().len()
        );
    }
    let error = double(&format!(r#""{text}""#)).unwrap_err();
    assert!(
        error.to_string().len() < 1_000,
        "{} bytes",
        error.to_string().len()
    );
}
