//! OTLP/JSON straight into canonical protobuf, by the schema: no tree in between.

mod scalar;

use std::fmt;

use bytes::Bytes;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, Expected, IgnoredAny, MapAccess, SeqAccess, Unexpected,
    Visitor,
};

use crate::decode::{DecodeError, NESTING_MAX, Problem};
use crate::output::{Output, Room};
use crate::schema::{Field, Kind, Label, Message};
use crate::wire::{self, VARINT_BYTES_MAX, varint_length};
use scalar::{Form, Place, shortened};

/// The canonical bytes of `body`, a `message` in JSON, and its number of items.
pub(super) fn read(
    message: &'static Message,
    body: &[u8],
    room: &mut Room<'_>,
) -> Result<(Bytes, usize), DecodeError> {
    // Of `serde_json`: the longest text with escapes in it, or one byte for each level of an unknown value.
    let scratch = body.len();
    room.take(scratch).map_err(of_request)?;
    let read = read_within(message, body, room);
    room.give_back(scratch);
    read
}

fn read_within(
    message: &'static Message,
    body: &[u8],
    room: &mut Room<'_>,
) -> Result<(Bytes, usize), DecodeError> {
    let mut target = Target {
        out: Output::with_capacity(body.len() / 2, room).map_err(of_request)?,
        envelope_width: varint_length(body.len() as u64 / 2),
        items: 0,
        path: Vec::new(),
        problem: None,
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = json.deserialize_any(MessageVisitor {
        target: &mut target,
        message,
        depth: 0,
    });
    match read.and_then(|()| json.end()) {
        Ok(()) => {
            let items = target.items;
            let payload = target.out.finish().map_err(of_request)?;
            Ok((payload, items))
        }
        Err(error) => Err(target.into_error(body, &error)),
    }
}

/// A problem with the request as a whole.
fn of_request(problem: Problem) -> DecodeError {
    DecodeError {
        path: REQUEST.to_owned(),
        offset: 0,
        problem,
    }
}

/// Levels of a request that hold nearly all of it: telemetry of a resource, and of a scope.
const ENVELOPES: usize = 2;

/// Path of what is at no field.
const REQUEST: &str = "request";

/// Where values go, and where in the document we are.
struct Target<'r, 'm> {
    out: Output<'r, 'm>,
    /// Bytes that the length of a resource's or scope's telemetry likely takes: nearly all of the document, as a rule.
    envelope_width: usize,
    items: usize,
    path: Vec<Step>,
    /// What we refused; `serde_json` carries only text.
    problem: Option<Problem>,
}

#[derive(Clone, Copy)]
enum Step {
    Field(&'static str),
    Index(usize),
}

impl Target<'_, '_> {
    /// Makes room for `bytes` more.
    #[inline]
    fn reserve<E: serde::de::Error>(&mut self, bytes: usize) -> Result<(), E> {
        match self.out.reserve(bytes) {
            Ok(()) => Ok(()),
            Err(problem) => Err(self.refuse(problem)),
        }
    }

    fn open<E: serde::de::Error>(&mut self, number: u32) -> Result<usize, E> {
        self.reserve(2 * VARINT_BYTES_MAX)?;
        Ok(wire::open(&mut self.out.bytes, number))
    }

    fn close<E: serde::de::Error>(&mut self, start: usize) -> Result<(), E> {
        self.reserve(VARINT_BYTES_MAX)?;
        wire::close(&mut self.out.bytes, start);
        Ok(())
    }

    /// Remembers the problem and gives an error for `serde_json` to carry up.
    fn refuse<E: serde::de::Error>(&mut self, problem: Problem) -> E {
        let error = E::custom(&problem);
        self.problem = Some(problem);
        error
    }

    fn into_error(self, body: &[u8], error: &serde_json::Error) -> DecodeError {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => path.extend([".", name]),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        if path.is_empty() {
            path.push_str(REQUEST);
        }
        let lines_before = error.line().saturating_sub(1);
        let line_start: usize = body
            .split_inclusive(|byte| *byte == b'\n')
            .take(lines_before)
            .map(<[u8]>::len)
            .sum();
        let offset = (line_start + error.column()).min(body.len());
        let problem = self
            .problem
            .unwrap_or_else(|| Problem::Json(without_position(&error.to_string())));
        DecodeError {
            path,
            offset,
            problem,
        }
    }
}

/// `serde_json` appends " at line 1 column 5", which we say as an offset.
fn without_position(message: &str) -> String {
    message
        .rsplit_once(" at line ")
        .map_or(message, |(text, _)| text)
        .to_owned()
}

/// A text where something else belongs. Visitors say this themselves: serde would quote the whole text.
fn text_instead<E: serde::de::Error>(text: &str, expected: &dyn Expected) -> E {
    E::invalid_type(Unexpected::Str(&shortened(text)), expected)
}

/// Reads the fields of an object into the current position.
struct MessageVisitor<'t, 'r, 'm> {
    target: &'t mut Target<'r, 'm>,
    message: &'static Message,
    depth: usize,
}

impl<'de> Visitor<'de> for MessageVisitor<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        Err(text_instead(text, &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self {
            target,
            message,
            depth,
        } = self;
        if depth > NESTING_MAX {
            return Err(target.refuse(Problem::Nesting));
        }
        let mut seen = 0u32;
        let mut member = None;
        while let Some(name) = map.next_key_seed(FieldName { message })? {
            let Some(field) = name else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            target.path.push(Step::Field(field.json));
            if seen & 1 << field.number != 0 {
                return Err(target.refuse(Problem::Repeated));
            }
            seen |= 1 << field.number;
            let set = map.next_value_seed(FieldValue {
                target: &mut *target,
                field,
                depth,
            })?;
            if set && field.label == Label::Oneof {
                if let Some(other) = member {
                    return Err(target.refuse(Problem::Oneof { other }));
                }
                member = Some(field.json);
            }
            target.path.pop();
        }
        Ok(())
    }
}

/// Looks up a key without owning it. `None` is an unknown field.
struct FieldName {
    message: &'static Message,
}

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldName {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.message.fields.iter().find(|field| field.json == name))
    }
}

/// Reads the value of a field and writes the field; says whether it was set, which null does not do.
struct FieldValue<'t, 'r, 'm> {
    target: &'t mut Target<'r, 'm>,
    field: &'static Field,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for FieldValue<'_, '_, '_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        if self.field.repeated() {
            return deserializer.deserialize_any(self);
        }
        match self.field.kind {
            Kind::Message(_) => deserializer.deserialize_any(self),
            kind => {
                let form = match self.field.label {
                    Label::Singular => Form::Singular,
                    _ => Form::Present,
                };
                let number = self.field.number;
                scalar::read(self.target, Place { number, form }, kind, deserializer)
            }
        }
    }
}

impl<'de> Visitor<'de> for FieldValue<'_, '_, '_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.field.repeated() {
            "an array"
        } else {
            "an object"
        })
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<bool, E> {
        Err(text_instead(text, &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<bool, A::Error> {
        let Kind::Message(message) = self.field.kind else {
            return Err(A::Error::invalid_type(Unexpected::Map, &self));
        };
        if self.field.repeated() {
            return Err(A::Error::invalid_type(Unexpected::Map, &self));
        }
        read_message(self.target, self.field.number, message, self.depth, map)?;
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<bool, A::Error> {
        let Self { target, field, depth } = self;
        if !field.repeated() {
            return Err(A::Error::invalid_type(Unexpected::Seq, &"an object"));
        }
        let packed = !matches!(field.kind, Kind::Message(_) | Kind::String);
        let before = target.out.bytes.len();
        let start = if packed {
            target.open(field.number)?
        } else {
            before
        };
        target.path.push(Step::Index(0));
        let mut count = 0;
        while elements
            .next_element_seed(Element {
                target: &mut *target,
                field,
                depth,
                packed,
            })?
            .is_some()
        {
            count += 1;
            if let Some(last) = target.path.last_mut() {
                *last = Step::Index(count);
            }
        }
        target.path.pop();
        match (packed, count) {
            (true, 0) => target.out.bytes.truncate(before),
            (true, _) => target.close(start)?,
            _ => {}
        }
        if field.label == Label::Item {
            target.items += count;
        }
        Ok(true)
    }
}

/// Opens field `number`, reads the object into it, closes it.
fn read_message<'de, A: MapAccess<'de>>(
    target: &mut Target<'_, '_>,
    number: u32,
    message: &'static Message,
    depth: usize,
    map: A,
) -> Result<(), A::Error> {
    let width = if depth < ENVELOPES {
        target.envelope_width
    } else {
        1
    };
    target.reserve(2 * VARINT_BYTES_MAX)?;
    let start = wire::open_wide(&mut target.out.bytes, number, width);
    MessageVisitor {
        target: &mut *target,
        message,
        depth: depth + 1,
    }
    .visit_map(map)?;
    target.reserve(VARINT_BYTES_MAX)?;
    wire::close_wide(&mut target.out.bytes, start, width);
    Ok(())
}

/// Reads one element of an array and writes it. A null is the default: an empty message, text or number.
struct Element<'t, 'r, 'm> {
    target: &'t mut Target<'r, 'm>,
    field: &'static Field,
    depth: usize,
    packed: bool,
}

impl<'de> DeserializeSeed<'de> for Element<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let kind = self.field.kind;
        if let Kind::Message(_) = kind {
            return deserializer.deserialize_any(self);
        }
        let form = if self.packed { Form::Packed } else { Form::Present };
        let number = self.field.number;
        let place = Place { number, form };
        if !scalar::read(self.target, place, kind, deserializer)? {
            place.default(self.target, kind)?;
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Element<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        let start = self.target.open(self.field.number)?;
        self.target.close(start)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        Err(text_instead(text, &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Kind::Message(message) = self.field.kind else {
            return Err(A::Error::invalid_type(Unexpected::Map, &self));
        };
        read_message(self.target, self.field.number, message, self.depth, map)
    }
}
