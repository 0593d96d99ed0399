//! The two protocols of Thrift, read. Owns the reader, which refuses what is deeper or longer than its bytes, and believes
//! no length that is claimed: whatever a list or a text says of itself, its bytes are asked for one after the other.
//!
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-binary-protocol.md>
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>

use super::PARTS_MAX;

/// Deepest structure that is skipped.
pub(super) const DEPTH_MAX: u8 = 16;

// Kinds of values, by the numbers of the binary protocol. Those of the compact one are made of them.
const STOP: u8 = 0;
pub(super) const BOOL: u8 = 2;
const BYTE: u8 = 3;
pub(super) const DOUBLE: u8 = 4;
const I16: u8 = 6;
pub(super) const I32: u8 = 8;
pub(super) const I64: u8 = 10;
pub(super) const TEXT: u8 = 11;
pub(super) const STRUCT: u8 = 12;
const MAP: u8 = 13;
const SET: u8 = 14;
pub(super) const LIST: u8 = 15;

/// Kinds of messages.
const CALL: u8 = 1;
const ONEWAY: u8 = 4;

/// Bytes of a number in the compact protocol, at most.
const VARINT_BYTES_MAX: u32 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ThriftError {
    #[error("the batch breaks off")]
    Truncated,
    #[error("a field does not have the expected type")]
    Type,
    #[error("a number is too large")]
    Number,
    #[error("a text is not valid UTF-8")]
    Utf8,
    #[error("the batch is nested too deeply")]
    Depth,
    #[error("a span has more than {PARTS_MAX} tags, references, logs and fields")]
    TooMany,
    #[error("it is not a message of this protocol")]
    Message,
    #[error("another method is called")]
    Method,
    /// The refusal that it stands for is kept beside it.
    #[error("there is no room for the batch")]
    Room,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Protocol {
    Binary,
    Compact,
}

pub(super) struct Reader<'a> {
    rest: &'a [u8],
    protocol: Protocol,
    /// How many parts a span may still have.
    pub(super) parts: usize,
    /// The truth value that the header of a field has said already, as it does in the compact protocol.
    said: Option<bool>,
}

pub(super) type Read<T> = Result<T, ThriftError>;

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], protocol: Protocol) -> Reader<'a> {
        Reader {
            rest: bytes,
            protocol,
            parts: PARTS_MAX,
            said: None,
        }
    }

    fn compact(&self) -> bool {
        self.protocol == Protocol::Compact
    }

    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ThriftError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| ThriftError::Truncated)
    }

    fn byte(&mut self) -> Read<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A number in groups of seven bits, the lowest first.
    fn varint(&mut self) -> Read<u64> {
        let mut number = 0;
        for group in 0..VARINT_BYTES_MAX {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // Of the tenth group, one bit is left.
            if group == VARINT_BYTES_MAX - 1 && bits > 1 {
                break;
            }
            number |= bits << (7 * group);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(ThriftError::Number)
    }

    /// A number whose sign is its lowest bit.
    fn zigzag(&mut self) -> Read<i64> {
        let number = self.varint()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn i16(&mut self) -> Read<i16> {
        match self.protocol {
            Protocol::Binary => self.array().map(i16::from_be_bytes),
            Protocol::Compact => i16::try_from(self.zigzag()?).map_err(|_| ThriftError::Number),
        }
    }

    pub(super) fn i32(&mut self) -> Read<i32> {
        match self.protocol {
            Protocol::Binary => self.array().map(i32::from_be_bytes),
            Protocol::Compact => i32::try_from(self.zigzag()?).map_err(|_| ThriftError::Number),
        }
    }

    pub(super) fn i64(&mut self) -> Read<i64> {
        match self.protocol {
            Protocol::Binary => self.array().map(i64::from_be_bytes),
            Protocol::Compact => self.zigzag(),
        }
    }

    pub(super) fn double(&mut self) -> Read<f64> {
        match self.protocol {
            Protocol::Binary => self.array().map(f64::from_be_bytes),
            Protocol::Compact => self.array().map(f64::from_le_bytes),
        }
    }

    /// A truth value: of a field, or in a list.
    pub(super) fn flag(&mut self) -> Read<bool> {
        match (self.said.take(), self.protocol) {
            (Some(said), _) => Ok(said),
            (None, Protocol::Binary) => self.byte().map(|byte| byte != 0),
            (None, Protocol::Compact) => self.byte().map(|byte| byte == 1),
        }
    }

    fn length(&mut self) -> Read<usize> {
        match self.protocol {
            Protocol::Binary => usize::try_from(self.i32()?).map_err(|_| ThriftError::Truncated),
            Protocol::Compact => usize::try_from(self.varint()?).map_err(|_| ThriftError::Truncated),
        }
    }

    pub(super) fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Read<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| ThriftError::Utf8)
    }

    /// The header of a message that calls `method`. What follows are its arguments, as the fields of a structure.
    pub(super) fn call(&mut self, method: &str) -> Read<()> {
        let (kind, name) = match self.protocol {
            Protocol::Compact => {
                let [protocol, version_and_kind] = self.array()?;
                if protocol != 0x82 || version_and_kind & 0x1f != 1 {
                    return Err(ThriftError::Message);
                }
                self.varint()?;
                (version_and_kind >> 5, self.bytes()?)
            }
            Protocol::Binary => {
                let first: [u8; 4] = self.array()?;
                let (kind, name) = match first {
                    [0x80, 1, _, kind] => (Some(kind), self.bytes()?),
                    // The older header begins with the length of the name.
                    [0..=0x7f, ..] => (None, self.take(u32::from_be_bytes(first) as usize)?),
                    _ => return Err(ThriftError::Message),
                };
                let kind = kind.map_or_else(|| self.byte(), Ok)?;
                self.take(4)?;
                (kind, name)
            }
        };
        match kind {
            CALL | ONEWAY if name == method.as_bytes() => Ok(()),
            CALL | ONEWAY => Err(ThriftError::Method),
            _ => Err(ThriftError::Message),
        }
    }

    /// Gives each field of a structure to `read`, which must consume it.
    pub(super) fn fields(&mut self, mut read: impl FnMut(&mut Reader<'a>, i16, u8) -> Read<()>) -> Read<()> {
        let mut last = 0_i16;
        loop {
            let header = self.byte()?;
            if header == STOP {
                return Ok(());
            }
            let (id, kind) = match self.protocol {
                Protocol::Binary => (self.i16()?, header),
                Protocol::Compact => {
                    let id = match header >> 4 {
                        0 => self.i16()?,
                        further => last.checked_add(i16::from(further)).ok_or(ThriftError::Number)?,
                    };
                    let kind = header & 0x0f;
                    self.said = matches!(kind, 1 | 2).then_some(kind == 1);
                    (id, of_compact(kind)?)
                }
            };
            last = id;
            read(self, id, kind)?;
        }
    }

    /// The kind and the number of the elements of a list or set.
    fn list_header(&mut self) -> Read<(u8, usize)> {
        if !self.compact() {
            return Ok((self.byte()?, self.length()?));
        }
        let header = self.byte()?;
        let length = match header >> 4 {
            15 => self.length()?,
            few => usize::from(few),
        };
        match length {
            0 => Ok((STOP, 0)),
            _ => Ok((of_compact(header & 0x0f)?, length)),
        }
    }

    fn map_header(&mut self) -> Read<(u8, u8, usize)> {
        if !self.compact() {
            return Ok((self.byte()?, self.byte()?, self.length()?));
        }
        match self.length()? {
            0 => Ok((STOP, STOP, 0)),
            length => {
                let kinds = self.byte()?;
                Ok((of_compact(kinds >> 4)?, of_compact(kinds & 0x0f)?, length))
            }
        }
    }

    pub(super) fn list_length(&mut self, wanted: u8) -> Read<usize> {
        let (kind, length) = self.list_header()?;
        match length == 0 || kind == wanted {
            true => Ok(length),
            false => Err(ThriftError::Type),
        }
    }

    /// The parts of a span.
    pub(super) fn list<T>(&mut self, mut read: impl FnMut(&mut Reader<'a>) -> Read<T>) -> Read<Vec<T>> {
        let mut list = Vec::new();
        // What is claimed is not believed: each element takes a byte at the least, or the end is reached.
        for _ in 0..self.list_length(STRUCT)? {
            self.parts = self.parts.checked_sub(1).ok_or(ThriftError::TooMany)?;
            list.push(read(self)?);
        }
        Ok(list)
    }

    pub(super) fn skip(&mut self, kind: u8, depth: u8) -> Read<()> {
        let deeper = depth.checked_sub(1).ok_or(ThriftError::Depth)?;
        match kind {
            BOOL => drop(self.flag()?),
            BYTE => drop(self.take(1)?),
            I16 => drop(self.i16()?),
            I32 => drop(self.i32()?),
            I64 => drop(self.i64()?),
            DOUBLE => drop(self.take(8)?),
            TEXT => drop(self.bytes()?),
            STRUCT => return self.fields(|reader, _, kind| reader.skip(kind, deeper)),
            SET | LIST => {
                let (kind, length) = self.list_header()?;
                for _ in 0..length {
                    self.skip(kind, deeper)?;
                }
            }
            MAP => {
                let (keys, values, length) = self.map_header()?;
                for _ in 0..length {
                    self.skip(keys, deeper)?;
                    self.skip(values, deeper)?;
                }
            }
            _ => return Err(ThriftError::Type),
        }
        Ok(())
    }
}

/// The kind that a number of the compact protocol stands for.
fn of_compact(kind: u8) -> Read<u8> {
    const KINDS: [u8; 12] = [
        BOOL, BOOL, BYTE, I16, I32, I64, DOUBLE, TEXT, LIST, SET, MAP, STRUCT,
    ];
    let at = usize::from(kind).checked_sub(1);
    at.and_then(|at| KINDS.get(at)).copied().ok_or(ThriftError::Type)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compact(bytes: &[u8]) -> Reader<'_> {
        Reader::new(bytes, Protocol::Compact)
    }

    #[test]
    fn numbers_of_the_compact_protocol_are_read_up_to_their_limits() {
        for (bytes, number) in [
            (&[0][..], 0),
            (&[1], -1),
            (&[2], 1),
            (&[0xac, 0x02], 150),
            (
                &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
                i64::MAX,
            ),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
                i64::MIN,
            ),
        ] {
            assert_eq!(compact(bytes).i64(), Ok(number), "{bytes:?}");
        }
        for bytes in [
            &[0xff; 11][..],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        ] {
            assert_eq!(compact(bytes).i64(), Err(ThriftError::Number));
        }
        assert_eq!(compact(&[0xff; 3]).i64(), Err(ThriftError::Truncated));
        assert_eq!(
            compact(&[0x80, 0x80, 0x80, 0x80, 0x10]).i32(),
            Err(ThriftError::Number)
        );
        assert_eq!(compact(&[0, 0, 0, 0, 0, 0, 0xf0, 0x3f]).double(), Ok(1.0));
    }

    #[test]
    fn lengths_that_are_claimed_are_not_believed() {
        // A list of 2^31 truth values, and a text of as many bytes.
        let list = [0xf1, 0xff, 0xff, 0xff, 0xff, 0x07, 1];
        assert_eq!(compact(&list).skip(LIST, DEPTH_MAX), Err(ThriftError::Truncated));
        let text = [0xff, 0xff, 0xff, 0xff, 0x07, b'a'];
        assert_eq!(compact(&text).skip(TEXT, DEPTH_MAX), Err(ThriftError::Truncated));
        let lists = [0x19; 64];
        assert_eq!(compact(&lists).skip(LIST, DEPTH_MAX), Err(ThriftError::Depth));
    }
}
