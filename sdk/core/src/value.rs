//! Values of attributes and bodies of log records, as an application gives them: borrowed, and written at once.

use std::collections::HashMap;

use cupola_telemetry::wire::{self, FIXED64, LENGTH, VARINT, varint_length};

use crate::room::{Room, field_length};

/// Deepest nesting that is written; what is below it is left out. Receivers refuse what is much deeper.
const DEPTH_MAX: usize = 16;

/// A value of any type that OTLP has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'v> {
    Empty,
    String(&'v str),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(&'v [u8]),
    Array(&'v [Value<'v>]),
    /// Of a key that stands twice, the later value counts.
    Map(&'v [(&'v str, Value<'v>)]),
}

macro_rules! from {
    ($($type:ty => $variant:ident),* $(,)?) => {
        $(impl<'v> From<$type> for Value<'v> {
            fn from(value: $type) -> Self {
                Value::$variant(value.into())
            }
        })*
    };
}

from!(&'v str => String, bool => Bool, i64 => Int, i32 => Int, u32 => Int, u16 => Int, u8 => Int, f64 => Double, f32 => Double, &'v [u8] => Bytes, &'v [Value<'v>] => Array);

impl<'v> From<&'v String> for Value<'v> {
    fn from(value: &'v String) -> Self {
        Value::String(value)
    }
}

impl Value<'_> {
    /// Writes an `AnyValue` as field `number`. Texts, also those within, are cut to `characters_max`.
    pub(crate) fn write(self, out: &mut Vec<u8>, number: u32, characters_max: Option<usize>) {
        let message = wire::open(out, number);
        self.write_member(out, characters_max, DEPTH_MAX);
        wire::close(out, message);
    }

    /// About as many bytes as it takes when it is written.
    pub(crate) fn bytes(self) -> usize {
        /// Of a number, and before a field.
        const FIELD: usize = 4;
        FIELD
            + match self {
                Value::Empty | Value::Bool(_) | Value::Int(_) | Value::Double(_) => FIELD,
                Value::String(text) => text.len(),
                Value::Bytes(bytes) => bytes.len(),
                Value::Array(values) => values.iter().map(|value| value.bytes()).sum(),
                Value::Map(pairs) => pairs
                    .iter()
                    .map(|(key, value)| FIELD + key.len() + value.bytes())
                    .sum(),
            }
    }

    /// Writes an `AnyValue` without what stands in front of it.
    pub(crate) fn write_message(self, out: &mut Vec<u8>, characters_max: Option<usize>) {
        self.write_member(out, characters_max, DEPTH_MAX);
    }

    /// The value as its bytes, cut, if it has no others in it.
    #[inline(always)]
    pub(crate) fn scalar(&self, characters_max: Option<usize>) -> Option<Scalar<'_>> {
        Some(match *self {
            Value::Empty => Scalar::Empty,
            Value::String(text) => Scalar::Bytes(1, cut(text, characters_max).as_bytes()),
            Value::Bool(value) => Scalar::Number(2, u64::from(value)),
            Value::Int(value) => Scalar::Number(3, value as u64),
            Value::Double(value) => Scalar::Double(value),
            Value::Bytes(bytes) => {
                let length = characters_max.map_or(bytes.len(), |most| most.min(bytes.len()));
                Scalar::Bytes(7, &bytes[..length])
            }
            Value::Array(_) | Value::Map(_) => return None,
        })
    }

    fn write_member(self, out: &mut Vec<u8>, characters_max: Option<usize>, depth: usize) {
        match self {
            Value::Empty => {}
            Value::String(text) => wire::write_bytes(out, 1, cut(text, characters_max).as_bytes()),
            Value::Bool(value) => {
                wire::write_key(out, 2, VARINT);
                out.push(u8::from(value));
            }
            Value::Int(value) => {
                wire::write_key(out, 3, VARINT);
                wire::write_varint(out, value as u64);
            }
            Value::Double(value) => {
                wire::write_key(out, 4, FIXED64);
                out.extend_from_slice(&value.to_le_bytes());
            }
            Value::Bytes(bytes) => {
                let length = characters_max.map_or(bytes.len(), |most| most.min(bytes.len()));
                wire::write_bytes(out, 7, &bytes[..length]);
            }
            Value::Array(_) | Value::Map(_) if depth == 0 => {}
            Value::Array(values) => {
                let array = wire::open(out, 5);
                for value in values {
                    let element = wire::open(out, 1);
                    value.write_member(out, characters_max, depth - 1);
                    wire::close(out, element);
                }
                wire::close(out, array);
            }
            Value::Map(pairs) => {
                let map = wire::open(out, 6);
                for (key, value) in last_of_each_key(pairs) {
                    let pair = wire::open(out, 1);
                    wire::write_bytes(out, 1, key.as_bytes());
                    let inner = wire::open(out, 2);
                    value.write_member(out, characters_max, depth - 1);
                    wire::close(out, inner);
                    wire::close(out, pair);
                }
                wire::close(out, map);
            }
        }
    }
}

/// A value whose length as an `AnyValue` is known before it is written: the number of its field, and what it is.
#[derive(Clone, Copy)]
pub(crate) enum Scalar<'v> {
    Empty,
    Bytes(u32, &'v [u8]),
    Number(u32, u64),
    Double(f64),
}

impl Scalar<'_> {
    #[inline(always)]
    pub(crate) fn length(self) -> usize {
        match self {
            Scalar::Empty => 0,
            Scalar::Bytes(_, bytes) => field_length(bytes.len()),
            Scalar::Number(_, value) => 1 + varint_length(value),
            Scalar::Double(_) => 9,
        }
    }

    #[inline(always)]
    pub(crate) fn write(self, room: &mut Room<'_>) {
        match self {
            Scalar::Empty => {}
            Scalar::Bytes(field, bytes) if bytes.len() < 0x80 => {
                room.array([(field << 3 | LENGTH) as u8, bytes.len() as u8]);
                room.slice(bytes);
            }
            Scalar::Bytes(field, bytes) => room.bytes(field, bytes),
            Scalar::Number(field, value) => room.number64(field, value),
            Scalar::Double(value) => room.eight(4, value.to_le_bytes()),
        }
    }
}

/// Pairs without those whose key comes again.
fn last_of_each_key<'p, 'v>(
    pairs: &'p [(&'v str, Value<'v>)],
) -> impl Iterator<Item = &'p (&'v str, Value<'v>)> {
    // Quicker than hashing while there are few.
    const FEW: usize = 32;
    let last: Option<HashMap<&str, usize>> = (pairs.len() > FEW).then(|| {
        pairs
            .iter()
            .enumerate()
            .map(|(at, (key, _))| (*key, at))
            .collect()
    });
    pairs.iter().enumerate().filter_map(move |(at, pair)| {
        let is_last = match &last {
            Some(last) => last.get(pair.0) == Some(&at),
            None => pairs[at + 1..].iter().all(|(later, _)| *later != pair.0),
        };
        is_last.then_some(pair)
    })
}

/// The first so many characters.
#[inline(always)]
fn cut(text: &str, characters_max: Option<usize>) -> &str {
    let Some(most) = characters_max.filter(|most| *most < text.len()) else {
        return text;
    };
    cut_long(text, most)
}

#[inline(never)]
fn cut_long(text: &str, most: usize) -> &str {
    match text.char_indices().nth(most) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}
