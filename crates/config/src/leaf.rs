//! The types that settings end in, as far as they can say about themselves what they take. They announce themselves to a
//! deserializer as newtypes of these names, which every deserializer passes straight through and which those of this
//! crate understand.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error, Visitor};

/// What a type of settings takes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) name: &'static str,
    /// What it takes, with an article.
    pub(crate) what: &'static str,
    /// Values it takes.
    pub(crate) examples: &'static [&'static str],
    /// A regular expression that texts must match; empty for any.
    pub(crate) pattern: &'static str,
    /// The least and the largest number that may be written without a unit.
    pub(crate) numbers: Option<(u64, u64)>,
    pub(crate) secret: bool,
}

pub(crate) static TIME_SPAN: Leaf = Leaf {
    name: "$cupola::TimeSpan",
    what: "a duration",
    examples: &["500ms", "10s", "1h30m", "90d"],
    pattern: r"^\s*\+?(0|([0-9]+\.?[0-9]*|\.[0-9]+)\s*(ns|us|µs|μs|ms|s|m|h|d|w)(\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*(ns|us|µs|μs|ms|s|m|h|d|w))*)\s*$",
    numbers: Some((0, 0)),
    secret: false,
};

pub(crate) static BYTE_SIZE: Leaf = Leaf {
    name: "$cupola::ByteSize",
    what: "a size",
    examples: &["512MiB", "2GiB", "1000000"],
    pattern: r"^\s*\+?[0-9]*\.?[0-9]*([eE][-+]?[0-9]+)?\s*(([kKmMgGtTpP][iI]?)?[bB])?\s*$",
    numbers: Some((0, u64::MAX)),
    secret: false,
};

pub(crate) static MEMORY_LIMIT: Leaf = Leaf {
    name: "$cupola::MemoryLimit",
    what: "a size or a share",
    examples: &["512MiB", "25%"],
    pattern: r"^\s*\+?[0-9]*\.?[0-9]*([eE][-+]?[0-9]+)?\s*(([kKmMgGtTpP][iI]?)?[bB]|%)?\s*$",
    numbers: Some((0, u64::MAX)),
    secret: false,
};

pub(crate) static ENDPOINT: Leaf = Leaf {
    name: "$cupola::Endpoint",
    what: "an address to listen on",
    examples: &["127.0.0.1:4317", "[::1]:4317", "4317"],
    pattern: "",
    numbers: Some((0, u16::MAX as u64)),
    secret: false,
};

pub(crate) static SECRET: Leaf = Leaf {
    name: "$cupola::Secret",
    what: "a text that is kept secret",
    examples: &["${env:PASSWORD}"],
    pattern: "",
    numbers: None,
    secret: true,
};

pub(crate) static COMPONENT_ID: Leaf = Leaf {
    name: "$cupola::ComponentId",
    what: "the name of a component",
    examples: &["otlp", "otlp/2"],
    pattern: r"^\s*[a-zA-Z][0-9a-zA-Z_]{0,62}\s*(/\s*\S.{0,1023})?$",
    numbers: None,
    secret: false,
};

static ALL: [&Leaf; 6] = [
    &TIME_SPAN,
    &BYTE_SIZE,
    &MEMORY_LIMIT,
    &ENDPOINT,
    &SECRET,
    &COMPONENT_ID,
];

/// The leaf that announces itself so.
pub(crate) fn named(name: &str) -> Option<&'static Leaf> {
    ALL.iter().copied().find(|leaf| leaf.name == name)
}

impl Leaf {
    /// What to write, as a hint.
    pub(crate) fn hint(&self) -> String {
        match self.examples {
            [] => format!("write {}", self.what),
            [one] => format!("write for example {one}"),
            [rest @ .., last] => format!("write for example {} or {last}", rest.join(", ")),
        }
    }
}

/// Reads a `T` from a text: from a number too if `numbers_as_is`, otherwise by asking for a text, which numbers are
/// read as they were written.
pub(crate) fn deserialize<'de, T, D>(leaf: &'static Leaf, typed: bool, deserializer: D) -> Result<T, D::Error>
where
    T: std::str::FromStr<Err = String>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_newtype_struct(
        leaf.name,
        Text {
            leaf,
            typed,
            read: PhantomData,
        },
    )
}

struct Text<T> {
    leaf: &'static Leaf,
    /// Whether a number is asked for as one; otherwise as a text.
    typed: bool,
    read: PhantomData<T>,
}

impl<'de, T: std::str::FromStr<Err = String>> Visitor<'de> for Text<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.leaf.what)?;
        match self.leaf.examples.first() {
            Some(example) => write!(formatter, " such as {example}"),
            None => Ok(()),
        }
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        match self.typed {
            true => deserializer.deserialize_any(self),
            false => deserializer.deserialize_string(self),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }
}

/// Announces itself and reads itself from a text.
macro_rules! deserialize_leaf {
    ($($type:ty: $leaf:expr, typed: $typed:literal;)*) => {$(
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::leaf::deserialize(&$leaf, $typed, deserializer)
            }
        }
    )*};
}
pub(crate) use deserialize_leaf;
