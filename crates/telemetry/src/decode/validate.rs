//! One pass over an encoded message by its schema: is it valid, is it canonical, how many items has it.

use std::ptr;

use super::NESTING_MAX;
use super::error::{DecodeError, Problem};
use super::pair;
use crate::schema::{Check, KEY_VALUE, Kind, Message, NUMBER_MAX};
use crate::wire::{self, FIXED32, FIXED64, GROUP_END, GROUP_START, LENGTH, VARINT, VARINT_BYTES_MAX};

/// What a valid message turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) canonical: bool,
    pub(super) items: usize,
}

/// Validates `bytes` as a `message`.
pub(super) fn validate(message: &'static Message, bytes: &[u8]) -> Result<Seen, DecodeError> {
    let mut validator = Validator {
        repeated: 0,
        items: 0,
    };
    match validator.message(message, bytes, 0) {
        Ok(()) => Ok(Seen {
            canonical: validator.repeated == 0,
            items: validator.items,
        }),
        Err(fault) => Err(fault.locate(message, bytes)),
    }
}

/// A problem, and how many bytes of the innermost message were left where its field starts.
struct Fault {
    problem: Problem,
    field: *const u8,
}

type Validated<T> = Result<T, Box<Fault>>;

#[cold]
#[inline(never)]
fn fault<T>(field: &[u8], problem: Problem) -> Validated<T> {
    Err(Box::new(Fault {
        problem,
        field: field.as_ptr(),
    }))
}

struct Validator {
    /// Not zero once something was repeated that canonical bytes have once.
    repeated: u32,
    items: usize,
}

impl Validator {
    fn message(&mut self, message: &'static Message, bytes: &[u8], depth: usize) -> Validated<()> {
        let mut rest = bytes;
        let mut seen = 0u32;
        while !rest.is_empty() {
            let field = rest;
            let key = read_key(&mut rest, field)?;
            let Some(rule) = message.rules.get((key >> 3) as usize) else {
                skip_value(&mut rest, field, key, depth)?;
                continue;
            };
            self.repeated |= seen & rule.once;
            seen |= rule.once;
            if u32::from(rule.wire_type) != key & 7 {
                self.unexpected(rule.check, &mut rest, field, key, depth)?;
                continue;
            }
            match rule.check {
                Check::Message(nested) => {
                    let contents = read_bytes(&mut rest, field)?;
                    if depth == NESTING_MAX {
                        return fault(field, Problem::Nesting);
                    }
                    self.items += usize::from(rule.items);
                    // The value is one level further down.
                    let is_plain =
                        ptr::eq(nested, &KEY_VALUE) && depth + 1 < NESTING_MAX && pair::is_plain(contents);
                    if !is_plain {
                        self.message(nested, contents, depth + 1)?;
                    }
                }
                Check::Utf8 => check_utf8(read_bytes(&mut rest, field)?, field)?,
                Check::Varint => drop(read_varint(&mut rest, field)?),
                Check::Fixed64 => drop(take(&mut rest, 8, field)?),
                Check::Fixed32 => drop(take(&mut rest, 4, field)?),
                Check::Id(length) => {
                    let actual = read_bytes(&mut rest, field)?.len();
                    if actual != length && actual != 0 {
                        return fault(
                            field,
                            Problem::IdLength {
                                expected: length,
                                actual,
                            },
                        );
                    }
                }
                Check::Bytes => drop(read_bytes(&mut rest, field)?),
                Check::PackedFixed64 => {
                    let actual = read_bytes(&mut rest, field)?.len();
                    if !actual.is_multiple_of(8) {
                        return fault(field, Problem::PackedLength { element: 8, actual });
                    }
                }
                Check::PackedVarint => {
                    let mut packed = read_bytes(&mut rest, field)?;
                    while !packed.is_empty() {
                        read_varint(&mut packed, field)?;
                    }
                }
                Check::Unknown => skip_value(&mut rest, field, key, depth)?,
            }
        }
        Ok(())
    }

    /// A field whose wire type is not that of its rule: unknown to us, unpacked, or wrong.
    #[inline(never)]
    fn unexpected(
        &mut self,
        check: Check,
        rest: &mut &[u8],
        field: &[u8],
        key: u32,
        depth: usize,
    ) -> Validated<()> {
        match check {
            Check::Unknown => skip_value(rest, field, key, depth),
            _ if check.element_wire_type() == Some(key & 7) => {
                // Unpacked, which is not canonical.
                self.repeated |= 1;
                skip_value(rest, field, key, depth)
            }
            _ => fault(
                field,
                Problem::WireType {
                    expected: check.wire_type(),
                    actual: key & 7,
                },
            ),
        }
    }
}

#[inline(always)]
fn read_key(rest: &mut &[u8], field: &[u8]) -> Validated<u32> {
    match *rest {
        // One byte, a number above zero, a wire type below six.
        [byte @ 8..0x80, tail @ ..] if byte & 7 < 6 => {
            *rest = tail;
            Ok(u32::from(*byte))
        }
        _ => read_key_long(rest, field),
    }
}

#[inline(never)]
fn read_key_long(rest: &mut &[u8], field: &[u8]) -> Validated<u32> {
    let key = read_varint(rest, field)?;
    match u32::try_from(key) {
        Ok(key) if key >> 3 != 0 && key & 7 < 6 => Ok(key),
        _ => fault(field, Problem::FieldKey { key }),
    }
}

#[inline(always)]
fn read_varint(rest: &mut &[u8], field: &[u8]) -> Validated<u64> {
    match *rest {
        [byte, tail @ ..] if *byte < 0x80 => {
            *rest = tail;
            Ok(u64::from(*byte))
        }
        [low, high, tail @ ..] if *high < 0x80 => {
            *rest = tail;
            Ok(u64::from(*low & 0x7f) | u64::from(*high) << 7)
        }
        _ => read_varint_long(rest, field),
    }
}

#[inline(never)]
fn read_varint_long(rest: &mut &[u8], field: &[u8]) -> Validated<u64> {
    let bytes = *rest;
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            // The tenth byte has one bit to give.
            if index + 1 == VARINT_BYTES_MAX && *byte > 1 {
                break;
            }
            *rest = bytes.get(index + 1..).unwrap_or_default();
            return Ok(value);
        }
    }
    if bytes.len() < VARINT_BYTES_MAX {
        return fault(
            field,
            Problem::Truncated {
                expected: 1,
                actual: 0,
            },
        );
    }
    fault(field, Problem::VarintOverflow)
}

#[inline(always)]
fn read_bytes<'a>(rest: &mut &'a [u8], field: &[u8]) -> Validated<&'a [u8]> {
    let length = read_varint(rest, field)?;
    take(rest, length, field)
}

#[inline(always)]
fn take<'a>(rest: &mut &'a [u8], length: u64, field: &[u8]) -> Validated<&'a [u8]> {
    if length > rest.len() as u64 {
        return fault(
            field,
            Problem::Truncated {
                expected: length,
                actual: rest.len(),
            },
        );
    }
    let (bytes, tail) = rest.split_at(length as usize);
    *rest = tail;
    Ok(bytes)
}

#[inline(always)]
fn check_utf8(bytes: &[u8], field: &[u8]) -> Validated<()> {
    if wire::is_ascii(bytes) {
        return Ok(());
    }
    check_utf8_beyond_ascii(bytes, field)
}

#[inline(never)]
fn check_utf8_beyond_ascii(bytes: &[u8], field: &[u8]) -> Validated<()> {
    if simdutf8::basic::from_utf8(bytes).is_ok() {
        return Ok(());
    }
    // Slower, and knows where.
    let valid_up_to = simdutf8::compat::from_utf8(bytes)
        .err()
        .map_or(0, |error| error.valid_up_to());
    fault(field, Problem::Utf8 { valid_up_to })
}

/// Passes over the value of an unknown field.
#[inline(never)]
fn skip_value(rest: &mut &[u8], field: &[u8], key: u32, depth: usize) -> Validated<()> {
    match key & 7 {
        VARINT => drop(read_varint(rest, field)?),
        FIXED64 => drop(take(rest, 8, field)?),
        LENGTH => drop(read_bytes(rest, field)?),
        FIXED32 => drop(take(rest, 4, field)?),
        GROUP_START => return skip_group(rest, field, key >> 3, depth),
        _ => {
            return fault(
                field,
                Problem::GroupEnd {
                    expected: None,
                    actual: key >> 3,
                },
            );
        }
    }
    Ok(())
}

fn skip_group(rest: &mut &[u8], field: &[u8], number: u32, depth: usize) -> Validated<()> {
    if depth == NESTING_MAX {
        return fault(field, Problem::Nesting);
    }
    loop {
        if rest.is_empty() {
            return fault(
                field,
                Problem::Truncated {
                    expected: 1,
                    actual: 0,
                },
            );
        }
        let key = read_key(rest, field)?;
        if key & 7 != GROUP_END {
            skip_value(rest, field, key, depth + 1)?;
        } else if key >> 3 == number {
            return Ok(());
        } else {
            return fault(
                field,
                Problem::GroupEnd {
                    expected: Some(number),
                    actual: key >> 3,
                },
            );
        }
    }
}

impl Fault {
    /// Walks to the field at fault again, to name it. Errors are rare; validation pays nothing for them.
    fn locate(self, message: &'static Message, bytes: &[u8]) -> DecodeError {
        let offset = (self.field as usize).saturating_sub(bytes.as_ptr() as usize);
        let mut path = String::new();
        name_field(&mut path, message, bytes, offset);
        if path.is_empty() {
            path.push_str("request");
        }
        DecodeError {
            path,
            offset,
            problem: self.problem,
        }
    }
}

/// Appends the path of the field that starts at `offset` of `bytes`, a `message`.
fn name_field(path: &mut String, message: &'static Message, bytes: &[u8], offset: usize) {
    let mut occurrences = [0usize; NUMBER_MAX + 1];
    let mut rest = bytes;
    while !rest.is_empty() {
        let field = rest;
        let start = bytes.len() - field.len();
        let Ok(key) = read_key(&mut rest, field) else {
            return;
        };
        let number = key >> 3;
        let Some(known) = message.field(number) else {
            if start == offset {
                push_name(path, &format!("<field {number}>"));
                return;
            }
            if skip_value(&mut rest, field, key, 0).is_err() {
                return;
            }
            continue;
        };
        let index = occurrences[number as usize];
        occurrences[number as usize] += 1;
        let mut value = rest;
        let skipped = skip_value(&mut rest, field, key, 0);
        let end = bytes.len() - rest.len();
        if start == offset || (start < offset && (offset < end || skipped.is_err())) {
            push_name(path, known.name);
            // Elements of packed fields have no start of their own.
            if known.repeated() && matches!(known.kind, Kind::Message(_) | Kind::String) {
                path.push_str(&format!("[{index}]"));
            }
            if start != offset
                && let Kind::Message(nested) = known.kind
                && let Ok(contents) = read_bytes(&mut value, field)
            {
                let contents_start = end - contents.len();
                name_field(path, nested, contents, offset - contents_start);
            }
            return;
        }
    }
}

fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}
