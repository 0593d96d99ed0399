//! OTLP/JSON, both ways, driven by the same table as the protobuf decoder.
//!
//! Read and written as the specification says: ids in hex of either case, other bytes in base64, enums as
//! numbers only, 64-bit integers as text (numbers are read too), NaN and infinities as text, lowerCamelCase
//! names, unknown fields ignored, null is the default. A key given twice and two members of a oneof are
//! refused. <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>
//!
//! Also renders values for people, which cannot be read back.

mod read;
mod write;

use bytes::Bytes;

use crate::decode::DecodeError;
use crate::output::Room;
use crate::view::AnyValue;
use crate::{Signal, schema};

/// The canonical bytes of an export request in OTLP/JSON, and its number of items.
pub(crate) fn decode_request(
    signal: Signal,
    body: &[u8],
    room: &mut Room<'_>,
) -> Result<(Bytes, usize), DecodeError> {
    read::read(schema::request(signal), body, room)
}

/// A canonical export request as OTLP/JSON.
pub(crate) fn encode_request(signal: Signal, payload: &[u8]) -> String {
    // JSON is about twice as long as protobuf.
    let mut out = String::with_capacity(payload.len() * 2);
    write::write_message(&mut out, schema::request(signal), payload, 0);
    out
}

/// A value as OTLP/JSON, as `{"intValue":"5"}`: exact, [`parse_any_value`] reads it back.
pub fn any_value(value: AnyValue<'_>) -> String {
    let mut out = String::new();
    write_any_value(&mut out, value);
    out
}

/// Appends what [`any_value`] gives.
pub fn write_any_value(out: &mut String, value: AnyValue<'_>) {
    write::write_message(out, &schema::ANY_VALUE, &crate::encode::any_value(value), 0);
}

/// Reads a value in OTLP/JSON into the canonical bytes of an `AnyValue`; view them with [`AnyValue::parse`].
pub fn parse_any_value(text: &str) -> Result<Vec<u8>, DecodeError> {
    let (bytes, _) = read::read(&schema::ANY_VALUE, text.as_bytes(), &mut Room::unlimited())?;
    Ok(bytes.into())
}

/// A value as plain JSON, as people write it: `{"user":"a","tries":[1,2]}`. Types get lost: bytes become base64
/// text, NaN and infinities text.
pub fn plain(value: AnyValue<'_>) -> String {
    let mut out = String::new();
    write_plain(&mut out, value);
    out
}

/// The text of [`any_value`] as plain JSON. Other text passes as it is.
pub fn plain_of_stored(text: &str) -> String {
    match parse_any_value(text) {
        Ok(bytes) => plain(AnyValue::parse(&bytes)),
        Err(_) => text.to_owned(),
    }
}

/// Appends what [`plain`] gives.
pub fn write_plain(out: &mut String, value: AnyValue<'_>) {
    write::write_plain(out, value, 0);
}

/// Appends `text` as a JSON string, quoted and escaped.
pub fn write_string(out: &mut String, text: &str) {
    write::write_string(out, text);
}
