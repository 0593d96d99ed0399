//! Log records of appenders, and of whoever uses the API itself.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cupola_sdk::Context;
use cupola_sdk::core::Settings;
use cupola_sdk::core::log::Severity as CoreSeverity;
use cupola_sdk::layer::LayerOptions;
use cupola_sdk::opentelemetry::{LoggerProvider, TracerProvider};
use cupola_sdk::testing::{Capture, START_UNIX_NANO};
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::trace::{TraceContextExt as _, TraceFlags, Tracer as _, TracerProvider as _};
use opentelemetry::{InstrumentationScope, Key, KeyValue, SpanId, TraceId};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue as ProtoValue, KeyValue as ProtoPair};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use proptest::prelude::*;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::opentelemetry_peer::{self as peer, Of, last_of_each_key};

fn provider(capture: &Capture) -> LoggerProvider {
    LoggerProvider::new(capture.sdk().clone())
}

/// What a record is given; `None` for what it is not.
#[derive(Clone, Debug)]
struct Given {
    event_name: Option<&'static str>,
    target: Option<&'static str>,
    time: Option<u64>,
    observed: Option<u64>,
    severity: Option<Severity>,
    severity_text: Option<&'static str>,
    body: Option<AnyValue>,
    attributes: Vec<(String, AnyValue)>,
    context: Option<(u128, u64, Option<u8>)>,
}

fn time(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

fn emit<L: opentelemetry::logs::Logger>(logger: &L, given: &Given) {
    let mut record = logger.create_log_record();
    if let Some(name) = given.event_name {
        record.set_event_name(name);
    }
    if let Some(target) = given.target {
        record.set_target(target);
    }
    if let Some(nanos) = given.time {
        record.set_timestamp(time(nanos));
    }
    if let Some(nanos) = given.observed {
        record.set_observed_timestamp(time(nanos));
    }
    if let Some(severity) = given.severity {
        record.set_severity_number(severity);
    }
    if let Some(text) = given.severity_text {
        record.set_severity_text(text);
    }
    if let Some(body) = &given.body {
        record.set_body(body.clone());
    }
    let (first, rest) = given.attributes.split_at(given.attributes.len() / 2);
    for (key, value) in first {
        record.add_attribute(key.clone(), value.clone());
    }
    record.add_attributes(rest.iter().cloned());
    if let Some((trace, span, flags)) = given.context {
        record.set_trace_context(
            TraceId::from(trace),
            SpanId::from(span),
            flags.map(TraceFlags::new),
        );
    }
    logger.emit(record);
}

/// Maps have no order.
fn sort(value: &mut Option<ProtoValue>) {
    match value.as_mut().and_then(|value| value.value.as_mut()) {
        Some(Value::KvlistValue(list)) => {
            list.values.sort_by(|one, other| one.key.cmp(&other.key));
            list.values.iter_mut().for_each(|pair| sort(&mut pair.value));
        }
        Some(Value::ArrayValue(array)) => {
            for value in &mut array.values {
                let mut inner = Some(std::mem::take(value));
                sort(&mut inner);
                *value = inner.unwrap();
            }
        }
        _ => {}
    }
}

/// Ours names severities that nobody names, and has each key once.
fn normalised(records: Vec<Of<LogRecord>>) -> Vec<String> {
    let mut all: Vec<String> = records
        .into_iter()
        .map(|(scope, schema, mut record)| {
            if record.severity_text.is_empty() && record.severity_number != 0 {
                record.severity_text = CoreSeverity::new(record.severity_number as u8)
                    .unwrap()
                    .name()
                    .to_owned();
            }
            sort(&mut record.body);
            last_of_each_key(&mut record.attributes);
            record
                .attributes
                .iter_mut()
                .for_each(|ProtoPair { value, .. }| sort(value));
            format!("{scope:?} {schema} {record:#?}")
        })
        .collect();
    all.sort();
    all
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(AnyValue::Int),
        any::<f64>().prop_map(AnyValue::Double),
        ".{0,8}".prop_map(|text| AnyValue::String(text.into())),
        any::<bool>().prop_map(AnyValue::Boolean),
        prop::collection::vec(any::<u8>(), 0..8).prop_map(|bytes| AnyValue::Bytes(Box::new(bytes))),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|values| AnyValue::ListAny(Box::new(values))),
            prop::collection::hash_map("[a-c]{0,2}".prop_map(Key::from), inner, 0..4)
                .prop_map(|map| AnyValue::Map(Box::new(map))),
        ]
    })
}

fn given() -> impl Strategy<Value = Given> {
    let severities = vec![
        None,
        Some(Severity::Trace),
        Some(Severity::Info2),
        Some(Severity::Fatal4),
    ];
    let texts = || prop::sample::select(vec![None, Some("WARNING"), Some("a.b")]);
    let context = (any::<u128>(), any::<u64>(), prop::option::of(0..4u8))
        .prop_filter("ids of zeros are none", |(trace, span, _)| {
            *trace != 0 && *span != 0
        });
    (
        (texts(), texts(), prop::option::of(any::<u32>()), any::<u32>()),
        prop::sample::select(severities),
        texts(),
        prop::option::of(any_value()),
        prop::collection::vec(("[a-e]{1,2}", any_value()), 0..16),
        prop::option::of(context),
    )
        .prop_map(
            |((event_name, target, time, observed), severity, severity_text, body, attributes, context)| {
                Given {
                    event_name,
                    target,
                    time: time.map(u64::from),
                    observed: Some(u64::from(observed)),
                    severity,
                    severity_text,
                    body,
                    attributes,
                    context,
                }
            },
        )
}

proptest! {
    #[test]
    fn records_are_exported_as_over_the_sdk_of_opentelemetry(records in prop::collection::vec(given(), 1..6)) {
        let scope = InstrumentationScope::builder("appender")
            .with_version("3")
            .with_schema_url("https://schema")
            .with_attributes([KeyValue::new("a", 1)])
            .build();
        let (theirs, kept) = peer::logger_provider();
        let theirs = theirs.logger_with_scope(scope.clone());
        let capture = Capture::new();
        let ours = provider(&capture).logger_with_scope(scope);
        for given in &records {
            emit(&theirs, given);
            emit(&ours, given);
        }
        prop_assert_eq!(normalised(peer::logs(&capture)).join("\n"), normalised(kept.all()).join("\n"));
    }
}

#[test]
fn what_nobody_says_is_what_is_so() {
    let capture = Capture::new();
    let logger = provider(&capture).logger("appender");
    let tracer = TracerProvider::new(capture.sdk().clone()).tracer("shop");
    let around = Context::root()
        .with_member("tenant.id", "north")
        .unwrap()
        .with_attribute("task.id", 7i64);
    let ids = around.run(|| {
        tracer.in_span("outer", |context| {
            let mut record = logger.create_log_record();
            record.add_attribute("task.id", 8);
            logger.emit(record);
            let span = context.span().span_context().clone();
            (
                span.trace_id().to_bytes().to_vec(),
                span.span_id().to_bytes().to_vec(),
            )
        })
    });
    let (scope, _, record) = peer::logs(&capture).remove(0);
    assert_eq!(scope.name, "appender");
    assert_eq!(
        (record.trace_id, record.span_id, record.flags & 1),
        (ids.0, ids.1, 1)
    );
    assert_eq!(
        (record.time_unix_nano, record.observed_time_unix_nano),
        (0, START_UNIX_NANO)
    );
    assert_eq!((record.severity_number, record.severity_text.as_str()), (0, ""));
    let pairs: Vec<_> = record
        .attributes
        .iter()
        .map(|pair| (pair.key.as_str(), pair.value.clone()))
        .collect();
    let value = |value| Some(ProtoValue { value: Some(value) });
    let tenant = value(Value::StringValue("north".to_owned()));
    assert_eq!(
        pairs,
        [("task.id", value(Value::IntValue(8))), ("tenant.id", tenant)]
    );
    // A span has them too.
    let outer = capture.span("outer");
    assert_eq!(outer.attributes["task.id"], 7);
    assert_eq!(outer.attributes["tenant.id"], "north");
}

#[test]
fn a_level_leaves_out_what_is_less_severe_and_nothing_of_which_nobody_says_how_severe_it_is() {
    let mut settings = Settings::default();
    settings.logs.level = CoreSeverity::WARN;
    let capture = Capture::with(settings, LayerOptions::default());
    let logger = provider(&capture).logger("appender");
    let enabled = |severity| logger.event_enabled(severity, "target", None);
    assert!(!enabled(Severity::Info4) && enabled(Severity::Warn) && enabled(Severity::Fatal));
    for severity in [Some(Severity::Info), Some(Severity::Error), None] {
        let mut record = logger.create_log_record();
        if let Some(severity) = severity {
            record.set_severity_number(severity);
        }
        logger.emit(record);
    }
    let numbers: Vec<i32> = peer::logs(&capture)
        .iter()
        .map(|(_, _, record)| record.severity_number)
        .collect();
    assert_eq!(numbers, [17, 0]);
    let _suppressed = opentelemetry::Context::enter_telemetry_suppressed_scope();
    assert!(!enabled(Severity::Fatal));
    logger.emit(logger.create_log_record());
    assert_eq!(peer::logs(&capture).len(), 2);
}

#[test]
fn values_that_are_nested_without_end_are_cut() {
    let capture = Capture::new();
    let logger = provider(&capture).logger("appender");
    let mut body = AnyValue::Int(1);
    for _ in 0..1000 {
        body = AnyValue::ListAny(Box::new(vec![body]));
    }
    let mut map = HashMap::new();
    map.insert(Key::new("deep"), body.clone());
    let mut record = logger.create_log_record();
    record.set_body(body);
    record.add_attribute("deep", AnyValue::Map(Box::new(map)));
    logger.emit(record);
    let (_, _, record) = peer::logs(&capture).remove(0);
    let mut depth = 0;
    let mut value = record.body;
    while let Some(Value::ArrayValue(mut array)) = value.and_then(|value| value.value) {
        depth += 1;
        value = array.values.pop();
    }
    assert_eq!(depth, 16);
}

#[test]
fn records_have_the_fields_of_the_spans_around_them_behind_their_own() {
    let attributes = |record: &cupola_sdk::testing::CapturedLog| {
        let pairs = record.attributes.iter();
        let mut pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
        pairs.retain(|pair| !pair.starts_with("code.") && !pair.starts_with("thread."));
        pairs.sort();
        pairs.join(" ")
    };
    for inherit_fields in [true, false] {
        let options = LayerOptions {
            inherit_fields,
            ..LayerOptions::default()
        };
        let capture = Capture::with(Settings::default(), options);
        let _subscriber = capture.set_default();
        let provider = provider(&capture);
        let bridge = opentelemetry_appender_log::OpenTelemetryLogBridge::new(&provider);
        let tracer = TracerProvider::new(capture.sdk().clone()).tracer("shop");
        let logger = provider.logger("appender");
        let outer = tracing::info_span!("order", order.id = 7, step = "outer").entered();
        let inner = tracing::info_span!("pay", step = "inner", amount = tracing::field::Empty).entered();
        inner.record("amount", 12);
        let mut record = logger.create_log_record();
        record.add_attribute("amount", 99);
        logger.emit(record);
        let of_log = log::Record::builder()
            .level(log::Level::Warn)
            .args(format_args!("nearly empty"))
            .build();
        log::Log::log(&bridge, &of_log);
        // Also in a span of the API that is inside them, and not where the record belongs to another.
        tracer.in_span("bank", |_| logger.emit(logger.create_log_record()));
        let mut elsewhere = logger.create_log_record();
        elsewhere.set_trace_context(TraceId::from(1), SpanId::from(2), None);
        logger.emit(elsewhere);
        drop((inner, outer));
        logger.emit(logger.create_log_record());
        let found: Vec<String> = capture.logs().iter().map(attributes).collect();
        let (with_amount, with_own, spans) = match inherit_fields {
            true => (
                "amount=99 order.id=7 step=\"inner\"",
                "amount=12 order.id=7 step=\"inner\"",
                "amount=12 order.id=7 step=\"inner\"",
            ),
            false => ("amount=99", "", ""),
        };
        // By scope: those of the appender for `log` come last.
        assert_eq!(found, [with_amount, spans, "", "", with_own], "{inherit_fields}");
    }
}

#[test]
fn the_appenders_work_over_it() {
    let capture = Capture::new();
    let bridge = OpenTelemetryTracingBridge::new(&provider(&capture));
    let tracer = TracerProvider::new(capture.sdk().clone()).tracer("shop");
    let subscriber = tracing_subscriber::registry().with(bridge);
    let span = tracing::subscriber::with_default(subscriber, || {
        tracer.in_span("order", |context| {
            tracing::info!(name: "placed", target: "shop::orders", { user.id = 7, gift = true }, "order placed");
            context.span().span_context().span_id().to_bytes().to_vec()
        })
    });
    let bridge = opentelemetry_appender_log::OpenTelemetryLogBridge::new(&provider(&capture));
    let record = log::Record::builder()
        .level(log::Level::Warn)
        .target("shop::stock")
        .args(format_args!("nearly empty"))
        .build();
    log::Log::log(&bridge, &record);
    let logs = peer::logs(&capture);
    let (scope, _, placed) = &logs[0];
    assert_eq!(scope.name, "shop::orders");
    assert_eq!(
        (placed.event_name.as_str(), placed.severity_number),
        ("placed", 9)
    );
    assert_eq!(placed.span_id, span);
    let text = |record: &LogRecord| match record.body.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(text(placed), "order placed");
    let keys: Vec<&str> = placed.attributes.iter().map(|pair| pair.key.as_str()).collect();
    assert_eq!(keys, ["user.id", "gift"]);
    let (_, _, stock) = &logs[1];
    assert_eq!(
        (text(stock).as_str(), stock.severity_number),
        ("nearly empty", 13)
    );
}
