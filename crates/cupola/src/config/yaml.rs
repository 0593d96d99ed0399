//! Reading YAML into types, with the line of every mistake. Stands between the YAML parser, which keeps the place of
//! each node, and serde, which knows no places. Refuses tags, aliases left unresolved, and several documents.

use std::fmt;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use serde::de::value::{BorrowedStrDeserializer, StringDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

/// A mistake in a file, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct YamlError {
    /// From 1; 0 while the place is not known yet.
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    UnknownKey {
        key: String,
        expected: &'static [&'static str],
    },
    Other(String),
}

/// Reads `text`; an empty text is an empty mapping.
pub(crate) fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    let documents = MarkedYaml::load_from_str(text).map_err(|error| YamlError {
        line: error.marker().line(),
        column: error.marker().col() + 1,
        problem: Problem::Other(error.info().to_owned()),
    })?;
    if documents.len() > 1 {
        return Err(YamlError {
            line: documents[1].span.start.line(),
            column: 1,
            problem: Problem::Other("a second document begins; only one is read".to_owned()),
        });
    }
    match documents.first() {
        Some(document) => T::deserialize(Node(document)),
        None => T::deserialize(serde::de::value::MapDeserializer::<_, YamlError>::new(
            std::iter::empty::<(&str, &str)>(),
        )),
    }
}

#[derive(Clone, Copy)]
struct Node<'n, 'i>(&'n MarkedYaml<'i>);

impl Node<'_, '_> {
    /// Gives `error` this place, unless a deeper node has given it one.
    fn place(self, mut error: YamlError) -> YamlError {
        if error.line == 0 {
            error.line = self.0.span.start.line();
            error.column = self.0.span.start.col() + 1;
        }
        error
    }

    fn is_null(self) -> bool {
        matches!(self.0.data, YamlData::Value(Scalar::Null))
    }
}

impl<'de> Deserializer<'de> for Node<'_, '_> {
    type Error = YamlError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        let read = match &self.0.data {
            YamlData::Value(Scalar::Null) => visitor.visit_unit(),
            YamlData::Value(Scalar::Boolean(flag)) => visitor.visit_bool(*flag),
            YamlData::Value(Scalar::Integer(number)) => visitor.visit_i64(*number),
            YamlData::Value(Scalar::FloatingPoint(number)) => visitor.visit_f64(number.into_inner()),
            YamlData::Value(Scalar::String(text)) => visitor.visit_str(text),
            YamlData::Representation(text, ..) => visitor.visit_str(text),
            YamlData::Sequence(items) => visitor.visit_seq(Items(items.iter())),
            YamlData::Mapping(entries) => visitor.visit_map(Entries {
                entries: entries.iter(),
                value: None,
            }),
            YamlData::Tagged(..) | YamlData::Alias(_) | YamlData::BadValue => Err(serde::de::Error::custom(
                "tags and unresolved aliases are not read here",
            )),
        };
        read.map_err(|error| self.place(error))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        if self.is_null() {
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    /// A key without a value is a section that says nothing: `grpc:` means gRPC with defaults.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        if self.is_null() {
            return visitor.visit_map(serde::de::value::MapDeserializer::new(std::iter::empty::<(
                &str,
                &str,
            )>()));
        }
        self.deserialize_any(visitor)
    }

    /// Ports and versions look like numbers where a text is wanted.
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        let read = match &self.0.data {
            YamlData::Value(Scalar::Integer(number)) => visitor.visit_string(number.to_string()),
            YamlData::Value(Scalar::Boolean(flag)) => visitor.visit_string(flag.to_string()),
            _ => return self.deserialize_any(visitor),
        };
        read.map_err(|error| self.place(error))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        let read = match &self.0.data {
            YamlData::Value(Scalar::String(text)) => visitor.visit_enum(UnitVariant(text)),
            _ => Err(serde::de::Error::custom(
                "one of the known words is expected here",
            )),
        };
        read.map_err(|error| self.place(error))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct Items<'n, 'i>(std::slice::Iter<'n, MarkedYaml<'i>>);

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = YamlError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, YamlError> {
        self.0.next().map(|node| seed.deserialize(Node(node))).transpose()
    }
}

struct Entries<'n, 'i, I> {
    entries: I,
    value: Option<&'n MarkedYaml<'i>>,
}

impl<'de, 'n, 'i: 'n, I> MapAccess<'de> for Entries<'n, 'i, I>
where
    I: Iterator<Item = (&'n MarkedYaml<'i>, &'n MarkedYaml<'i>)>,
{
    type Error = YamlError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, YamlError> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        let key = Node(key);
        let text: StringDeserializer<YamlError> = match &key.0.data {
            YamlData::Value(Scalar::String(text)) => text.to_string().into_deserializer(),
            YamlData::Value(Scalar::Integer(number)) => number.to_string().into_deserializer(),
            YamlData::Value(Scalar::Boolean(flag)) => flag.to_string().into_deserializer(),
            _ => return Err(key.place(serde::de::Error::custom("a key must be a plain word"))),
        };
        seed.deserialize(text).map(Some).map_err(|error| key.place(error))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, YamlError> {
        match self.value.take() {
            Some(value) => seed
                .deserialize(Node(value))
                .map_err(|error| Node(value).place(error)),
            None => Err(serde::de::Error::custom("a value was read twice")),
        }
    }
}

struct UnitVariant<'a>(&'a str);

impl<'de> EnumAccess<'de> for UnitVariant<'_> {
    type Error = YamlError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), YamlError> {
        let text = self.0.to_owned();
        let name: StringDeserializer<YamlError> = text.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for UnitVariant<'_> {
    type Error = YamlError;

    fn unit_variant(self) -> Result<(), YamlError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, YamlError> {
        seed.deserialize(BorrowedStrDeserializer::new(""))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, YamlError> {
        Err(serde::de::Error::custom("a plain word is expected here"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, YamlError> {
        Err(serde::de::Error::custom("a plain word is expected here"))
    }
}

impl serde::de::Error for YamlError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        YamlError {
            line: 0,
            column: 0,
            problem: Problem::Other(message.to_string()),
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        YamlError {
            line: 0,
            column: 0,
            problem: Problem::UnknownKey {
                key: field.to_owned(),
                expected,
            },
        }
    }
}

impl fmt::Display for YamlError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::UnknownKey { key, .. } => write!(formatter, "unknown key `{key}`"),
            Problem::Other(message) => formatter.write_str(message),
        }
    }
}

impl std::error::Error for YamlError {}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Outer {
        name: String,
        inner: Inner,
        list: Vec<u16>,
        colour: Option<Colour>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        depth: u8,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Colour {
        Red,
    }

    fn error(text: &str) -> (usize, usize, String) {
        let error = from_str::<Outer>(text).unwrap_err();
        (error.line, error.column, error.to_string())
    }

    #[test]
    fn values_of_all_kinds_are_read() {
        let read: Outer = from_str("name: 4317\ninner:\n  depth: 3\nlist: [1, 2]\ncolour: red\n").unwrap();
        let expected = Outer {
            name: "4317".to_owned(),
            inner: Inner { depth: 3 },
            list: vec![1, 2],
            colour: Some(Colour::Red),
        };
        assert_eq!(read, expected);
        assert_eq!(from_str::<Outer>("").unwrap(), Outer::default());
        assert_eq!(from_str::<Outer>("inner:\n").unwrap(), Outer::default());
    }

    #[test]
    fn mistakes_are_placed_where_they_are() {
        assert_eq!(
            error("name: a\ninner:\n  dept: 3\n"),
            (3, 3, "unknown key `dept`".to_owned())
        );
        assert_eq!(error("list:\n  - 1\n  - many\n").0, 3);
        assert_eq!(error("inner:\n  depth: 300\n").0, 2);
        assert_eq!(error("colour: blue\n").0, 1);
        assert_eq!(error("a: [1\nb: 2\n").0, 2);
        assert!(error("a: 1\n---\nb: 2\n").2.contains("second document"));
    }
}
