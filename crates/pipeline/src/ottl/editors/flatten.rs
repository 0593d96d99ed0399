//! `flatten`: values of nested maps and lists move to the root, under the path that led to them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use cupola_telemetry::edit::{Map, Value};

use crate::ottl::error::Fault;

/// Bytes of all keys that are made of one map: each has the whole path that leads to its value.
const KEY_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Debug)]
pub(in crate::ottl) struct Flatten {
    pub(super) prefix: String,
    /// Levels that are flattened.
    pub(super) depth: usize,
    pub(super) resolve_conflicts: bool,
}

#[derive(Default)]
struct Flat<'a> {
    pairs: Vec<(Cow<'a, str>, Value<'a>)>,
    taken: HashSet<String>,
    /// The number that the next conflict of a key gets.
    suffixes: HashMap<String, usize>,
    key_bytes: usize,
}

impl Flatten {
    pub(super) fn run<'a>(&self, map: &mut Map<'a>) -> Result<(), Fault> {
        if self.depth == 0 {
            return Ok(());
        }
        let mut flat = Flat::default();
        for (key, value) in map.iter() {
            let key = match self.prefix.as_str() {
                "" => key.into_owned(),
                prefix => flat.path(prefix, &key)?,
            };
            self.push(&mut flat, key, value, self.depth)?;
        }
        *map = flat.pairs.into_iter().collect();
        Ok(())
    }

    fn push<'a>(
        &self,
        flat: &mut Flat<'a>,
        key: String,
        value: Value<'a>,
        depth: usize,
    ) -> Result<(), Fault> {
        match value {
            Value::Map(inner) if depth > 0 => {
                for (name, value) in inner.iter() {
                    let path = flat.path(&key, &name)?;
                    self.push(flat, path, value, depth - 1)?;
                }
            }
            Value::Array(inner) if depth > 0 => {
                for (index, value) in inner.iter().enumerate() {
                    let structured = matches!(value, Value::Map(_) | Value::Array(_)) && depth > 1;
                    let path = match self.resolve_conflicts && !structured {
                        true => {
                            flat.count(key.len())?;
                            key.clone()
                        }
                        false => flat.path(&key, &index.to_string())?,
                    };
                    self.push(flat, path, value, depth - 1)?;
                }
            }
            value => {
                let key = match self.resolve_conflicts {
                    true => flat.free_key(key)?,
                    false => key,
                };
                flat.pairs.push((Cow::Owned(key), value));
            }
        }
        Ok(())
    }
}

impl Flat<'_> {
    /// Counts a key before it is made.
    fn count(&mut self, bytes: usize) -> Result<(), Fault> {
        self.key_bytes = self.key_bytes.saturating_add(bytes);
        if self.key_bytes > KEY_BYTES_MAX {
            return Err(Fault::of(format_args!(
                "it would have more than {KEY_BYTES_MAX} bytes of keys"
            )));
        }
        Ok(())
    }

    /// `before` and `name` with a dot between them.
    fn path(&mut self, before: &str, name: &str) -> Result<String, Fault> {
        self.count(before.len() + 1 + name.len())?;
        Ok(format!("{before}.{name}"))
    }

    /// `key`, or with the first number behind it that makes it one that is not taken.
    fn free_key(&mut self, key: String) -> Result<String, Fault> {
        if self.taken.insert(key.clone()) {
            return Ok(key);
        }
        let mut suffix = self.suffixes.get(&key).copied().unwrap_or(0);
        loop {
            let numbered = self.path(&key, &suffix.to_string())?;
            suffix += 1;
            if self.taken.insert(numbered.clone()) {
                self.suffixes.insert(key, suffix);
                return Ok(numbered);
            }
        }
    }
}
