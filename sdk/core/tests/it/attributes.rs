//! Attributes against a plain list of pairs.

use cupola_sdk_core::attributes::{AttributeLimits, Attributes};
use cupola_sdk_core::value::Value;
use cupola_telemetry::view::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Decoded;
use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;
use prost::Message;

/// Of attributes in a span.
const FIELD: u32 = 9;

/// The span that has these attributes and nothing else.
fn decoded(attributes: &Attributes) -> Vec<(String, Option<Decoded>)> {
    let span = Span::decode(attributes.as_bytes()).unwrap();
    let pairs = span.attributes.into_iter();
    pairs
        .map(|pair| (pair.key, pair.value.and_then(|value| value.value)))
        .collect()
}

/// A text that a test sets, of a length around those where lengths take another byte.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zé]{0,8}",
        (100usize..140).prop_map(|length| "x".repeat(length)),
        (16_370usize..16_390).prop_map(|length| "y".repeat(length)),
    ]
}

proptest! {
    #[test]
    fn keys_are_kept_once_and_the_newest_remain(
        steps in prop::collection::vec((0usize..12, text()), 0..60),
        count in 0usize..10,
        length in prop::option::of(0usize..130),
    ) {
        let limits = AttributeLimits { count, value_length: length };
        let mut attributes = Attributes::new(FIELD, limits);
        let mut model: Vec<(String, String)> = Vec::new();
        let mut dropped = 0;
        for (key, value) in &steps {
            // Keys of several lengths, one of them long.
            let key = "k".repeat(key * key);
            attributes.set(&key, value);
            if key.is_empty() || count == 0 {
                dropped += 1;
                continue;
            }
            let known = model.iter().position(|(known, _)| *known == key);
            match known {
                Some(at) => drop(model.remove(at)),
                None if model.len() == count => {
                    model.remove(0);
                    dropped += 1;
                }
                None => {}
            }
            model.push((key, value.chars().take(length.unwrap_or(usize::MAX)).collect()));
        }
        let wanted: Vec<_> = model
            .iter()
            .map(|(key, value)| (key.clone(), Some(Decoded::StringValue(value.clone()))))
            .collect();
        prop_assert_eq!(decoded(&attributes), wanted);
        prop_assert_eq!((attributes.len(), attributes.dropped()), (model.len(), dropped));
        for (key, value) in &model {
            prop_assert_eq!(attributes.get(key), Some(AnyValue::String(value)));
        }
        prop_assert_eq!(attributes.get("none"), None);
    }
}

#[test]
fn values_of_every_type_arrive_and_texts_within_are_cut() {
    let limits = AttributeLimits {
        count: 128,
        value_length: Some(3),
    };
    let mut attributes = Attributes::new(FIELD, limits);
    attributes.set("text", "äöüß");
    attributes.set("bytes", &b"12345"[..]);
    attributes.set("bool", false);
    attributes.set("int", -1);
    attributes.set("double", -0.5);
    attributes.set(
        "array",
        &[Value::String("long text"), Value::Int(7), Value::Empty][..],
    );
    let twice = [
        ("key is not cut", Value::Int(1)),
        ("key is not cut", Value::String("abcd")),
    ];
    attributes.set("map", Value::Map(&twice));
    let numbers: Vec<String> = (0..40).map(|n| (n % 35).to_string()).collect();
    let many: Vec<_> = numbers
        .iter()
        .enumerate()
        .map(|(at, key)| (key.as_str(), Value::Int(at as i64)))
        .collect();
    attributes.set("many", Value::Map(&many));
    let found = decoded(&attributes);
    let value = |key: &str| found.iter().find(|(known, _)| known == key).unwrap().1.clone();
    assert_eq!(value("text"), Some(Decoded::StringValue("äöü".to_owned())));
    assert_eq!(value("bytes"), Some(Decoded::BytesValue(b"123".to_vec())));
    assert_eq!(value("bool"), Some(Decoded::BoolValue(false)));
    assert_eq!(value("int"), Some(Decoded::IntValue(-1)));
    assert_eq!(value("double"), Some(Decoded::DoubleValue(-0.5)));
    let Some(Decoded::ArrayValue(array)) = value("array") else {
        panic!("no array");
    };
    let elements: Vec<_> = array.values.into_iter().map(|value| value.value).collect();
    assert_eq!(
        elements,
        [
            Some(Decoded::StringValue("lon".to_owned())),
            Some(Decoded::IntValue(7)),
            None
        ]
    );
    let Some(Decoded::KvlistValue(map)) = value("map") else {
        panic!("no map");
    };
    assert_eq!(
        (map.values.len(), map.values[0].key.as_str()),
        (1, "key is not cut")
    );
    let inner = map.values[0].value.clone().and_then(|value| value.value);
    assert_eq!(inner, Some(Decoded::StringValue("abc".to_owned())));
    let Some(Decoded::KvlistValue(many)) = value("many") else {
        panic!("no map");
    };
    assert_eq!((many.values.len(), many.values[34].key.as_str()), (35, "4"));
}

#[test]
fn what_is_nested_without_end_ends() {
    fn nested(depth: usize, write: &mut dyn FnMut(Value<'_>), inner: Value<'_>) {
        match depth {
            0 => write(inner),
            _ => nested(depth - 1, write, Value::Array(&[inner])),
        }
    }
    let mut attributes = Attributes::new(FIELD, AttributeLimits::default());
    nested(1000, &mut |value| attributes.set("deep", value), Value::Int(1));
    assert!(attributes.as_bytes().len() < 200);
    assert_eq!(decoded(&attributes).len(), 1);
}

proptest! {
    #[test]
    fn what_is_inherited_comes_behind_what_is_there_and_within_the_limits(
        own in prop::collection::vec((0usize..6, text()), 0..6),
        others in prop::collection::vec((0usize..6, text()), 0..6),
        count in 0usize..8,
        length in prop::option::of(0usize..130),
    ) {
        let limits = AttributeLimits { count, value_length: length };
        let mut attributes = Attributes::new(FIELD, limits);
        let mut outer = Attributes::new(6, AttributeLimits::default());
        let key = |number: usize| "k".repeat(number * 40 + 1);
        for (number, value) in &own {
            attributes.set(&key(*number), value);
        }
        for (number, value) in &others {
            outer.set(&key(*number), value);
        }
        let mut model = decoded(&attributes);
        let mut dropped = attributes.dropped();
        for (number, value) in outer.iter() {
            let AnyValue::String(value) = value else { panic!("not a text") };
            if number.len() == 1 || model.iter().any(|(known, _)| known == number) {
                continue;
            }
            if model.len() == count {
                dropped += 1;
                continue;
            }
            let value = value.chars().take(length.unwrap_or(usize::MAX)).collect();
            model.push((number.to_owned(), Some(Decoded::StringValue(value))));
        }
        attributes.inherit(&outer, |key| key.len() > 1);
        prop_assert_eq!(decoded(&attributes), model);
        prop_assert_eq!(attributes.dropped(), dropped);
    }
}
