//! Scalars of OTLP/JSON: numbers and text, each in the ways the specification allows.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserialize, Deserializer, Unexpected, Visitor};
use serde_json::value::RawValue;

use super::Target;
use crate::decode::Problem;
use crate::schema::Kind;
use crate::wire::{FIXED32, FIXED64, LENGTH, VARINT, write_key, write_varint, zigzag32};

/// A scalar as read. Which one a kind gives is fixed: `Number` holds the bits of every number and bool.
#[derive(Default)]
pub(super) enum Scalar<'de> {
    #[default]
    Default,
    Number(u64),
    Text(Cow<'de, str>),
    Bytes(Vec<u8>),
}

impl Scalar<'_> {
    /// Whether it is what absence means.
    pub(super) fn is_default(&self) -> bool {
        match self {
            Self::Default => true,
            Self::Number(bits) => *bits == 0,
            Self::Text(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
        }
    }

    fn bits(&self) -> u64 {
        match self {
            Self::Number(bits) => *bits,
            _ => 0,
        }
    }

    fn contents(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
            _ => &[],
        }
    }

    pub(super) fn write_field(&self, out: &mut Vec<u8>, number: u32, kind: Kind) {
        let wire_type = match kind {
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => FIXED64,
            Kind::Fixed32 => FIXED32,
            Kind::String | Kind::Bytes | Kind::Id(_) | Kind::Message(_) => LENGTH,
            _ => VARINT,
        };
        write_key(out, number, wire_type);
        if wire_type == LENGTH {
            write_varint(out, self.contents().len() as u64);
            out.extend_from_slice(self.contents());
        } else {
            self.write_packed(out, kind);
        }
    }

    /// The number alone, as in a packed field.
    pub(super) fn write_packed(&self, out: &mut Vec<u8>, kind: Kind) {
        match kind {
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => {
                out.extend_from_slice(&self.bits().to_le_bytes())
            }
            Kind::Fixed32 => out.extend_from_slice(&(self.bits() as u32).to_le_bytes()),
            _ => write_varint(out, self.bits()),
        }
    }
}

/// Reads a scalar of `kind`; `None` is null.
pub(super) fn read<'de, D: Deserializer<'de>>(
    target: &mut Target,
    kind: Kind,
    deserializer: D,
) -> Result<Option<Scalar<'de>>, D::Error> {
    match kind {
        // As text, for serde_json's own doubles may be off by the last bit.
        Kind::Double => read_double(target, <&RawValue>::deserialize(deserializer)?.get()),
        _ => deserializer.deserialize_any(ScalarVisitor { target, kind }),
    }
}

fn read_double<'de, E: serde::de::Error>(target: &mut Target, raw: &str) -> Result<Option<Scalar<'de>>, E> {
    let quoted: Cow<'_, str>;
    let number = match raw.as_bytes() {
        b"null" => return Ok(None),
        [b'"', ..] => {
            quoted = serde_json::from_str(raw).map_err(E::custom)?;
            match quoted.as_ref() {
                "NaN" => return Ok(Some(Scalar::Number(f64::NAN.to_bits()))),
                "Infinity" => return Ok(Some(Scalar::Number(f64::INFINITY.to_bits()))),
                "-Infinity" => return Ok(Some(Scalar::Number(f64::NEG_INFINITY.to_bits()))),
                // Only what JSON has for a number too; Rust would read "inf" and "+1" as well.
                text if serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| raw.get() == text) => text,
                _ => "",
            }
        }
        _ => raw,
    };
    match number.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Some(Scalar::Number(value.to_bits()))),
        Ok(_) => Err(target.refuse(Problem::NumberRange {
            expected: "a double",
            actual: shortened(raw),
        })),
        Err(_) => Err(E::invalid_value(
            Unexpected::Other(&shortened(raw)),
            &"a number, \"NaN\", \"Infinity\" or \"-Infinity\"",
        )),
    }
}

/// Enough of a text to recognise it in a message.
fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 40;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

struct ScalarVisitor<'t> {
    target: &'t mut Target,
    kind: Kind,
}

impl ScalarVisitor<'_> {
    /// An integer of any field, checked against the field's range.
    fn integer<'de, E: serde::de::Error>(self, value: i128) -> Result<Option<Scalar<'de>>, E> {
        let (range, expected) = match self.kind {
            Kind::Fixed64 | Kind::Uint64 => (0..=i128::from(u64::MAX), "an unsigned 64-bit integer"),
            Kind::Sfixed64 | Kind::Int64 => (i128::from(i64::MIN)..=i128::from(i64::MAX), "a 64-bit integer"),
            Kind::Fixed32 | Kind::Uint32 => (0..=i128::from(u32::MAX), "an unsigned 32-bit integer"),
            Kind::Int32 | Kind::Sint32 | Kind::Enum => {
                (i128::from(i32::MIN)..=i128::from(i32::MAX), "a 32-bit integer")
            }
            _ => return Err(E::invalid_type(Unexpected::Other("a number"), &self)),
        };
        if !range.contains(&value) {
            return Err(self.target.refuse(Problem::NumberRange {
                expected,
                actual: value.to_string(),
            }));
        }
        let bits = match self.kind {
            Kind::Sint32 => u64::from(zigzag32(value as i32)),
            // Negative int32 and int64 are sign-extended to 64 bits, as varints are.
            _ => value as i64 as u64,
        };
        Ok(Some(Scalar::Number(bits)))
    }

    fn text<'de, E: serde::de::Error>(self, text: Cow<'de, str>) -> Result<Option<Scalar<'de>>, E> {
        match self.kind {
            Kind::String => Ok(Some(Scalar::Text(text))),
            Kind::Id(length) => match read_hex(&text, length) {
                Some(id) => Ok(Some(Scalar::Bytes(id))),
                None => Err(self.target.refuse(Problem::Hex {
                    expected: 2 * length,
                    actual: shortened(&text),
                })),
            },
            Kind::Bytes => match read_base64(&text) {
                Ok(bytes) => Ok(Some(Scalar::Bytes(bytes))),
                Err(error) => Err(self.target.refuse(Problem::Base64(error.to_string()))),
            },
            Kind::Enum => Err(self.target.refuse(Problem::EnumName {
                actual: shortened(&text),
            })),
            Kind::Bool => Err(E::invalid_type(Unexpected::Str(&shortened(&text)), &self)),
            _ => match text.parse::<i128>() {
                Ok(value) if !text.starts_with('+') => self.integer(value),
                _ => Err(E::invalid_value(Unexpected::Str(&shortened(&text)), &self)),
            },
        }
    }
}

impl<'de> Visitor<'de> for ScalarVisitor<'_> {
    type Value = Option<Scalar<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Bool => "true or false",
            Kind::String => "a text",
            Kind::Bytes => "a text in base64",
            Kind::Id(_) => "a text in hex",
            Kind::Enum => "the number of an enum",
            _ => "an integer, as a number or a text",
        })
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Self::Value, E> {
        match self.kind {
            Kind::Bool => Ok(Some(Scalar::Number(u64::from(value)))),
            _ => Err(E::invalid_type(Unexpected::Bool(value), &self)),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
        self.integer(i128::from(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
        self.integer(i128::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
        /// Beyond it a double may not be the integer that was written.
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
        if value.fract() != 0.0 || value.abs() > EXACT_MAX {
            return Err(E::invalid_value(Unexpected::Float(value), &self));
        }
        self.integer(value as i128)
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, value: &'de str) -> Result<Self::Value, E> {
        self.text(Cow::Borrowed(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
        self.text(Cow::Owned(value.to_owned()))
    }
}

/// An id of `length` bytes, or none for the empty text.
fn read_hex(text: &str, length: usize) -> Option<Vec<u8>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let mut id = vec![0; length];
    hex::decode_to_slice(text, &mut id).ok()?;
    Some(id)
}

/// Both alphabets, with padding or without, as protobuf's JSON mapping reads them.
fn read_base64(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
    if text.bytes().any(|byte| byte == b'-' || byte == b'_') {
        URL_SAFE.decode(text)
    } else {
        STANDARD.decode(text)
    }
}
