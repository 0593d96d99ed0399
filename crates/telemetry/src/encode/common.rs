//! Builders of `opentelemetry.proto.common.v1` and `resource.v1`.

use super::builder::builder;
use super::message::{Message, Output, write_any_value};
use crate::view;
use crate::wire::{close, open, write_bytes};

/// The bytes of an `AnyValue` message.
pub fn any_value<'v>(value: impl Into<view::AnyValue<'v>>) -> Vec<u8> {
    let mut out = Vec::new();
    write_any_value(&mut out, value.into());
    out
}

/// A value under construction. Set one thing; nothing set is the empty value.
#[derive(Debug)]
pub struct AnyValue<'w>(pub(crate) Message<'w>);

/// The oneof of `AnyValue` counts as one field, under the number of its first member.
const VALUE: u32 = 1;

impl AnyValue<'_> {
    pub fn set<'v>(&mut self, value: impl Into<view::AnyValue<'v>>) {
        if self.0.once(VALUE) {
            write_any_value(&mut self.0.output.bytes, value.into());
        }
    }

    /// Copies the bytes of an encoded `AnyValue`.
    pub fn raw(&mut self, any_value: &[u8]) {
        if self.0.once(VALUE) {
            self.0.output.bytes.extend_from_slice(any_value);
        }
    }

    pub fn array(&mut self) -> Array<'_> {
        Array(self.0.member(VALUE, 5))
    }

    pub fn key_value_list(&mut self) -> KeyValueList<'_> {
        KeyValueList(self.0.member(VALUE, 6))
    }
}

/// Elements of an array value.
#[derive(Debug)]
pub struct Array<'w>(Message<'w>);

impl Array<'_> {
    pub fn push<'v>(&mut self, value: impl Into<view::AnyValue<'v>>) -> &mut Self {
        write_any_value(&mut self.0.repeated(1).output.bytes, value.into());
        self
    }

    /// Opens one more element.
    pub fn value(&mut self) -> AnyValue<'_> {
        AnyValue(self.0.repeated(1))
    }
}

builder!(
    /// Pairs of a key-value-list value.
    KeyValueList { 1 attribute: attribute(attribute_with, attributes), }
);

builder!(
    Resource {
        1 attribute: attribute(attribute_with, attributes),
        2 dropped_attributes_count: uint32,
        3 entity_ref: repeated(EntityRef),
        3 entity_ref_raw: repeated_raw,
    }
);

builder!(
    EntityRef {
        1 schema_url: string,
        2 r#type: string,
        3 id_key: repeated_string,
        4 description_key: repeated_string,
    }
);

builder!(
    /// Instrumentation scope.
    Scope {
        1 name: string,
        2 version: string,
        3 attribute: attribute(attribute_with, attributes),
        4 dropped_attributes_count: uint32,
    }
);

pub(crate) fn key_value_with(
    message: &mut Message<'_>,
    number: u32,
    key: &str,
    write: impl FnOnce(&mut AnyValue<'_>),
) {
    let output: &mut Output = message.output;
    let start = open(&mut output.bytes, number);
    if !key.is_empty() {
        write_bytes(&mut output.bytes, 1, key.as_bytes());
    }
    write(&mut AnyValue(Message::open(output, 2)));
    close(&mut output.bytes, start);
}
