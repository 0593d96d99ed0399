//! Rewrites a valid message into its canonical form, by protobuf's rules for merging.
//!
//! Concatenated encodings are one message with the fields of all, so a singular message that comes in several
//! pieces is the message whose bytes are those pieces in a row. The last scalar wins; of a oneof the last
//! member wins, merged with the pieces of the same member right before it. A singular field is written where
//! it first stood; repeated and unknown fields keep their order.

use super::validate::validate;
use crate::schema::{Check, Message, NUMBER_MAX, ONEOF};
use crate::wire::{LENGTH, Reader, close, open, write_key, write_varint};

/// The canonical form of `bytes`, which have been validated as a `message`.
pub(super) fn rewrite(message: &'static Message, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    write_message(&mut out, message, &[bytes]);
    out
}

/// One field as it came.
struct Occurrence<'a> {
    number: u32,
    wire_type: u32,
    /// Key, length and contents.
    whole: &'a [u8],
    /// Contents of a length-delimited field, else the encoded value.
    value: &'a [u8],
}

fn occurrences<'a>(fragments: &[&'a [u8]]) -> impl Iterator<Item = Occurrence<'a>> {
    fragments.iter().flat_map(|fragment| {
        let mut reader = Reader::new(fragment);
        std::iter::from_fn(move || {
            let start = reader.rest();
            let key = reader.key()?;
            let value_start = reader.rest();
            let mut value = None;
            if key & 7 == LENGTH {
                value = Some(reader.bytes());
            } else {
                reader.skip(key);
            }
            let end = reader.rest().len();
            let until_end = |from: &'a [u8]| from.get(..from.len() - end).unwrap_or_default();
            let value = value.unwrap_or_else(|| until_end(value_start));
            Some(Occurrence {
                number: key >> 3,
                wire_type: key & 7,
                whole: until_end(start),
                value,
            })
        })
    })
}

/// What is to be written of a singular or packed field.
#[derive(Default)]
struct Slot<'a> {
    /// The last occurrence of a scalar.
    last: &'a [u8],
    /// The pieces of a message, or the chunks and single values of a packed field.
    pieces: Vec<&'a [u8]>,
}

fn write_message(out: &mut Vec<u8>, message: &'static Message, fragments: &[&[u8]]) {
    let mut slots = collect(message, fragments);
    for field in occurrences(fragments) {
        let Some(rule) = message.rules.get(field.number as usize) else {
            out.extend_from_slice(field.whole);
            continue;
        };
        match (rule.check, rule.once) {
            (Check::Unknown, _) => out.extend_from_slice(field.whole),
            // One record among many is at fault, as a rule: the others are copied after a look.
            _ if rule.items > 0 && is_canonical(rule.check, field.value) => {
                out.extend_from_slice(field.whole)
            }
            (Check::Message(nested), 0) => {
                let start = open(out, field.number);
                write_message(out, nested, &[field.value]);
                close(out, start);
            }
            (_, 0) => out.extend_from_slice(field.whole),
            (check, _) => {
                let slot = std::mem::take(&mut slots[field.number as usize]);
                write_slot(out, field.number, check, &slot);
            }
        }
    }
}

fn is_canonical(check: Check, bytes: &[u8]) -> bool {
    match check {
        Check::Message(message) => validate(message, bytes).is_ok_and(|seen| seen.canonical),
        _ => false,
    }
}

/// Finds for each singular and packed field what it comes to. Members of a oneof that lost have an empty slot.
fn collect<'a>(message: &'static Message, fragments: &[&'a [u8]]) -> [Slot<'a>; NUMBER_MAX + 1] {
    let mut slots: [Slot<'a>; NUMBER_MAX + 1] = Default::default();
    let mut member = 0;
    for field in occurrences(fragments) {
        let Some(rule) = message
            .rules
            .get(field.number as usize)
            .filter(|rule| rule.once != 0)
        else {
            continue;
        };
        if rule.once == ONEOF && member != field.number {
            slots[member as usize] = Slot::default();
            member = field.number;
        }
        let slot = &mut slots[field.number as usize];
        match rule.check {
            Check::Message(_) => slot.pieces.push(field.value),
            Check::PackedFixed64 | Check::PackedVarint => {
                debug_assert!(field.wire_type == LENGTH || rule.check.element_wire_type().is_some());
                slot.pieces.push(field.value);
            }
            _ => slot.last = field.whole,
        }
    }
    slots
}

fn write_slot(out: &mut Vec<u8>, number: u32, check: Check, slot: &Slot<'_>) {
    match check {
        Check::Message(nested) if !slot.pieces.is_empty() => {
            let start = open(out, number);
            write_message(out, nested, &slot.pieces);
            close(out, start);
        }
        Check::PackedFixed64 | Check::PackedVarint if !slot.pieces.is_empty() => {
            write_key(out, number, LENGTH);
            write_varint(out, slot.pieces.iter().map(|piece| piece.len() as u64).sum());
            slot.pieces.iter().for_each(|piece| out.extend_from_slice(piece));
        }
        _ => out.extend_from_slice(slot.last),
    }
}
