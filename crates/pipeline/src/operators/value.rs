//! What fields of an entry hold: the values of telemetry, and times that a parser has read already.

use std::fmt;

use chrono::{DateTime, Utc};
use cupola_telemetry::edit::VALUE_NESTING_MAX;
use cupola_telemetry::encode::AnyValue;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// Messages of OTLP that a list adds around each of its items, and a map around each of its values.
const LIST_LEVELS: usize = 2;
const MAP_LEVELS: usize = 3;

/// A value of a body, an attribute or a part of either. Serialised, it is as one of these reads it back, kinds and all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Value {
    #[default]
    Nil,
    Bool(bool),
    Int(i64),
    #[serde(with = "bits")]
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Map(Fields),
    /// Nanoseconds since the epoch: what `syslog_parser` hands to the time parser.
    Time(i64),
}

/// JSON has no word for what is no number.
mod bits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value.to_bits())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        u64::deserialize(from).map(f64::from_bits)
    }
}

/// Values by name, in the order in which they were set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fields(Vec<(String, Value)>);

impl Value {
    /// In the words of messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Nil => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Time(_) => "a time",
        }
    }

    pub(crate) fn as_text(&self) -> Result<&str, String> {
        match self {
            Value::Text(text) => Ok(text),
            other => Err(format!("expected text, found {}", other.kind())),
        }
    }

    pub(crate) fn as_map_mut(&mut self) -> &mut Fields {
        if !matches!(self, Value::Map(_)) {
            *self = Value::Map(Fields::default());
        }
        match self {
            Value::Map(fields) => fields,
            _ => unreachable!("it was made a map above"),
        }
    }

    /// What is nested too deeply for telemetry is written as its text.
    pub(crate) fn write(&self, to: &mut AnyValue<'_>) {
        self.write_within(VALUE_NESTING_MAX, to);
    }

    /// `levels`: messages that may be nested below this value.
    fn write_within(&self, levels: usize, to: &mut AnyValue<'_>) {
        match self {
            Value::Nil => {}
            Value::Bool(value) => to.set(*value),
            Value::Int(value) => to.set(*value),
            Value::Float(value) => to.set(*value),
            Value::Text(value) => to.set(value.as_str()),
            Value::Bytes(value) => to.set(value.as_slice()),
            Value::List(items) if levels >= LIST_LEVELS => {
                let mut array = to.array();
                for item in items {
                    item.write_within(levels - LIST_LEVELS, &mut array.value());
                }
            }
            Value::Map(fields) if levels >= MAP_LEVELS => {
                let mut list = to.key_value_list();
                for (key, value) in fields.iter() {
                    list.attribute_with(key, |to| value.write_within(levels - MAP_LEVELS, to));
                }
            }
            Value::Time(_) | Value::List(_) | Value::Map(_) => to.set(self.to_string().as_str()),
        }
    }

    /// Messages of OTLP that are nested below it.
    pub(crate) fn nesting(&self) -> usize {
        let deepest = |nesting: Option<usize>, levels| nesting.map_or(1, |nesting| levels + nesting);
        match self {
            Value::List(items) => deepest(items.iter().map(Value::nesting).max(), LIST_LEVELS),
            Value::Map(fields) => deepest(fields.iter().map(|(_, value)| value.nesting()).max(), MAP_LEVELS),
            _ => 0,
        }
    }

    /// What JSON holds, whole numbers kept as such.
    pub(crate) fn from_json(json: serde_json::Value) -> Value {
        let seed = JsonSeed { whole_numbers: true };
        seed.deserialize(json).unwrap_or_default()
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("nil"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value}"),
            Value::Text(value) => f.write_str(value),
            Value::Bytes(value) => f.write_str(&String::from_utf8_lossy(value)),
            Value::Time(nanos) => {
                let time: DateTime<Utc> = DateTime::from_timestamp_nanos(*nanos);
                write!(f, "{}", time.format("%Y-%m-%d %H:%M:%S%.f +0000 UTC"))
            }
            Value::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { " " })?;
                }
                f.write_str("]")
            }
            Value::Map(fields) => {
                f.write_str("map[")?;
                for (index, (key, value)) in fields.iter().enumerate() {
                    write!(f, "{}{key}:{value}", if index == 0 { "" } else { " " })?;
                }
                f.write_str("]")
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}

impl Fields {
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    }

    /// Sets a value, in its old place if there is one of that name.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    /// The value of that name, set to nothing if there was none.
    pub(crate) fn entry(&mut self, key: &str) -> &mut Value {
        let at = self.0.iter().position(|(known, _)| known == key);
        let at = at.unwrap_or_else(|| {
            self.0.push((key.to_owned(), Value::Nil));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.remove(at).1)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets all of `other`.
    pub(crate) fn extend(&mut self, other: impl IntoIterator<Item = (String, Value)>) {
        self.0.extend(other);
        self.keep_last();
    }

    /// A later value of the same name takes the place of the earlier one.
    fn keep_last(&mut self) {
        let pairs = &mut self.0;
        if pairs.len() < 2 {
            return;
        }
        // Sorted, because comparing all with all would take minutes for what fits into one record. Those of the same name
        // stay in their order.
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by(|one, other| pairs[*one].0.cmp(&pairs[*other].0));
        let mut gone = vec![false; pairs.len()];
        let mut first: Option<usize> = None;
        for at in order {
            match first {
                Some(first) if pairs[at].0 == pairs[first].0 => {
                    pairs[first].1 = std::mem::take(&mut pairs[at].1);
                    gone[at] = true;
                }
                _ => first = Some(at),
            }
        }
        let mut gone = gone.into_iter();
        pairs.retain(|_| gone.next() != Some(true));
    }
}

impl FromIterator<(String, Value)> for Fields {
    /// A later value of the same name takes the place of the earlier one.
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(pairs: I) -> Fields {
        let mut fields = Fields(pairs.into_iter().collect());
        fields.keep_last();
        fields
    }
}

impl IntoIterator for Fields {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Reads JSON, with the order of its members.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JsonSeed {
    /// Keeps integers apart from other numbers.
    pub(crate) whole_numbers: bool,
}

impl<'de> DeserializeSeed<'de> for JsonSeed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for JsonSeed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(match self.whole_numbers {
            true => Value::Int(value),
            false => Value::Float(value as f64),
        })
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Ok(Value::Float(value as f64)),
        }
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(key) = members.next_key()? {
            pairs.push((key, members.next_value_seed(self)?));
        }
        Ok(Value::Map(pairs.into_iter().collect()))
    }
}
