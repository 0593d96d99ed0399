//! The little protobuf that a peer of the OTLP protocol needs beside the payload: status and response
//! messages, and the envelope levels a request is split along. Reading is checked, since a response comes
//! from outside; writing is telemetry's. Refuses to know any telemetry field.

use cupola_telemetry::wire::{VARINT, varint_length, write_bytes, write_key, write_varint};

/// The value of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    /// Passed over whole: deprecated since 2008, but an unknown field may still be one.
    Group,
    Fixed32(u32),
}

/// Bytes that are not a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed protobuf")]
pub(crate) struct Malformed;

/// Field number and value of each field, in order.
pub(crate) fn fields(bytes: &[u8]) -> Fields<'_> {
    Fields { rest: bytes }
}

#[derive(Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// What has not been read yet; the length of the field just read is the difference.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn field(&mut self) -> Option<(u32, Value<'a>)> {
        let key = varint(&mut self.rest)?;
        let number = u32::try_from(key >> 3).ok().filter(|number| *number != 0)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut self.rest)?),
            1 => {
                let (value, rest) = self.rest.split_first_chunk::<8>()?;
                self.rest = rest;
                Value::Fixed64(u64::from_le_bytes(*value))
            }
            2 => {
                let length = usize::try_from(varint(&mut self.rest)?).ok()?;
                let (value, rest) = self.rest.split_at_checked(length)?;
                self.rest = rest;
                Value::Bytes(value)
            }
            3 => {
                self.skip_group()?;
                Value::Group
            }
            5 => {
                let (value, rest) = self.rest.split_first_chunk::<4>()?;
                self.rest = rest;
                Value::Fixed32(u32::from_le_bytes(*value))
            }
            _ => return None,
        };
        Some((number, value))
    }

    /// Passes over the rest of a group whose start was just read, groups within it included.
    fn skip_group(&mut self) -> Option<()> {
        let mut depth = 1usize;
        while depth > 0 {
            match varint(&mut self.rest)? & 7 {
                0 => drop(varint(&mut self.rest)?),
                1 => self.rest = self.rest.get(8..)?,
                2 => {
                    let length = usize::try_from(varint(&mut self.rest)?).ok()?;
                    self.rest = self.rest.get(length..)?;
                }
                3 => depth += 1,
                4 => depth -= 1,
                5 => self.rest = self.rest.get(4..)?,
                _ => return None,
            }
        }
        Some(())
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field().ok_or(Malformed);
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Bytes a length-delimited field takes in all.
pub(crate) fn field_length(number: u32, length: usize) -> usize {
    varint_length(u64::from(number) << 3) + varint_length(length as u64) + length
}

pub(crate) fn put_varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    write_key(out, number, VARINT);
    write_varint(out, value);
}

/// A string or bytes field; left out when empty, as proto3 does.
pub(crate) fn put_bytes_field(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        write_bytes(out, number, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_and_truncation_is_malformed() {
        let mut bytes = Vec::new();
        put_varint_field(&mut bytes, 1, u64::MAX);
        put_bytes_field(&mut bytes, 2000, b"abc");
        put_bytes_field(&mut bytes, 3, b"");
        let read: Result<Vec<_>, _> = fields(&bytes).collect();
        assert_eq!(
            read,
            Ok(vec![(1, Value::Varint(u64::MAX)), (2000, Value::Bytes(b"abc"))])
        );
        assert_eq!(fields(&bytes[..bytes.len() - 1]).last(), Some(Err(Malformed)));
        assert_eq!(fields(&[0x0b]).last(), Some(Err(Malformed)));
        let group = [0x0b, 0x08, 0x01, 0x13, 0x14, 0x0c, 0x10, 0x05];
        let read: Result<Vec<_>, _> = fields(&group).collect();
        assert_eq!(read, Ok(vec![(1, Value::Group), (2, Value::Varint(5))]));
    }

    #[test]
    fn field_length_is_what_is_written() {
        for (number, length) in [(1, 0), (15, 127), (16, 128), (1, 16383), (1, 16384)] {
            let mut bytes = Vec::new();
            write_bytes(&mut bytes, number, &vec![0; length]);
            assert_eq!(bytes.len(), field_length(number, length));
        }
    }
}
