//! The message under construction, and the macro that makes a typed builder of it.

use crate::view;
use crate::wire::{FIXED32, FIXED64, LENGTH, VARINT, close, open, write_key, write_varint, zigzag32};

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
        let discard_from = (!self.once(number)).then_some(self.output.bytes.len());
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

#[inline]
pub(crate) fn write_bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    write_key(out, number, LENGTH);
    write_varint(out, value.len() as u64);
    out.extend_from_slice(value);
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

/// A builder type with one method a field. Kinds: scalars by proto type name; `optional_double` has presence;
/// `trace_id`, `span_id`; `message(T)`, `repeated(T)`, `item(T)` (repeated, counted as an item);
/// `attributes(single, all)`; `packed_*`.
macro_rules! builder {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $number:literal $field:ident: $kind:ident $(($($argument:tt),*))?,)* }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<'w>(pub(crate) $crate::encode::message::Message<'w>);

        impl $name<'_> {
            $($crate::encode::message::setter!($(#[$field_doc])* $number $field $kind $(($($argument),*))?);)*
        }
    };
}

macro_rules! setter {
    (@scalar $(#[$doc:meta])* $number:literal $field:ident $type:ty, $default:literal, |$message:ident, $value:ident| $write:expr) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&mut self, $value: $type) -> &mut Self {
            if $value != $default && self.0.once($number) {
                let $message = &mut self.0;
                $write;
            }
            self
        }
    };
    ($(#[$doc:meta])* $number:literal $field:ident fixed64) => {
        $crate::encode::message::setter!(@scalar $(#[$doc])* $number $field u64, 0, |message, value| message.fixed64($number, value));
    };
    ($(#[$doc:meta])* $number:literal $field:ident fixed32) => {
        $crate::encode::message::setter!(@scalar $(#[$doc])* $number $field u32, 0, |message, value| message.fixed32($number, value));
    };
    ($(#[$doc:meta])* $number:literal $field:ident uint32) => {
        $crate::encode::message::setter!(@scalar $(#[$doc])* $number $field u32, 0, |message, value| message.varint($number, u64::from(value)));
    };
    ($(#[$doc:meta])* $number:literal $field:ident int32) => {
        $crate::encode::message::setter!(@scalar $(#[$doc])* $number $field i32, 0, |message, value| message.varint($number, i64::from(value) as u64));
    };
    ($(#[$doc:meta])* $number:literal $field:ident sint32) => {
        $crate::encode::message::setter!(@scalar $(#[$doc])* $number $field i32, 0, |message, value| message.sint32($number, value));
    };
    ($(#[$doc:meta])* $number:literal $field:ident bool) => {
        $crate::encode::message::setter!(@scalar $(#[$doc])* $number $field bool, false, |message, value| message.varint($number, u64::from(value)));
    };
    ($(#[$doc:meta])* $number:literal $field:ident string) => {
        $crate::encode::message::setter!(@scalar $(#[$doc])* $number $field &str, "", |message, value| message.bytes($number, value.as_bytes()));
    };
    ($(#[$doc:meta])* $number:literal $field:ident double) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&mut self, value: f64) -> &mut Self {
            // By bits: minus zero is not the default.
            if value.to_bits() != 0 && self.0.once($number) {
                self.0.fixed64($number, value.to_bits());
            }
            self
        }
    };
    ($(#[$doc:meta])* $number:literal $field:ident optional_double) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&mut self, value: f64) -> &mut Self {
            if self.0.once($number) {
                self.0.fixed64($number, value.to_bits());
            }
            self
        }
    };
    ($(#[$doc:meta])* $number:literal $field:ident trace_id) => {
        $crate::encode::message::setter!(@id $(#[$doc])* $number $field 16);
    };
    ($(#[$doc:meta])* $number:literal $field:ident span_id) => {
        $crate::encode::message::setter!(@id $(#[$doc])* $number $field 8);
    };
    (@id $(#[$doc:meta])* $number:literal $field:ident $length:literal) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&mut self, id: &[u8]) -> &mut Self {
            debug_assert!(matches!(id.len(), 0 | $length), "an id of {} bytes", id.len());
            if id.len() == $length && self.0.once($number) {
                self.0.bytes($number, id);
            }
            self
        }
    };
    ($(#[$doc:meta])* $number:literal $field:ident any_value) => {
        $(#[$doc])*
        #[inline]
        pub fn $field<'v>(&mut self, value: impl Into<$crate::view::AnyValue<'v>>) -> &mut Self {
            $crate::encode::message::write_any_value(&mut self.0.singular($number).output.bytes, value.into());
            self
        }
    };
    ($(#[$doc:meta])* $number:literal $field:ident any_value_with) => {
        $(#[$doc])*
        pub fn $field(&mut self) -> $crate::encode::AnyValue<'_> {
            $crate::encode::AnyValue(self.0.singular($number))
        }
    };
    ($(#[$doc:meta])* $number:literal $field:ident message($type:ident)) => {
        $(#[$doc])*
        pub fn $field(&mut self) -> $type<'_> {
            $type(self.0.singular($number))
        }
    };
    ($(#[$doc:meta])* $number:literal $field:ident raw) => {
        $(#[$doc])*
        pub fn $field(&mut self, raw: &[u8]) -> &mut Self {
            if self.0.once($number) {
                self.0.bytes($number, raw);
            }
            self
        }
    };
    ($(#[$doc:meta])* $number:literal $field:ident repeated($type:ident)) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&mut self) -> $type<'_> {
            $type(self.0.repeated($number))
        }
    };
    ($(#[$doc:meta])* $number:literal $field:ident repeated_raw) => {
        $(#[$doc])*
        pub fn $field(&mut self, raw: &[u8]) -> &mut Self {
            self.0.bytes($number, raw);
            self
        }
    };
    ($(#[$doc:meta])* $number:literal $field:ident item($type:ident)) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&mut self) -> $type<'_> {
            self.0.output.items += 1;
            $type(self.0.repeated($number))
        }
    };
    ($(#[$doc:meta])* $number:literal $field:ident item_raw) => {
        $(#[$doc])*
        pub fn $field(&mut self, raw: &[u8]) -> &mut Self {
            self.0.output.items += 1;
            self.0.bytes($number, raw);
            self
        }
    };
    ($(#[$doc:meta])* $number:literal $field:ident repeated_string) => {
        $(#[$doc])*
        pub fn $field(&mut self, value: &str) -> &mut Self {
            self.0.bytes($number, value.as_bytes());
            self
        }
    };
    ($(#[$doc:meta])* $number:literal $field:ident attribute($with:ident, $all:ident)) => {
        $(#[$doc])*
        #[inline]
        pub fn $field<'v>(&mut self, key: &str, value: impl Into<$crate::view::AnyValue<'v>>) -> &mut Self {
            self.0.key_value($number, key, value.into());
            self
        }

        /// One more, whose value `write` makes: an array, a list, a copy of encoded bytes.
        pub fn $with(&mut self, key: &str, write: impl FnOnce(&mut $crate::encode::AnyValue<'_>)) -> &mut Self {
            $crate::encode::common::key_value_with(&mut self.0, $number, key, write);
            self
        }

        /// Copies of all of `attributes`.
        pub fn $all(&mut self, attributes: $crate::view::Attributes<'_>) -> &mut Self {
            attributes.raw_messages().for_each(|raw| self.0.bytes($number, raw));
            self
        }
    };
    ($(#[$doc:meta])* $number:literal $field:ident packed_fixed64) => {
        $crate::encode::message::setter!(@packed $(#[$doc])* $number $field u64, |out, value| out.extend_from_slice(&value.to_le_bytes()));
    };
    ($(#[$doc:meta])* $number:literal $field:ident packed_double) => {
        $crate::encode::message::setter!(@packed $(#[$doc])* $number $field f64, |out, value| out.extend_from_slice(&value.to_le_bytes()));
    };
    ($(#[$doc:meta])* $number:literal $field:ident packed_uint64) => {
        $crate::encode::message::setter!(@packed $(#[$doc])* $number $field u64, |out, value| $crate::wire::write_varint(out, value));
    };
    (@packed $(#[$doc:meta])* $number:literal $field:ident $type:ty, |$out:ident, $value:ident| $write:expr) => {
        $(#[$doc])*
        pub fn $field(&mut self, values: impl IntoIterator<Item = $type>) -> &mut Self {
            let mut values = values.into_iter().peekable();
            if values.peek().is_some() {
                let packed = self.0.singular($number);
                for $value in values {
                    let $out = &mut packed.output.bytes;
                    $write;
                }
            }
            self
        }
    };
    ($(#[$doc:meta])* $number:literal $field:ident number_value($int:literal)) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&mut self, value: impl Into<$crate::view::NumberValue>) -> &mut Self {
            if self.0.once($number) {
                match value.into() {
                    $crate::view::NumberValue::Double(value) => self.0.fixed64($number, value.to_bits()),
                    $crate::view::NumberValue::Int(value) => self.0.fixed64($int, value as u64),
                }
            }
            self
        }
    };
}

/// An encoder of one signal's export request.
macro_rules! encoder {
    ($(#[$doc:meta])* $name:ident, $signal:ident, $method:ident -> $resource:ident) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name {
            output: $crate::encode::message::Output,
        }

        impl $name {
            pub fn new() -> Self {
                Self::default()
            }

            pub fn with_capacity(bytes: usize) -> Self {
                let mut encoder = Self::default();
                encoder.output.bytes.reserve(bytes);
                encoder
            }

            /// Opens the telemetry of one more resource.
            pub fn $method(&mut self) -> $resource<'_> {
                $resource($crate::encode::message::Message::open(&mut self.output, 1))
            }

            /// Bytes written so far.
            pub fn bytes(&self) -> usize {
                self.output.bytes.len()
            }

            /// Log records, spans or data points written so far.
            pub fn items(&self) -> usize {
                self.output.items
            }

            /// The batch of what was written.
            pub fn finish(self, tenant: $crate::TenantId) -> $crate::Batch {
                let payload = self.output.bytes.into();
                $crate::Batch::from_canonical($crate::Signal::$signal, tenant, payload, self.output.items)
            }
        }
    };
}

pub(crate) use {builder, encoder, setter};
