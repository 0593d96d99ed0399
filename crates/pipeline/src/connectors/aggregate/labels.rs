//! The labels of a series as encoded attributes, which are its key and what is written to its points.

use cupola_telemetry::encode::any_value;
use cupola_telemetry::view::{AnyValue, Attributes, Resource};
use cupola_telemetry::wire::{close, open, write_bytes};

/// Labels under construction, as the attributes of an encoded `Resource` message.
#[derive(Debug, Default)]
pub(in crate::connectors) struct Labels(Vec<u8>);

/// The field of attributes in `Resource`.
const ATTRIBUTES: u32 = 1;

impl Labels {
    pub(in crate::connectors) fn clear(&mut self) {
        self.0.clear();
    }

    pub(in crate::connectors) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets what was pushed after there were `len` bytes.
    pub(in crate::connectors) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    pub(in crate::connectors) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(in crate::connectors) fn text(&mut self, key: &str, text: &str) {
        let out = &mut self.0;
        let pair = open(out, ATTRIBUTES);
        write_bytes(out, 1, key.as_bytes());
        let value = open(out, 2);
        write_bytes(out, 1, text.as_bytes());
        close(out, value);
        close(out, pair);
    }

    pub(in crate::connectors) fn value(&mut self, key: &str, value: AnyValue<'_>) {
        if let AnyValue::String(text) = value {
            return self.text(key, text);
        }
        let out = &mut self.0;
        let pair = open(out, ATTRIBUTES);
        write_bytes(out, 1, key.as_bytes());
        write_bytes(out, 2, &any_value(value));
        close(out, pair);
    }
}

/// The labels in the bytes of [`Labels`].
pub(super) fn attributes(labels: &[u8]) -> Attributes<'_> {
    Resource::parse(labels).attributes
}
