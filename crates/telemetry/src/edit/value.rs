//! `Value`: an `AnyValue` that can be changed; arrays and maps stay bytes until somebody looks inside.

use std::borrow::Cow;

use super::array::Array;
use super::field::Fields;
use super::map::Map;
use crate::decode::NESTING_MAX;
use crate::view::AnyValue;
use crate::wire::{FIXED64, VARINT, write_bytes, write_key, write_varint};

/// Most messages that may be nested below a value. Attributes of data points, which are the deepest values, leave
/// one more; what came in deeper is kept as long as it stays where it is.
pub const VALUE_NESTING_MAX: usize = NESTING_MAX - 8;

/// Messages that an array adds around its element, and a map around its value.
pub(super) const ARRAY_LEVELS: usize = 2;
pub(super) const MAP_LEVELS: usize = 3;

/// An attribute value, a log body, or an element of either.
#[derive(Clone, Debug, Default)]
pub enum Value<'a> {
    /// No member is set.
    #[default]
    Empty,
    String(Cow<'a, str>),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(Cow<'a, [u8]>),
    Array(Array<'a>),
    Map(Map<'a>),
    /// An encoded `AnyValue` whose member is none of the above; kept as it came.
    Other(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Reads an encoded `AnyValue`, arrays and maps not further than that they are there.
    #[inline]
    pub fn decode(raw: &'a [u8]) -> Self {
        match AnyValue::parse(raw) {
            AnyValue::String(text) => Value::String(Cow::Borrowed(text)),
            AnyValue::Bool(value) => Value::Bool(value),
            AnyValue::Int(value) => Value::Int(value),
            AnyValue::Double(value) => Value::Double(value),
            AnyValue::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
            AnyValue::Array(_) => Value::Array(Array::of_any_value(raw)),
            AnyValue::KeyValueList(_) => Value::Map(Map::of_any_value(raw)),
            AnyValue::Empty if raw.is_empty() => Value::Empty,
            AnyValue::Empty | AnyValue::StringIndex(_) => Value::Other(raw),
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Messages nested below the `AnyValue`.
    pub fn nesting(&self) -> usize {
        match self {
            Value::Array(array) => array.nesting(),
            Value::Map(map) => map.nesting(),
            Value::Other(raw) => nesting_of(raw),
            _ => 0,
        }
    }

    /// The bytes of an `AnyValue` message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// Appends the contents of an `AnyValue` message.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Empty => {}
            Value::String(text) => write_bytes(out, 1, text.as_bytes()),
            Value::Bool(value) => {
                write_key(out, 2, VARINT);
                out.push(u8::from(*value));
            }
            Value::Int(value) => {
                write_key(out, 3, VARINT);
                write_varint(out, *value as u64);
            }
            Value::Double(value) => {
                write_key(out, 4, FIXED64);
                out.extend_from_slice(&value.to_le_bytes());
            }
            Value::Array(array) => array.write_any_value(out),
            Value::Map(map) => map.write_any_value(out),
            Value::Bytes(bytes) => write_bytes(out, 7, bytes),
            Value::Other(raw) => out.extend_from_slice(raw),
        }
    }
}

/// Messages nested below an encoded `AnyValue`, which is at most [`NESTING_MAX`] deep.
pub(super) fn nesting_of(any_value: &[u8]) -> usize {
    nesting_within(any_value, 0)
}

fn nesting_within(any_value: &[u8], depth: usize) -> usize {
    if depth > NESTING_MAX {
        return 0;
    }
    match AnyValue::parse(any_value) {
        AnyValue::Array(items) => items
            .raw_messages()
            .map(|raw| ARRAY_LEVELS + nesting_within(raw, depth + ARRAY_LEVELS))
            .max()
            .unwrap_or(1),
        AnyValue::KeyValueList(pairs) => pairs
            .raw_messages()
            .map(|raw| {
                let value = Fields::new(raw).next_contents(2).unwrap_or_default();
                MAP_LEVELS + nesting_within(value, depth + MAP_LEVELS)
            })
            .max()
            .unwrap_or(1),
        _ => 0,
    }
}

/// Equal when type and value are; doubles by bits, so that NaN equals itself.
impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Empty, Value::Empty) => true,
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Double(a), Value::Double(b)) => a.to_bits() == b.to_bits(),
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Array(a), Value::Array(b)) => a.iter().eq(b.iter()),
            (Value::Map(a), Value::Map(b)) => a.iter().eq(b.iter()),
            (Value::Other(a), Value::Other(b)) => a == b,
            _ => false,
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::String(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Value::String(Cow::Owned(text))
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<f64> for Value<'_> {
    fn from(value: f64) -> Self {
        Value::Double(value)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

/// A value that is still the bytes it came in until it is looked into.
#[derive(Clone, Debug)]
pub(super) struct Lazy<'a> {
    /// An encoded `AnyValue`.
    raw: &'a [u8],
    /// What has taken its place.
    value: Option<Value<'a>>,
}

impl<'a> Lazy<'a> {
    pub(super) fn raw(any_value: &'a [u8]) -> Self {
        Self {
            raw: any_value,
            value: None,
        }
    }

    pub(super) fn value(value: Value<'a>) -> Self {
        Self {
            raw: &[],
            value: Some(value),
        }
    }

    #[inline]
    pub(super) fn get(&self) -> Value<'a> {
        match &self.value {
            Some(value) => value.clone(),
            None => Value::decode(self.raw),
        }
    }

    pub(super) fn get_mut(&mut self) -> &mut Value<'a> {
        let raw = self.raw;
        self.value.get_or_insert_with(|| Value::decode(raw))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match &self.value {
            Some(value) => value.write(out),
            None => out.extend_from_slice(self.raw),
        }
    }

    pub(super) fn nesting(&self) -> usize {
        match &self.value {
            Some(value) => value.nesting(),
            None => nesting_of(self.raw),
        }
    }
}
