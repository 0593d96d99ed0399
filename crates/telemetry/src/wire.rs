//! Protobuf wire primitives: writing fields into a vector, for whatever [`crate::encode`] has no builder for, and a
//! reader over trusted bytes that cannot fail.
//!
//! ```
//! use cupola_telemetry::wire::{close, open, write_bytes};
//!
//! let mut out = Vec::new();
//! let message = open(&mut out, 2);
//! write_bytes(&mut out, 1, b"name");
//! close(&mut out, message);
//! assert_eq!(out, b"\x12\x06\x0a\x04name");
//! ```
//!
//! The reader is for canonical bytes. On anything else it ends early and gives defaults; it never panics
//! and never reads outside its slice. Validation is [`crate::decode`]'s.

/// Wire types.
pub const VARINT: u32 = 0;
pub const FIXED64: u32 = 1;
pub const LENGTH: u32 = 2;
pub const GROUP_START: u32 = 3;
pub const GROUP_END: u32 = 4;
pub const FIXED32: u32 = 5;

/// Longest varint, in bytes.
pub(crate) const VARINT_BYTES_MAX: usize = 10;

/// Cursor over the fields of one message.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline(always)]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline(always)]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next field's key (`number << 3 | wire type`), or `None` at the end.
    #[inline(always)]
    pub(crate) fn key(&mut self) -> Option<u32> {
        match self.rest {
            [] => None,
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Some(u32::from(*byte))
            }
            _ => Some(self.varint_long() as u32),
        }
    }

    #[inline(always)]
    pub(crate) fn varint(&mut self) -> u64 {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                u64::from(*byte)
            }
            [low, high, rest @ ..] if *high < 0x80 => {
                self.rest = rest;
                u64::from(*low & 0x7f) | u64::from(*high) << 7
            }
            _ => self.varint_long(),
        }
    }

    #[inline(always)]
    fn varint_long(&mut self) -> u64 {
        let (value, rest) = varint_long(self.rest);
        self.rest = rest;
        value
    }

    #[inline(always)]
    pub(crate) fn fixed64(&mut self) -> u64 {
        match self.rest.split_first_chunk::<8>() {
            Some((chunk, rest)) => {
                self.rest = rest;
                u64::from_le_bytes(*chunk)
            }
            None => {
                self.rest = &[];
                0
            }
        }
    }

    #[inline(always)]
    pub(crate) fn fixed32(&mut self) -> u32 {
        match self.rest.split_first_chunk::<4>() {
            Some((chunk, rest)) => {
                self.rest = rest;
                u32::from_le_bytes(*chunk)
            }
            None => {
                self.rest = &[];
                0
            }
        }
    }

    #[inline(always)]
    pub(crate) fn double(&mut self) -> f64 {
        f64::from_bits(self.fixed64())
    }

    #[inline(always)]
    pub(crate) fn sint32(&mut self) -> i32 {
        unzigzag32(self.varint() as u32)
    }

    /// The contents of a length-delimited field.
    #[inline(always)]
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::try_from(self.varint()).unwrap_or(usize::MAX);
        match self.rest.split_at_checked(length) {
            Some((bytes, rest)) => {
                self.rest = rest;
                bytes
            }
            None => {
                self.rest = &[];
                &[]
            }
        }
    }

    #[inline(always)]
    pub(crate) fn string(&mut self) -> &'a str {
        text(self.bytes())
    }

    /// Passes over the value of a field whose key was just read.
    #[inline(always)]
    pub(crate) fn skip(&mut self, key: u32) {
        match key & 7 {
            VARINT => drop(self.varint()),
            FIXED64 => drop(self.fixed64()),
            LENGTH => drop(self.bytes()),
            FIXED32 => drop(self.fixed32()),
            GROUP_START => self.rest = behind_group(self.rest),
            _ => self.rest = &[],
        }
    }
}

// Not methods: a reader whose address is never taken stays in registers.

#[inline(never)]
fn varint_long(bytes: &[u8]) -> (u64, &[u8]) {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            return (value, bytes.get(index + 1..).unwrap_or_default());
        }
    }
    (0, &[])
}

#[inline(never)]
fn behind_group(bytes: &[u8]) -> &[u8] {
    let mut reader = Reader::new(bytes);
    let mut depth = 1usize;
    while depth > 0 {
        let Some(key) = reader.key() else { break };
        match key & 7 {
            GROUP_START => depth += 1,
            GROUP_END => depth -= 1,
            _ => reader.skip(key),
        }
    }
    reader.rest
}

/// Bytes as text. Validation has been done; it is checked again because a view may be made of any bytes,
/// and a check of short ASCII costs two nanoseconds.
#[inline(always)]
pub(crate) fn text(bytes: &[u8]) -> &str {
    if is_ascii(bytes) {
        // SAFETY: ASCII is UTF-8.
        unsafe { std::str::from_utf8_unchecked(bytes) }
    } else {
        text_beyond_ascii(bytes)
    }
}

#[inline(never)]
fn text_beyond_ascii(bytes: &[u8]) -> &str {
    simdutf8::basic::from_utf8(bytes).unwrap_or_default()
}

/// Like `<[u8]>::is_ascii`, quicker for the short strings that telemetry is made of.
#[inline(always)]
pub(crate) fn is_ascii(bytes: &[u8]) -> bool {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let mut seen = 0u64;
    if let Some(last) = bytes.last_chunk::<8>() {
        // The last word overlaps the one before it: no loop over single bytes.
        for chunk in bytes.chunks_exact(8) {
            seen |= u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        }
        seen |= u64::from_le_bytes(*last);
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        seen = u64::from(u32::from_le_bytes(*first) | u32::from_le_bytes(*last));
    } else {
        for byte in bytes {
            seen |= u64::from(*byte);
        }
    }
    seen & HIGH_BITS == 0
}

#[inline(always)]
pub(crate) fn unzigzag32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

/// How `sint32` stands in a varint.
#[inline(always)]
pub fn zigzag32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

/// Bytes that [`write_varint`] writes.
#[inline]
pub fn varint_length(value: u64) -> usize {
    // Seven bits a byte; zero takes one.
    ((64 - (value | 1).leading_zeros()) as usize).div_ceil(7)
}

/// Appends a varint in its shortest form.
#[inline]
pub fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends what stands in front of the value of field `number`, which is below 2^29.
#[inline]
pub fn write_key(out: &mut Vec<u8>, number: u32, wire_type: u32) {
    write_varint(out, u64::from(number << 3 | wire_type));
}

/// Appends a field of bytes, text or an encoded message, also when it is empty.
#[inline]
pub fn write_bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    write_key(out, number, LENGTH);
    write_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Opens a length-delimited field: leaves room for its length. Gives what [`close`] needs, once what was opened
/// later is closed.
#[inline]
#[must_use = "a field that is opened must be closed"]
pub fn open(out: &mut Vec<u8>, number: u32) -> usize {
    write_key(out, number, LENGTH);
    out.push(0);
    out.len()
}

/// Closes what [`open`] opened at `start`: writes the shortest length, moving the contents if it needs room.
#[inline]
pub fn close(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    if length < 0x80 {
        out[start - 1] = length as u8;
    } else {
        close_wide(out, start, 1);
    }
}

/// Like [`open`], for contents whose length will likely take `width` bytes.
#[inline]
pub(crate) fn open_wide(out: &mut Vec<u8>, number: u32, width: usize) -> usize {
    write_key(out, number, LENGTH);
    out.resize(out.len() + width, 0);
    out.len()
}

/// Closes what [`open_wide`] opened: writes the shortest length, moving the contents if it takes another width.
pub(crate) fn close_wide(out: &mut Vec<u8>, start: usize, width: usize) {
    let length = out.len() - start;
    let needed = varint_length(length as u64);
    let length_start = start - width;
    if needed != width {
        let contents = length_start + needed;
        if needed > width {
            out.resize(contents + length, 0);
        }
        out.copy_within(start..start + length, contents);
        out.truncate(contents + length);
    }
    let mut value = length;
    for byte in &mut out[length_start..length_start + needed] {
        *byte = value as u8 | 0x80;
        value >>= 7;
    }
    out[length_start + needed - 1] &= 0x7f;
}
