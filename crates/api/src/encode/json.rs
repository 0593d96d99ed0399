//! One Arrow value as JSON text. The rules, which the OpenAPI document repeats:
//!
//! - 64-bit integers outside ±(2^53 − 1) are decimal strings, because a JavaScript number cannot hold them; all others are numbers.
//! - `NaN`, `Infinity` and `-Infinity` are strings of those names.
//! - Timestamps are RFC 3339 in UTC with nine fractional digits; durations are whole numbers of nanoseconds.
//! - Fixed-size binary (trace and span ids) is lower-case hexadecimal, other binary is base64; decimals are strings.
//! - Columns that hold JSON (attribute sets) are that JSON, not a string of it.
//! - Lists are arrays; structs and maps are objects (a repeated map key keeps its last value for most readers).

use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    Field, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base64::Engine as _;
use chrono::{DateTime, SecondsFormat};
use cupola_query::is_json;

use crate::attribute_value;

/// Largest magnitude a JSON number keeps exactly in every reader (2^53 − 1).
pub(crate) const INTEGER_EXACT_MAX: u64 = (1 << 53) - 1;

/// Lists in structs in maps …: deeper than this is printed as text. Our own tables nest four levels.
const NESTING_MAX: usize = 32;

/// Appends the value at `row` of the column `field` as JSON.
pub(crate) fn write_value(out: &mut String, field: &Field, array: &dyn Array, row: usize) {
    write_field(out, field, array, row, 0);
}

fn write_field(out: &mut String, field: &Field, array: &dyn Array, row: usize, depth: usize) {
    if is_json(field)
        && array.is_valid(row)
        && let Some(text) = text_at(array, row)
        && let Some(json) = attribute_value::exact(text)
    {
        out.push_str(&json);
        return;
    }
    write_nested(out, array, row, depth);
}

fn text_at(array: &dyn Array, row: usize) -> Option<&str> {
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Some(array.as_string_view().value(row)),
        _ => None,
    }
}

fn write_nested(out: &mut String, array: &dyn Array, row: usize, depth: usize) {
    if array.is_null(row) {
        out.push_str("null");
        return;
    }
    match array.data_type() {
        DataType::Null => out.push_str("null"),
        DataType::Boolean => out.push_str(if array.as_boolean().value(row) {
            "true"
        } else {
            "false"
        }),
        DataType::Int8 => write_i64(out, array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => write_i64(out, array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => write_i64(out, array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => write_i64(out, array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => write_u64(out, array.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => write_u64(out, array.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => write_u64(out, array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt64 => write_u64(out, array.as_primitive::<UInt64Type>().value(row)),
        DataType::Float16 => write_f64(out, f64::from(array.as_primitive::<Float16Type>().value(row))),
        DataType::Float32 => write_f32(out, array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => write_f64(out, array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => write_string(out, array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => write_string(out, array.as_string::<i64>().value(row)),
        DataType::Utf8View => write_string(out, array.as_string_view().value(row)),
        DataType::FixedSizeBinary(_) => {
            write_string(out, &hex::encode(array.as_fixed_size_binary().value(row)))
        }
        DataType::Binary => write_base64(out, array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => write_base64(out, array.as_binary::<i64>().value(row)),
        DataType::BinaryView => write_base64(out, array.as_binary_view().value(row)),
        DataType::Timestamp(unit, _) => write_timestamp(out, array, row, *unit),
        DataType::Duration(unit) => write_duration(out, array, row, *unit),
        _ if depth >= NESTING_MAX => write_display(out, array, row),
        DataType::List(item) => write_list(out, item, &array.as_list::<i32>().value(row), depth),
        DataType::LargeList(item) => write_list(out, item, &array.as_list::<i64>().value(row), depth),
        DataType::FixedSizeList(item, _) => {
            write_list(out, item, &array.as_fixed_size_list().value(row), depth)
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct();
            out.push('{');
            for (index, field) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(out, field.name());
                out.push(':');
                write_field(out, field, columns.column(index), row, depth + 1);
            }
            out.push('}');
        }
        DataType::Map(_, _) => write_map(out, array, row, depth),
        DataType::Dictionary(_, _) => {
            // Of the one row: normalizing is of all rows of an array.
            let row = array.slice(row, 1);
            let dictionary = row.as_any_dictionary();
            let key = dictionary.normalized_keys()[0];
            write_nested(out, dictionary.values().as_ref(), key, depth + 1);
        }
        _ => write_display(out, array, row),
    }
}

fn write_list(out: &mut String, field: &Field, items: &ArrayRef, depth: usize) {
    out.push('[');
    for item in 0..items.len() {
        if item > 0 {
            out.push(',');
        }
        write_field(out, field, items, item, depth + 1);
    }
    out.push(']');
}

fn write_map(out: &mut String, array: &dyn Array, row: usize, depth: usize) {
    let entries = array.as_map().value(row);
    let (keys, values) = (entries.column(0), entries.column(1));
    out.push('{');
    for entry in 0..entries.len() {
        if entry > 0 {
            out.push(',');
        }
        let mut key = String::new();
        write_nested(&mut key, keys, entry, depth + 1);
        if key.starts_with('"') {
            out.push_str(&key);
        } else {
            write_string(out, &key);
        }
        out.push(':');
        write_nested(out, values, entry, depth + 1);
    }
    out.push('}');
}

fn write_timestamp(out: &mut String, array: &dyn Array, row: usize, unit: TimeUnit) {
    let (value, scale) = match unit {
        TimeUnit::Second => (
            array.as_primitive::<TimestampSecondType>().value(row),
            1_000_000_000_i64,
        ),
        TimeUnit::Millisecond => (
            array.as_primitive::<TimestampMillisecondType>().value(row),
            1_000_000,
        ),
        TimeUnit::Microsecond => (array.as_primitive::<TimestampMicrosecondType>().value(row), 1_000),
        TimeUnit::Nanosecond => (array.as_primitive::<TimestampNanosecondType>().value(row), 1),
    };
    match value.checked_mul(scale) {
        Some(nanoseconds) => {
            out.push('"');
            out.push_str(&rfc3339(nanoseconds));
            out.push('"');
        }
        // Outside the years 1677 to 2262: coarser units reach further than nanoseconds do.
        None => write_display(out, array, row),
    }
}

/// RFC 3339 in UTC with nanoseconds.
pub(crate) fn rfc3339(nanoseconds: i64) -> String {
    DateTime::from_timestamp_nanos(nanoseconds).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

fn write_duration(out: &mut String, array: &dyn Array, row: usize, unit: TimeUnit) {
    let (value, scale) = match unit {
        TimeUnit::Second => (
            array.as_primitive::<DurationSecondType>().value(row),
            1_000_000_000_i64,
        ),
        TimeUnit::Millisecond => (
            array.as_primitive::<DurationMillisecondType>().value(row),
            1_000_000,
        ),
        TimeUnit::Microsecond => (array.as_primitive::<DurationMicrosecondType>().value(row), 1_000),
        TimeUnit::Nanosecond => (array.as_primitive::<DurationNanosecondType>().value(row), 1),
    };
    write_i64(out, value.saturating_mul(scale));
}

fn write_i64(out: &mut String, value: i64) {
    let quote = value.unsigned_abs() > INTEGER_EXACT_MAX;
    write_quoted_if(out, quote, value);
}

fn write_u64(out: &mut String, value: u64) {
    write_quoted_if(out, value > INTEGER_EXACT_MAX, value);
}

fn write_quoted_if(out: &mut String, quote: bool, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = if quote {
        write!(out, "\"{value}\"")
    } else {
        write!(out, "{value}")
    };
}

fn write_f64(out: &mut String, value: f64) {
    if value.is_finite() {
        // `{:?}` is the shortest text that reads back as the same double, with a decimal point or exponent.
        let _ = write!(out, "{value:?}");
        return;
    }
    write_not_finite(out, value);
}

fn write_f32(out: &mut String, value: f32) {
    if value.is_finite() {
        let _ = write!(out, "{value:?}");
        return;
    }
    write_not_finite(out, f64::from(value));
}

fn write_not_finite(out: &mut String, value: f64) {
    out.push_str(if value.is_nan() {
        "\"NaN\""
    } else if value > 0.0 {
        "\"Infinity\""
    } else {
        "\"-Infinity\""
    });
}

fn write_base64(out: &mut String, bytes: &[u8]) {
    out.push('"');
    base64::engine::general_purpose::STANDARD.encode_string(bytes, out);
    out.push('"');
}

/// Whatever has no rule of its own, as Arrow prints it, in quotes.
fn write_display(out: &mut String, array: &dyn Array, row: usize) {
    let options = FormatOptions::default();
    let text = ArrayFormatter::try_new(array, &options).map(|formatter| formatter.value(row).to_string());
    match text {
        Ok(text) => write_string(out, &text),
        Err(_) => out.push_str("null"),
    }
}

/// Appends `text` as a JSON string.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut clean_from = 0;
    for (position, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[clean_from..position]);
        clean_from = position + 1;
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&text[clean_from..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        FixedSizeBinaryArray, Float64Array, Int64Array, StringArray, TimestampNanosecondArray, UInt64Array,
    };

    use super::*;

    fn check(array: ArrayRef, expected: &[&str]) {
        let field = Field::new("column", array.data_type().clone(), true);
        for (row, expected) in expected.iter().enumerate() {
            let mut out = String::new();
            write_value(&mut out, &field, &array, row);
            assert_eq!(&out, expected, "row {row}");
            serde_json::from_str::<serde_json::Value>(&out).unwrap();
        }
    }

    #[test]
    fn integers_beyond_a_double_are_strings() {
        let edge = INTEGER_EXACT_MAX as i64;
        check(
            Arc::new(Int64Array::from(vec![
                Some(edge),
                Some(edge + 1),
                Some(-edge - 1),
                Some(i64::MIN),
                None,
            ])),
            &[
                "9007199254740991",
                "\"9007199254740992\"",
                "\"-9007199254740992\"",
                "\"-9223372036854775808\"",
                "null",
            ],
        );
        check(
            Arc::new(UInt64Array::from(vec![7, u64::MAX])),
            &["7", "\"18446744073709551615\""],
        );
    }

    #[test]
    fn doubles_without_a_number_are_named() {
        check(
            Arc::new(Float64Array::from(vec![
                f64::NAN,
                f64::INFINITY,
                f64::NEG_INFINITY,
                0.1,
                1e300,
                -0.0,
            ])),
            &["\"NaN\"", "\"Infinity\"", "\"-Infinity\"", "0.1", "1e300", "-0.0"],
        );
    }

    #[test]
    fn times_keep_their_nanoseconds() {
        check(
            Arc::new(TimestampNanosecondArray::from(vec![1_700_000_000_123_456_789]).with_timezone("UTC")),
            &["\"2023-11-14T22:13:20.123456789Z\""],
        );
    }

    #[test]
    fn text_is_escaped_and_ids_are_hexadecimal() {
        check(
            Arc::new(StringArray::from(vec!["a\"b\\c\n\u{1}é", ""])),
            &["\"a\\\"b\\\\c\\n\\u0001é\"", "\"\""],
        );
        let ids = FixedSizeBinaryArray::try_from_iter([[0xab_u8; 8]].into_iter()).unwrap();
        check(Arc::new(ids), &["\"abababababababab\""]);
    }
}
