//! The fields of an encoded message, in order, without knowing what they mean.

use crate::wire::{LENGTH, Reader};

/// One field as it stands in the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    pub number: u32,
    pub wire_type: u32,
    /// Key, length and contents.
    pub whole: &'a [u8],
    /// Contents of a length-delimited field, else the encoded value.
    pub value: &'a [u8],
}

impl Field<'_> {
    /// The value of a number of any wire type.
    pub fn bits(&self) -> u64 {
        use crate::wire::{FIXED32, FIXED64, VARINT};
        let mut reader = Reader::new(self.value);
        match self.wire_type {
            VARINT => reader.varint(),
            FIXED64 => reader.fixed64(),
            FIXED32 => u64::from(reader.fixed32()),
            _ => 0,
        }
    }
}

/// Iterates over the fields of a canonical message, in order.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    reader: Reader<'a>,
}

impl<'a> Fields<'a> {
    /// The fields of an encoded message.
    #[inline]
    pub fn new(message: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(message),
        }
    }

    /// Whether `is_so` says so of every length-delimited field that is left, with its number and contents: quicker than to go
    /// through all fields.
    #[inline(always)]
    pub fn all_contents(self, mut is_so: impl FnMut(u32, &'a [u8]) -> bool) -> bool {
        let mut reader = self.reader;
        while let Some(key) = reader.key() {
            if key & 7 != LENGTH {
                reader.skip(key);
            } else if !is_so(key >> 3, reader.bytes()) {
                return false;
            }
        }
        true
    }

    /// The contents of the next length-delimited field `number`; passes over everything before it.
    #[inline]
    pub fn next_contents(&mut self, number: u32) -> Option<&'a [u8]> {
        let wanted = number << 3 | LENGTH;
        // A copy, which stays in registers.
        let mut reader = self.reader;
        let mut found = None;
        while let Some(key) = reader.key() {
            if key == wanted {
                found = Some(reader.bytes());
                break;
            }
            reader.skip(key);
        }
        self.reader = reader;
        found
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[inline]
    fn next(&mut self) -> Option<Field<'a>> {
        let start = self.reader.rest();
        let key = self.reader.key()?;
        let value_start = self.reader.rest();
        let contents = (key & 7 == LENGTH).then(|| self.reader.bytes());
        if contents.is_none() {
            self.reader.skip(key);
        }
        let left = self.reader.rest().len();
        let until_here = |from: &'a [u8]| from.get(..from.len() - left).unwrap_or_default();
        Some(Field {
            number: key >> 3,
            wire_type: key & 7,
            whole: until_here(start),
            value: contents.unwrap_or_else(|| until_here(value_start)),
        })
    }
}
