//! Secrets are taken out of records, and nothing else is.

use cupola_sdk_core::attributes::AttributeLimits;
use cupola_sdk_core::context::SpanContext;
use cupola_sdk_core::log::{LogRecord, Severity};
use cupola_sdk_core::scrub::{REDACTED, ScrubSettings, Scrubber};
use cupola_sdk_core::span::{Span, SpanKind, SpanLimits, Status};
use cupola_sdk_core::value::Value;
use cupola_telemetry::Signal;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Decoded;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::LogRecord as DecodedLog;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{Gauge, Metric, NumberDataPoint, metric};
use opentelemetry_proto::tonic::trace::v1::Span as DecodedSpan;
use proptest::prelude::*;
use prost::Message;

pub(crate) fn scrubber() -> Scrubber {
    Scrubber::new(&ScrubSettings::default()).unwrap()
}

pub(crate) fn settings(change: impl FnOnce(&mut ScrubSettings)) -> Scrubber {
    let mut settings = ScrubSettings::default();
    change(&mut settings);
    Scrubber::new(&settings).unwrap()
}

pub(crate) fn string(text: &str) -> AnyValue {
    AnyValue {
        value: Some(Decoded::StringValue(text.to_owned())),
    }
}

fn map(pairs: Vec<KeyValue>) -> AnyValue {
    AnyValue {
        value: Some(Decoded::KvlistValue(KeyValueList { values: pairs })),
    }
}

fn pair(key: &str, value: AnyValue) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(value),
        ..KeyValue::default()
    }
}

fn scrub_log(scrubber: &Scrubber, record: &DecodedLog) -> DecodedLog {
    let mut buffer = Vec::new();
    let bytes = record.encode_to_vec();
    DecodedLog::decode(scrubber.scrub(Signal::Logs, &bytes, &mut buffer)).unwrap()
}

/// What is left of an attribute.
pub(crate) fn attribute(scrubber: &Scrubber, key: &str, value: AnyValue) -> AnyValue {
    let record = DecodedLog {
        attributes: vec![pair(key, value)],
        ..DecodedLog::default()
    };
    scrub_log(scrubber, &record).attributes[0].value.clone().unwrap()
}

#[test]
fn every_part_of_a_span_is_looked_at_and_the_rest_stays() {
    let secrets: &[(&str, Value<'_>)] = &[("password", Value::String("x")), ("n", Value::Int(1))];
    let context = SpanContext {
        trace_id: cupola_telemetry::TraceId([1; 16]),
        span_id: cupola_telemetry::SpanId([2; 8]),
        ..SpanContext::default()
    };
    let limits = SpanLimits::default();
    let mut span = Span::new(
        context.clone(),
        None,
        "GET /?token=abc",
        SpanKind::Server,
        1,
        &limits,
    );
    span.set("url.full", "https://a:b@c/");
    span.set("http.route", "/");
    span.add_event("password=x", 5, secrets);
    span.add_link(&context, secrets);
    span.set_status(Status::Error {
        description: "no user for token=abc".to_owned(),
    });
    let mut bytes = Vec::new();
    span.write(&mut bytes, 10);

    let scrubber = scrubber();
    let mut buffer = Vec::new();
    let scrubbed = scrubber.scrub(Signal::Traces, &bytes, &mut buffer);
    let found = DecodedSpan::decode(scrubbed).unwrap();
    let mut wanted = DecodedSpan::decode(&bytes[..]).unwrap();
    let redacted = vec![
        pair("password", string(REDACTED)),
        wanted.events[0].attributes[1].clone(),
    ];
    wanted.name = "GET /?token=[REDACTED]".to_owned();
    wanted.attributes[0] = pair("url.full", string("https://a:[REDACTED]@c/"));
    wanted.events[0].name = "password=[REDACTED]".to_owned();
    wanted.events[0].attributes = redacted.clone();
    wanted.links[0].attributes = redacted;
    wanted.status.as_mut().unwrap().message = "no user for token=[REDACTED]".to_owned();
    assert_eq!(found, wanted);
    assert_eq!(scrubber.scrubbed(), 1);

    let without_names = settings(|settings| settings.names = false);
    let found = without_names.scrub(Signal::Traces, &bytes, &mut buffer);
    let found = DecodedSpan::decode(found).unwrap();
    assert_eq!(found.name, "GET /?token=abc");
    assert_eq!(found.attributes, wanted.attributes);
}

#[test]
fn bodies_and_nested_values_of_log_records_are_looked_at() {
    let scrubber = scrubber();
    let nested = |secret: &str, token: &str| {
        let array = ArrayValue {
            values: vec![
                string("a"),
                string(token),
                map(vec![pair("api_key", string(secret))]),
            ],
        };
        let array = AnyValue {
            value: Some(Decoded::ArrayValue(array)),
        };
        map(vec![pair("user", string("alice")), pair("list", array)])
    };
    let token = "Bearer abcdefgh1";
    let record = DecodedLog {
        time_unix_nano: 5,
        body: Some(nested("s", token)),
        attributes: vec![
            pair("n", nested("s", token)),
            pair("secrets", nested("s", token)),
            pair(
                "raw",
                AnyValue {
                    value: Some(Decoded::BytesValue(b"password=x".to_vec())),
                },
            ),
            pair(
                "image",
                AnyValue {
                    value: Some(Decoded::BytesValue(b"\xff\xd8password=x".to_vec())),
                },
            ),
        ],
        trace_id: vec![1; 16],
        ..DecodedLog::default()
    };
    let clean = nested(REDACTED, "Bearer [REDACTED]");
    let wanted = DecodedLog {
        body: Some(clean.clone()),
        attributes: vec![
            pair("n", clean),
            pair("secrets", string(REDACTED)),
            pair(
                "raw",
                AnyValue {
                    value: Some(Decoded::BytesValue(b"password=[REDACTED]".to_vec())),
                },
            ),
            record.attributes[3].clone(),
        ],
        ..record.clone()
    };
    assert_eq!(scrub_log(&scrubber, &record), wanted);
}

#[test]
fn attributes_of_data_points_are_looked_at() {
    let metric = |secret: &str| Metric {
        name: "queue.length".to_owned(),
        data: Some(metric::Data::Gauge(Gauge {
            data_points: vec![NumberDataPoint {
                attributes: vec![pair("token", string(secret))],
                value: Some(Number::AsInt(5)),
                ..NumberDataPoint::default()
            }],
        })),
        ..Metric::default()
    };
    let mut buffer = Vec::new();
    let bytes = metric("abc").encode_to_vec();
    let scrubbed = scrubber().scrub(Signal::Metrics, &bytes, &mut buffer).to_vec();
    assert_eq!(Metric::decode(&scrubbed[..]).unwrap(), metric(REDACTED));
}

#[test]
fn whatever_type_a_secret_has_it_goes_and_what_tells_nothing_stays() {
    let scrubber = scrubber();
    let any = |value: Decoded| AnyValue { value: Some(value) };
    for secret in [
        Decoded::IntValue(1234),
        Decoded::DoubleValue(1.5),
        Decoded::BytesValue(vec![1]),
        Decoded::ArrayValue(ArrayValue {
            values: vec![string("")],
        }),
    ] {
        assert_eq!(attribute(&scrubber, "password", any(secret)), string(REDACTED));
    }
    for nothing in [any(Decoded::BoolValue(true)), string(""), AnyValue::default()] {
        assert_eq!(attribute(&scrubber, "password", nothing.clone()), nothing);
    }
}

#[test]
fn long_values_are_cut_after_their_secrets_are_gone() {
    let scrubber = settings(|settings| settings.value_length = Some(20));
    let cut = |text: &str| attribute(&scrubber, "note", string(text));
    assert_eq!(cut("äöü4567890123456789"), string("äöü4567890123456789"));
    assert_eq!(cut(&"ä".repeat(21)), string(&"ä".repeat(20)));
    assert_eq!(cut("Bearer abcdefghijklmnop1"), string("Bearer [REDACTED]"));
    assert_eq!(
        cut("x=1 Bearer abcdefghijklmnop1"),
        string("x=1 Bearer [REDACTED")
    );
}

#[test]
fn a_clean_record_is_not_copied_and_stays_clean() {
    let scrubber = scrubber();
    let mut record = LogRecord::new(Severity::INFO, "order placed", AttributeLimits::default());
    record.set("user.id", "alice");
    let mut bytes = Vec::new();
    record.write(&mut bytes);
    let mut buffer = vec![1];
    for _ in 0..3 {
        let scrubbed = scrubber.scrub(Signal::Logs, &bytes, &mut buffer);
        assert_eq!(scrubbed.as_ptr(), bytes.as_ptr());
    }
    assert_eq!(buffer, [1]);
}

#[test]
fn what_is_clean_as_one_thing_is_not_taken_to_be_clean_as_another() {
    let scrubber = scrubber();
    // As a name of a span this is text without a secret; as an attribute it is one.
    let attribute = pair("password", string("abcd"));
    let as_name = DecodedSpan {
        name: String::from_utf8(attribute.encode_to_vec()).unwrap(),
        ..DecodedSpan::default()
    };
    let as_attribute = DecodedSpan {
        attributes: vec![attribute],
        ..DecodedSpan::default()
    };
    let mut buffer = Vec::new();
    for (span, is_clean) in [(as_name, true), (as_attribute, false)] {
        let bytes = span.encode_to_vec();
        let scrubbed = scrubber.scrub(Signal::Traces, &bytes, &mut buffer);
        assert_eq!(scrubbed == bytes, is_clean);
    }
}

#[test]
fn nesting_that_nobody_reads_is_cut_off() {
    let mut value = string("password=x");
    for _ in 0..500 {
        value = AnyValue {
            value: Some(Decoded::ArrayValue(ArrayValue { values: vec![value] })),
        };
    }
    let bytes = DecodedLog {
        body: Some(value),
        ..DecodedLog::default()
    }
    .encode_to_vec();
    let mut buffer = Vec::new();
    let scrubbed = scrubber().scrub(Signal::Logs, &bytes, &mut buffer).to_vec();
    let has = |text: &[u8]| scrubbed.windows(text.len()).any(|window| window == text);
    assert!(has(REDACTED.as_bytes()) && !has(b"password=x"));
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let text = prop_oneof![
        "[ -~äß\n]{0,40}",
        Just("Bearer abcdefgh1".to_owned()),
        Just("a password=x b".to_owned()),
    ];
    let leaf = prop_oneof![
        text.prop_map(|text| string(&text)),
        any::<i64>().prop_map(|value| AnyValue {
            value: Some(Decoded::IntValue(value))
        }),
        any::<bool>().prop_map(|value| AnyValue {
            value: Some(Decoded::BoolValue(value))
        }),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|value| AnyValue {
            value: Some(Decoded::BytesValue(value))
        }),
        Just(AnyValue::default()),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let array = prop::collection::vec(inner.clone(), 0..4).prop_map(|values| AnyValue {
            value: Some(Decoded::ArrayValue(ArrayValue { values })),
        });
        let pairs = prop::collection::vec((any_key(), inner), 0..4);
        prop_oneof![
            array,
            pairs.prop_map(|pairs| map(pairs.into_iter().map(|(key, value)| pair(&key, value)).collect()))
        ]
    })
}

fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("password".to_owned()),
        Just("api_key".to_owned()),
        "[a-z.]{1,12}"
    ]
}

/// The same without its secrets, by the rules: what the scrubber must agree with.
fn expected(scrubber: &Scrubber, value: &AnyValue) -> AnyValue {
    let text = |text: &str| scrubber.scrub_text(text).into_owned();
    let value = value.value.as_ref().map(|value| match value {
        Decoded::StringValue(value) => Decoded::StringValue(text(value)),
        Decoded::BytesValue(value) => Decoded::BytesValue(match std::str::from_utf8(value) {
            Ok(value) => text(value).into_bytes(),
            Err(_) => value.clone(),
        }),
        Decoded::ArrayValue(array) => Decoded::ArrayValue(ArrayValue {
            values: array
                .values
                .iter()
                .map(|value| expected(scrubber, value))
                .collect(),
        }),
        Decoded::KvlistValue(list) => Decoded::KvlistValue(KeyValueList {
            values: list
                .values
                .iter()
                .map(|pair| expected_pair(scrubber, pair))
                .collect(),
        }),
        other => other.clone(),
    });
    AnyValue { value }
}

fn expected_pair(scrubber: &Scrubber, given: &KeyValue) -> KeyValue {
    let value = given.value.as_ref().unwrap();
    let says_nothing = match &value.value {
        None | Some(Decoded::BoolValue(_)) => true,
        Some(Decoded::StringValue(text)) => text.is_empty(),
        Some(Decoded::BytesValue(bytes)) => bytes.is_empty(),
        Some(Decoded::ArrayValue(array)) => array.values.is_empty(),
        Some(Decoded::KvlistValue(list)) => list.values.is_empty(),
        _ => false,
    };
    match scrubber.is_secret_key(&given.key) {
        true if says_nothing => given.clone(),
        true => pair(&given.key, string(REDACTED)),
        false => pair(&given.key, expected(scrubber, value)),
    }
}

proptest! {
    #[test]
    fn a_scrubbed_record_is_the_record_but_for_its_secrets(
        body in any_value(),
        attributes in prop::collection::vec((any_key(), any_value()), 0..6),
    ) {
        let scrubber = scrubber();
        let record = DecodedLog {
            time_unix_nano: 7,
            severity_text: "INFO".to_owned(),
            attributes: attributes.iter().map(|(key, value)| pair(key, value.clone())).collect(),
            body: Some(body),
            trace_id: vec![9; 16],
            ..DecodedLog::default()
        };
        let wanted = DecodedLog {
            attributes: record.attributes.iter().map(|pair| expected_pair(&scrubber, pair)).collect(),
            body: record.body.as_ref().map(|body| expected(&scrubber, body)),
            ..record.clone()
        };
        let scrubbed = scrub_log(&scrubber, &record);
        prop_assert_eq!(&scrubbed, &wanted);
        prop_assert_eq!(scrub_log(&scrubber, &scrubbed), wanted);
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), number in 0u8..16) {
        let scrubber = scrubber();
        let mut buffer = Vec::new();
        for signal in [Signal::Logs, Signal::Traces, Signal::Metrics] {
            scrubber.scrub(signal, &bytes, &mut buffer);
        }
        // As contents of a field that is looked at.
        let length = bytes.len().min(127);
        bytes.truncate(length);
        let mut record = vec![number << 3 | 2, length as u8];
        record.append(&mut bytes);
        for signal in [Signal::Logs, Signal::Traces, Signal::Metrics] {
            scrubber.scrub(signal, &record, &mut buffer);
        }
    }

    #[test]
    fn any_text_is_scrubbed_once_and_for_all(
        text in "([a-z \"'=:,(){}\\[\\]\\\\0-9äß]|password|token|://|Bearer |eyJ|-----BEGIN PRIVATE KEY-----|@|\\n){0,30}",
    ) {
        let scrubber = scrubber();
        let once = scrubber.scrub_text(&text).into_owned();
        let twice = scrubber.scrub_text(&once).into_owned();
        // What was replaced may end where something else begins; it comes to an end.
        prop_assert_eq!(scrubber.scrub_text(&twice), twice.as_str());
    }
}
