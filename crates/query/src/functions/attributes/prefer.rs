//! `prefer(a, b)`: `a` where it has a value, `b` elsewhere; and `column_text(a)`: a promoted column as text.
//! Made by the adapter only.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::compute::{is_not_null, kernels::zip::zip};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use crate::functions::support::{ANY_ARGUMENTS, array_argument, push_double};

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Prefer;

impl ScalarUDFImpl for Prefer {
    fn name(&self) -> &str {
        "prefer"
    }

    fn signature(&self) -> &Signature {
        &ANY_ARGUMENTS
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [first, _] => Ok(first.clone()),
            _ => exec_err!("prefer takes two arguments"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let first = array_argument(&args, 0)?;
        if first.null_count() == 0 {
            return Ok(ColumnarValue::Array(first));
        }
        let second = array_argument(&args, 1)?;
        if second.null_count() == second.len() {
            return Ok(ColumnarValue::Array(first));
        }
        if first.null_count() == first.len() {
            return Ok(ColumnarValue::Array(second));
        }
        Ok(ColumnarValue::Array(zip(&is_not_null(&first)?, &first, &second)?))
    }
}

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ColumnText;

impl ScalarUDFImpl for ColumnText {
    fn name(&self) -> &str {
        "column_text"
    }

    fn signature(&self) -> &Signature {
        &ANY_ARGUMENTS
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = array_argument(&args, 0)?;
        Ok(ColumnarValue::Array(column_text(&array)?))
    }
}

fn column_text(array: &ArrayRef) -> Result<ArrayRef> {
    let mut out = StringViewBuilder::with_capacity(array.len());
    match array.data_type() {
        DataType::Utf8View => return Ok(Arc::clone(array)),
        DataType::Int64 => {
            for value in array.as_primitive::<Int64Type>() {
                out.append_option(value.map(|value| value.to_string()));
            }
        }
        DataType::Float64 => {
            let mut text = String::new();
            for value in array.as_primitive::<Float64Type>() {
                text.clear();
                match value {
                    Some(value) => {
                        push_double(&mut text, value);
                        out.append_value(&text);
                    }
                    None => out.append_null(),
                }
            }
        }
        DataType::Boolean => {
            for value in array.as_boolean() {
                out.append_option(value.map(|value| if value { "true" } else { "false" }));
            }
        }
        other => return exec_err!("column_text does not read {other}"),
    }
    Ok(Arc::new(out.finish()))
}
