//! Over the API of OpenTelemetry: log records with nested values, and spans with events and links.

use std::time::{Duration, UNIX_EPOCH};

use cupola_sdk::opentelemetry::LoggerProvider;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _,
};
use opentelemetry::{Array, KeyValue, StringValue, Value, global};
use opentelemetry_proto::tonic::common::v1 as proto;
use opentelemetry_proto::tonic::trace::v1::span::{Event as SaidEvent, Link as Linked};
use opentelemetry_proto::tonic::trace::v1::{Span, Status as SaidStatus};

use super::{SaidLog, Speaker};
use crate::content::Content;
use crate::expect::{self, Pairs, attributes, double, inherit, int, list, map, now, pair, text, truth};

const DEPTH_MAX: usize = 4;
const SEVERITIES: [(Severity, &str); 6] = [
    (Severity::Trace2, "TRACE2"),
    (Severity::Debug3, "DEBUG3"),
    (Severity::Info4, "INFO4"),
    (Severity::Warn, "WARN"),
    (Severity::Error2, "ERROR2"),
    (Severity::Fatal4, "FATAL4"),
];
/// The version of OTLP has more than the W3C's flags: that it is known whether the parent is from elsewhere, and that it is.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// A value of any type, and what it is to be.
fn any(content: &mut Content, depth: usize) -> (AnyValue, proto::AnyValue) {
    match content.below(if depth == 0 { 5 } else { 7 }) {
        0 => {
            let value = content.text();
            (value.clone().into(), text(&value))
        }
        1 => {
            let value = content.int();
            (value.into(), int(value))
        }
        2 => {
            let value = content.double();
            (value.into(), double(value))
        }
        3 => {
            let value = content.truth();
            (value.into(), truth(value))
        }
        4 => {
            let value = content.bytes();
            (AnyValue::from(&value[..]), expect::bytes(&value))
        }
        5 => {
            let parts: Vec<_> = (0..content.below(4)).map(|_| any(content, depth - 1)).collect();
            let (values, said) = parts.into_iter().unzip();
            (AnyValue::ListAny(Box::new(values)), list(said))
        }
        _ => {
            let (values, said) = members(content, depth - 1);
            (AnyValue::Map(Box::new(values.into_iter().collect())), map(said))
        }
    }
}

/// A map, whose keys tell the type of the values where an index wants it so.
fn members(content: &mut Content, depth: usize) -> (Vec<(opentelemetry::Key, AnyValue)>, Pairs) {
    let keys = ["a", "b.c", "d e", "ключ", "e\"\\"];
    let mut all = (Vec::new(), Vec::new());
    for key in keys.into_iter().take(content.below(keys.len() + 1)) {
        let (value, said) = any(content, depth);
        all.0.push((key.into(), value));
        all.1.push(pair(key, said));
    }
    all
}

/// Attributes of every type that spans have.
fn typed(content: &mut Content) -> (Vec<KeyValue>, Pairs) {
    let (string, number, fraction, is) = (content.text(), content.int(), content.double(), content.truth());
    let strings: Vec<String> = (0..content.below(3)).map(|_| content.text()).collect();
    let numbers: Vec<i64> = (0..content.below(3)).map(|_| content.int()).collect();
    let fractions: Vec<f64> = (0..content.below(3)).map(|_| content.double()).collect();
    let truths: Vec<bool> = (0..content.below(3)).map(|_| content.truth()).collect();
    let array = |key: &'static str, array| KeyValue::new(key, Value::Array(array));
    let given = vec![
        KeyValue::new("text", string.clone()),
        KeyValue::new("number", number),
        KeyValue::new("fraction", fraction),
        KeyValue::new("is", is),
        array(
            "texts",
            Array::String(strings.iter().cloned().map(StringValue::from).collect()),
        ),
        array("numbers", Array::I64(numbers.clone())),
        array("fractions", Array::F64(fractions.clone())),
        array("truths", Array::Bool(truths.clone())),
    ];
    let said = vec![
        pair("text", text(&string)),
        pair("number", int(number)),
        pair("fraction", double(fraction)),
        pair("is", truth(is)),
        pair("texts", list(strings.iter().map(|value| text(value)).collect())),
        pair("numbers", list(numbers.into_iter().map(int).collect())),
        pair("fractions", list(fractions.into_iter().map(double).collect())),
        pair("truths", list(truths.into_iter().map(truth).collect())),
    ];
    (given, said)
}

impl Speaker<'_> {
    /// A log record with whatever a value can be, and perhaps a time of its own.
    pub(super) fn by_the_api(&mut self) {
        let logger = LoggerProvider::new(self.cupola.sdk().clone()).logger("appender");
        let (n, content) = (self.next(), &mut self.content);
        let ((value, body), (nested, said)) = (any(content, DEPTH_MAX), members(content, DEPTH_MAX));
        let (severity, name) = content.pick(&SEVERITIES);
        let time = content
            .truth()
            .then(|| now() - content.below(1_000_000_000_000) as u64);
        let is_event = content.truth();
        let from = now();
        let mut record = logger.create_log_record();
        record.set_severity_number(severity);
        record.set_body(value);
        record.add_attribute("n", n);
        record.add_attribute("nested", AnyValue::Map(Box::new(nested.into_iter().collect())));
        record.set_target("shop::orders");
        if is_event {
            record.set_event_name("ordered");
        }
        if let Some(time) = time {
            record.set_timestamp(UNIX_EPOCH + Duration::from_nanos(time));
        }
        logger.emit(record);
        self.note(SaidLog {
            severity: (name, severity as i32),
            body: Some(body),
            event_name: if is_event { "ordered" } else { "" },
            own: vec![pair("n", int(n)), pair("nested", map(said))],
            scope: "shop::orders",
            place: None,
            span: None,
            from,
            // Zero if nobody says.
            time: Some(time.unwrap_or(0)),
        });
    }

    /// A span with events and links, below the one that runs.
    pub(super) fn span_of_the_api(&mut self) {
        let tracer = global::tracer("shop-api");
        let content = &mut self.content;
        let (name, (given, mut said)) = (content.text(), typed(content));
        let (event, (of_event, said_of_event)) = (content.text(), typed(content));
        let (of_link, said_of_link) = typed(content);
        let state = TraceState::from_key_value([("vendor", "a1")]).unwrap();
        let elsewhere = SpanContext::new(
            TraceId::from_bytes([content.below(255) as u8 + 1; 16]),
            SpanId::from_bytes([7; 8]),
            TraceFlags::SAMPLED,
            content.truth(),
            state,
        );
        let description = content.text();
        let (status, said_status) = match content.below(3) {
            0 => (Status::Unset, SaidStatus::default()),
            1 => (
                Status::Ok,
                SaidStatus {
                    code: 1,
                    ..SaidStatus::default()
                },
            ),
            _ => (
                Status::error(description.clone()),
                SaidStatus {
                    code: 2,
                    message: description,
                },
            ),
        };
        let parent = cupola_sdk::Context::with_current(|context| context.span().clone());
        let from = now();
        let builder = tracer
            .span_builder(name.clone())
            .with_kind(SpanKind::Producer)
            .with_attributes(given)
            .with_links(vec![Link::new(elsewhere.clone(), of_link, 0)]);
        let context = opentelemetry::Context::current_with_span(builder.start(&tracer));
        let span = context.span();
        span.add_event(event.clone(), of_event);
        span.set_status(status);
        span.end();
        inherit(&mut said, &self.around);
        let is_remote = if elsewhere.is_remote() { IS_REMOTE } else { 0 };
        let ids = span.span_context();
        let span = Span {
            trace_id: ids.trace_id().to_bytes().to_vec(),
            span_id: ids.span_id().to_bytes().to_vec(),
            parent_span_id: parent.span_id.as_bytes().to_vec(),
            flags: u32::from(parent.flags.0) | HAS_IS_REMOTE,
            name,
            kind: 4,
            start_time_unix_nano: from,
            end_time_unix_nano: now(),
            attributes: attributes(said),
            events: vec![SaidEvent {
                name: event,
                attributes: attributes(said_of_event),
                ..SaidEvent::default()
            }],
            links: vec![Linked {
                trace_id: elsewhere.trace_id().to_bytes().to_vec(),
                span_id: elsewhere.span_id().to_bytes().to_vec(),
                trace_state: "vendor=a1".to_owned(),
                attributes: attributes(said_of_link),
                flags: u32::from(elsewhere.trace_flags().to_u8()) | HAS_IS_REMOTE | is_remote,
                ..Linked::default()
            }],
            status: Some(said_status),
            ..Span::default()
        };
        self.said.span("shop-api", span);
    }
}
