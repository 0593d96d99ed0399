//! Values that nobody lends: those of attributes that are set in files and by builders.

use crate::value::Value;

/// A value of an attribute of a resource.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnedValue {
    String(String),
    Bool(bool),
    Int(i64),
    Double(f64),
    Array(Vec<OwnedValue>),
}

impl OwnedValue {
    /// Lends it in the form in which it is written.
    pub fn with<R>(&self, use_it: impl FnOnce(Value<'_>) -> R) -> R {
        match self {
            OwnedValue::Array(values) => {
                let values: Vec<Value<'_>> = values.iter().map(OwnedValue::leaf).collect();
                use_it(Value::Array(&values))
            }
            other => use_it(other.leaf()),
        }
    }

    /// Arrays have no arrays in them: attributes have not, in the specification.
    fn leaf(&self) -> Value<'_> {
        match self {
            OwnedValue::String(text) => Value::String(text),
            OwnedValue::Bool(value) => Value::Bool(*value),
            OwnedValue::Int(value) => Value::Int(*value),
            OwnedValue::Double(value) => Value::Double(*value),
            OwnedValue::Array(_) => Value::Empty,
        }
    }
}

impl From<&str> for OwnedValue {
    fn from(text: &str) -> OwnedValue {
        OwnedValue::String(text.to_owned())
    }
}

impl From<String> for OwnedValue {
    fn from(text: String) -> OwnedValue {
        OwnedValue::String(text)
    }
}

impl From<bool> for OwnedValue {
    fn from(value: bool) -> OwnedValue {
        OwnedValue::Bool(value)
    }
}

impl From<i64> for OwnedValue {
    fn from(value: i64) -> OwnedValue {
        OwnedValue::Int(value)
    }
}

impl From<f64> for OwnedValue {
    fn from(value: f64) -> OwnedValue {
        OwnedValue::Double(value)
    }
}

impl<V: Into<OwnedValue>> From<Vec<V>> for OwnedValue {
    fn from(values: Vec<V>) -> OwnedValue {
        OwnedValue::Array(values.into_iter().map(Into::into).collect())
    }
}
