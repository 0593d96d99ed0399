//! Paths into an entry: `body`, `body.x`, `attributes["a.b"].c`, `resource.y`.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer};

use super::entry::Entry;
use super::value::{Fields, Value};

/// Steps that a path may have.
const STEPS_MAX: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    Body,
    Attributes,
    Resource,
}

/// A place of an entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    root: Root,
    keys: Vec<String>,
}

/// A place that may also be all attributes or all of the resource.
#[derive(Clone, Debug, PartialEq)]
pub struct RootField(pub Field);

impl Field {
    pub(crate) fn body() -> Field {
        Field {
            root: Root::Body,
            keys: Vec::new(),
        }
    }

    pub(crate) fn attributes() -> Field {
        Field {
            root: Root::Attributes,
            keys: Vec::new(),
        }
    }

    pub(crate) fn attribute(key: &str) -> Field {
        Field {
            root: Root::Attributes,
            keys: vec![key.to_owned()],
        }
    }

    pub(crate) fn body_member(key: &str) -> Field {
        Field {
            root: Root::Body,
            keys: vec![key.to_owned()],
        }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn is_body(&self) -> bool {
        self.root == Root::Body
    }

    pub(crate) fn is_attributes(&self) -> bool {
        self.root == Root::Attributes
    }

    /// The field that this one is a member of.
    pub(crate) fn parent(&self) -> Field {
        let mut parent = self.clone();
        parent.keys.pop();
        parent
    }

    pub(crate) fn parse(text: &str) -> Result<Field, String> {
        let mut steps = steps(text)?.into_iter();
        let root = match steps.next().as_deref() {
            Some("body") => Root::Body,
            Some("attributes") => Root::Attributes,
            Some("resource") => Root::Resource,
            _ => {
                return Err(format!(
                    "`{text}` is no field: one begins with `body`, `attributes` or `resource`"
                ));
            }
        };
        Ok(Field {
            root,
            keys: steps.collect(),
        })
    }

    pub(crate) fn get<'e>(&self, entry: &'e Entry) -> Option<&'e Value> {
        let (first, rest) = match (self.root, self.keys.split_first()) {
            (Root::Body, _) => {
                return self.keys.iter().try_fold(&entry.body, |value, key| match value {
                    Value::Map(fields) => fields.get(key),
                    _ => None,
                });
            }
            (_, None) => return None,
            (_, Some(split)) => split,
        };
        rest.iter()
            .try_fold(self.fields(entry).get(first)?, |value, key| match value {
                Value::Map(fields) => fields.get(key),
                _ => None,
            })
    }

    /// A copy; also of all attributes and of the whole resource.
    pub(crate) fn copy(&self, entry: &Entry) -> Option<Value> {
        match self.is_root() && !self.is_body() {
            true => Some(Value::Map(self.fields(entry).clone())),
            false => self.get(entry).cloned(),
        }
    }

    fn fields<'e>(&self, entry: &'e Entry) -> &'e Fields {
        match self.root {
            Root::Resource => &entry.resource,
            _ => &entry.attributes,
        }
    }

    /// Sets a value; the members of a map are added to those that are there.
    pub(crate) fn set(&self, entry: &mut Entry, value: Value) -> Result<(), String> {
        if self.is_root() && !matches!(value, Value::Map(_)) {
            if self.root != Root::Body {
                return Err(format!(
                    "`{self}` can only be set to a map, not to {}",
                    value.kind()
                ));
            }
            entry.body = value;
            return Ok(());
        }
        let fields = match self.root {
            Root::Body => entry.body.as_map_mut(),
            Root::Attributes => &mut entry.attributes,
            Root::Resource => &mut entry.resource,
        };
        match value {
            Value::Map(members) => {
                self.keys
                    .iter()
                    .fold(fields, |fields, key| fields.entry(key).as_map_mut())
                    .extend(members);
            }
            value => {
                if let Some((last, before)) = self.keys.split_last() {
                    before
                        .iter()
                        .fold(fields, |fields, key| fields.entry(key).as_map_mut())
                        .set(last, value);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn remove(&self, entry: &mut Entry) -> Option<Value> {
        let Some((last, before)) = self.keys.split_last() else {
            return Some(match self.root {
                Root::Body => std::mem::take(&mut entry.body),
                Root::Attributes => Value::Map(std::mem::take(&mut entry.attributes)),
                Root::Resource => Value::Map(std::mem::take(&mut entry.resource)),
            });
        };
        let mut fields = match self.root {
            Root::Body => member(&mut entry.body)?,
            Root::Attributes => &mut entry.attributes,
            Root::Resource => &mut entry.resource,
        };
        for key in before {
            fields.get(key)?;
            fields = member(fields.entry(key))?;
        }
        fields.remove(last)
    }

    /// The field below this one.
    pub(crate) fn child(&self, key: &str) -> Field {
        let mut child = self.clone();
        child.keys.push(key.to_owned());
        child
    }
}

fn member(value: &mut Value) -> Option<&mut Fields> {
    match value {
        Value::Map(fields) => Some(fields),
        _ => None,
    }
}

/// The steps of a path: words between dots, or texts in brackets.
fn steps(text: &str) -> Result<Vec<String>, String> {
    let wrong = |problem: &str| Err(format!("`{text}` is no field: {problem}"));
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        if found.len() >= STEPS_MAX {
            return Err(format!("`{text}` has more than {STEPS_MAX} steps"));
        }
        if let Some(bracket) = rest.strip_prefix('[') {
            let Some(quote) = bracket.chars().next().filter(|quote| matches!(quote, '"' | '\'')) else {
                return wrong("what stands in brackets must be in quotes");
            };
            let Some((key, after)) = bracket[1..].split_once(quote) else {
                return wrong("a quote is not closed");
            };
            found.push(key.to_owned());
            let Some(after) = after.strip_prefix(']') else {
                return wrong("a bracket is not closed");
            };
            rest = match after.strip_prefix('.') {
                Some(after) => after,
                None if after.is_empty() || after.starts_with('[') => after,
                None => return wrong("a dot or a bracket is missing after `]`"),
            };
            if after.is_empty() {
                return Ok(found);
            }
            continue;
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        found.push(rest[..end].to_owned());
        match rest[end..].strip_prefix('.') {
            Some(after) => rest = after,
            None if end == rest.len() => return Ok(found),
            None => rest = &rest[end..],
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.root {
            Root::Body => "body",
            Root::Attributes => "attributes",
            Root::Resource => "resource",
        })?;
        for key in &self.keys {
            match key.contains(['.', '[']) {
                true => write!(f, "[\"{key}\"]")?,
                false => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Field, D::Error> {
        let RootField(field) = RootField::deserialize(deserializer)?;
        match field.is_root() && !field.is_body() {
            true => Err(de::Error::custom(format!(
                "`{field}` needs the name of a member, as in `{field}.name`"
            ))),
            false => Ok(field),
        }
    }
}

impl<'de> Deserialize<'de> for RootField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RootField, D::Error> {
        let text = String::deserialize(deserializer)?;
        Field::parse(&text).map(RootField).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_they_are_written() {
        for (text, keys) in [
            ("body", &[][..]),
            ("body.a.b", &["a", "b"]),
            ("attributes[\"a.b\"].c", &["a.b", "c"]),
            ("resource['x']['y.z']", &["x", "y.z"]),
            ("attributes.a[\"b\"]", &["a", "b"]),
        ] {
            assert_eq!(Field::parse(text).unwrap().keys, keys, "{text}");
        }
        for text in [
            "",
            "severity",
            "attributes[0]",
            "attributes[\"a]",
            "attributes[\"a\"b",
            "attributes['a'",
        ] {
            assert!(Field::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn setting_a_map_adds_its_members_and_makes_what_is_missing() {
        let mut entry = Entry {
            body: Value::from("text"),
            ..Entry::default()
        };
        let map: Fields = [("a".to_owned(), Value::Int(1))].into_iter().collect();
        Field::parse("attributes.x.y")
            .unwrap()
            .set(&mut entry, Value::Map(map.clone()))
            .unwrap();
        Field::parse("attributes.x.y.b")
            .unwrap()
            .set(&mut entry, Value::Int(2))
            .unwrap();
        assert_eq!(
            Field::parse("attributes.x.y.a").unwrap().get(&entry),
            Some(&Value::Int(1))
        );
        assert_eq!(
            Field::parse("attributes.x.y.b").unwrap().remove(&mut entry),
            Some(Value::Int(2))
        );
        assert_eq!(Field::parse("attributes.q.b").unwrap().remove(&mut entry), None);
        Field::body().set(&mut entry, Value::Map(map)).unwrap();
        assert_eq!(Field::parse("body.a").unwrap().get(&entry), Some(&Value::Int(1)));
        assert!(Field::attributes().set(&mut entry, Value::Int(1)).is_err());
    }
}
