//! Encodings of text by the Collector's names.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer};

use crate::operators::Value;

/// How bytes are read as text. What is not valid becomes U+FFFD.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Encoding {
    #[default]
    Utf8,
    /// What is not valid stays as it is: the body is bytes then.
    Utf8Raw,
    /// The body is bytes, not split into lines.
    Nop,
    Utf16 {
        big_endian: bool,
    },
    /// As browsers know it.
    Other(&'static encoding_rs::Encoding),
}

impl Encoding {
    pub(crate) fn named(name: &str) -> Option<Encoding> {
        Some(match name.to_ascii_lowercase().as_str() {
            "" | "utf-8" | "utf8" | "ascii" | "us-ascii" => Encoding::Utf8,
            "utf-8-raw" => Encoding::Utf8Raw,
            "nop" => Encoding::Nop,
            "utf-16" | "utf16" | "utf-16le" | "utf16le" | "utf16-le" => Encoding::Utf16 { big_endian: false },
            "utf-16be" | "utf16be" | "utf16-be" => Encoding::Utf16 { big_endian: true },
            name => {
                let known = encoding_rs::Encoding::for_label(name.as_bytes())?;
                // Line ends are looked for as bytes, so that ISO-2022-JP and the like would be cut in the wrong place.
                known.is_ascii_compatible().then_some(Encoding::Other(known))?
            }
        })
    }

    /// Bytes of the smallest unit of text.
    pub(crate) fn unit(self) -> usize {
        if matches!(self, Encoding::Utf16 { .. }) {
            2
        } else {
            1
        }
    }

    pub(crate) fn is_utf8(self) -> bool {
        matches!(self, Encoding::Utf8 | Encoding::Utf8Raw)
    }

    pub(crate) fn text(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            Encoding::Utf8 | Encoding::Utf8Raw | Encoding::Nop => String::from_utf8_lossy(bytes),
            Encoding::Utf16 { big_endian } => Cow::Owned(utf16(bytes, big_endian)),
            Encoding::Other(encoding) => encoding.decode_without_bom_handling(bytes).0,
        }
    }

    /// What a record becomes.
    pub(crate) fn body(self, bytes: &[u8]) -> Value {
        match self {
            Encoding::Nop => Value::Bytes(bytes.to_vec()),
            Encoding::Utf8Raw => match std::str::from_utf8(bytes) {
                Ok(text) => Value::from(text),
                Err(_) => Value::Bytes(bytes.to_vec()),
            },
            encoding => Value::Text(encoding.text(bytes).into_owned()),
        }
    }
}

/// One unit becomes one character or half of one, so that lengths can be told back.
fn utf16(bytes: &[u8], big_endian: bool) -> String {
    let unit = |pair: &[u8]| match (pair, big_endian) {
        ([high, low], true) | ([low, high], false) => u16::from_be_bytes([*high, *low]),
        // A last byte alone.
        _ => 0xfffd,
    };
    char::decode_utf16(bytes.chunks(2).map(unit))
        .map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

impl<'de> Deserialize<'de> for Encoding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Encoding, D::Error> {
        struct Name;

        impl de::Visitor<'_> for Name {
            type Value = Encoding;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an encoding, such as `utf-8`, `utf-16le` or `big5`")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Encoding, E> {
                Encoding::named(name).ok_or_else(|| {
                    E::custom(format!("`{name}` is no encoding; there are utf-8, utf-8-raw, utf-16le, utf-16be, ascii, nop, and those of the web platform, such as big5"))
                })
            }
        }
        deserializer.deserialize_str(Name)
    }
}
