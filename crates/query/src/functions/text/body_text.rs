//! `body_text(body, body_type)`: a log body as text; structured bodies as plain JSON. Made by the adapter only.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, StringViewArray, make_view};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Int8Type};
use cupola_store::schema::ValueType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use crate::functions::json::plain_json;
use crate::functions::support::{ANY_ARGUMENTS, array_argument};

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct BodyText;

impl ScalarUDFImpl for BodyText {
    fn name(&self) -> &str {
        "body_text"
    }

    fn signature(&self) -> &Signature {
        &ANY_ARGUMENTS
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bodies = array_argument(&args, 0)?;
        let types = array_argument(&args, 1)?;
        let (Some(texts), Some(tags)) = (bodies.as_string_view_opt(), types.as_primitive_opt::<Int8Type>())
        else {
            return exec_err!("body_text got {} and {}", bodies.data_type(), types.data_type());
        };
        // Doubles are stored as their shortest digits already; only lists and arrays read differently.
        let structured = |tag: &i8| *tag == ValueType::Array.tag() || *tag == ValueType::List.tag();
        if !tags.values().iter().any(structured) {
            return Ok(ColumnarValue::Array(bodies));
        }
        Ok(ColumnarValue::Array(Arc::new(with_plain_json(texts, |row| {
            tags.is_valid(row) && structured(&tags.value(row))
        }))))
    }
}

/// Bytes of plain JSON in one buffer: views count them in 32 bits.
const BUFFER_BYTES_MAX: usize = 64 << 20;

/// The same texts, without a copy, but for those that are structured. Rows that share a text still do.
fn with_plain_json(texts: &StringViewArray, is_structured: impl Fn(usize) -> bool) -> StringViewArray {
    let mut views = texts.views().to_vec();
    let mut buffers = texts.data_buffers().to_vec();
    let mut written = String::new();
    let mut known: HashMap<u128, u128> = HashMap::new();
    for (row, view) in views.iter_mut().enumerate() {
        if !texts.is_valid(row) || !is_structured(row) {
            continue;
        }
        *view = *known.entry(*view).or_insert_with(|| {
            if written.len() > BUFFER_BYTES_MAX {
                buffers.push(Buffer::from(std::mem::take(&mut written).into_bytes()));
            }
            let start = written.len();
            written.push_str(&plain_json(texts.value(row)));
            make_view(&written.as_bytes()[start..], buffers.len() as u32, start as u32)
        });
    }
    buffers.push(Buffer::from(written.into_bytes()));
    // SAFETY: a view is one of `texts` over the buffers it had, or one of a whole string in a buffer added behind them.
    // That string begins before `BUFFER_BYTES_MAX` and is no longer than a text of `texts`, which a view counts in 32 bits.
    unsafe { StringViewArray::new_unchecked(views.into(), buffers, texts.nulls().cloned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structured_bodies_read_as_plain_json_and_others_as_they_are() {
        let list = r#"{"arrayValue":{"values":[{"intValue":"1"},{"stringValue":"a long text that is not inline"}]}}"#;
        let texts = StringViewArray::from(vec![
            Some("short"),
            Some(list),
            None,
            Some("a text that is longer than a view"),
            Some(list),
            Some(r#"{"arrayValue":{}}"#),
        ]);
        let plain = with_plain_json(&texts, |row| [1, 2, 4, 5].contains(&row));
        let found: Vec<_> = plain.iter().collect();
        let list = r#"[1,"a long text that is not inline"]"#;
        assert_eq!(
            found,
            [
                Some("short"),
                Some(list),
                None,
                Some("a text that is longer than a view"),
                Some(list),
                Some("[]")
            ]
        );
        plain.to_data().validate_full().unwrap();
    }
}
