//! Documents that are flat: one member for each path of keys. A key that is both a value and the beginning of longer ones,
//! as `http` beside `http.method`, is written as `http.value`: an index cannot have it as a value and as an object.

use std::collections::BTreeMap;

use cupola_telemetry::json::write_string;
use cupola_telemetry::view::{AnyValue, Attributes};

use super::json;

/// Paths of keys with their values in JSON.
#[derive(Debug, Default)]
pub(super) struct Flat(BTreeMap<String, String>);

impl Flat {
    pub(super) fn json(&mut self, path: impl Into<String>, json: impl Into<String>) {
        self.0.insert(path.into(), json.into());
    }

    pub(super) fn text(&mut self, path: impl Into<String>, text: &str) {
        if !text.is_empty() {
            let mut json = String::new();
            write_string(&mut json, text);
            self.json(path, json);
        }
    }

    pub(super) fn value(&mut self, path: impl Into<String>, value: AnyValue<'_>) {
        self.json(path, json::text(value));
    }

    /// Attributes below `prefix`, renamed as `rename` says.
    pub(super) fn attributes(
        &mut self,
        prefix: &str,
        attributes: Attributes<'_>,
        rename: fn(&str) -> Option<&'static str>,
    ) {
        json::members(attributes, |key, value| {
            let key = rename(key).unwrap_or(key);
            let path = match prefix {
                "" => key.to_owned(),
                prefix => format!("{prefix}.{key}"),
            };
            match value {
                AnyValue::KeyValueList(inner) if !inner.is_empty() => self.attributes(&path, inner, |_| None),
                value => self.value(path, value),
            }
        });
    }

    /// Takes over what another has, which counts more.
    pub(super) fn extend(&mut self, other: Flat) {
        self.0.extend(other.0);
    }

    pub(super) fn finish(self) -> String {
        let mut out = "{".to_owned();
        for (path, value) in &self.0 {
            if value == "null" {
                continue;
            }
            if out.len() > 1 {
                out.push(',');
            }
            let below = format!("{path}.");
            let next = self.0.range(below.clone()..).next();
            let is_folder = next.is_some_and(|(next, _)| next.starts_with(&below));
            let moved = format!("{path}.value");
            match is_folder && !self.0.contains_key(&moved) {
                true => write_string(&mut out, &moved),
                false => write_string(&mut out, path),
            }
            out.push(':');
            out.push_str(value);
        }
        out.push('}');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_others_continue_becomes_a_value_beside_them() {
        let mut flat = Flat::default();
        for (path, json) in [
            ("http", "1"),
            ("http.method", "2"),
            ("http-x", "3"),
            ("httpx", "4"),
            ("none", "null"),
        ] {
            flat.json(path, json);
        }
        assert_eq!(
            flat.finish(),
            r#"{"http.value":1,"http-x":3,"http.method":2,"httpx":4}"#
        );
    }
}
