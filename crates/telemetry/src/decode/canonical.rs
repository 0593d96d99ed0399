//! Rewrites a valid message into its canonical form, by protobuf's rules for merging.
//!
//! Concatenated encodings are one message with the fields of all, so a singular message that comes in several
//! pieces is the message whose bytes are those pieces in a row. The last scalar wins; of a oneof the last
//! member wins, merged with the pieces of the same member right before it. A singular field is written where
//! it first stood; repeated and unknown fields keep their order.

use bytes::Bytes;

use super::error::Problem;
use super::validate::validate;
use crate::output::{Output, Room};
use crate::schema::{Check, Message, NUMBER_MAX, ONEOF};
use crate::wire::{LENGTH, Reader, VARINT_BYTES_MAX, close, open, write_key, write_varint};

/// The canonical form of `bytes`, which have been validated as a `message`. It may be a little longer: numbers
/// that were not packed get a length. Fails only for want of room.
pub(super) fn rewrite(
    message: &'static Message,
    bytes: &[u8],
    room: &mut Room<'_>,
) -> Result<Bytes, Problem> {
    let mut out = Output::with_capacity(bytes.len(), room)?;
    write_message(&mut out, message, &[bytes])?;
    out.finish()
}

/// One field as it came.
struct Occurrence<'a> {
    number: u32,
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
                whole: until_end(start),
                value,
            })
        })
    })
}

/// What is to be written of a singular or packed field.
#[derive(Default)]
struct Slot<'a> {
    /// The last occurrence of a scalar; not empty, but otherwise of no meaning, for other fields that are there.
    last: &'a [u8],
    /// The pieces of a message that are not empty.
    pieces: Vec<&'a [u8]>,
}

/// Pieces of one message held without asking: nearly all messages are in one.
const PIECES_UNCOUNTED: usize = 4;
const PIECE_BYTES: usize = size_of::<&[u8]>();

impl<'a> Slot<'a> {
    /// Adds a piece of a message. Pieces of two bytes need eight times their size here, which is asked for.
    fn push(&mut self, piece: &'a [u8], room: &mut Room<'_>) -> Result<(), Problem> {
        if piece.is_empty() {
            return Ok(());
        }
        if self.pieces.len() == self.pieces.capacity() {
            let before = self.counted_bytes();
            let capacity = (2 * self.pieces.len()).max(PIECES_UNCOUNTED);
            if capacity > PIECES_UNCOUNTED {
                room.take(capacity * PIECE_BYTES)?;
            }
            self.pieces.reserve_exact(capacity - self.pieces.len());
            room.give_back(before);
        }
        self.pieces.push(piece);
        Ok(())
    }

    fn counted_bytes(&self) -> usize {
        match self.pieces.capacity() {
            ..=PIECES_UNCOUNTED => 0,
            capacity => capacity * PIECE_BYTES,
        }
    }

    fn clear(&mut self, room: &mut Room<'_>) {
        room.give_back(self.counted_bytes());
        *self = Slot::default();
    }
}

fn write_message(
    out: &mut Output<'_, '_>,
    message: &'static Message,
    fragments: &[&[u8]],
) -> Result<(), Problem> {
    let mut slots = collect(message, fragments, out.room)?;
    for field in occurrences(fragments) {
        let Some(rule) = message.rules.get(field.number as usize) else {
            copy(out, field.whole)?;
            continue;
        };
        match (rule.check, rule.once) {
            (Check::Unknown, _) => copy(out, field.whole)?,
            // One record among many is at fault, as a rule: the others are copied after a look.
            _ if rule.items > 0 && is_canonical(rule.check, field.value) => copy(out, field.whole)?,
            (Check::Message(nested), 0) => write_nested(out, field.number, nested, &[field.value])?,
            (_, 0) => copy(out, field.whole)?,
            (check, _) => {
                let mut slot = std::mem::take(&mut slots[field.number as usize]);
                // Written before, or a member of a oneof that lost.
                if slot.last.is_empty() {
                    continue;
                }
                match check {
                    Check::Message(nested) => write_nested(out, field.number, nested, &slot.pieces)?,
                    Check::PackedFixed64 | Check::PackedVarint => write_packed(out, field.number, fragments)?,
                    _ => copy(out, slot.last)?,
                }
                slot.clear(out.room);
            }
        }
    }
    Ok(())
}

fn copy(out: &mut Output<'_, '_>, field: &[u8]) -> Result<(), Problem> {
    out.reserve(field.len())?;
    out.bytes.extend_from_slice(field);
    Ok(())
}

fn write_nested(
    out: &mut Output<'_, '_>,
    number: u32,
    message: &'static Message,
    fragments: &[&[u8]],
) -> Result<(), Problem> {
    out.reserve(2 * VARINT_BYTES_MAX)?;
    let start = open(&mut out.bytes, number);
    write_message(out, message, fragments)?;
    out.reserve(VARINT_BYTES_MAX)?;
    close(&mut out.bytes, start);
    Ok(())
}

/// Writes all chunks and single values of a packed field as one chunk, which is their bytes in a row. Goes over
/// the message twice more instead of keeping a list of them: a message has two such fields at most.
fn write_packed(out: &mut Output<'_, '_>, number: u32, fragments: &[&[u8]]) -> Result<(), Problem> {
    let values = || {
        occurrences(fragments)
            .filter(move |field| field.number == number)
            .map(|field| field.value)
    };
    let length: usize = values().map(<[u8]>::len).sum();
    out.reserve(2 * VARINT_BYTES_MAX + length)?;
    write_key(&mut out.bytes, number, LENGTH);
    write_varint(&mut out.bytes, length as u64);
    values().for_each(|value| out.bytes.extend_from_slice(value));
    Ok(())
}

fn is_canonical(check: Check, bytes: &[u8]) -> bool {
    match check {
        Check::Message(message) => validate(message, bytes).is_ok_and(|seen| seen.canonical),
        _ => false,
    }
}

/// Finds for each singular and packed field what it comes to. Members of a oneof that lost have an empty slot.
fn collect<'a>(
    message: &'static Message,
    fragments: &[&'a [u8]],
    room: &mut Room<'_>,
) -> Result<[Slot<'a>; NUMBER_MAX + 1], Problem> {
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
            slots[member as usize].clear(room);
            member = field.number;
        }
        let slot = &mut slots[field.number as usize];
        slot.last = field.whole;
        if let Check::Message(_) = rule.check {
            slot.push(field.value, room)?;
        }
    }
    Ok(slots)
}
