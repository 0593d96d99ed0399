//! Walking an encoded record: where attributes, values and texts are in it, whether they are clean, and the record without its
//! secrets. What is not looked at is copied as it stands, unknown fields included.
//!
//! Records are canonical. Of bytes that are not, whatever can be read is scrubbed, and nothing panics.

use cupola_telemetry::edit::Fields;
use cupola_telemetry::wire::{self, FIXED64, LENGTH, VARINT};
use cupola_telemetry::{NESTING_MAX, Signal};

use super::{REDACTED, Scrubber};

/// What a field of a message is.
enum Part {
    /// A `KeyValue`.
    Attribute,
    /// An `AnyValue`.
    Value,
    /// A name or a description.
    Text,
    Message(&'static Shape),
}

/// The fields of a message that are looked at, by number.
struct Shape {
    parts: &'static [(u32, Part)],
    /// A bit for each of the numbers, which are below 32.
    numbers: u32,
}

const fn shape(parts: &'static [(u32, Part)]) -> Shape {
    let (mut numbers, mut at) = (0, 0);
    while at < parts.len() {
        numbers |= 1 << parts[at].0;
        at += 1;
    }
    Shape { parts, numbers }
}

use Part::{Attribute, Message, Text, Value};

static SPAN: Shape = shape(&[
    (5, Text),
    (9, Attribute),
    (11, Message(&shape(&[(2, Text), (3, Attribute)]))),
    (13, Message(&shape(&[(4, Attribute)]))),
    (15, Message(&shape(&[(2, Text)]))),
]);

static LOG_RECORD: Shape = shape(&[(5, Value), (6, Attribute)]);

static METRIC: Shape = shape(&[
    (5, Message(&shape(&[(1, Message(&NUMBER_POINT))]))),
    (7, Message(&shape(&[(1, Message(&NUMBER_POINT))]))),
    (9, Message(&shape(&[(1, Message(&HISTOGRAM_POINT))]))),
    (10, Message(&shape(&[(1, Message(&EXPONENTIAL_POINT))]))),
    (11, Message(&shape(&[(1, Message(&shape(&[(7, Attribute)])))]))),
    (12, Attribute),
]);
static NUMBER_POINT: Shape = shape(&[(5, Message(&EXEMPLAR)), (7, Attribute)]);
static HISTOGRAM_POINT: Shape = shape(&[(8, Message(&EXEMPLAR)), (9, Attribute)]);
static EXPONENTIAL_POINT: Shape = shape(&[(1, Attribute), (11, Message(&EXEMPLAR))]);
static EXEMPLAR: Shape = shape(&[(7, Attribute)]);

/// As what bytes are asked about: the same may be clean as one and not as another.
mod ask {
    pub(super) const ATTRIBUTE: u64 = 0;
    pub(super) const VALUE: u64 = 1;
    pub(super) const NAME: u64 = 2;
}

/// Field numbers of `KeyValue` and `AnyValue`, and of the members of both lists.
mod field {
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
    pub(super) const STRING: u32 = 1;
    pub(super) const BOOL: u32 = 2;
    pub(super) const INT: u32 = 3;
    pub(super) const DOUBLE: u32 = 4;
    pub(super) const ARRAY: u32 = 5;
    pub(super) const MAP: u32 = 6;
    pub(super) const BYTES: u32 = 7;
    pub(super) const MEMBER: u32 = 1;
}

/// How a `KeyValue` and an `AnyValue` begin what they have.
const KEY_TAG: u8 = (field::KEY << 3 | LENGTH) as u8;
const VALUE_TAG: u8 = (field::VALUE << 3 | LENGTH) as u8;
const BOOL_TAG: u8 = (field::BOOL << 3 | VARINT) as u8;
const INT_TAG: u8 = (field::INT << 3 | VARINT) as u8;
const DOUBLE_TAG: u8 = (field::DOUBLE << 3 | FIXED64) as u8;

impl Shape {
    #[inline]
    fn part(&self, number: u32) -> Option<&Part> {
        if number > 31 || self.numbers >> number & 1 == 0 {
            return None;
        }
        let part = self.parts.iter().find(|(known, _)| *known == number);
        part.map(|(_, part)| part)
    }

    fn of(signal: Signal) -> &'static Shape {
        match signal {
            Signal::Traces => &SPAN,
            Signal::Logs => &LOG_RECORD,
            Signal::Metrics => &METRIC,
        }
    }
}

impl Scrubber {
    /// Whether nothing is to be replaced in a record.
    #[inline]
    pub(super) fn is_clean(&self, signal: Signal, record: &[u8]) -> bool {
        self.message_is_clean(Shape::of(signal), record)
    }

    /// Appends a record without its secrets.
    pub(super) fn write_clean(&self, signal: Signal, record: &[u8], out: &mut Vec<u8>) {
        self.write_message(Shape::of(signal), record, out);
    }

    fn message_is_clean(&self, shape: &Shape, message: &[u8]) -> bool {
        Fields::new(message).all_contents(|number, contents| self.part_is_clean(shape, number, contents))
    }

    #[inline]
    fn part_is_clean(&self, shape: &Shape, number: u32, contents: &[u8]) -> bool {
        match shape.part(number) {
            None => true,
            Some(Attribute) => self.attribute_is_clean(contents, NESTING_MAX),
            Some(Value) => self.is_known_clean(ask::VALUE, contents, |body| {
                self.value_is_clean(body, NESTING_MAX)
            }),
            Some(Text) => {
                !self.names || self.is_known_clean(ask::NAME, contents, |text| self.name_is_clean(text))
            }
            Some(Message(shape)) => self.message_is_clean(shape, contents),
        }
    }

    /// Asks whether bytes are clean, unless it was asked before and they were.
    #[inline]
    fn is_known_clean(&self, question: u64, bytes: &[u8], is_clean: impl FnOnce(&[u8]) -> bool) -> bool {
        let asked = self.clean.ask(question, bytes);
        if self.clean.answer(asked) == Some(true) {
            return true;
        }
        let clean = is_clean(bytes);
        if clean {
            self.clean.remember(asked, true);
        }
        clean
    }

    #[inline]
    fn attribute_is_clean(&self, pair: &[u8], depth: usize) -> bool {
        if let Some((key, value)) = number_of(pair) {
            // Numbers are nearly always others, so that it is not worth remembering them.
            return !self.has_secret_key(key) || says_nothing(value);
        }
        self.is_known_clean(ask::ATTRIBUTE, pair, |pair| {
            let (key, value) = split(pair);
            match self.has_secret_key(key) {
                true => says_nothing(value),
                false => self.value_is_clean(value, depth),
            }
        })
    }

    #[inline]
    fn has_secret_key(&self, key: &[u8]) -> bool {
        self.keys.is_secret(key)
    }

    fn value_is_clean(&self, value: &[u8], depth: usize) -> bool {
        Fields::new(value).all_contents(|number, contents| match number {
            field::STRING => self.text_is_clean(contents),
            field::BYTES => std::str::from_utf8(contents).is_err() || self.text_is_clean(contents),
            field::ARRAY | field::MAP if depth == 0 => contents.is_empty(),
            field::ARRAY => members(contents).all(|member| self.value_is_clean(member, depth - 1)),
            field::MAP => members(contents).all(|pair| self.attribute_is_clean(pair, depth - 1)),
            _ => true,
        })
    }

    /// What is no text cannot be looked at, and does not count as clean.
    fn text_is_clean(&self, text: &[u8]) -> bool {
        let is_clean = |text: &str| self.cut_at(text).is_none() && self.texts.is_clean(&self.keys, text);
        std::str::from_utf8(text).is_ok_and(is_clean)
    }

    fn name_is_clean(&self, text: &[u8]) -> bool {
        std::str::from_utf8(text).is_ok_and(|text| self.texts.is_clean(&self.keys, text))
    }

    fn write_message(&self, shape: &Shape, message: &[u8], out: &mut Vec<u8>) {
        for field in Fields::new(message) {
            let part = shape.part(field.number).filter(|_| field.wire_type == LENGTH);
            match part {
                Some(part) if !self.part_is_clean(shape, field.number, field.value) => {
                    let start = wire::open(out, field.number);
                    match part {
                        Attribute => self.write_attribute(field.value, out, NESTING_MAX),
                        Value => self.write_value(field.value, out, NESTING_MAX),
                        Text => out.extend_from_slice(&self.scrub_name(field.value)),
                        Message(shape) => self.write_message(shape, field.value, out),
                    }
                    wire::close(out, start);
                }
                _ => out.extend_from_slice(field.whole),
            }
        }
    }

    fn write_attribute(&self, pair: &[u8], out: &mut Vec<u8>, depth: usize) {
        let (key, _) = split(pair);
        let is_secret = self.has_secret_key(key);
        for field in Fields::new(pair) {
            if field.number != field::VALUE || field.wire_type != LENGTH {
                out.extend_from_slice(field.whole);
                continue;
            }
            let start = wire::open(out, field::VALUE);
            match is_secret {
                true if says_nothing(field.value) => out.extend_from_slice(field.value),
                true => wire::write_bytes(out, field::STRING, REDACTED.as_bytes()),
                false => self.write_value(field.value, out, depth),
            }
            wire::close(out, start);
        }
    }

    fn write_value(&self, value: &[u8], out: &mut Vec<u8>, depth: usize) {
        for field in Fields::new(value) {
            let number = match field.wire_type {
                LENGTH => field.number,
                _ => 0,
            };
            match number {
                field::STRING => wire::write_bytes(out, field::STRING, &self.scrub_bytes(field.value)),
                field::BYTES if std::str::from_utf8(field.value).is_ok() => {
                    wire::write_bytes(out, field::BYTES, &self.scrub_bytes(field.value));
                }
                // As deep as this nobody looks.
                field::ARRAY | field::MAP if depth == 0 => {
                    wire::write_bytes(out, field::STRING, REDACTED.as_bytes());
                }
                field::ARRAY => self.write_members(field.number, field.value, out, |member, out| {
                    self.write_value(member, out, depth - 1);
                }),
                field::MAP => self.write_members(field.number, field.value, out, |pair, out| {
                    self.write_attribute(pair, out, depth - 1);
                }),
                _ => out.extend_from_slice(field.whole),
            }
        }
    }

    fn write_members(
        &self,
        number: u32,
        list: &[u8],
        out: &mut Vec<u8>,
        write: impl Fn(&[u8], &mut Vec<u8>),
    ) {
        let start = wire::open(out, number);
        for field in Fields::new(list) {
            if field.number != field::MEMBER || field.wire_type != LENGTH {
                out.extend_from_slice(field.whole);
                continue;
            }
            let member = wire::open(out, field::MEMBER);
            write(field.value, out);
            wire::close(out, member);
        }
        wire::close(out, start);
    }

    fn scrub_name(&self, text: &[u8]) -> Vec<u8> {
        match std::str::from_utf8(text) {
            Ok(text) => self.texts.scrub(&self.keys, text).into_owned().into_bytes(),
            Err(_) => REDACTED.as_bytes().to_vec(),
        }
    }

    fn scrub_bytes(&self, text: &[u8]) -> Vec<u8> {
        match std::str::from_utf8(text) {
            Ok(text) => self.scrub_text(text).into_owned().into_bytes(),
            Err(_) => REDACTED.as_bytes().to_vec(),
        }
    }
}

/// Key and value of a pair, empty where it has none.
#[inline]
fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    let (mut key, mut value) = (&[][..], &[][..]);
    for field in Fields::new(pair).filter(|field| field.wire_type == LENGTH) {
        match field.number {
            field::KEY => key = field.value,
            field::VALUE => value = field.value,
            _ => {}
        }
    }
    (key, value)
}

/// Key and value of a pair as it is usually written, if the value is a number or a `bool` and nothing else.
#[inline]
fn number_of(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let [KEY_TAG, key_length @ ..0x80, rest @ ..] = pair else {
        return None;
    };
    let (key, rest) = rest.split_at_checked(usize::from(*key_length))?;
    let [VALUE_TAG, value_length @ ..0x80, value @ ..] = rest else {
        return None;
    };
    let is_number = match value {
        [BOOL_TAG | INT_TAG, number @ .., last] => *last < 0x80 && number.iter().all(|byte| *byte >= 0x80),
        [DOUBLE_TAG, number @ ..] => number.len() == 8,
        _ => false,
    };
    (is_number && value.len() == usize::from(*value_length)).then_some((key, value))
}

/// Members of an array or a map.
fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let members =
        Fields::new(list).filter(|field| field.number == field::MEMBER && field.wire_type == LENGTH);
    members.map(|field| field.value)
}

/// Whether a value is none, a `bool`, empty, or what stands where a secret was: no secret, whatever its name.
fn says_nothing(value: &[u8]) -> bool {
    Fields::new(value).all(|field| match field.number {
        field::BOOL => true,
        field::STRING => field.value.is_empty() || field.value == REDACTED.as_bytes(),
        field::BYTES | field::ARRAY | field::MAP => field.value.is_empty(),
        _ => false,
    })
}
