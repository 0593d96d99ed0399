//! Views of `opentelemetry.proto.common.v1` and `resource.v1`.

use super::repeated::{Extent, Message, Repeated, Strings};
use crate::wire::{Reader, text};

/// An attribute value, a log body, or an element of either.
#[derive(Clone, Copy, Debug, Default)]
pub enum AnyValue<'a> {
    /// No member is set.
    #[default]
    Empty,
    String(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
    Array(ArrayValue<'a>),
    KeyValueList(Attributes<'a>),
    Bytes(&'a [u8]),
    /// `string_value_strindex`: meant for profiles only; kept as it came.
    StringIndex(i32),
}

/// Elements of an array value.
pub type ArrayValue<'a> = Repeated<'a, AnyValue<'a>>;

/// A list of key-value pairs, in the sender's order, duplicates included.
pub type Attributes<'a> = Repeated<'a, KeyValue<'a>>;

impl<'a> Message<'a> for AnyValue<'a> {
    #[inline]
    fn parse(raw: &'a [u8]) -> Self {
        // A text and nothing else is what most values are.
        if let [0x0a, length @ ..0x80, bytes @ ..] = raw
            && bytes.len() == usize::from(*length)
        {
            return AnyValue::String(text(bytes));
        }
        let mut reader = Reader::new(raw);
        let mut value = AnyValue::Empty;
        while let Some(key) = reader.key() {
            match key >> 3 {
                1 => value = AnyValue::String(reader.string()),
                2 => value = AnyValue::Bool(reader.varint() != 0),
                3 => value = AnyValue::Int(reader.varint() as i64),
                4 => value = AnyValue::Double(reader.double()),
                5 => value = AnyValue::Array(Repeated::new(reader.bytes(), 1)),
                6 => value = AnyValue::KeyValueList(Repeated::new(reader.bytes(), 1)),
                7 => value = AnyValue::Bytes(reader.bytes()),
                8 => value = AnyValue::StringIndex(reader.varint() as i32),
                _ => reader.skip(key),
            }
        }
        value
    }
}

impl<'a> AnyValue<'a> {
    /// Reads an encoded `AnyValue` message.
    pub fn parse(raw: &'a [u8]) -> Self {
        Message::parse(raw)
    }

    pub fn as_str(self) -> Option<&'a str> {
        match self {
            AnyValue::String(text) => Some(text),
            _ => None,
        }
    }
}

/// Equal when type and value are; doubles by bits, so that NaN equals itself; unknown fields do not count.
impl PartialEq for AnyValue<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (AnyValue::Empty, AnyValue::Empty) => true,
            (AnyValue::String(a), AnyValue::String(b)) => a == b,
            (AnyValue::Bool(a), AnyValue::Bool(b)) => a == b,
            (AnyValue::Int(a), AnyValue::Int(b)) => a == b,
            (AnyValue::Double(a), AnyValue::Double(b)) => a.to_bits() == b.to_bits(),
            (AnyValue::Array(a), AnyValue::Array(b)) => a.iter().eq(b.iter()),
            (AnyValue::KeyValueList(a), AnyValue::KeyValueList(b)) => a.iter().eq(b.iter()),
            (AnyValue::Bytes(a), AnyValue::Bytes(b)) => a == b,
            (AnyValue::StringIndex(a), AnyValue::StringIndex(b)) => a == b,
            _ => false,
        }
    }
}

impl<'a> From<&'a str> for AnyValue<'a> {
    fn from(value: &'a str) -> Self {
        AnyValue::String(value)
    }
}

impl<'a> From<&'a String> for AnyValue<'a> {
    fn from(value: &'a String) -> Self {
        AnyValue::String(value)
    }
}

impl<'a> From<&'a [u8]> for AnyValue<'a> {
    fn from(value: &'a [u8]) -> Self {
        AnyValue::Bytes(value)
    }
}

impl From<bool> for AnyValue<'_> {
    fn from(value: bool) -> Self {
        AnyValue::Bool(value)
    }
}

impl From<i64> for AnyValue<'_> {
    fn from(value: i64) -> Self {
        AnyValue::Int(value)
    }
}

impl From<f64> for AnyValue<'_> {
    fn from(value: f64) -> Self {
        AnyValue::Double(value)
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub struct KeyValue<'a> {
    raw: &'a [u8],
    value_raw: Option<&'a [u8]>,
    pub key: &'a str,
    /// `Empty` also where the message has no value at all; [`value_raw`](Self::value_raw) tells them apart.
    pub value: AnyValue<'a>,
    /// Meant for profiles only; kept as it came.
    pub key_strindex: i32,
}

impl<'a> Message<'a> for KeyValue<'a> {
    #[inline]
    fn parse(raw: &'a [u8]) -> Self {
        if let Some((key, value)) = split_usual(raw) {
            let value_raw = Some(value);
            return KeyValue {
                raw,
                value_raw,
                key: text(key),
                value: Message::parse(value),
                key_strindex: 0,
            };
        }
        Self::parse_any_order(raw)
    }
}

/// Key and value bytes of a pair as every SDK writes it: key, value, nothing else, neither over 127 bytes.
#[inline(always)]
fn split_usual(raw: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x0a, key_length @ ..0x80, rest @ ..] = raw else {
        return None;
    };
    let (key, rest) = rest.split_at_checked(usize::from(*key_length))?;
    match rest {
        [0x12, value_length @ ..0x80, value @ ..] if value.len() == usize::from(*value_length) => {
            Some((key, value))
        }
        _ => None,
    }
}

impl<'a> KeyValue<'a> {
    #[inline(never)]
    fn parse_any_order(raw: &'a [u8]) -> Self {
        let mut reader = Reader::new(raw);
        let mut key_value = KeyValue {
            raw,
            value_raw: None,
            key: "",
            value: AnyValue::Empty,
            key_strindex: 0,
        };
        while let Some(key) = reader.key() {
            match key >> 3 {
                1 => key_value.key = reader.string(),
                2 => {
                    let value = reader.bytes();
                    key_value.value_raw = Some(value);
                    key_value.value = Message::parse(value);
                }
                3 => key_value.key_strindex = reader.varint() as i32,
                _ => reader.skip(key),
            }
        }
        key_value
    }
}

impl<'a> KeyValue<'a> {
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The encoded `AnyValue`, if there is one.
    pub fn value_raw(&self) -> Option<&'a [u8]> {
        self.value_raw
    }
}

/// Equal when key and value are.
impl PartialEq for KeyValue<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.value == other.value && self.key_strindex == other.key_strindex
    }
}

impl<'a> Attributes<'a> {
    /// No attributes.
    pub const EMPTY: Attributes<'static> = Repeated::NONE;

    /// Value of the first attribute named `key`.
    pub fn get(&self, key: &str) -> Option<AnyValue<'a>> {
        self.iter()
            .find(|key_value| key_value.key == key)
            .map(|key_value| key_value.value)
    }
}

/// What telemetry is about: a process, a host, a pod.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    raw: &'a [u8],
    pub attributes: Attributes<'a>,
    pub dropped_attributes_count: u32,
    pub entity_refs: Repeated<'a, EntityRef<'a>>,
}

impl<'a> Message<'a> for Resource<'a> {
    fn parse(raw: &'a [u8]) -> Self {
        let mut reader = Reader::new(raw);
        let (mut attributes, mut entity_refs) = (Extent::default(), Extent::default());
        let mut dropped_attributes_count = 0;
        let mut before = reader.rest();
        while let Some(key) = reader.key() {
            match key >> 3 {
                1 => attributes.include(before, &mut reader),
                2 => dropped_attributes_count = reader.varint() as u32,
                3 => entity_refs.include(before, &mut reader),
                _ => reader.skip(key),
            }
            before = reader.rest();
        }
        Resource {
            raw,
            attributes: Repeated::new(attributes.fields(), 1),
            dropped_attributes_count,
            entity_refs: Repeated::new(entity_refs.fields(), 3),
        }
    }
}

impl<'a> Resource<'a> {
    /// Reads an encoded `Resource` message.
    pub fn parse(raw: &'a [u8]) -> Self {
        Message::parse(raw)
    }

    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}

/// Reference from a resource to an entity whose attributes it carries.
#[derive(Clone, Copy, Debug)]
pub struct EntityRef<'a> {
    raw: &'a [u8],
    pub schema_url: &'a str,
    pub r#type: &'a str,
    pub id_keys: Strings<'a>,
    pub description_keys: Strings<'a>,
}

impl<'a> Message<'a> for EntityRef<'a> {
    fn parse(raw: &'a [u8]) -> Self {
        let mut reader = Reader::new(raw);
        let mut entity = EntityRef {
            raw,
            schema_url: "",
            r#type: "",
            id_keys: Strings::new(raw, 3),
            description_keys: Strings::new(raw, 4),
        };
        while let Some(key) = reader.key() {
            match key >> 3 {
                1 => entity.schema_url = reader.string(),
                2 => entity.r#type = reader.string(),
                _ => reader.skip(key),
            }
        }
        entity
    }
}

impl<'a> EntityRef<'a> {
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}

/// The instrumentation scope: the library that made the telemetry.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    raw: &'a [u8],
    pub name: &'a str,
    pub version: &'a str,
    pub attributes: Attributes<'a>,
    pub dropped_attributes_count: u32,
}

impl<'a> Message<'a> for Scope<'a> {
    fn parse(raw: &'a [u8]) -> Self {
        let mut reader = Reader::new(raw);
        let mut attributes = Extent::default();
        let (mut name, mut version, mut dropped_attributes_count) = ("", "", 0);
        let mut before = reader.rest();
        while let Some(key) = reader.key() {
            match key >> 3 {
                1 => name = reader.string(),
                2 => version = reader.string(),
                3 => attributes.include(before, &mut reader),
                4 => dropped_attributes_count = reader.varint() as u32,
                _ => reader.skip(key),
            }
            before = reader.rest();
        }
        let attributes = Repeated::new(attributes.fields(), 3);
        Scope {
            raw,
            name,
            version,
            attributes,
            dropped_attributes_count,
        }
    }
}

impl<'a> Scope<'a> {
    /// Reads an encoded `InstrumentationScope` message.
    pub fn parse(raw: &'a [u8]) -> Self {
        Message::parse(raw)
    }

    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}
