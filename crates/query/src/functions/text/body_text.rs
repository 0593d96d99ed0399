//! `body_text(body, body_type)`: a log body as text; structured bodies as plain JSON. Made by the adapter only.

use std::sync::Arc;

use arrow::array::{Array, AsArray, StringViewBuilder};
use arrow::datatypes::{DataType, Int8Type};
use cupola_store::schema::ValueType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use crate::functions::attributes::stored_text;
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
        let mut out = StringViewBuilder::with_capacity(texts.len());
        for (text, tag) in texts.iter().zip(tags) {
            match (text, tag) {
                (Some(text), Some(tag)) if structured(&tag) => out.append_option(stored_text(tag, text)),
                (text, _) => out.append_option(text),
            }
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}
