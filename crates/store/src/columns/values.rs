//! The text form of attribute values in maps, and back: a tag and a text that together give the exact value.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cupola_telemetry::json;
use cupola_telemetry::view::AnyValue;

use crate::schema::ValueType;

/// The type of a value.
#[inline]
pub(crate) fn value_type(value: &AnyValue<'_>) -> ValueType {
    match value {
        AnyValue::Empty => ValueType::Empty,
        AnyValue::String(_) => ValueType::String,
        AnyValue::Bool(_) => ValueType::Bool,
        AnyValue::Int(_) => ValueType::Int,
        AnyValue::Double(_) => ValueType::Double,
        AnyValue::Bytes(_) => ValueType::Bytes,
        AnyValue::Array(_) => ValueType::Array,
        AnyValue::KeyValueList(_) => ValueType::List,
        AnyValue::StringIndex(_) => ValueType::StringIndex,
    }
}

/// The type and text of a value; `scratch` holds the text unless it is on the wire as such.
#[inline]
pub(crate) fn describe<'t>(value: AnyValue<'t>, scratch: &'t mut String) -> (ValueType, &'t str) {
    if let AnyValue::String(text) = value {
        return (ValueType::String, text);
    }
    scratch.clear();
    write_text(value, scratch);
    (value_type(&value), scratch)
}

fn write_text(value: AnyValue<'_>, out: &mut String) {
    // Writing to a String cannot fail.
    let mut number = |arguments: std::fmt::Arguments<'_>| {
        let _ = std::fmt::Write::write_fmt(out, arguments);
    };
    match value {
        AnyValue::Empty => {}
        AnyValue::String(text) => out.push_str(text),
        AnyValue::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        AnyValue::Int(value) => number(format_args!("{value}")),
        AnyValue::StringIndex(value) => number(format_args!("{value}")),
        AnyValue::Double(value) => out.push_str(ryu::Buffer::new().format(value)),
        AnyValue::Bytes(bytes) => STANDARD.encode_string(bytes, out),
        AnyValue::Array(_) | AnyValue::KeyValueList(_) => json::write_any_value(out, value),
    }
}
