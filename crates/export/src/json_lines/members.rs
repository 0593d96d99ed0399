//! An object of JSON written into text that has others before it. Refuses to hold a tree, or a text of its own.

use std::fmt::{Display, Write as _};

use cupola_telemetry::json::write_string;
use cupola_telemetry::time::to_rfc3339;
use cupola_telemetry::view::{AnyValue, Attributes};

use crate::elasticsearch::json;

/// The members of an object under construction.
pub(super) struct Members<'o> {
    out: &'o mut String,
    is_first: bool,
}

impl<'o> Members<'o> {
    pub(super) fn begin(out: &'o mut String) -> Members<'o> {
        out.push('{');
        Members { out, is_first: true }
    }

    pub(super) fn end(self) {
        self.out.push('}');
    }

    fn key(&mut self, key: &str) -> &mut String {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(',');
        }
        write_string(self.out, key);
        self.out.push(':');
        self.out
    }

    pub(super) fn text(&mut self, key: &str, text: &str) {
        write_string(self.key(key), text);
    }

    /// Something whose display is JSON: a whole number or a truth.
    pub(super) fn plain(&mut self, key: &str, value: impl Display) {
        // Writing to a string does not fail.
        let _ = write!(self.key(key), "{value}");
    }

    /// Left out where it is zero.
    pub(super) fn some_number(&mut self, key: &str, number: u32) {
        if number != 0 {
            self.plain(key, number);
        }
    }

    /// Text that is JSON already.
    pub(super) fn json(&mut self, key: &str, json: &str) {
        self.key(key).push_str(json);
    }

    /// Null where there is none.
    pub(super) fn value(&mut self, key: &str, value: Option<AnyValue<'_>>) {
        let out = self.key(key);
        match value {
            Some(value) => json::write(out, value),
            None => out.push_str("null"),
        }
    }

    pub(super) fn double(&mut self, key: &str, value: f64) {
        self.value(key, Some(AnyValue::Double(value)));
    }

    pub(super) fn some_double(&mut self, key: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.double(key, value);
        }
    }

    pub(super) fn attributes(&mut self, key: &str, attributes: Attributes<'_>) {
        self.value(key, Some(AnyValue::KeyValueList(attributes)));
    }

    /// An id in hex; empty where there is none.
    pub(super) fn id(&mut self, key: &str, id: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let out = self.key(key);
        out.push('"');
        for byte in id {
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from(DIGITS[usize::from(digit)]));
            }
        }
        out.push('"');
    }

    pub(super) fn moment(&mut self, key: &str, unix_nano: u64) {
        let out = self.key(key);
        out.push('"');
        out.push_str(&to_rfc3339(unix_nano));
        out.push('"');
    }

    pub(super) fn object(&mut self, key: &str, write: impl FnOnce(&mut Members<'_>)) {
        object(self.key(key), write);
    }

    /// What `write` appends for each of `values`.
    pub(super) fn array<T>(
        &mut self,
        key: &str,
        values: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut String, T),
    ) {
        let out = self.key(key);
        out.push('[');
        for (index, value) in values.enumerate() {
            if index > 0 {
                out.push(',');
            }
            write(out, value);
        }
        out.push(']');
    }

    /// Whole numbers.
    pub(super) fn numbers(&mut self, key: &str, values: impl Iterator<Item = u64>) {
        self.array(key, values, |out, value| {
            let _ = write!(out, "{value}");
        });
    }

    /// Numbers; null for those that JSON does not have.
    pub(super) fn doubles(&mut self, key: &str, values: impl Iterator<Item = f64>) {
        self.array(key, values, |out, value| {
            json::write(out, AnyValue::Double(value))
        });
    }
}

/// Appends an object.
pub(super) fn object(out: &mut String, write: impl FnOnce(&mut Members<'_>)) {
    let mut members = Members::begin(out);
    write(&mut members);
    members.end();
}
