//! Which type `attributes['key']` has, and how one value reads in it.
//!
//! The type is decided at planning from the types the key has in the snapshot: all text → text; all integers →
//! BIGINT; doubles, or doubles and integers → DOUBLE; all booleans → BOOLEAN; arrays and lists → JSON; bytes → text
//! (base64); anything mixed → text. A key nobody sent is text. `->>` is always text. A value that cannot be read in
//! the type is null; an empty value is null.

use arrow::datatypes::{DataType, Field};
use cupola_store::schema::{TypeMask, ValueType};

use crate::functions::json::plain_json;
use crate::functions::support::push_double;
use crate::tables::metadata;

/// The type an attribute is read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum AttributeKind {
    /// Every value as text, asked for with `->>`.
    Text,
    /// As [`AttributeKind::Text`], because all values are, or because types are mixed.
    String,
    Int,
    Double,
    Bool,
    /// JSON text of structured values.
    Json,
}

impl AttributeKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            AttributeKind::Text => "text",
            AttributeKind::String => "string",
            AttributeKind::Int => "int",
            AttributeKind::Double => "double",
            AttributeKind::Bool => "bool",
            AttributeKind::Json => "json",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<AttributeKind> {
        use AttributeKind::{Bool, Double, Int, Json, String, Text};
        [Text, String, Int, Double, Bool, Json]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }

    /// The type for a key with values of these types.
    pub(crate) fn decide(types: TypeMask) -> AttributeKind {
        let mut types: Vec<ValueType> = types.types().filter(|found| *found != ValueType::Empty).collect();
        types.sort();
        match types.as_slice() {
            [ValueType::Int] => AttributeKind::Int,
            [ValueType::Double] | [ValueType::Int, ValueType::Double] => AttributeKind::Double,
            [ValueType::Bool] => AttributeKind::Bool,
            [ValueType::Array] | [ValueType::List] | [ValueType::Array, ValueType::List] => {
                AttributeKind::Json
            }
            _ => AttributeKind::String,
        }
    }

    pub(crate) fn data_type(self) -> DataType {
        match self {
            AttributeKind::Text | AttributeKind::String | AttributeKind::Json => DataType::Utf8View,
            AttributeKind::Int => DataType::Int64,
            AttributeKind::Double => DataType::Float64,
            AttributeKind::Bool => DataType::Boolean,
        }
    }

    pub(crate) fn field(self, name: &str) -> Field {
        let field = Field::new(name, self.data_type(), true);
        if self == AttributeKind::Json {
            metadata::mark_json(field)
        } else {
            field
        }
    }

    /// Whether values of `value_type` can be read in this type.
    pub(crate) fn reads(self, value_type: ValueType) -> bool {
        match self {
            AttributeKind::Text | AttributeKind::String => value_type != ValueType::Empty,
            AttributeKind::Int => value_type == ValueType::Int,
            AttributeKind::Double => matches!(value_type, ValueType::Int | ValueType::Double),
            AttributeKind::Bool => value_type == ValueType::Bool,
            AttributeKind::Json => matches!(value_type, ValueType::Array | ValueType::List),
        }
    }
}

/// The text of a stored value, `tag` and `text` as in the attribute maps; `None` for an empty value.
pub(crate) fn stored_text(tag: i8, text: &str) -> Option<std::borrow::Cow<'_, str>> {
    match ValueType::from_tag(tag)? {
        ValueType::Empty => None,
        ValueType::Double => {
            let mut out = String::new();
            push_double(&mut out, stored_double(text)?);
            Some(out.into())
        }
        ValueType::Array | ValueType::List => Some(plain_json(text).into()),
        _ => Some(text.into()),
    }
}

/// The number in the text of a stored double.
pub(crate) fn stored_double(text: &str) -> Option<f64> {
    match text {
        "Infinity" | "inf" => Some(f64::INFINITY),
        "-Infinity" | "-inf" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(types: &[ValueType]) -> AttributeKind {
        let mut mask = TypeMask::default();
        types.iter().for_each(|value_type| mask.insert(*value_type));
        AttributeKind::decide(mask)
    }

    #[test]
    fn the_type_follows_the_values() {
        use ValueType::{Array, Bool, Bytes, Double, Empty, Int, List, String};
        assert_eq!(decide(&[]), AttributeKind::String);
        assert_eq!(decide(&[String]), AttributeKind::String);
        assert_eq!(decide(&[Int]), AttributeKind::Int);
        assert_eq!(decide(&[Int, Empty]), AttributeKind::Int);
        assert_eq!(decide(&[Int, Double]), AttributeKind::Double);
        assert_eq!(decide(&[Bool]), AttributeKind::Bool);
        assert_eq!(decide(&[Array, List]), AttributeKind::Json);
        assert_eq!(decide(&[Int, String]), AttributeKind::String);
        assert_eq!(decide(&[Bytes]), AttributeKind::String);
        assert_eq!(AttributeKind::decide(TypeMask(u16::MAX)), AttributeKind::String);
    }
}
