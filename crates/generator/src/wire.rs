//! Writing OTLP messages field by field.

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

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED32: u32 = 5;

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
        self.tag(field, LENGTH);
        self.bytes.push(0);
        Open(self.bytes.len())
    }

    pub(crate) fn close(&mut self, open: Open) {
        let length = self.bytes.len() - open.0;
        if length < 0x80 {
            self.bytes[open.0 - 1] = length as u8;
            return;
        }
        // The length needs more than the one byte kept for it: move the content.
        let mut encoded = [0_u8; 10];
        let width = encode_varint(length as u64, &mut encoded);
        let end = self.bytes.len();
        self.bytes.resize(end + width - 1, 0);
        self.bytes.copy_within(open.0..end, open.0 + width - 1);
        self.bytes[open.0 - 1..open.0 - 1 + width].copy_from_slice(&encoded[..width]);
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
        self.uint(field, u64::from(((value << 1) ^ (value >> 31)) as u32));
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
        self.tag(field, LENGTH);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
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
            Value::Text(text) => 1 + varint_width(text.len() as u64) + text.len(),
            Value::Int(number) => 1 + varint_width(number as u64),
            Value::Double(_) => 9,
            Value::Bool(_) => 2,
        };
        let length =
            1 + varint_width(key.len() as u64) + key.len() + 1 + varint_width(any_length as u64) + any_length;
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
        self.varint(u64::from(field << 3 | wire_type));
    }

    fn varint(&mut self, value: u64) {
        if value < 0x80 {
            self.bytes.push(value as u8);
            return;
        }
        let mut encoded = [0_u8; 10];
        let width = encode_varint(value, &mut encoded);
        self.bytes.extend_from_slice(&encoded[..width]);
    }
}

fn encode_varint(mut value: u64, into: &mut [u8; 10]) -> usize {
    let mut width = 0;
    while value >= 0x80 {
        into[width] = value as u8 | 0x80;
        value >>= 7;
        width += 1;
    }
    into[width] = value as u8;
    width + 1
}

fn varint_width(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}
