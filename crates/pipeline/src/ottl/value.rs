//! `Value`: what expressions come to while a statement runs. Borrows from the batch and from the statement.

use std::borrow::Cow;

use cupola_telemetry::edit::{self, Array, Map};

use super::error::Fault;

pub(in crate::ottl) mod json;

/// A value of the language. The empty value of telemetry is nil.
#[derive(Clone, Debug, Default)]
pub(super) enum Value<'a> {
    #[default]
    Nil,
    Bool(bool),
    Int(i64),
    Double(f64),
    String(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    List(Array<'a>),
    Map(Map<'a>),
    /// Nanoseconds since the epoch.
    Time(i128),
    /// Nanoseconds.
    Duration(i64),
    /// A value that this version's OTLP does not know: it can be moved, and nothing else.
    Other(&'a [u8]),
}

impl<'a> From<edit::Value<'a>> for Value<'a> {
    #[inline]
    fn from(value: edit::Value<'a>) -> Self {
        match value {
            edit::Value::Empty => Value::Nil,
            edit::Value::String(text) => Value::String(text),
            edit::Value::Bool(value) => Value::Bool(value),
            edit::Value::Int(value) => Value::Int(value),
            edit::Value::Double(value) => Value::Double(value),
            edit::Value::Bytes(bytes) => Value::Bytes(bytes),
            edit::Value::Array(array) => Value::List(array),
            edit::Value::Map(map) => Value::Map(map),
            edit::Value::Other(raw) => Value::Other(raw),
        }
    }
}

impl<'a> Value<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Value::String(text.into())
    }

    /// As telemetry; times and durations have no form there.
    #[inline]
    pub(super) fn into_telemetry(self) -> Result<edit::Value<'a>, Fault> {
        Ok(match self {
            Value::Nil => edit::Value::Empty,
            Value::String(text) => edit::Value::String(text),
            Value::Bool(value) => edit::Value::Bool(value),
            Value::Int(value) => edit::Value::Int(value),
            Value::Double(value) => edit::Value::Double(value),
            Value::Bytes(bytes) => edit::Value::Bytes(bytes),
            Value::List(array) => edit::Value::Array(array),
            Value::Map(map) => edit::Value::Map(map),
            Value::Other(raw) => edit::Value::Other(raw),
            Value::Time(_) => return Err(Fault::new("a time cannot be stored; use UnixNano or FormatTime")),
            Value::Duration(_) => {
                return Err(Fault::new(
                    "a duration cannot be stored; use Nanoseconds or String",
                ));
            }
        })
    }

    /// What a value of this type is when it is nothing yet.
    pub(super) fn zero(&self) -> Self {
        match self {
            Value::Nil | Value::Other(_) => Value::Nil,
            Value::Bool(_) => Value::Bool(false),
            Value::Int(_) => Value::Int(0),
            Value::Double(_) => Value::Double(0.0),
            Value::String(_) => Value::text(""),
            Value::Bytes(bytes) => Value::Bytes(vec![0; bytes.len()].into()),
            Value::List(_) => Value::List(Array::new()),
            Value::Map(_) => Value::Map(Map::new()),
            Value::Time(_) => Value::Time(0),
            Value::Duration(_) => Value::Duration(0),
        }
    }

    /// How a person would call its type.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Bool(_) => "a bool",
            Value::Int(_) => "an int",
            Value::Double(_) => "a double",
            Value::String(_) => "a string",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Time(_) => "a time",
            Value::Duration(_) => "a duration",
            Value::Other(_) => "a value of an unknown type",
        }
    }

    fn mismatch<T>(&self, expected: &'static str) -> Result<T, Fault> {
        Err(Fault::of(format_args!(
            "expected {expected}, found {}",
            self.kind()
        )))
    }

    pub(super) fn as_str(&self) -> Result<&str, Fault> {
        match self {
            Value::String(text) => Ok(text),
            _ => self.mismatch("a string"),
        }
    }

    pub(super) fn into_text(self) -> Result<Cow<'a, str>, Fault> {
        match self {
            Value::String(text) => Ok(text),
            _ => self.mismatch("a string"),
        }
    }

    pub(super) fn as_int(&self) -> Result<i64, Fault> {
        match self {
            Value::Int(value) => Ok(*value),
            _ => self.mismatch("an int"),
        }
    }

    pub(super) fn as_double(&self) -> Result<f64, Fault> {
        match self {
            Value::Double(value) => Ok(*value),
            _ => self.mismatch("a double"),
        }
    }

    pub(super) fn as_bool(&self) -> Result<bool, Fault> {
        match self {
            Value::Bool(value) => Ok(*value),
            _ => self.mismatch("a bool"),
        }
    }

    pub(super) fn as_time(&self) -> Result<i128, Fault> {
        match self {
            Value::Time(nanos) => Ok(*nanos),
            _ => self.mismatch("a time"),
        }
    }

    pub(super) fn as_duration(&self) -> Result<i64, Fault> {
        match self {
            Value::Duration(nanos) => Ok(*nanos),
            _ => self.mismatch("a duration"),
        }
    }

    pub(super) fn into_map(self) -> Result<Map<'a>, Fault> {
        match self {
            Value::Map(map) => Ok(map),
            _ => self.mismatch("a map"),
        }
    }

    /// An empty map for nil, where something is set that is a map.
    pub(super) fn or_empty_map(self) -> Self {
        match self {
            Value::Nil => Value::Map(Map::new()),
            value => value,
        }
    }

    pub(super) fn into_list(self) -> Result<Array<'a>, Fault> {
        match self {
            Value::List(list) => Ok(list),
            _ => self.mismatch("a list"),
        }
    }

    pub(super) fn is_nil(&self) -> bool {
        matches!(self, Value::Nil)
    }

    /// As text, where a function takes anything for one: numbers as Go writes them, bytes in hex, lists and maps as
    /// JSON. `None` for nil.
    pub(super) fn to_text(&self) -> Option<Cow<'a, str>> {
        Some(match self {
            Value::Nil | Value::Other(_) => return None,
            Value::String(text) => text.clone(),
            Value::Bool(true) => "true".into(),
            Value::Bool(false) => "false".into(),
            Value::Int(value) => value.to_string().into(),
            Value::Double(value) => double_as_string(*value).into(),
            Value::Bytes(bytes) => hex::encode(bytes).into(),
            Value::List(_) | Value::Map(_) => self.to_json().into(),
            // As JSON has them.
            Value::Time(nanos) => format!("\"{}\"", super::functions::time::rfc3339(*nanos)).into(),
            Value::Duration(nanos) => nanos.to_string().into(),
        })
    }

    /// As JSON in the way of Go: keys in order, bytes in base64, `<`, `>` and `&` escaped.
    pub(super) fn to_json(&self) -> String {
        let mut out = String::new();
        if let Ok(value) = self.clone().into_telemetry() {
            json::write(&mut out, &value);
        }
        out
    }

    /// The element of what a converter gave, which must be there.
    pub(super) fn index_of_result(self, key: &Value<'_>) -> Result<Value<'a>, Fault> {
        match (self, key) {
            (Value::Map(map), Value::String(key)) => match map.get(key) {
                Some(value) => Ok(value.into()),
                None => Err(Fault::of(format_args!("the result has no key {key:?}"))),
            },
            (Value::Nil, _) => Err(Fault::new("nil cannot be indexed")),
            (value, key) => value.index(key),
        }
    }

    /// The element that a key names; nil if a map does not have it.
    pub(super) fn index(self, key: &Value<'_>) -> Result<Value<'a>, Fault> {
        match (self, key) {
            (Value::Map(map), Value::String(key)) => Ok(map.get(key).map_or(Value::Nil, Value::from)),
            (Value::List(list), Value::Int(index)) => {
                let element = usize::try_from(*index).ok().and_then(|index| list.get(index));
                match element {
                    Some(element) => Ok(element.into()),
                    None => Err(Fault::of(format_args!(
                        "there is no element {index} in a list of {}",
                        list.len()
                    ))),
                }
            }
            (Value::Nil, _) => Ok(Value::Nil),
            (value, key) => Err(Fault::of(format_args!(
                "{} cannot be indexed by {}",
                value.kind(),
                key.kind()
            ))),
        }
    }
}

/// Like Go's `strconv` without an exponent.
pub(super) fn double_text(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        _ => value.to_string(),
    }
}

/// As the data model writes a double for people.
fn double_as_string(value: f64) -> String {
    match value {
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        _ if value.is_nan() => "NaN".to_owned(),
        _ => {
            let mut text = String::new();
            json::write_double(&mut text, value);
            text
        }
    }
}
