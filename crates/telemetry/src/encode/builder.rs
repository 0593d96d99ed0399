//! The macros that make typed builders: a method a field, an encoder a signal.

/// A builder type with one method a field. Kinds: scalars by proto type name; `optional_double` has presence;
/// `trace_id`, `span_id`; `message(T)`, `repeated(T)`, `item(T)` (repeated, counted as an item);
/// `attributes(single, all)`; `packed_*`.
macro_rules! builder {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $number:literal $field:ident: $kind:ident $(($($argument:tt),*))?,)* }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<'w>(pub(crate) $crate::encode::message::Message<'w>);

        impl $name<'_> {
            $($crate::encode::builder::setter!($(#[$field_doc])* $number $field $kind $(($($argument),*))?);)*
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
        $crate::encode::builder::setter!(@scalar $(#[$doc])* $number $field u64, 0, |message, value| message.fixed64($number, value));
    };
    ($(#[$doc:meta])* $number:literal $field:ident fixed32) => {
        $crate::encode::builder::setter!(@scalar $(#[$doc])* $number $field u32, 0, |message, value| message.fixed32($number, value));
    };
    ($(#[$doc:meta])* $number:literal $field:ident uint32) => {
        $crate::encode::builder::setter!(@scalar $(#[$doc])* $number $field u32, 0, |message, value| message.varint($number, u64::from(value)));
    };
    ($(#[$doc:meta])* $number:literal $field:ident int32) => {
        $crate::encode::builder::setter!(@scalar $(#[$doc])* $number $field i32, 0, |message, value| message.varint($number, i64::from(value) as u64));
    };
    ($(#[$doc:meta])* $number:literal $field:ident sint32) => {
        $crate::encode::builder::setter!(@scalar $(#[$doc])* $number $field i32, 0, |message, value| message.sint32($number, value));
    };
    ($(#[$doc:meta])* $number:literal $field:ident bool) => {
        $crate::encode::builder::setter!(@scalar $(#[$doc])* $number $field bool, false, |message, value| message.varint($number, u64::from(value)));
    };
    ($(#[$doc:meta])* $number:literal $field:ident string) => {
        $crate::encode::builder::setter!(@scalar $(#[$doc])* $number $field &str, "", |message, value| message.bytes($number, value.as_bytes()));
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
        $crate::encode::builder::setter!(@id $(#[$doc])* $number $field 16);
    };
    ($(#[$doc:meta])* $number:literal $field:ident span_id) => {
        $crate::encode::builder::setter!(@id $(#[$doc])* $number $field 8);
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
        $crate::encode::builder::setter!(@packed $(#[$doc])* $number $field u64, |out, value| out.extend_from_slice(&value.to_le_bytes()));
    };
    ($(#[$doc:meta])* $number:literal $field:ident packed_double) => {
        $crate::encode::builder::setter!(@packed $(#[$doc])* $number $field f64, |out, value| out.extend_from_slice(&value.to_le_bytes()));
    };
    ($(#[$doc:meta])* $number:literal $field:ident packed_uint64) => {
        $crate::encode::builder::setter!(@packed $(#[$doc])* $number $field u64, |out, value| $crate::wire::write_varint(out, value));
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
