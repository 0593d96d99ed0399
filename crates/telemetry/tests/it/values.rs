//! Small things: values as text, tenant ids, trace ids, instants.

use cupola_telemetry::view::AnyValue;
use cupola_telemetry::{Signal, SpanId, TenantId, TenantIdError, TraceId, encode, id, json, time};
use proptest::prelude::*;
use prost::Message;

use crate::dice::Dice;

proptest! {
    #[test]
    fn values_survive_json_exactly(seed: u64) {
        let mut dice = Dice::new(seed);
        let bytes = dice.any_value(0).encode_to_vec();
        let value = AnyValue::parse(&bytes);
        let again = json::parse_any_value(&json::any_value(value)).unwrap();
        prop_assert_eq!(AnyValue::parse(&again), value);
        let copy = encode::any_value(value);
        prop_assert_eq!(AnyValue::parse(&copy), value);
    }

    #[test]
    fn plain_json_is_json(seed: u64) {
        let bytes = Dice::new(seed).any_value(0).encode_to_vec();
        let plain = json::plain(AnyValue::parse(&bytes));
        prop_assert!(serde_json::from_str::<serde_json::Value>(&plain).is_ok(), "{}", plain);
    }

    #[test]
    fn texts_are_escaped(text: String) {
        let mut out = String::new();
        json::write_string(&mut out, &text);
        prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
    }

    #[test]
    fn instants_read_back(unix_nano: u64) {
        prop_assert_eq!(time::from_rfc3339(&time::to_rfc3339(unix_nano)), Some(unix_nano));
    }

    #[test]
    fn ids_read_back(trace: [u8; 16], span: [u8; 8]) {
        prop_assert_eq!(TraceId::parse(&TraceId(trace).to_string()), Ok(TraceId(trace)));
        prop_assert_eq!(SpanId::parse(&SpanId(span).to_string().to_uppercase()), Ok(SpanId(span)));
        prop_assert_eq!(TraceId::from_bytes(&trace), Some(TraceId(trace)));
    }

    #[test]
    fn tenant_ids_of_any_text_do_not_panic(text: String) {
        if let Ok(tenant) = TenantId::parse(&text) {
            prop_assert_eq!(tenant.as_str(), text);
        }
    }
}

#[test]
fn plain_json_reads_well() {
    let mut encoder = encode::LogsEncoder::new();
    encoder
        .resource_logs()
        .scope_logs()
        .record()
        .body_with()
        .key_value_list()
        .attribute("user", "a\"b")
        .attribute("id", 9_007_199_254_740_993)
        .attribute("ratio", 0.1)
        .attribute("raw", &[0xfb, 0xff][..])
        .attribute("none", AnyValue::Empty)
        .attribute_with("list", |value| {
            value.array().push(true).push(f64::NAN);
        });
    let batch = encoder.finish(TenantId::default_tenant());
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
        r#"{"user":"a\"b","id":9007199254740993,"ratio":0.1,"raw":"+/8=","none":null,"list":[true,"NaN"]}"#
    );
    let stored = json::any_value(record.body.unwrap());
    assert_eq!(json::plain_of_stored(&stored), json::plain(record.body.unwrap()));
    assert_eq!(json::plain_of_stored("no JSON"), "no JSON");
    assert_eq!(json::any_value(AnyValue::Int(5)), r#"{"intValue":"5"}"#);
    assert_eq!(json::any_value(AnyValue::Empty), "{}");
}

#[test]
fn tenant_ids() {
    let longest = "x".repeat(150);
    for text in ["a", "default", "A-Z.a_z!0*9'()", "...", longest.as_str()] {
        assert_eq!(TenantId::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(TenantId::parse(""), Err(TenantIdError::Empty));
    assert_eq!(
        TenantId::parse(&"x".repeat(151)),
        Err(TenantIdError::TooLong { actual: 151 })
    );
    assert_eq!(TenantId::parse("."), Err(TenantIdError::Reserved(".")));
    assert_eq!(TenantId::parse(".."), Err(TenantIdError::Reserved("..")));
    for (text, character, offset) in [
        ("a/b", '/', 1),
        ("a b", ' ', 1),
        ("ä", 'ä', 0),
        ("ok\0", '\0', 2),
        ("a|b", '|', 1),
    ] {
        assert_eq!(
            TenantId::parse(text),
            Err(TenantIdError::Character { character, offset })
        );
    }
    assert_eq!(TenantId::default_tenant().as_str(), "default");
}

#[test]
fn wrong_ids_are_refused() {
    assert_eq!(
        TraceId::parse("00"),
        Err(id::IdError::Length {
            expected: 32,
            actual: 2
        })
    );
    assert_eq!(
        SpanId::parse("000000000000000g"),
        Err(id::IdError::Digit { offset: 15 })
    );
    assert_eq!(
        SpanId::parse("é00000000000000"),
        Err(id::IdError::Digit { offset: 0 })
    );
    assert_eq!(SpanId::from_bytes(&[]), None);
    assert!(SpanId::default().is_zero());
}

#[test]
fn instants() {
    for (unix_nano, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (1_544_712_660_300_000_000, "2018-12-13T14:51:00.300Z"),
        (951_782_400_000_001_000, "2000-02-29T00:00:00.000001Z"),
        (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
    ] {
        assert_eq!(time::to_rfc3339(unix_nano), text);
    }
    assert_eq!(
        time::from_rfc3339("1970-01-01T01:30:00.5+01:00"),
        Some(1_800_500_000_000)
    );
    assert_eq!(
        time::from_rfc3339("1970-01-01 00:00:01.1234567899z"),
        Some(1_123_456_789)
    );
    for text in [
        "",
        "1970",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-13-01T00:00:00Z",
        "1970-02-29T00:00:00Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:00:60Z",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00+1:00",
        "1969-12-31T23:59:59Z",
        "9999-01-01T00:00:00Z",
        "1970-01-00T00:00:00Z",
        "1970-01-01T00:00:00ZZ",
        "+970-01-01T00:00:00Z",
    ] {
        assert_eq!(time::from_rfc3339(text), None, "{text}");
    }
}

#[test]
fn signals_have_names() {
    for signal in Signal::ALL {
        assert_eq!(signal.as_str().parse(), Ok(signal));
    }
    assert!("Logs".parse::<Signal>().is_err());
}
