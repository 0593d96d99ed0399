//! What the functions share: signatures, argument access, number and JSON text.
//!
//! Refuses: SQL semantics. Those are in one file per function.

use std::sync::LazyLock;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, Signature, Volatility};

/// Any arguments: of functions that only the scan adapter makes, and of those that check their arguments themselves.
pub(crate) static ANY_ARGUMENTS: LazyLock<Signature> =
    LazyLock::new(|| Signature::variadic_any(Volatility::Immutable));

/// Refuses a call with another number of arguments, at planning.
pub(crate) fn check_arity(name: &str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    plan_err!("{name} takes {expected} argument(s), not {found}")
}

/// Argument `index` as an array of as many rows as the batch has.
pub(crate) fn array_argument(args: &ScalarFunctionArgs, index: usize) -> Result<ArrayRef> {
    match args.args.get(index) {
        Some(value) => value.to_array(args.number_rows),
        None => exec_err!("argument {} is missing", index + 1),
    }
}

/// Argument `index` as text of one layout.
pub(crate) fn text_argument(args: &ScalarFunctionArgs, index: usize) -> Result<StringViewArray> {
    let array = array_argument(args, index)?;
    text_array(&array)
}

/// Any string array, or null, as views.
pub(crate) fn text_array(array: &ArrayRef) -> Result<StringViewArray> {
    if let Some(views) = array.as_string_view_opt() {
        return Ok(views.clone());
    }
    let cast = arrow::compute::cast(array, &DataType::Utf8View)?;
    match cast.as_string_view_opt() {
        Some(views) => Ok(views.clone()),
        None => exec_err!("expected text, found {}", array.data_type()),
    }
}

/// The text of a literal; `None` when it is no text or null.
pub(crate) fn literal_text(value: &ScalarValue) -> Option<&str> {
    value.try_as_str().flatten()
}

/// The constant text argument `index`.
pub(crate) fn constant_text<'a>(args: &'a ScalarFunctionArgs, index: usize, what: &str) -> Result<&'a str> {
    match args.args.get(index) {
        Some(ColumnarValue::Scalar(value)) if literal_text(value).is_some() => {
            literal_text(value).ok_or_else(|| DataFusionError::Internal("text vanished".to_owned()))
        }
        _ => exec_err!("{what} must be a constant text"),
    }
}

/// A double as text: the shortest digits that give the same number back; `NaN`, `Infinity` and `-Infinity` otherwise.
pub(crate) fn push_double(out: &mut String, value: f64) {
    if value.is_finite() {
        out.push_str(ryu::Buffer::new().format_finite(value));
    } else if value.is_nan() {
        out.push_str("NaN");
    } else if value > 0.0 {
        out.push_str("Infinity");
    } else {
        out.push_str("-Infinity");
    }
}

/// A double as a JSON value: a number, or text where JSON has no number.
pub(crate) fn push_json_double(out: &mut String, value: f64) {
    if value.is_finite() {
        push_double(out, value);
    } else {
        out.push('"');
        push_double(out, value);
        out.push('"');
    }
}

/// Text as a JSON string, quotes included.
pub(crate) fn push_json_text(out: &mut String, text: &str) {
    out.push('"');
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[plain_from..at]);
        if escape.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        } else {
            out.push_str(escape);
        }
        plain_from = at + 1;
    }
    out.push_str(&text[plain_from..]);
    out.push('"');
}
