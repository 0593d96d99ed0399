//! Spans and log records as a reader of OTLP finds them.

use cupola_sdk_core::attributes::AttributeLimits;
use cupola_sdk_core::context::{SpanContext, TraceFlags, TraceState};
use cupola_sdk_core::log::{LogRecord, Severity};
use cupola_sdk_core::span::{Exception, Span, SpanKind, SpanLimits, Status};
use cupola_sdk_core::value::Value;
use cupola_telemetry::{SpanId, TraceId};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Decoded;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord as DecodedLog;
use opentelemetry_proto::tonic::trace::v1::Span as DecodedSpan;
use opentelemetry_proto::tonic::trace::v1::Status as DecodedStatus;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;

fn context(number: u8) -> SpanContext {
    SpanContext {
        trace_id: TraceId([number; 16]),
        span_id: SpanId([number; 8]),
        flags: TraceFlags::SAMPLED,
        ..SpanContext::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Decoded::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

fn ended(span: &Span, at: u64) -> DecodedSpan {
    let mut bytes = Vec::new();
    span.write(&mut bytes, at);
    DecodedSpan::decode(&bytes[..]).unwrap()
}

#[test]
fn a_span_has_all_that_it_was_given() {
    let parent = SpanContext {
        is_remote: true,
        ..context(1)
    };
    let own = SpanContext {
        trace_state: TraceState::parse("a=1").unwrap(),
        ..context(2)
    };
    let limits = SpanLimits::default();
    let mut span = Span::new(own, Some(&parent), "before", SpanKind::Server, 1_000, &limits);
    span.rename("GET /cart");
    span.set("http.route", "/cart");
    span.add_event("cache miss", 1_500, &[("key", Value::String("c"))]);
    let error = Exception {
        kind: "io::Error",
        message: "broken pipe",
        stack_trace: Some("at main"),
    };
    span.record_exception(
        &error,
        1_600,
        &[("exception.message", Value::String("pipe broke"))],
    );
    span.add_link(&context(3), &[("kind", Value::String("retry"))]);
    span.add_link(&SpanContext::default(), &[]);
    span.set_status(Status::Error {
        description: "gone".to_owned(),
    });
    let attribute = |key: &str, value: &str| text(key, value);
    assert_eq!(
        ended(&span, 2_000),
        DecodedSpan {
            trace_id: vec![2; 16],
            span_id: vec![2; 8],
            trace_state: "a=1".to_owned(),
            parent_span_id: vec![1; 8],
            flags: 0x301,
            name: "GET /cart".to_owned(),
            kind: 2,
            start_time_unix_nano: 1_000,
            end_time_unix_nano: 2_000,
            attributes: vec![attribute("http.route", "/cart")],
            events: vec![
                Event {
                    time_unix_nano: 1_500,
                    name: "cache miss".to_owned(),
                    attributes: vec![attribute("key", "c")],
                    dropped_attributes_count: 0,
                },
                Event {
                    time_unix_nano: 1_600,
                    name: "exception".to_owned(),
                    attributes: vec![
                        attribute("exception.type", "io::Error"),
                        attribute("exception.stacktrace", "at main"),
                        attribute("exception.message", "pipe broke"),
                    ],
                    dropped_attributes_count: 0,
                },
            ],
            links: vec![Link {
                trace_id: vec![3; 16],
                span_id: vec![3; 8],
                trace_state: String::new(),
                attributes: vec![attribute("kind", "retry")],
                dropped_attributes_count: 0,
                flags: 0x101,
            }],
            status: Some(DecodedStatus {
                message: "gone".to_owned(),
                code: StatusCode::Error as i32,
            }),
            ..DecodedSpan::default()
        }
    );
}

#[test]
fn limits_drop_the_oldest_and_count_them() {
    let two = AttributeLimits {
        count: 2,
        value_length: Some(4),
    };
    let limits = SpanLimits {
        attributes: two,
        events: 2,
        links: 1,
        event_attributes: AttributeLimits { count: 1, ..two },
        link_attributes: AttributeLimits { count: 1, ..two },
    };
    let mut span = Span::new(context(1), None, "s", SpanKind::Internal, 1, &limits);
    let both = [("a", Value::String("first")), ("b", Value::String("second"))];
    for n in 0..5 {
        span.set(&format!("k{n}"), "values");
        span.add_event(&n.to_string(), n, &both);
        span.add_link(&context(n as u8 + 1), &both);
    }
    let span = ended(&span, 0);
    assert_eq!(span.end_time_unix_nano, 1, "a span does not end before it starts");
    assert_eq!(span.attributes, [text("k3", "valu"), text("k4", "valu")]);
    assert_eq!(span.dropped_attributes_count, 3);
    let events: Vec<_> = span.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!((events, span.dropped_events_count), (vec!["3", "4"], 3));
    assert_eq!(span.events[0].attributes, [text("b", "seco")]);
    assert_eq!(span.events[0].dropped_attributes_count, 1);
    assert_eq!((span.links.len(), span.dropped_links_count), (1, 4));
    assert_eq!(span.links[0].trace_id, [5; 16]);
    assert_eq!(span.links[0].dropped_attributes_count, 1);
}

#[test]
fn the_status_follows_the_rules() {
    let status = |steps: &[Status]| {
        let mut span = Span::new(context(1), None, "s", SpanKind::Client, 1, &SpanLimits::default());
        steps.iter().for_each(|step| span.set_status(step.clone()));
        ended(&span, 2).status
    };
    let error = |description: &str| Status::Error {
        description: description.to_owned(),
    };
    let decoded = |message: &str, code: StatusCode| {
        Some(DecodedStatus {
            message: message.to_owned(),
            code: code as i32,
        })
    };
    assert_eq!(status(&[]), None);
    assert_eq!(
        status(&[error("a"), Status::Unset]),
        decoded("a", StatusCode::Error)
    );
    assert_eq!(status(&[error("a"), error("b")]), decoded("b", StatusCode::Error));
    assert_eq!(
        status(&[error("a"), Status::Ok, error("b")]),
        decoded("", StatusCode::Ok)
    );
}

#[test]
fn a_log_record_has_all_that_it_was_given() {
    let span = context(7);
    let mut record = LogRecord::new(Severity::WARN, "disk is nearly full", AttributeLimits::default());
    record.unix_nano = 5;
    record.observed_unix_nano = 6;
    record.event_name = "disk";
    record.span = Some(&span);
    record.set("path", "/data");
    let written = |record: &LogRecord<'_>| {
        let mut bytes = Vec::new();
        record.write(&mut bytes);
        DecodedLog::decode(&bytes[..]).unwrap()
    };
    let wanted = DecodedLog {
        time_unix_nano: 5,
        observed_time_unix_nano: 6,
        severity_number: 13,
        severity_text: "WARN".to_owned(),
        body: text("", "disk is nearly full").value,
        attributes: vec![text("path", "/data")],
        flags: 1,
        trace_id: vec![7; 16],
        span_id: vec![7; 8],
        event_name: "disk".to_owned(),
        ..DecodedLog::default()
    };
    assert_eq!(written(&record), wanted);
    record.severity_text = "warning";
    record.span = None;
    let record = written(&record);
    assert_eq!((record.severity_text.as_str(), record.flags), ("warning", 0));
    assert!(record.trace_id.is_empty());
}
