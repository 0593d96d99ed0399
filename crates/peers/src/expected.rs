//! What stores are to have of telemetry that was sent to them, made by the documentation and not by the code under test; and what
//! they have, in the same form.

pub mod documents;
pub mod rows;

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use serde_json::{Value, json};

/// A value as plain JSON, by the documentation and not by the code under test. Of equal keys the last counts, and a number that
/// JSON does not have is text.
pub fn plain(value: Option<&any_value::Value>) -> Value {
    with_doubles(value, double)
}

/// The same with null for a number that JSON does not have.
pub fn finite(value: Option<&any_value::Value>) -> Value {
    with_doubles(value, |value| json!(value))
}

fn with_doubles(value: Option<&any_value::Value>, double: fn(f64) -> Value) -> Value {
    match value {
        None => Value::Null,
        Some(any_value::Value::StringValue(text)) => json!(text),
        Some(any_value::Value::BoolValue(value)) => json!(value),
        Some(any_value::Value::IntValue(value)) => json!(value),
        Some(any_value::Value::DoubleValue(value)) => double(*value),
        Some(any_value::Value::BytesValue(bytes)) => {
            use base64::Engine as _;
            json!(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        Some(any_value::Value::ArrayValue(array)) => array
            .values
            .iter()
            .map(|value| with_doubles(value.value.as_ref(), double))
            .collect(),
        Some(any_value::Value::KvlistValue(list)) => members(&list.values, double),
        Some(other) => panic!("{other:?}"),
    }
}

pub fn map(attributes: &[KeyValue]) -> Value {
    members(attributes, double)
}

/// The same with null for a number that JSON does not have.
pub fn finite_map(attributes: &[KeyValue]) -> Value {
    members(attributes, |value| json!(value))
}

fn members(attributes: &[KeyValue], double: fn(f64) -> Value) -> Value {
    let entry = |pair: &KeyValue| {
        let value = pair.value.as_ref().and_then(|value| value.value.as_ref());
        (pair.key.clone(), with_doubles(value, double))
    };
    Value::Object(attributes.iter().map(entry).collect())
}

pub fn double(value: f64) -> Value {
    match value {
        _ if value.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        value => json!(value),
    }
}

/// The same however numbers are written, without members that are null, empty, or zero where zero is the default.
pub fn normal(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            // Some write whole numbers without a point, with zeros behind the digits that tell them from others.
            Some(double) if number.is_f64() && double.fract() == 0.0 => {
                whole(double).unwrap_or(Value::Number(number))
            }
            _ => Value::Number(number),
        },
        Value::Array(values) => values.into_iter().map(normal).collect(),
        Value::Object(members) => {
            let members = members.into_iter().map(|(key, value)| (key, normal(value)));
            Value::Object(members.collect())
        }
        other => other,
    }
}

fn whole(double: f64) -> Option<Value> {
    let digits = format!("{}", if double == 0.0 { 0.0 } else { double });
    let signed = digits.parse::<i64>().map(|number| json!(number));
    signed
        .or_else(|_| digits.parse::<u64>().map(|number| json!(number)))
        .ok()
}
