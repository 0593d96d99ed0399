//! `status_severity(status_code)`: the severity number a span has among records. Made by the adapter only.

use std::sync::Arc;

use arrow::array::{AsArray, Int32Array};
use arrow::datatypes::{DataType, Int32Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use crate::functions::support::{ANY_ARGUMENTS, array_argument};

/// `status_code` of a failed span.
pub(crate) const STATUS_ERROR: i32 = 2;
/// Severity of a failed span: the least of `error`.
pub(crate) const SEVERITY_ERROR: i32 = 17;
/// Severity of any other span: the least of `info`.
pub(crate) const SEVERITY_INFO: i32 = 9;

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct StatusSeverity;

impl ScalarUDFImpl for StatusSeverity {
    fn name(&self) -> &str {
        "status_severity"
    }

    fn signature(&self) -> &Signature {
        &ANY_ARGUMENTS
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = array_argument(&args, 0)?;
        let Some(codes) = array.as_primitive_opt::<Int32Type>() else {
            return exec_err!("status_severity does not read {}", array.data_type());
        };
        let severities: Int32Array = codes.unary(|code| {
            if code == STATUS_ERROR {
                SEVERITY_ERROR
            } else {
                SEVERITY_INFO
            }
        });
        Ok(ColumnarValue::Array(Arc::new(severities)))
    }
}
