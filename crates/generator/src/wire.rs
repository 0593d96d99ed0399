//! Writing OTLP messages field by field, over telemetry's primitives: without a builder for each message, because what
//! is generated is known to be well-formed, and speed is what it is for.

use cupola_telemetry::wire::{
    FIXED32, FIXED64, LENGTH, VARINT, close, open, varint_length, write_bytes, write_key, write_varint,
    zigzag32,
};

/// A value of an attribute.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Int(i64),
    Double(f64),
    Bool(bool),
}

/// Start of a nested message whose length is not known yet.
#[must_use = "a message that is opened must be closed"]
pub(crate) struct Open(usize);

/// Bytes of one message. Nested messages are written in place; their length is patched in when they are closed.
#[derive(Default)]
pub(crate) struct Wire {
    bytes: Vec<u8>,
}

impl Wire {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Wire {
            bytes: Vec::with_capacity(bytes),
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn open(&mut self, field: u32) -> Open {
        Open(open(&mut self.bytes, field))
    }

    pub(crate) fn close(&mut self, message: Open) {
        close(&mut self.bytes, message.0);
    }

    /// Fields that are encoded already.
    pub(crate) fn raw(&mut self, fields: &[u8]) {
        self.bytes.extend_from_slice(fields);
    }

    pub(crate) fn uint(&mut self, field: u32, value: u64) {
        self.tag(field, VARINT);
        self.varint(value);
    }

    pub(crate) fn sint(&mut self, field: u32, value: i32) {
        self.uint(field, u64::from(zigzag32(value)));
    }

    pub(crate) fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, FIXED64);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn double(&mut self, field: u32, value: f64) {
        self.fixed64(field, value.to_bits());
    }

    pub(crate) fn fixed32(&mut self, field: u32, value: u32) {
        self.tag(field, FIXED32);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn string(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    pub(crate) fn bytes(&mut self, field: u32, value: &[u8]) {
        write_bytes(&mut self.bytes, field, value);
    }

    pub(crate) fn packed_fixed64(&mut self, field: u32, values: &[u64]) {
        self.tag(field, LENGTH);
        self.varint(values.len() as u64 * 8);
        for value in values {
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub(crate) fn packed_double(&mut self, field: u32, values: &[f64]) {
        self.tag(field, LENGTH);
        self.varint(values.len() as u64 * 8);
        for value in values {
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub(crate) fn packed_varint(&mut self, field: u32, values: &[u64]) {
        let open = self.open(field);
        for value in values {
            self.varint(*value);
        }
        self.close(open);
    }

    /// A `KeyValue`. Lengths are computed ahead, because attributes are most of the bytes.
    pub(crate) fn attribute(&mut self, field: u32, key: &str, value: Value<'_>) {
        let any_length = match value {
            Value::Text(text) => 1 + varint_length(text.len() as u64) + text.len(),
            Value::Int(number) => 1 + varint_length(number as u64),
            Value::Double(_) => 9,
            Value::Bool(_) => 2,
        };
        let length = 1
            + varint_length(key.len() as u64)
            + key.len()
            + 1
            + varint_length(any_length as u64)
            + any_length;
        self.tag(field, LENGTH);
        self.varint(length as u64);
        self.string(1, key);
        self.tag(2, LENGTH);
        self.varint(any_length as u64);
        match value {
            Value::Text(text) => self.string(1, text),
            Value::Bool(flag) => self.uint(2, u64::from(flag)),
            Value::Int(number) => self.uint(3, number as u64),
            Value::Double(number) => self.double(4, number),
        }
    }

    fn tag(&mut self, field: u32, wire_type: u32) {
        write_key(&mut self.bytes, field, wire_type);
    }

    fn varint(&mut self, value: u64) {
        write_varint(&mut self.bytes, value);
    }
}
