//! JSON objects written straight into text, for exporters that send documents. Refuses to hold a tree.

use std::fmt::{Display, Write as _};

use cupola_telemetry::json::{write_plain, write_string};
use cupola_telemetry::view::AnyValue;

/// An object under construction.
#[derive(Debug)]
pub(crate) struct Object {
    text: String,
}

impl Object {
    pub(crate) fn new() -> Object {
        Object { text: "{".to_owned() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.len() == 1
    }

    fn key(&mut self, key: &str) -> &mut String {
        if !self.is_empty() {
            self.text.push(',');
        }
        write_string(&mut self.text, key);
        self.text.push(':');
        &mut self.text
    }

    pub(crate) fn text(&mut self, key: &str, text: &str) {
        write_string(self.key(key), text);
    }

    /// Left out where there is no text.
    pub(crate) fn some_text(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.text(key, text);
        }
    }

    /// Something whose display is JSON: a whole number or a truth.
    pub(crate) fn plain(&mut self, key: &str, value: impl Display) {
        // Writing to a string does not fail.
        let _ = write!(self.key(key), "{value}");
    }

    /// Left out where it is zero.
    pub(crate) fn some_number(&mut self, key: &str, number: u32) {
        if number != 0 {
            self.plain(key, number);
        }
    }

    #[cfg(any(test, feature = "postgres"))]
    pub(crate) fn double(&mut self, key: &str, value: f64) {
        self.value(key, AnyValue::Double(value));
    }

    #[cfg(any(test, feature = "postgres"))]
    pub(crate) fn value(&mut self, key: &str, value: AnyValue<'_>) {
        write_plain(self.key(key), value);
    }

    /// Text that is JSON already.
    pub(crate) fn json(&mut self, key: &str, json: &str) {
        self.key(key).push_str(json);
    }

    /// An id in hex; left out where there is none.
    pub(crate) fn id(&mut self, key: &str, id: &[u8]) {
        if !id.is_empty() {
            self.text(key, &hex(id));
        }
    }

    pub(crate) fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

/// An array of what `write` appends for each of `values`.
pub(crate) fn array<T>(values: impl Iterator<Item = T>, mut write: impl FnMut(&mut String, T)) -> String {
    let mut text = "[".to_owned();
    for (index, value) in values.enumerate() {
        if index > 0 {
            text.push(',');
        }
        write(&mut text, value);
    }
    text.push(']');
    text
}

/// An array of whole numbers.
pub(crate) fn numbers(values: impl Iterator<Item = u64>) -> String {
    array(values, |text, value| {
        let _ = write!(text, "{value}");
    })
}

/// An array of doubles; those that JSON does not have are text.
pub(crate) fn doubles(values: impl Iterator<Item = f64>) -> String {
    array(values, |text, value| write_plain(text, AnyValue::Double(value)))
}

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_json() {
        let mut object = Object::new();
        object.text("a\"b", "c\n\0");
        object.some_text("left out", "");
        object.double("nan", f64::NAN);
        object.plain("big", u64::MAX);
        object.id("id", &[0xab, 1]);
        object.json("list", &numbers([1, 2].into_iter()));
        let text = object.finish();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"a\"b": "c\n\0", "nan": "NaN", "big": u64::MAX, "id": "ab01", "list": [1, 2]})
        );
        assert_eq!(Object::new().finish(), "{}");
    }
}
