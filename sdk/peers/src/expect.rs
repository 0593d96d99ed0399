//! What is to arrive of what is said: attributes of OTLP, put together as the documentation has it.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value,
};

pub(crate) type Pairs = Vec<(String, AnyValue)>;

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

pub(crate) fn text(text: &str) -> AnyValue {
    any(Value::StringValue(text.to_owned()))
}

pub(crate) fn int(number: i64) -> AnyValue {
    any(Value::IntValue(number))
}

/// As text, if OTLP has no number of that size.
pub(crate) fn wide(number: impl TryInto<i64> + ToString + Copy) -> AnyValue {
    match number.try_into() {
        Ok(number) => int(number),
        Err(_) => text(&number.to_string()),
    }
}

pub(crate) fn double(number: f64) -> AnyValue {
    any(Value::DoubleValue(number))
}

pub(crate) fn truth(is: bool) -> AnyValue {
    any(Value::BoolValue(is))
}

pub(crate) fn bytes(bytes: &[u8]) -> AnyValue {
    any(Value::BytesValue(bytes.to_vec()))
}

pub(crate) fn list(values: Vec<AnyValue>) -> AnyValue {
    any(Value::ArrayValue(ArrayValue { values }))
}

/// A map has no order, and is written in that of its keys.
pub(crate) fn map(pairs: Pairs) -> AnyValue {
    any(Value::KvlistValue(KeyValueList {
        values: attributes(pairs),
    }))
}

/// In the order of their keys, which is none that counts.
pub(crate) fn attributes(mut pairs: Pairs) -> Vec<KeyValue> {
    pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    let pairs = pairs.into_iter();
    let pair = |(key, value)| KeyValue {
        key,
        value: Some(value),
        ..KeyValue::default()
    };
    pairs.map(pair).collect()
}

pub(crate) fn pair(key: &str, value: AnyValue) -> (String, AnyValue) {
    (key.to_owned(), value)
}

/// Adds those whose keys are not there yet.
pub(crate) fn inherit(pairs: &mut Pairs, from: &Pairs) {
    for (key, value) in from {
        if !pairs.iter().any(|(known, _)| known == key) {
            pairs.push((key.clone(), value.clone()));
        }
    }
}

pub(crate) fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is later than 1970");
    since.as_nanos() as u64
}
