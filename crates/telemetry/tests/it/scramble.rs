//! Encodes a message again as no sensible encoder would, but as protobuf allows: fields in any order, messages
//! in pieces, scalars more than once, packed fields unpacked, long varints, unknown fields in between.

use cupola_telemetry::Signal;

use crate::dice::Dice;

/// Message types by what matters here: which field numbers hold which messages. Transcribed on its own from
/// the proto files, so that it does not repeat a mistake of the crate's table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Type {
    Request(Signal),
    PerResource(Signal),
    PerScope(Signal),
    Resource,
    EntityRef,
    Scope,
    KeyValue,
    AnyValue,
    Array,
    List,
    LogRecord,
    Span,
    Event,
    Link,
    Status,
    Metric,
    Points(u32),
    NumberPoint,
    HistogramPoint,
    ExponentialPoint,
    SummaryPoint,
    Quantile,
    Buckets,
    Exemplar,
}

impl Type {
    pub(crate) fn child(self, number: u32) -> Option<Self> {
        Some(match (self, number) {
            (Self::Request(signal), 1) => Self::PerResource(signal),
            (Self::PerResource(_), 1) => Self::Resource,
            (Self::PerResource(signal), 2) => Self::PerScope(signal),
            (Self::PerScope(_), 1) => Self::Scope,
            (Self::PerScope(Signal::Logs), 2) => Self::LogRecord,
            (Self::PerScope(Signal::Traces), 2) => Self::Span,
            (Self::PerScope(Signal::Metrics), 2) => Self::Metric,
            (Self::Resource, 1) | (Self::Scope | Self::Event, 3) | (Self::Link, 4) => Self::KeyValue,
            (Self::LogRecord, 6) | (Self::Span, 9) | (Self::Metric, 12) => Self::KeyValue,
            (Self::NumberPoint | Self::SummaryPoint | Self::Exemplar, 7) => Self::KeyValue,
            (Self::HistogramPoint, 9) | (Self::ExponentialPoint, 1) | (Self::List, 1) => Self::KeyValue,
            (Self::Resource, 3) => Self::EntityRef,
            (Self::KeyValue, 2) | (Self::LogRecord, 5) | (Self::Array, 1) => Self::AnyValue,
            (Self::AnyValue, 5) => Self::Array,
            (Self::AnyValue, 6) => Self::List,
            (Self::Span, 11) => Self::Event,
            (Self::Span, 13) => Self::Link,
            (Self::Span, 15) => Self::Status,
            (Self::Metric, 5 | 7 | 9 | 10 | 11) => Self::Points(number),
            (Self::Points(5 | 7), 1) => Self::NumberPoint,
            (Self::Points(9), 1) => Self::HistogramPoint,
            (Self::Points(10), 1) => Self::ExponentialPoint,
            (Self::Points(11), 1) => Self::SummaryPoint,
            (Self::NumberPoint, 5) | (Self::HistogramPoint, 8) | (Self::ExponentialPoint, 11) => {
                Self::Exemplar
            }
            (Self::ExponentialPoint, 8 | 9) => Self::Buckets,
            (Self::SummaryPoint, 6) => Self::Quantile,
            _ => return None,
        })
    }

    /// Repeated numbers: true if of eight bytes each, false if varints.
    fn packed(self, number: u32) -> Option<bool> {
        match (self, number) {
            (Self::HistogramPoint, 6 | 7) => Some(true),
            (Self::Buckets, 2) => Some(false),
            _ => None,
        }
    }

    /// Fields of which a second occurrence changes the first instead of adding to it.
    fn is_single(self, number: u32) -> bool {
        match self {
            Self::PerResource(_) | Self::PerScope(_) => number != 2,
            Self::KeyValue | Self::Status => true,
            _ => false,
        }
    }
}

/// Unknown fields have numbers from here on.
pub(crate) const UNKNOWN_FROM: u32 = 1000;

/// What a scrambling may do.
#[derive(Clone, Copy)]
pub(crate) struct Freedom {
    /// Repeat scalars and oneof members with other values; what came first is lost then.
    pub(crate) overwrite: bool,
}

pub(crate) fn scramble(kind: Type, bytes: &[u8], dice: &mut Dice, freedom: Freedom) -> Vec<u8> {
    let mut fields: Vec<Vec<u8>> = Vec::new();
    for (key, value) in split(bytes) {
        let number = key >> 3;
        if let Some(child) = kind.child(number) {
            let contents = scramble(child, value, dice, freedom);
            push_message(&mut fields, kind, key, &contents, dice);
        } else if let Some(fixed) = kind.packed(number) {
            push_numbers(&mut fields, number, fixed, value, dice);
        } else {
            if freedom.overwrite && dice.chance(20) {
                fields.push(encode(key, &other_value(key, value, dice), dice));
            }
            fields.push(encode(key, value, dice));
        }
    }
    if freedom.overwrite && kind == Type::AnyValue && dice.chance(20) {
        let other = prost::Message::encode_to_vec(&dice.any_value(2));
        fields.extend(split(&other).iter().map(|(key, value)| encode(*key, value, dice)));
    }
    while dice.chance(25) {
        fields.push(unknown(dice));
    }
    if dice.chance(50) {
        for index in (1..fields.len()).rev() {
            fields.swap(index, dice.below(index + 1));
        }
    }
    fields.concat()
}

/// A message as one field, or as two that merge to it (or, if repeated, are two elements).
fn push_message(fields: &mut Vec<Vec<u8>>, kind: Type, key: u32, contents: &[u8], dice: &mut Dice) {
    if kind.is_single(key >> 3) && dice.chance(30) {
        let parts = split_spans(contents);
        let cut = parts
            .get(dice.below(parts.len() + 1))
            .map_or(contents.len(), |part| part.0);
        fields.push(encode(key, &contents[..cut], dice));
        fields.push(encode(key, &contents[cut..], dice));
    } else {
        fields.push(encode(key, contents, dice));
    }
}

/// A packed field in chunks and single values.
fn push_numbers(fields: &mut Vec<Vec<u8>>, number: u32, fixed: bool, packed: &[u8], dice: &mut Dice) {
    let mut rest = packed;
    while !rest.is_empty() {
        let one = if fixed {
            8
        } else {
            1 + rest.iter().position(|byte| *byte < 0x80).unwrap()
        };
        let (value, tail) = rest.split_at(one);
        if dice.chance(40) {
            fields.push(encode(number << 3 | if fixed { 1 } else { 0 }, value, dice));
            rest = tail;
        } else if dice.chance(50) {
            fields.push(encode(number << 3 | 2, value, dice));
            rest = tail;
        } else {
            fields.push(encode(number << 3 | 2, rest, dice));
            rest = &[];
        }
    }
}

fn other_value(key: u32, value: &[u8], dice: &mut Dice) -> Vec<u8> {
    match key & 7 {
        0 => varint(dice.next(), 0),
        1 => dice.next().to_le_bytes().to_vec(),
        5 => (dice.next() as u32).to_le_bytes().to_vec(),
        // Ids must keep their length and texts must stay text.
        _ if value.is_ascii() => value
            .iter()
            .map(|byte| byte ^ 1)
            .filter(u8::is_ascii)
            .collect::<Vec<_>>(),
        _ => value.to_vec(),
    }
}

/// A field under a number that OTLP does not have, of any wire type.
fn unknown(dice: &mut Dice) -> Vec<u8> {
    let number = UNKNOWN_FROM + dice.below(50) as u32;
    match dice.below(6) {
        0 => encode(number << 3, &varint(dice.next(), 0), dice),
        1 => encode(number << 3 | 1, &dice.next().to_le_bytes(), dice),
        2 => encode(number << 3 | 5, &(dice.next() as u32).to_le_bytes(), dice),
        3 => {
            let mut group = varint(u64::from(number << 3 | 3), 0);
            group.extend(unknown(dice));
            group.extend(unknown(dice));
            group.extend(varint(u64::from(number << 3 | 4), 0));
            group
        }
        _ => {
            let bytes = dice.bytes();
            encode(number << 3 | 2, &bytes, dice)
        }
    }
}

/// Writes a field; `value` is the contents if length-delimited, else the encoded number.
fn encode(key: u32, value: &[u8], dice: &mut Dice) -> Vec<u8> {
    let longer = if dice.chance(10) { 1 + dice.below(2) } else { 0 };
    let mut field = varint(u64::from(key), longer);
    if key & 7 == 2 {
        let longer = if dice.chance(10) { 1 + dice.below(2) } else { 0 };
        field.extend(varint(value.len() as u64, longer));
    }
    field.extend_from_slice(value);
    field
}

/// A varint with `longer` bytes more than it needs.
pub(crate) fn varint(mut value: u64, longer: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    for _ in 0..longer {
        *bytes.last_mut().unwrap() |= 0x80;
        bytes.push(0);
    }
    bytes
}

fn read_varint(bytes: &[u8]) -> (u64, usize) {
    let length = 1 + bytes.iter().position(|byte| *byte < 0x80).unwrap();
    let value = bytes[..length]
        .iter()
        .rev()
        .fold(0u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
    (value, length)
}

/// Start and end of each field of a message, its key, and where its value starts.
fn split_spans(bytes: &[u8]) -> Vec<(usize, usize, u32, usize)> {
    let mut spans = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (key, key_length) = read_varint(&bytes[at..]);
        let mut value = at + key_length;
        let end = match key & 7 {
            0 => value + read_varint(&bytes[value..]).1,
            1 => value + 8,
            5 => value + 4,
            2 => {
                let (length, length_length) = read_varint(&bytes[value..]);
                value += length_length;
                value + length as usize
            }
            3 => value + group_length(&bytes[value..]),
            _ => panic!("the end of a group without its start"),
        };
        spans.push((at, end, key as u32, value));
        at = end;
    }
    spans
}

fn group_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let (key, key_length) = read_varint(&bytes[at..]);
        if key & 7 == 4 {
            return at + key_length;
        }
        let (_, end, ..) = split_spans_once(&bytes[at..]);
        at += end;
    }
}

fn split_spans_once(bytes: &[u8]) -> (usize, usize, u32, usize) {
    let (key, key_length) = read_varint(bytes);
    let end = match key & 7 {
        0 => key_length + read_varint(&bytes[key_length..]).1,
        1 => key_length + 8,
        5 => key_length + 4,
        2 => {
            let (length, length_length) = read_varint(&bytes[key_length..]);
            key_length + length_length + length as usize
        }
        _ => key_length + group_length(&bytes[key_length..]),
    };
    (0, end, key as u32, key_length)
}

/// The fields of a message: key and value, the contents if length-delimited.
pub(crate) fn split(bytes: &[u8]) -> Vec<(u32, &[u8])> {
    split_spans(bytes)
        .into_iter()
        .map(|(_, end, key, value)| (key, &bytes[value..end]))
        .collect()
}

/// All unknown fields of a message and of those below it, sorted.
pub(crate) fn unknown_fields(kind: Type, bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut found = Vec::new();
    for (key, value) in split(bytes) {
        if key >> 3 >= UNKNOWN_FROM {
            found.push((key, value.to_vec()));
        } else if let Some(child) = kind.child(key >> 3) {
            found.extend(unknown_fields(child, value));
        }
    }
    found.sort();
    found
}
