//! `hex_text(id)`: bytes as lower-case hexadecimal text. Made by the adapter only, where an id is shown; comparisons
//! with constants are made on the bytes, so that statistics and bloom filters prune.

use std::sync::Arc;

use arrow::array::{Array, AsArray, StringViewArray, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use crate::functions::support::{ANY_ARGUMENTS, array_argument};

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct HexText;

impl ScalarUDFImpl for HexText {
    fn name(&self) -> &str {
        "hex_text"
    }

    fn signature(&self) -> &Signature {
        &ANY_ARGUMENTS
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = array_argument(&args, 0)?;
        match hex_array(&array) {
            Some(texts) => Ok(ColumnarValue::Array(Arc::new(texts))),
            None => exec_err!("hex_text expects ids, found {}", array.data_type()),
        }
    }
}

/// Ids as text; `None` when the array holds no ids.
pub(crate) fn hex_array(array: &dyn Array) -> Option<StringViewArray> {
    let ids = array.as_fixed_size_binary_opt()?;
    let mut out = StringViewBuilder::with_capacity(ids.len());
    let mut text = [0u8; 64];
    for id in ids {
        match id {
            Some(id) if id.len() * 2 <= text.len() => {
                let text = &mut text[..id.len() * 2];
                hex::encode_to_slice(id, text).ok()?;
                out.append_value(std::str::from_utf8(text).ok()?);
            }
            _ => out.append_null(),
        }
    }
    Some(out.finish())
}

/// The bytes of an id written as text, upper or lower case; `None` unless it has exactly `length` bytes.
pub(crate) fn id_bytes(text: &str, length: usize) -> Option<Vec<u8>> {
    (text.len() == length * 2)
        .then(|| hex::decode(text).ok())
        .flatten()
}
