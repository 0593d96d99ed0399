//! References to variables in files: `${NAME}`, `${env:NAME}` and `${NAME:-default}`, with `$$` for a dollar sign, as the
//! specification has them; and in Cupola's own file `$NAME` too. What a variable holds is inserted as it stands: it cannot make
//! lists or mappings, nor refer to others.
//!
//! <https://opentelemetry.io/docs/specs/otel/configuration/data-model/#environment-variable-substitution>

use std::collections::BTreeSet;

use cupola_config::{Entry, Node, Origin, Place, Problem, Problems, Value};

use super::environment::Environment;

/// Bytes that all references of a file may insert.
const INSERTED_BYTES_MAX: usize = 8 << 20;

/// Which references a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `${…}` alone.
    Braces,
    /// `$NAME` too.
    Bare,
}

/// The tree with its references resolved, and the names of the variables that it refers to.
pub(super) fn substitute(
    node: &Node,
    environment: &Environment,
    dialect: Dialect,
    problems: &mut Problems,
) -> (Node, BTreeSet<String>) {
    let mut substitution = Substitution {
        environment,
        dialect,
        problems,
        referred: BTreeSet::new(),
        unset: BTreeSet::new(),
        inserted: 0,
    };
    let node = substitution.node(node, &mut String::new());
    (node, substitution.referred)
}

struct Substitution<'s> {
    environment: &'s Environment,
    dialect: Dialect,
    problems: &'s mut Problems,
    referred: BTreeSet<String>,
    /// Told already.
    unset: BTreeSet<String>,
    inserted: usize,
}

impl Substitution<'_> {
    fn node(&mut self, node: &Node, key: &mut String) -> Node {
        let length = key.len();
        match node.value() {
            Value::Mapping(entries) => {
                let entries: Vec<Entry> = entries
                    .iter()
                    .map(|entry| {
                        if !key.is_empty() {
                            key.push('.');
                        }
                        key.push_str(&entry.key);
                        let value = self.node(&entry.value, key);
                        key.truncate(length);
                        Entry {
                            value,
                            ..entry.clone()
                        }
                    })
                    .collect();
                Node::mapping(node.place().clone(), entries)
            }
            Value::Sequence(items) => {
                let items: Vec<Node> = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| {
                        key.push_str(&format!("[{index}]"));
                        let item = self.node(item, key);
                        key.truncate(length);
                        item
                    })
                    .collect();
                Node::sequence(node.place().clone(), items)
            }
            Value::String(text) if text.contains('$') => self.text(text, node.place(), key),
            _ => node.clone(),
        }
    }

    fn text(&mut self, text: &str, place: &Place, key: &str) -> Node {
        let mut joined = String::new();
        let mut origin = Origin::Written;
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            joined.push_str(&rest[..at]);
            let (length, found) = match self.reference(&rest[at..]) {
                Reference::Escape => (2, Some("$".to_owned())),
                Reference::None => (1, Some("$".to_owned())),
                Reference::To {
                    name,
                    default,
                    length,
                } => {
                    if origin.is_written() {
                        origin = Origin::Environment(name.into());
                    }
                    (length, self.look_up(name, default, place, key))
                }
                Reference::Wrong { shown } => {
                    let problem = Problem::error(
                        place.clone(),
                        key,
                        format!("`{shown}` is no reference to a variable"),
                    );
                    self.problems
                        .push(problem.hint("write ${NAME} or ${NAME:-default}; $$ is a dollar sign"));
                    return Node::null(place.clone());
                }
            };
            joined.push_str(&found.unwrap_or_default());
            rest = &rest[at + length..];
        }
        joined.push_str(rest);
        match origin.is_written() {
            true => Node::string(place.clone(), joined),
            false => Node::scalar(place.clone(), origin, &joined),
        }
    }

    /// What `text`, which begins with a dollar sign, begins with.
    fn reference<'t>(&self, text: &'t str) -> Reference<'t> {
        let after = &text[1..];
        if after.starts_with('$') {
            return Reference::Escape;
        }
        if let Some(inside) = after.strip_prefix('{') {
            let Some(end) = inside.find('}') else {
                return Reference::None;
            };
            let content = &inside[..end];
            let (name, default) = match content.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (content, None),
            };
            let name = name.strip_prefix("env:").unwrap_or(name);
            let is_whole = name_length(name) == name.len() && !name.is_empty();
            return match is_whole {
                true => Reference::To {
                    name,
                    default,
                    length: end + 3,
                },
                false => Reference::Wrong {
                    shown: &text[..end + 3],
                },
            };
        }
        match (self.dialect, name_length(after)) {
            (Dialect::Braces, _) | (_, 0) => Reference::None,
            (Dialect::Bare, length) => Reference::To {
                name: &after[..length],
                default: None,
                length: length + 1,
            },
        }
    }

    fn look_up(&mut self, name: &str, default: Option<&str>, place: &Place, key: &str) -> Option<String> {
        self.referred.insert(name.to_owned());
        let found = self.environment.get(name).or(default).map(str::to_owned);
        let Some(found) = found else {
            if self.unset.insert(name.to_owned()) {
                let message = format!("the variable `{name}` is not set; nothing is put in its place");
                let hint = format!("set it, or give a default: ${{{name}:-default}}");
                self.problems
                    .push(Problem::warning(place.clone(), key, message).hint(hint));
            }
            return None;
        };
        self.inserted = self.inserted.saturating_add(found.len());
        if self.inserted > INSERTED_BYTES_MAX {
            let message = format!("variables insert more than {INSERTED_BYTES_MAX} bytes");
            self.problems.push(Problem::error(place.clone(), key, message));
            return None;
        }
        Some(found)
    }
}

enum Reference<'t> {
    /// `$$`.
    Escape,
    /// A dollar sign that stands for itself.
    None,
    To {
        name: &'t str,
        default: Option<&'t str>,
        length: usize,
    },
    Wrong {
        shown: &'t str,
    },
}

/// Bytes of the name that a text begins with.
fn name_length(text: &str) -> usize {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(first) if is_letter(*first) => bytes
            .iter()
            .position(|byte| !is_letter(*byte) && !byte.is_ascii_digit())
            .unwrap_or(bytes.len()),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment::of([
            ("STRING_VALUE", "value"),
            ("BOOL_VALUE", "true"),
            ("INT_VALUE", "1"),
            ("FLOAT_VALUE", "1.1"),
            ("HEX_VALUE", "0xdeadbeef"),
            ("MAP_VALUE", "value\nkey:value"),
            ("EMPTY", ""),
            ("REPLACE_ME", "${DO_NOT_REPLACE_ME}"),
            ("WITH_ESCAPE", "value$$"),
        ])
    }

    fn substituted(text: &str, dialect: Dialect) -> (Node, Problems) {
        let mut problems = Problems::new();
        let node = Node::parse("f.yaml", &format!("key: {text}\n")).unwrap();
        let (node, _) = substitute(&node, &environment(), dialect, &mut problems);
        (node.get("key").unwrap().clone(), problems)
    }

    /// The table of the specification.
    #[test]
    fn references_are_resolved_as_the_specification_has_them() {
        for (text, expected) in [
            ("${STRING_VALUE}", "value"),
            ("${env:STRING_VALUE}", "value"),
            ("\"${STRING_VALUE}\"", "value"),
            ("${MAP_VALUE}", "value\nkey:value"),
            ("foo ${STRING_VALUE} ${FLOAT_VALUE}", "foo value 1.1"),
            ("${UNDEFINED_KEY:-fallback}", "fallback"),
            ("${EMPTY:-fallback}", "fallback"),
            ("${REPLACE_ME}", "${DO_NOT_REPLACE_ME}"),
            ("${UNDEFINED_KEY:-${STRING_VALUE}}", "${STRING_VALUE}"),
            ("$${STRING_VALUE}", "${STRING_VALUE}"),
            ("$$${STRING_VALUE}", "$value"),
            ("$$$${STRING_VALUE}", "$${STRING_VALUE}"),
            ("$${STRING_VALUE:-fallback}", "${STRING_VALUE:-fallback}"),
            ("${WITH_ESCAPE}", "value$$"),
            ("a $$ b", "a $ b"),
            ("a $ b", "a $ b"),
            ("$STRING_VALUE", "$STRING_VALUE"),
        ] {
            let (node, problems) = substituted(text, Dialect::Braces);
            assert_eq!(node.as_str(), Some(expected), "{text}");
            assert_eq!(problems.errors(), 0, "{text}");
        }
        assert_eq!(
            substituted("${BOOL_VALUE}", Dialect::Braces).0.as_bool(),
            Some(true)
        );
        assert_eq!(substituted("${INT_VALUE}", Dialect::Braces).0.as_int(), Some(1));
        assert_eq!(
            substituted("${HEX_VALUE}", Dialect::Braces).0.as_int(),
            Some(3_735_928_559)
        );
        let (node, problems) = substituted("${UNDEFINED_KEY}", Dialect::Braces);
        assert!(node.is_null());
        assert_eq!(problems.len(), 1);
        for wrong in ["${STRING_VALUE:?error}", "${1API_KEY}", "${API_$KEY}"] {
            assert_eq!(substituted(wrong, Dialect::Braces).1.errors(), 1, "{wrong}");
        }
    }

    #[test]
    fn names_without_braces_are_of_our_own_file() {
        for (text, expected) in [
            ("$STRING_VALUE", "value"),
            ("a-$STRING_VALUE-b", "a-value-b"),
            ("$$STRING_VALUE", "$STRING_VALUE"),
            ("5$", "5$"),
            ("$%", "$%"),
        ] {
            assert_eq!(
                substituted(text, Dialect::Bare).0.as_str(),
                Some(expected),
                "{text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn texts_without_a_dollar_sign_stay_and_nothing_panics(text in "[ -~é]{0,40}") {
            let node = Node::string(Place::whole("f"), text.as_str());
            let mut problems = Problems::new();
            let (found, _) = substitute(&node, &environment(), Dialect::Bare, &mut problems);
            if !text.contains('$') {
                proptest::prop_assert_eq!(found.as_str(), Some(text.as_str()));
            }
        }
    }
}
