//! What fields of an entry hold: the values of telemetry, and times that a parser has read already.

use std::fmt;

use chrono::{DateTime, Utc};
use cupola_telemetry::encode::AnyValue;

/// A value of a body, an attribute or a part of either.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    #[default]
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Map(Fields),
    /// Nanoseconds since the epoch: what `syslog_parser` hands to the time parser.
    Time(i64),
}

/// Values by name, in the order in which they were set.
#[derive(Clone, Debug, Default, PartialEq)]
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

    pub(crate) fn write(&self, to: &mut AnyValue<'_>) {
        match self {
            Value::Nil => {}
            Value::Bool(value) => to.set(*value),
            Value::Int(value) => to.set(*value),
            Value::Float(value) => to.set(*value),
            Value::Text(value) => to.set(value.as_str()),
            Value::Bytes(value) => to.set(value.as_slice()),
            Value::Time(_) => to.set(self.to_string().as_str()),
            Value::List(items) => {
                let mut array = to.array();
                for item in items {
                    item.write(&mut array.value());
                }
            }
            Value::Map(fields) => {
                let mut list = to.key_value_list();
                for (key, value) in fields.iter() {
                    list.attribute_with(key, |to| value.write(to));
                }
            }
        }
    }

    /// What JSON holds, with the order of its members. `whole_numbers` keeps integers apart from other numbers.
    pub(crate) fn from_json(json: serde_json::Value, whole_numbers: bool) -> Value {
        match json {
            serde_json::Value::Null => Value::Nil,
            serde_json::Value::Bool(value) => Value::Bool(value),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(value) if whole_numbers => Value::Int(value),
                _ => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(value) => Value::Text(value),
            serde_json::Value::Array(items) => Value::List(
                items
                    .into_iter()
                    .map(|item| Value::from_json(item, whole_numbers))
                    .collect(),
            ),
            serde_json::Value::Object(members) => Value::Map(
                members
                    .into_iter()
                    .map(|(key, value)| (key, Value::from_json(value, whole_numbers)))
                    .collect(),
            ),
        }
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

    pub(crate) fn extend(&mut self, other: Fields) {
        for (key, value) in other.0 {
            self.set(&key, value);
        }
    }
}

impl FromIterator<(String, Value)> for Fields {
    /// A later value of the same name takes the place of the earlier one.
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(pairs: I) -> Fields {
        let mut fields = Fields::default();
        for (key, value) in pairs {
            fields.set(&key, value);
        }
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
