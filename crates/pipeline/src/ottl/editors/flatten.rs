//! `flatten`: values of nested maps and lists move to the root, under the path that led to them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use cupola_telemetry::edit::{Map, Value};

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
}

impl Flatten {
    pub(super) fn run<'a>(&self, map: &mut Map<'a>) {
        if self.depth == 0 {
            return;
        }
        let mut flat = Flat::default();
        for (key, value) in map.iter() {
            let key = match self.prefix.as_str() {
                "" => key.into_owned(),
                prefix => format!("{prefix}.{key}"),
            };
            self.push(&mut flat, key, value, self.depth);
        }
        *map = flat.pairs.into_iter().collect();
    }

    fn push<'a>(&self, flat: &mut Flat<'a>, key: String, value: Value<'a>, depth: usize) {
        match value {
            Value::Map(inner) if depth > 0 => {
                for (name, value) in inner.iter() {
                    self.push(flat, format!("{key}.{name}"), value, depth - 1);
                }
            }
            Value::Array(inner) if depth > 0 => {
                for (index, value) in inner.iter().enumerate() {
                    let structured = matches!(value, Value::Map(_) | Value::Array(_)) && depth > 1;
                    let key = match self.resolve_conflicts && !structured {
                        true => key.clone(),
                        false => format!("{key}.{index}"),
                    };
                    self.push(flat, key, value, depth - 1);
                }
            }
            value => {
                let key = if self.resolve_conflicts {
                    flat.free_key(key)
                } else {
                    key
                };
                flat.pairs.push((Cow::Owned(key), value));
            }
        }
    }
}

impl Flat<'_> {
    /// `key`, or with the first number behind it that makes it one that is not taken.
    fn free_key(&mut self, key: String) -> String {
        if self.taken.insert(key.clone()) {
            return key;
        }
        let suffix = self.suffixes.entry(key.clone()).or_insert(0);
        loop {
            let numbered = format!("{key}.{suffix}");
            *suffix += 1;
            if self.taken.insert(numbered.clone()) {
                return numbered;
            }
        }
    }
}
