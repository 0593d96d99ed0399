//! OTLP as a table: for each message its fields, their kinds and JSON names. One source for validation,
//! canonicalisation and OTLP/JSON in both directions.
//!
//! Transcribed from opentelemetry-proto; round trips against its generated types prove it. Adding a field of a
//! later OTLP here is enough for all of these; the views get it when somebody needs it.

mod common;
mod logs;
mod metrics;
mod traces;

pub(crate) use common::{ANY_VALUE, KEY_VALUE};

use crate::Signal;
use crate::wire::{FIXED32, FIXED64, LENGTH, VARINT};

/// Highest field number in OTLP; the tables are indexed by it.
pub(crate) const NUMBER_MAX: usize = 16;

/// [`Rule::once`] of the members of a oneof: bit 0, which no field number has.
pub(crate) const ONEOF: u32 = 1;

/// A message type.
pub(crate) struct Message {
    pub(crate) fields: &'static [Field],
    /// By field number; what the validator looks at.
    pub(crate) rules: [Rule; NUMBER_MAX + 1],
}

/// A field of a message type.
pub(crate) struct Field {
    pub(crate) number: u32,
    /// Name in the proto file.
    pub(crate) name: &'static str,
    /// Name in OTLP/JSON.
    pub(crate) json: &'static str,
    pub(crate) kind: Kind,
    pub(crate) label: Label,
}

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Double,
    Fixed64,
    Sfixed64,
    Fixed32,
    Uint32,
    Uint64,
    Int32,
    Int64,
    Sint32,
    Bool,
    Enum,
    String,
    Bytes,
    /// Bytes of this length, or none; hex in JSON.
    Id(usize),
    Message(&'static Message),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    /// Absent and default are the same.
    Singular,
    /// Absent and default differ.
    Optional,
    /// Member of the message's oneof; no OTLP message has two.
    Oneof,
    Repeated,
    /// Repeated, and each is one item of the batch.
    Item,
}

/// What validation does with a field.
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) wire_type: u8,
    /// 1 for an item of the batch.
    pub(crate) items: u8,
    /// Set when seen; seeing it again is not canonical. Zero where repetition is.
    pub(crate) once: u32,
    pub(crate) check: Check,
}

#[derive(Clone, Copy)]
pub(crate) enum Check {
    /// No field of that number is known.
    Unknown,
    Varint,
    Fixed64,
    Fixed32,
    Bytes,
    Utf8,
    Id(usize),
    PackedVarint,
    PackedFixed64,
    Message(&'static Message),
}

/// The export request of a signal.
pub(crate) fn request(signal: Signal) -> &'static Message {
    match signal {
        Signal::Logs => &logs::REQUEST,
        Signal::Metrics => &metrics::REQUEST,
        Signal::Traces => &traces::REQUEST,
    }
}

impl Message {
    pub(crate) const fn new(fields: &'static [Field]) -> Self {
        let unknown = Rule {
            wire_type: u8::MAX,
            items: 0,
            once: 0,
            check: Check::Unknown,
        };
        let mut rules = [unknown; NUMBER_MAX + 1];
        let mut index = 0;
        while index < fields.len() {
            let field = &fields[index];
            rules[field.number as usize] = field.rule();
            index += 1;
        }
        Self { fields, rules }
    }

    pub(crate) fn field(&self, number: u32) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.number == number)
    }
}

impl Field {
    pub(crate) const fn repeated(&self) -> bool {
        matches!(self.label, Label::Repeated | Label::Item)
    }

    const fn rule(&self) -> Rule {
        let check = match (self.kind, self.repeated()) {
            (Kind::Double | Kind::Fixed64, true) => Check::PackedFixed64,
            (Kind::Uint64, true) => Check::PackedVarint,
            (Kind::Double | Kind::Fixed64 | Kind::Sfixed64, _) => Check::Fixed64,
            (Kind::Fixed32, _) => Check::Fixed32,
            (Kind::String, _) => Check::Utf8,
            (Kind::Bytes, _) => Check::Bytes,
            (Kind::Id(length), _) => Check::Id(length),
            (Kind::Message(message), _) => Check::Message(message),
            _ => Check::Varint,
        };
        let once = match (self.label, check) {
            (Label::Oneof, _) => ONEOF,
            (Label::Singular | Label::Optional, _) | (_, Check::PackedFixed64 | Check::PackedVarint) => {
                1 << self.number
            }
            _ => 0,
        };
        let items = matches!(self.label, Label::Item) as u8;
        Rule {
            wire_type: check.wire_type() as u8,
            items,
            once,
            check,
        }
    }
}

impl Check {
    /// Wire type of a field as canonical bytes have it.
    pub(crate) const fn wire_type(self) -> u32 {
        match self {
            Self::Varint => VARINT,
            Self::Fixed64 => FIXED64,
            Self::Fixed32 => FIXED32,
            _ => LENGTH,
        }
    }

    /// Wire type of one element when a packed field comes unpacked.
    pub(crate) const fn element_wire_type(self) -> Option<u32> {
        match self {
            Self::PackedVarint => Some(VARINT),
            Self::PackedFixed64 => Some(FIXED64),
            _ => None,
        }
    }
}

/// `number name "jsonName": Kind Label,` rows.
macro_rules! fields {
    ($($number:literal $name:literal $json:literal $kind:ident $(($argument:expr))? $label:ident),* $(,)?) => {
        &[$($crate::schema::Field {
            number: $number,
            name: $name,
            json: $json,
            kind: $crate::schema::Kind::$kind $(($argument))?,
            label: $crate::schema::Label::$label,
        }),*]
    };
}
pub(crate) use fields;

#[cfg(test)]
mod tests {
    use super::*;

    /// All message types below `message`, each once.
    fn collect(message: &'static Message, found: &mut Vec<&'static Message>) {
        if found.iter().any(|known| std::ptr::eq(*known, message)) {
            return;
        }
        found.push(message);
        for field in message.fields {
            if let Kind::Message(nested) = field.kind {
                collect(nested, found);
            }
        }
    }

    fn lower_camel_case(name: &str) -> String {
        let mut words = name.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |mut all, word| {
            let (head, tail) = word.split_at(1);
            all.push_str(&head.to_uppercase());
            all.push_str(tail);
            all
        })
    }

    #[test]
    fn fields_are_well_formed() {
        let mut messages = Vec::new();
        Signal::ALL
            .into_iter()
            .for_each(|signal| collect(request(signal), &mut messages));
        assert_eq!(messages.len(), 34);
        for field in messages.iter().flat_map(|message| message.fields) {
            assert_eq!(field.json, lower_camel_case(field.name));
        }
        for message in messages {
            let numbers: Vec<u32> = message.fields.iter().map(|field| field.number).collect();
            assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        }
    }
}
