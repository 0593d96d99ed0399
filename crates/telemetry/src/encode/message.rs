//! The message under construction: an open length, and which fields were written.

use crate::view;
use crate::wire::{FIXED32, FIXED64, VARINT, close, open, write_bytes, write_key, write_varint, zigzag32};

/// Bytes written so far, and how many records, spans or points are among them.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) bytes: Vec<u8>,
    pub(crate) items: usize,
}

/// One open message. Dropping it writes its length.
#[derive(Debug)]
pub(crate) struct Message<'w> {
    pub(crate) output: &'w mut Output,
    start: usize,
    /// Length to cut back to when this is a second copy of a singular message.
    discard_from: Option<usize>,
    /// Bit n: singular field n has been written.
    written: u32,
}

impl<'w> Message<'w> {
    #[inline]
    pub(crate) fn open(output: &'w mut Output, number: u32) -> Self {
        let start = open(&mut output.bytes, number);
        Message {
            output,
            start,
            discard_from: None,
            written: 0,
        }
    }

    #[inline]
    pub(crate) fn repeated(&mut self, number: u32) -> Message<'_> {
        Message::open(self.output, number)
    }

    #[inline]
    pub(crate) fn singular(&mut self, number: u32) -> Message<'_> {
        self.member(number, number)
    }

    /// Opens member `number` of the oneof that counts as field `oneof`.
    #[inline]
    pub(crate) fn member(&mut self, oneof: u32, number: u32) -> Message<'_> {
        let discard_from = (!self.once(oneof)).then_some(self.output.bytes.len());
        let mut message = Message::open(self.output, number);
        message.discard_from = discard_from;
        message
    }

    /// Whether singular field `number`, or the oneof whose first member it is, is still to be written.
    #[inline]
    pub(crate) fn once(&mut self, number: u32) -> bool {
        let first = self.written & 1 << number == 0;
        debug_assert!(first, "singular field {number} is written twice");
        self.written |= 1 << number;
        first
    }

    #[inline]
    pub(crate) fn varint(&mut self, number: u32, value: u64) {
        write_key(&mut self.output.bytes, number, VARINT);
        write_varint(&mut self.output.bytes, value);
    }

    #[inline]
    pub(crate) fn fixed64(&mut self, number: u32, value: u64) {
        write_key(&mut self.output.bytes, number, FIXED64);
        self.output.bytes.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    pub(crate) fn fixed32(&mut self, number: u32, value: u32) {
        write_key(&mut self.output.bytes, number, FIXED32);
        self.output.bytes.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    pub(crate) fn sint32(&mut self, number: u32, value: i32) {
        self.varint(number, u64::from(zigzag32(value)));
    }

    #[inline]
    pub(crate) fn bytes(&mut self, number: u32, value: &[u8]) {
        write_bytes(&mut self.output.bytes, number, value);
    }

    #[inline]
    pub(crate) fn key_value(&mut self, number: u32, key: &str, value: view::AnyValue<'_>) {
        let out = &mut self.output.bytes;
        let start = open(out, number);
        if !key.is_empty() {
            write_bytes(out, 1, key.as_bytes());
        }
        let value_start = open(out, 2);
        write_any_value(out, value);
        close(out, value_start);
        close(out, start);
    }
}

impl Drop for Message<'_> {
    #[inline]
    fn drop(&mut self) {
        match self.discard_from {
            None => close(&mut self.output.bytes, self.start),
            Some(length) => self.output.bytes.truncate(length),
        }
    }
}

/// The contents of an `AnyValue` message.
pub(crate) fn write_any_value(out: &mut Vec<u8>, value: view::AnyValue<'_>) {
    match value {
        view::AnyValue::Empty => {}
        view::AnyValue::String(text) => write_bytes(out, 1, text.as_bytes()),
        view::AnyValue::Bool(value) => {
            write_key(out, 2, VARINT);
            out.push(u8::from(value));
        }
        view::AnyValue::Int(value) => {
            write_key(out, 3, VARINT);
            write_varint(out, value as u64);
        }
        view::AnyValue::Double(value) => {
            write_key(out, 4, FIXED64);
            out.extend_from_slice(&value.to_le_bytes());
        }
        view::AnyValue::Array(values) => {
            let start = open(out, 5);
            values.raw_messages().for_each(|raw| write_bytes(out, 1, raw));
            close(out, start);
        }
        view::AnyValue::KeyValueList(values) => {
            let start = open(out, 6);
            values.raw_messages().for_each(|raw| write_bytes(out, 1, raw));
            close(out, start);
        }
        view::AnyValue::Bytes(value) => write_bytes(out, 7, value),
        view::AnyValue::StringIndex(value) => {
            write_key(out, 8, VARINT);
            write_varint(out, i64::from(value) as u64);
        }
    }
}
