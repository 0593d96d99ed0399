//! `json_get(json, key)` and `json_get_text(json, key)`: one member of JSON text, what `->` and `->>` mean on JSON.
//!
//! A text key names a member of an object, an integer an element of an array (from the end when negative), as in
//! PostgreSQL. Text that is not JSON has no members.

use std::sync::Arc;

use arrow::array::StringViewBuilder;
use arrow::array::{Array, StringViewArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
};
use serde_json::Value;

use crate::functions::support::{ANY_ARGUMENTS, check_arity, literal_text, text_argument};
use crate::tables::metadata;

/// `json_get` when `as_text` is false, `json_get_text` otherwise.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct JsonGet {
    as_text: bool,
}

impl JsonGet {
    pub(crate) fn new(as_text: bool) -> JsonGet {
        JsonGet { as_text }
    }
}

enum Step {
    Member(String),
    Element(i64),
}

impl ScalarUDFImpl for JsonGet {
    fn name(&self) -> &str {
        if self.as_text { "json_get_text" } else { "json_get" }
    }

    fn signature(&self) -> &Signature {
        &ANY_ARGUMENTS
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        check_arity(self.name(), args.arg_fields.len(), 2)?;
        let field = Field::new(self.name(), DataType::Utf8View, true);
        Ok(Arc::new(if self.as_text {
            field
        } else {
            metadata::mark_json(field)
        }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let step = match args.args.get(1) {
            Some(ColumnarValue::Scalar(value)) => match (literal_text(value), value) {
                (Some(key), _) => Step::Member(key.to_owned()),
                (None, ScalarValue::Int64(Some(index))) => Step::Element(*index),
                (None, ScalarValue::Int32(Some(index))) => Step::Element(i64::from(*index)),
                _ => return exec_err!("{} expects a constant key or index", self.name()),
            },
            _ => return exec_err!("{} expects a constant key or index", self.name()),
        };
        let texts = text_argument(&args, 0)?;
        Ok(ColumnarValue::Array(Arc::new(self.get_all(&texts, &step))))
    }
}

impl JsonGet {
    fn get_all(&self, texts: &StringViewArray, step: &Step) -> StringViewArray {
        let mut out = StringViewBuilder::with_capacity(texts.len());
        for text in texts {
            out.append_option(text.and_then(|text| self.get(text, step)));
        }
        out.finish()
    }

    fn get(&self, text: &str, step: &Step) -> Option<String> {
        let value = match step {
            Step::Member(key) => member(text, key)?,
            Step::Element(index) => element(serde_json::from_str(text).ok()?, *index)?,
        };
        match value {
            Value::Null if self.as_text => None,
            Value::String(text) if self.as_text => Some(text),
            other => Some(other.to_string()),
        }
    }
}

fn element(value: Value, index: i64) -> Option<Value> {
    let Value::Array(mut values) = value else {
        return None;
    };
    let length = i64::try_from(values.len()).ok()?;
    let at = if index < 0 { length + index } else { index };
    let at = usize::try_from(at).ok().filter(|at| *at < values.len())?;
    Some(values.swap_remove(at))
}

/// The first member `key` of the object in `text`, without building the others.
pub(crate) fn member(text: &str, key: &str) -> Option<Value> {
    use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

    struct Seek<'k>(&'k str);
    impl<'de> Visitor<'de> for Seek<'_> {
        type Value = Option<Value>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                if found.is_none() && name == self.0 {
                    found = Some(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }
    impl<'de> DeserializeSeed<'de> for Seek<'_> {
        type Value = Option<Value>;
        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_map(self)
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(text);
    Seek(key).deserialize(&mut deserializer).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_elements_are_found() {
        let json = JsonGet::new(false);
        let text = JsonGet::new(true);
        let member = |key: &str| Step::Member(key.to_owned());
        let object = r#"{"a":"x","b":[1,2,3],"c":null,"d.e":1.50}"#;
        assert_eq!(json.get(object, &member("a")).as_deref(), Some("\"x\""));
        assert_eq!(text.get(object, &member("a")).as_deref(), Some("x"));
        assert_eq!(json.get(object, &member("b")).as_deref(), Some("[1,2,3]"));
        assert_eq!(text.get(object, &member("c")), None);
        assert_eq!(json.get(object, &member("c")).as_deref(), Some("null"));
        assert_eq!(text.get(object, &member("d.e")).as_deref(), Some("1.5"));
        assert_eq!(text.get(object, &member("none")), None);
        assert_eq!(text.get("[1,2,3]", &Step::Element(-1)).as_deref(), Some("3"));
        assert_eq!(text.get("not json", &member("a")), None);
    }
}
