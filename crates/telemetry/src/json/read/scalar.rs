//! Scalars of OTLP/JSON: numbers and text, each in the ways the specification allows.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde_json::value::RawValue;

use super::Target;
use crate::decode::Problem;
use crate::schema::Kind;
use crate::wire::{FIXED32, FIXED64, LENGTH, VARINT, VARINT_BYTES_MAX, write_key, write_varint, zigzag32};

/// Longest text that is read as a number. The smallest double written out has 1075 digits.
const NUMBER_TEXT_BYTES_MAX: usize = 4096;
/// Longest id.
const ID_BYTES_MAX: usize = 16;

/// Where a scalar is written, and how.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) number: u32,
    pub(super) form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A field, left out when it is what absence means.
    Singular,
    /// A field, written whatever it is.
    Present,
    /// The number alone, as in a packed field.
    Packed,
}

impl Place {
    /// Writes the bits of a number or bool.
    fn number<E: Error>(self, target: &mut Target<'_, '_>, kind: Kind, bits: u64) -> Result<(), E> {
        if self.form == Form::Singular && bits == 0 {
            return Ok(());
        }
        target.reserve(2 * VARINT_BYTES_MAX)?;
        let out = &mut target.out.bytes;
        let wire_type = match kind {
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => FIXED64,
            Kind::Fixed32 => FIXED32,
            _ => VARINT,
        };
        if self.form != Form::Packed {
            write_key(out, self.number, wire_type);
        }
        match wire_type {
            FIXED64 => out.extend_from_slice(&bits.to_le_bytes()),
            FIXED32 => out.extend_from_slice(&(bits as u32).to_le_bytes()),
            _ => write_varint(out, bits),
        }
        Ok(())
    }

    /// Writes a text or bytes.
    fn contents<E: Error>(self, target: &mut Target<'_, '_>, contents: &[u8]) -> Result<(), E> {
        if self.form == Form::Singular && contents.is_empty() {
            return Ok(());
        }
        target.reserve(2 * VARINT_BYTES_MAX + contents.len())?;
        let out = &mut target.out.bytes;
        write_key(out, self.number, LENGTH);
        write_varint(out, contents.len() as u64);
        out.extend_from_slice(contents);
        Ok(())
    }

    /// Writes what null stands for in an array.
    pub(super) fn default<E: Error>(self, target: &mut Target<'_, '_>, kind: Kind) -> Result<(), E> {
        match kind {
            Kind::String | Kind::Bytes | Kind::Id(_) => self.contents(target, &[]),
            _ => self.number(target, kind, 0),
        }
    }
}

/// Reads a scalar of `kind` and writes it; `false` is null, for which nothing is written.
pub(super) fn read<'de, D: Deserializer<'de>>(
    target: &mut Target<'_, '_>,
    place: Place,
    kind: Kind,
    deserializer: D,
) -> Result<bool, D::Error> {
    match kind {
        // As text, for serde_json's own doubles may be off by the last bit.
        Kind::Double => {
            let raw = <&RawValue>::deserialize(deserializer)?.get();
            let Some(value) = read_double(target, raw)? else {
                return Ok(false);
            };
            place.number(target, kind, value.to_bits())?;
            Ok(true)
        }
        _ => deserializer.deserialize_any(ScalarVisitor { target, place, kind }),
    }
}

fn read_double<E: Error>(target: &mut Target<'_, '_>, raw: &str) -> Result<Option<f64>, E> {
    let quoted: Cow<'_, str>;
    let number = match raw.as_bytes() {
        b"null" => return Ok(None),
        [b'"', ..] if raw.len() > NUMBER_TEXT_BYTES_MAX => "",
        [b'"', ..] => {
            quoted = serde_json::from_str(raw).map_err(E::custom)?;
            match quoted.as_ref() {
                "NaN" => return Ok(Some(f64::NAN)),
                "Infinity" => return Ok(Some(f64::INFINITY)),
                "-Infinity" => return Ok(Some(f64::NEG_INFINITY)),
                // Only what JSON has for a number too; Rust would read "inf" and "+1" as well.
                text if serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| raw.get() == text) => text,
                _ => "",
            }
        }
        _ => raw,
    };
    match number.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Some(value)),
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
pub(super) fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 40;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

struct ScalarVisitor<'t, 'r, 'm> {
    target: &'t mut Target<'r, 'm>,
    place: Place,
    kind: Kind,
}

impl ScalarVisitor<'_, '_, '_> {
    /// An integer of any field, checked against the field's range.
    fn integer<E: Error>(self, value: i128) -> Result<bool, E> {
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
        self.place.number(self.target, self.kind, bits)?;
        Ok(true)
    }

    /// An id in hex, or none for the empty text.
    fn id<E: Error>(self, text: &str, length: usize) -> Result<bool, E> {
        let mut id = [0; ID_BYTES_MAX];
        let id = match id.get_mut(..length) {
            Some(id) if !text.is_empty() => id,
            _ => &mut [],
        };
        if hex::decode_to_slice(text, id).is_err() {
            return Err(self.target.refuse(Problem::Hex {
                expected: 2 * length,
                actual: shortened(text),
            }));
        }
        self.place.contents(self.target, id)?;
        Ok(true)
    }

    /// Bytes in base64 of either alphabet, with padding or without, as protobuf's JSON mapping reads them.
    fn base64<E: Error>(self, text: &str) -> Result<bool, E> {
        const CONFIG: GeneralPurposeConfig =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
        const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
        if text.is_empty() {
            self.place.contents(self.target, &[])?;
            return Ok(true);
        }
        let engine = match text.bytes().any(|byte| byte == b'-' || byte == b'_') {
            true => URL_SAFE,
            false => STANDARD,
        };
        let start = self.target.open(self.place.number)?;
        self.target.reserve(base64::decoded_len_estimate(text.len()))?;
        if let Err(error) = engine.decode_vec(text, &mut self.target.out.bytes) {
            return Err(self.target.refuse(Problem::Base64(error.to_string())));
        }
        self.target.close(start)?;
        Ok(true)
    }
}

impl Visitor<'_> for ScalarVisitor<'_, '_, '_> {
    type Value = bool;

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

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        if !matches!(self.kind, Kind::Bool) {
            return Err(E::invalid_type(Unexpected::Bool(value), &self));
        }
        self.place.number(self.target, self.kind, u64::from(value))?;
        Ok(true)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<bool, E> {
        self.integer(i128::from(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<bool, E> {
        self.integer(i128::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<bool, E> {
        /// Beyond it a double may not be the integer that was written.
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
        if value.fract() != 0.0 || value.abs() > EXACT_MAX {
            return Err(E::invalid_value(Unexpected::Float(value), &self));
        }
        self.integer(value as i128)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        match self.kind {
            Kind::String => {
                self.place.contents(self.target, text.as_bytes())?;
                Ok(true)
            }
            Kind::Id(length) => self.id(text, length),
            Kind::Bytes => self.base64(text),
            Kind::Enum => Err(self.target.refuse(Problem::EnumName {
                actual: shortened(text),
            })),
            Kind::Bool => Err(E::invalid_type(Unexpected::Str(&shortened(text)), &self)),
            _ => match text.parse::<i128>() {
                Ok(value) if !text.starts_with('+') => self.integer(value),
                _ => Err(E::invalid_value(Unexpected::Str(&shortened(text)), &self)),
            },
        }
    }
}
