//! `Message`: any encoded message and what is to be different about it.

use std::borrow::Cow;

use super::field::{Field, Fields};
use super::map::{Entry, Map, find_in_message};
use super::value::Value;
use crate::wire::{
    FIXED32, FIXED64, LENGTH, VARINT, close, open, text, write_bytes, write_key, write_varint,
};

/// A message over borrowed bytes, with changes kept beside them by field number.
///
/// Reading gives what the message would have if it were written now. Fields have the numbers of the proto files,
/// all below 64. Setting a number writes it even if it is the default: remove the field for that, unless it has
/// presence.
#[derive(Clone, Debug, Default)]
pub struct Message<'a> {
    source: Source<'a>,
    changes: Vec<(u32, Change<'a>)>,
    /// Room that the last message's attributes took.
    spare: Vec<Entry<'a>>,
}

#[derive(Clone, Debug)]
enum Source<'a> {
    Raw(&'a [u8]),
    /// All fields but the children that a walk visits by themselves.
    Fields(Vec<Field<'a>>),
}

impl Default for Source<'_> {
    fn default() -> Self {
        Source::Raw(&[])
    }
}

#[derive(Clone, Debug)]
enum Change<'a> {
    Removed,
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(Cow<'a, [u8]>),
    Value(Value<'a>),
    /// Pairs, which count as changed once they are.
    Map(Map<'a>),
    /// A message, which counts as changed once it is.
    Message(Box<Message<'a>>),
}

impl<'a> Message<'a> {
    pub fn new(raw: &'a [u8]) -> Self {
        Self {
            source: Source::Raw(raw),
            changes: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Starts over with another message, in the room of the last one.
    pub(super) fn reset(&mut self, raw: &'a [u8]) {
        self.forget_changes();
        self.source = Source::Raw(raw);
    }

    /// Like [`reset`](Self::reset), for a message whose children, the fields of which `child` says so, are visited by
    /// themselves.
    pub(super) fn reset_without_children(&mut self, raw: &'a [u8], child: impl Fn(u32) -> bool) {
        self.forget_changes();
        let mut fields = match std::mem::take(&mut self.source) {
            Source::Fields(fields) => fields,
            Source::Raw(_) => Vec::new(),
        };
        fields.clear();
        fields.extend(Fields::new(raw).filter(|field| !child(field.number)));
        self.source = Source::Fields(fields);
    }

    #[inline]
    fn forget_changes(&mut self) {
        if self.changes.is_empty() {
            return;
        }
        for (_, change) in self.changes.drain(..) {
            if let Change::Map(map) = change {
                self.spare = map.into_spare();
                self.spare.clear();
            }
        }
    }

    pub fn is_changed(&self) -> bool {
        self.changes.iter().any(|(_, change)| change.is_effective())
    }

    #[inline]
    fn change(&self, number: u32) -> Option<&Change<'a>> {
        self.changes
            .iter()
            .find(|(changed, _)| *changed == number)
            .map(|(_, change)| change)
    }

    fn change_mut(&mut self, number: u32, make: impl FnOnce(&mut Self) -> Change<'a>) -> &mut Change<'a> {
        let index = match self.changes.iter().position(|(changed, _)| *changed == number) {
            Some(index) => index,
            None => {
                let change = make(self);
                self.changes.push((number, change));
                self.changes.len() - 1
            }
        };
        &mut self.changes[index].1
    }

    fn set(&mut self, number: u32, change: Change<'a>) {
        debug_assert!(number < 64, "field {number} is not one of OTLP");
        match self.changes.iter_mut().find(|(changed, _)| *changed == number) {
            Some((_, before)) => *before = change,
            None => self.changes.push((number, change)),
        }
    }

    /// The field `number` as it came, the first of a repeated one.
    #[inline]
    fn field(&self, number: u32) -> Option<Field<'a>> {
        match &self.source {
            Source::Raw(raw) => Fields::new(raw).find(|field| field.number == number),
            Source::Fields(fields) => fields.iter().find(|field| field.number == number).copied(),
        }
    }

    /// Bits of a number: integers as they are in a varint, doubles by [`f64::to_bits`]. `None` if it is not there.
    pub fn number(&self, number: u32) -> Option<u64> {
        match self.change(number) {
            None => self.field(number).map(|field| field.bits()),
            Some(Change::Varint(bits) | Change::Fixed64(bits)) => Some(*bits),
            Some(Change::Fixed32(bits)) => Some(u64::from(*bits)),
            Some(_) => None,
        }
    }

    /// Bytes of a text, an id, a packed field.
    pub fn bytes(&self, number: u32) -> Option<Cow<'a, [u8]>> {
        match self.change(number) {
            None => self.field(number).map(|field| Cow::Borrowed(field.value)),
            Some(Change::Bytes(bytes)) => Some(bytes.clone()),
            Some(_) => None,
        }
    }

    /// A text; empty if it is not there.
    pub fn text(&self, number: u32) -> Cow<'a, str> {
        match self.bytes(number) {
            None => Cow::Borrowed(""),
            Some(Cow::Borrowed(bytes)) => Cow::Borrowed(text(bytes)),
            Some(Cow::Owned(bytes)) => Cow::Owned(String::from_utf8(bytes).unwrap_or_default()),
        }
    }

    /// A singular `AnyValue`.
    pub fn value(&self, number: u32) -> Option<Value<'a>> {
        match self.change(number) {
            None => self.field(number).map(|field| Value::decode(field.value)),
            Some(Change::Value(value)) => Some(value.clone()),
            Some(_) => None,
        }
    }

    /// Value of the first pair named `key` among the pairs `number`.
    #[inline]
    pub fn attribute(&self, number: u32, key: &str) -> Option<Value<'a>> {
        match (self.change(number), &self.source) {
            (None, Source::Raw(raw)) => find_in_message(raw, number, key),
            (Some(Change::Map(map)), _) => map.get(key),
            _ => self.map(number).get(key),
        }
    }

    /// The pairs `number`.
    pub fn map(&self, number: u32) -> Map<'a> {
        match self.change(number) {
            Some(Change::Map(map)) => map.clone(),
            Some(_) => Map::new(),
            None => self.map_of_source(number, Vec::new()),
        }
    }

    fn map_of_source(&self, number: u32, spare: Vec<Entry<'a>>) -> Map<'a> {
        match &self.source {
            Source::Raw(raw) => Map::of_message(raw, number, spare),
            Source::Fields(fields) => {
                let pairs = fields.iter().filter(|field| field.number == number);
                Map::of_pairs(pairs.map(|field| field.value))
            }
        }
    }

    /// The pairs `number`, to be changed.
    pub fn map_mut(&mut self, number: u32) -> &mut Map<'a> {
        if !matches!(self.change(number), None | Some(Change::Map(_))) {
            self.set(number, Change::Map(Map::new()));
        }
        let change = self.change_mut(number, |message| {
            let spare = std::mem::take(&mut message.spare);
            Change::Map(message.map_of_source(number, spare))
        });
        match change {
            Change::Map(map) => map,
            _ => unreachable!("made a map above"),
        }
    }

    /// Reads a singular message; an empty one if there is none.
    pub fn with_message<R>(&self, number: u32, read: impl FnOnce(&Message<'a>) -> R) -> R {
        match self.change(number) {
            Some(Change::Message(message)) => read(message),
            Some(_) => read(&Message::default()),
            None => {
                let raw = self.field(number).map_or(&[][..], |field| field.value);
                read(&Message::new(raw))
            }
        }
    }

    /// A singular message, to be changed; an empty one if there is none.
    pub fn message_mut(&mut self, number: u32) -> &mut Message<'a> {
        if !matches!(self.change(number), None | Some(Change::Message(_))) {
            self.set(number, Change::Message(Box::default()));
        }
        let change = self.change_mut(number, |message| {
            let raw = message.field(number).map_or(&[][..], |field| field.value);
            Change::Message(Box::new(Message::new(raw)))
        });
        match change {
            Change::Message(message) => message,
            _ => unreachable!("made a message above"),
        }
    }

    /// Contents of each message, text or chunk `number` as they came.
    pub fn repeated(&self, number: u32) -> impl Iterator<Item = &'a [u8]> + use<'a, '_> {
        let (raw, fields) = match &self.source {
            Source::Raw(raw) => (*raw, &[][..]),
            Source::Fields(fields) => (&[][..], &fields[..]),
        };
        let fields = Fields::new(raw).chain(fields.iter().copied());
        fields
            .filter(move |field| field.number == number)
            .map(|field| field.value)
    }

    pub fn set_varint(&mut self, number: u32, value: u64) {
        self.set(number, Change::Varint(value));
    }

    pub fn set_fixed64(&mut self, number: u32, bits: u64) {
        self.set(number, Change::Fixed64(bits));
    }

    pub fn set_fixed32(&mut self, number: u32, bits: u32) {
        self.set(number, Change::Fixed32(bits));
    }

    /// Sets an id or a packed field.
    pub fn set_bytes(&mut self, number: u32, bytes: Cow<'a, [u8]>) {
        self.set(number, Change::Bytes(bytes));
    }

    /// Sets a text; an empty one is no field.
    pub fn set_text(&mut self, number: u32, text: Cow<'a, str>) {
        if text.is_empty() {
            self.remove(number);
            return;
        }
        let bytes = match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        self.set(number, Change::Bytes(bytes));
    }

    /// Sets a singular `AnyValue`.
    pub fn set_value(&mut self, number: u32, value: Value<'a>) {
        self.set(number, Change::Value(value));
    }

    /// Sets the pairs `number`.
    pub fn set_map(&mut self, number: u32, map: Map<'a>) {
        self.set(number, Change::Map(map.into_changed()));
    }

    /// Removes all fields `number`.
    pub fn remove(&mut self, number: u32) {
        if self.field(number).is_some() || self.change(number).is_some() {
            self.set(number, Change::Removed);
        }
    }

    /// The encoded message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// Appends the message.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match &self.source {
            Source::Raw(raw) => self.write_over(raw, out),
            Source::Fields(fields) => {
                let raw: Vec<u8> = fields.iter().flat_map(|field| field.whole).copied().collect();
                self.write_over(&raw, out);
            }
        }
    }

    /// Appends `raw`, this message as it came or a message like it, with the changes of this one.
    pub(super) fn write_over(&self, raw: &[u8], out: &mut Vec<u8>) {
        if !self.is_changed() {
            out.extend_from_slice(raw);
            return;
        }
        let mut written = 0u64;
        let (mut kept_from, mut at) = (0, 0);
        // Of pairs that were mostly left alone, all but the one that is gone stay where they are.
        let mut patches = self
            .changes
            .iter()
            .filter_map(|(number, change)| change.patch(*number));
        let (patched, gone) = patches.next().map_or((0, None), |(number, gone)| (number, gone));
        let mut pairs_seen = 0;
        for field in Fields::new(raw) {
            let start = at;
            at += field.whole.len();
            if field.number == patched {
                pairs_seen += usize::from(field.wire_type == LENGTH);
                if gone.is_some_and(|gone| gone + 1 == pairs_seen) && field.wire_type == LENGTH {
                    out.extend_from_slice(raw.get(kept_from..start).unwrap_or_default());
                    kept_from = at;
                }
                continue;
            }
            let Some(change) = self.change(field.number).filter(|change| change.is_effective()) else {
                continue;
            };
            out.extend_from_slice(raw.get(kept_from..start).unwrap_or_default());
            kept_from = at;
            if written & 1 << field.number == 0 {
                written |= 1 << field.number;
                change.write(field.number, out);
            }
        }
        out.extend_from_slice(raw.get(kept_from..).unwrap_or_default());
        for (number, change) in &self.changes {
            match change {
                Change::Map(map) if *number == patched => map.write_entries(out, *number),
                _ if written & 1 << number == 0 && change.is_effective() => change.write(*number, out),
                _ => {}
            }
        }
    }
}

impl Change<'_> {
    fn is_effective(&self) -> bool {
        match self {
            Change::Map(map) => map.is_changed(),
            Change::Message(message) => message.is_changed(),
            _ => true,
        }
    }

    /// The number of pairs that a patch tells about, and which of them is gone.
    fn patch(&self, number: u32) -> Option<(u32, Option<usize>)> {
        match self {
            Change::Map(map) => Some((number, map.patch()?)),
            _ => None,
        }
    }

    fn write(&self, number: u32, out: &mut Vec<u8>) {
        match self {
            Change::Removed => {}
            Change::Varint(value) => {
                write_key(out, number, VARINT);
                write_varint(out, *value);
            }
            Change::Fixed64(bits) => {
                write_key(out, number, FIXED64);
                out.extend_from_slice(&bits.to_le_bytes());
            }
            Change::Fixed32(bits) => {
                write_key(out, number, FIXED32);
                out.extend_from_slice(&bits.to_le_bytes());
            }
            Change::Bytes(bytes) => write_bytes(out, number, bytes),
            Change::Map(map) => map.write_pairs(out, number),
            Change::Value(value) => {
                let start = open(out, number);
                value.write(out);
                close(out, start);
            }
            Change::Message(message) => {
                let start = open(out, number);
                message.write(out);
                close(out, start);
            }
        }
    }
}
