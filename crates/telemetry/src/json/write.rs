//! Canonical protobuf to OTLP/JSON by the schema, and values to plain JSON.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::decode::NESTING_MAX;
use crate::schema::{Field, Kind, Message};
use crate::view::AnyValue;
use crate::wire::{LENGTH, Reader, text};

/// Appends `bytes`, a canonical `message`, as a JSON object. Unknown fields are left out.
pub(super) fn write_message(out: &mut String, message: &'static Message, bytes: &[u8], depth: usize) {
    out.push('{');
    // Canonical bytes are not nested deeper; this keeps trusted bytes that are not canonical from the stack's end.
    if depth <= NESTING_MAX {
        write_fields(out, message, bytes, depth);
    }
    out.push('}');
}

fn write_fields(out: &mut String, message: &'static Message, bytes: &[u8], depth: usize) {
    let mut reader = Reader::new(bytes);
    let mut seen = 0u32;
    let mut before = reader.rest();
    while let Some(key) = reader.key() {
        let number = key >> 3;
        let Some(field) = message.field(number) else {
            reader.skip(key);
            before = reader.rest();
            continue;
        };
        let first = seen & 1 << number == 0;
        if first {
            if seen != 0 {
                out.push(',');
            }
            seen |= 1 << number;
            out.push('"');
            out.push_str(field.json);
            out.push_str("\":");
        }
        match (field.repeated(), field.kind) {
            (false, kind) => write_value(out, kind, &mut reader, depth),
            (true, Kind::Message(_) | Kind::String) => {
                reader.bytes();
                if first {
                    write_elements(out, field, before, depth);
                }
            }
            (true, kind) => write_packed(out, kind, reader.bytes(), depth),
        }
        before = reader.rest();
    }
}

/// All occurrences of a repeated field, the first at the start of `rest`.
fn write_elements(out: &mut String, field: &Field, rest: &[u8], depth: usize) {
    let mut reader = Reader::new(rest);
    let mut separator = '[';
    while let Some(key) = reader.key() {
        if key == field.number << 3 | LENGTH {
            out.push(separator);
            separator = ',';
            write_value(out, field.kind, &mut reader, depth);
        } else {
            reader.skip(key);
        }
    }
    out.push(']');
}

fn write_packed(out: &mut String, kind: Kind, packed: &[u8], depth: usize) {
    let mut reader = Reader::new(packed);
    out.push('[');
    while !reader.rest().is_empty() {
        if reader.rest().len() != packed.len() {
            out.push(',');
        }
        write_value(out, kind, &mut reader, depth);
    }
    out.push(']');
}

fn write_value(out: &mut String, kind: Kind, reader: &mut Reader<'_>, depth: usize) {
    match kind {
        Kind::Message(nested) => write_message(out, nested, reader.bytes(), depth + 1),
        Kind::String => write_string(out, text(reader.bytes())),
        Kind::Id(_) => write_hex(out, reader.bytes()),
        Kind::Bytes => write_base64(out, reader.bytes()),
        Kind::Bool => out.push_str(if reader.varint() != 0 { "true" } else { "false" }),
        Kind::Double => write_double(out, reader.double()),
        Kind::Fixed64 => write_quoted(out, reader.fixed64()),
        Kind::Sfixed64 => write_quoted(out, reader.fixed64() as i64),
        Kind::Uint64 => write_quoted(out, reader.varint()),
        Kind::Int64 => write_quoted(out, reader.varint() as i64),
        Kind::Fixed32 => write_display(out, reader.fixed32()),
        Kind::Uint32 => write_display(out, reader.varint() as u32),
        Kind::Int32 | Kind::Enum => write_display(out, reader.varint() as i32),
        Kind::Sint32 => write_display(out, reader.sint32()),
    }
}

/// Appends a value as plain JSON.
pub(super) fn write_plain(out: &mut String, value: AnyValue<'_>, depth: usize) {
    match value {
        _ if depth > NESTING_MAX => out.push_str("null"),
        AnyValue::Empty => out.push_str("null"),
        AnyValue::String(text) => write_string(out, text),
        AnyValue::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        AnyValue::Int(value) => write_display(out, value),
        AnyValue::Double(value) => write_double(out, value),
        AnyValue::Bytes(bytes) => write_base64(out, bytes),
        AnyValue::StringIndex(index) => write_display(out, index),
        AnyValue::Array(values) => {
            out.push('[');
            for (index, value) in values.enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_plain(out, value, depth + 1);
            }
            out.push(']');
        }
        AnyValue::KeyValueList(pairs) => {
            out.push('{');
            for (index, pair) in pairs.enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(out, pair.key);
                out.push(':');
                write_plain(out, pair.value, depth + 1);
            }
            out.push('}');
        }
    }
}

pub(super) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut plain_from = 0;
    for (index, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        // An ASCII byte: both its sides are character boundaries.
        out.push_str(text.get(plain_from..index).unwrap_or_default());
        plain_from = index + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => {
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
    }
    out.push_str(text.get(plain_from..).unwrap_or_default());
    out.push('"');
}

/// The shortest digits that read back as the same double; what JSON has no number for as text.
fn write_double(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("\"NaN\"");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 {
            "\"Infinity\""
        } else {
            "\"-Infinity\""
        });
    } else {
        // Debug, for it turns to exponents where digits would be many.
        let _ = write!(out, "{value:?}");
    }
}

fn write_quoted(out: &mut String, value: impl std::fmt::Display) {
    let _ = write!(out, "\"{value}\"");
}

fn write_display(out: &mut String, value: impl std::fmt::Display) {
    let _ = write!(out, "{value}");
}

fn write_hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push('"');
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out.push('"');
}

fn write_base64(out: &mut String, bytes: &[u8]) {
    out.push('"');
    STANDARD.encode_string(bytes, out);
    out.push('"');
}
