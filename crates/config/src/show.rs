//! A tree as YAML text that reads back as the same tree, and with its secrets masked for people to look at. Masks too
//! much rather than too little: by type, by the name of the key, by where a value came from, and user information in
//! URLs. Refuses to keep comments and the style of the file.

use crate::mask;
use crate::scalar;
use crate::secret::MASK;
use crate::tree::{Entry, Node, Origin, Value};

/// Secrets that are looked for within other texts too.
const REPEATED_MAX: usize = 1_000;
/// Bytes below which a secret is too short to be looked for within other texts.
const REPEATED_BYTES_MIN: usize = 6;
/// Characters of a key that may stand before its `:` without a `?`.
const PLAIN_KEY_CHARS_MAX: usize = 1_000;

/// A path of keys to a secret; `*` is any key and any item.
pub type SecretPath = Vec<String>;

/// Headers that show nothing worth hiding.
const HARMLESS_HEADERS: &[&str] = &[
    "accept",
    "accept-encoding",
    "content-encoding",
    "content-type",
    "user-agent",
    "x-scope-orgid",
];

type Predicate<'a> = Box<dyn Fn(&[&str], &Node) -> bool + 'a>;

/// What is masked besides what is always masked.
#[derive(Default)]
pub struct Masking<'a> {
    paths: Vec<SecretPath>,
    predicate: Option<Predicate<'a>>,
}

impl<'a> Masking<'a> {
    pub fn new() -> Self {
        Self::default()
    }

    /// Masks what is at `paths` below `prefix`, such as those of [`secret_paths`](crate::secret_paths) below
    /// `exporters` and `otlp/2`.
    #[must_use]
    pub fn below(mut self, prefix: &[&str], paths: impl IntoIterator<Item = SecretPath>) -> Self {
        let prefix: SecretPath = prefix.iter().map(|&step| step.to_owned()).collect();
        self.paths
            .extend(paths.into_iter().map(|path| [prefix.clone(), path].concat()));
        self
    }

    /// Masks what `predicate` says of a path and the node there.
    #[must_use]
    pub fn and(mut self, predicate: impl Fn(&[&str], &Node) -> bool + 'a) -> Self {
        self.predicate = Some(Box::new(predicate));
        self
    }

    pub(crate) fn hides(&self, path: &[&str], node: &Node) -> bool {
        let at = |secret: &SecretPath| {
            secret.len() == path.len()
                && secret
                    .iter()
                    .zip(path)
                    .all(|(step, key)| step == "*" || step == key)
        };
        self.paths.iter().any(at)
            || is_hidden_by_name(path, node)
            || is_hidden_by_origin(node)
            || self
                .predicate
                .as_ref()
                .is_some_and(|predicate| predicate(path, node))
    }
}

fn is_hidden_by_name(path: &[&str], node: &Node) -> bool {
    let Some(key) = path.last() else { return false };
    if mask::is_of_headers(path) {
        let single = !node.is_mapping() && !node.is_sequence();
        return single && !HARMLESS_HEADERS.contains(&key.to_lowercase().as_str());
    }
    // A flag or a section that is named after a secret is none.
    let single = matches!(
        node.value(),
        Value::String(_) | Value::Int(_) | Value::Float(_) | Value::Sequence(_)
    );
    single && mask::is_secret_name(key)
}

/// A single value read from a file is a secret more often than not; of variables the name tells.
fn is_hidden_by_origin(node: &Node) -> bool {
    match node.origin() {
        Origin::Written => false,
        Origin::Environment(name) => mask::is_secret_name(name) && !node.is_null(),
        Origin::File(path) => node.place().file != *path && !node.is_null(),
    }
}

/// `node` as YAML, secrets included: for a file, not for people.
pub fn plain(node: &Node) -> String {
    let mut text = String::new();
    document(node, &mut text);
    text
}

/// `node` as YAML with secrets masked.
pub fn show(node: &Node, masking: &Masking<'_>) -> String {
    plain(&masked(node, masking))
}

/// `node` with [`MASK`] in the place of each secret.
pub fn masked(node: &Node, masking: &Masking<'_>) -> Node {
    let mut found = Vec::new();
    let hidden = hide(node, masking, &mut Vec::new(), &mut found);
    found.sort_by_key(|secret: &String| std::cmp::Reverse(secret.len()));
    found.dedup();
    match found.is_empty() {
        true => hidden,
        false => hide_repeated(&hidden, &found),
    }
}

fn hide<'n>(node: &'n Node, masking: &Masking<'_>, path: &mut Vec<&'n str>, found: &mut Vec<String>) -> Node {
    if masking.hides(path, node) {
        collect(node, found);
        return Node::string(node.place().clone(), MASK);
    }
    let value = match node.value() {
        Value::Mapping(entries) => Value::Mapping(
            entries
                .iter()
                .map(|entry| hide_entry(entry, masking, path, found))
                .collect(),
        ),
        Value::Sequence(items) => {
            // The items of a list have the name of the list's key.
            path.push("*");
            let items = items
                .iter()
                .map(|item| hide(item, masking, path, found))
                .collect();
            path.pop();
            Value::Sequence(items)
        }
        Value::String(text) => match mask::urls(text) {
            Some(shown) => Value::String(shown.into()),
            None => return node.clone(),
        },
        _ => return node.clone(),
    };
    node.replaced(value)
}

fn hide_entry<'n>(
    entry: &'n Entry,
    masking: &Masking<'_>,
    path: &mut Vec<&'n str>,
    found: &mut Vec<String>,
) -> Entry {
    path.push(&entry.key);
    let value = hide(&entry.value, masking, path, found);
    path.pop();
    Entry {
        value,
        ..entry.clone()
    }
}

fn collect(node: &Node, found: &mut Vec<String>) {
    node.items().iter().for_each(|item| collect(item, found));
    node.entries()
        .iter()
        .for_each(|entry| collect(&entry.value, found));
    let text = node
        .text()
        .filter(|text| text.len() >= REPEATED_BYTES_MIN && *text != MASK);
    if let Some(text) = text.filter(|_| found.len() < REPEATED_MAX) {
        found.push(text.to_owned());
    }
}

/// A secret that is known as one is masked wherever else it stands.
fn hide_repeated(node: &Node, secrets: &[String]) -> Node {
    match node.value() {
        Value::Mapping(entries) => {
            let entries = entries.iter().map(|entry| Entry {
                value: hide_repeated(&entry.value, secrets),
                ..entry.clone()
            });
            node.replaced(Value::Mapping(entries.collect()))
        }
        Value::Sequence(items) => node.replaced(Value::Sequence(
            items.iter().map(|item| hide_repeated(item, secrets)).collect(),
        )),
        _ => {
            let Some(text) = node.text() else {
                return node.clone();
            };
            let shown = secrets.iter().filter(|secret| text.contains(secret.as_str()));
            let shown = shown.fold(text.to_owned(), |shown, secret| {
                shown.replace(secret.as_str(), MASK)
            });
            match shown == text {
                true => node.clone(),
                false => Node::string(node.place().clone(), shown),
            }
        }
    }
}

fn document(node: &Node, text: &mut String) {
    match node.value() {
        Value::Mapping(entries) if !entries.is_empty() => mapping(entries, 0, text),
        Value::Sequence(items) if !items.is_empty() => sequence(items, 0, text),
        _ => {
            text.push_str(&single(node));
            text.push('\n');
        }
    }
}

/// Begins where the first key stands, and ends each entry with a line break.
fn mapping(entries: &[Entry], indent: usize, text: &mut String) {
    for (position, entry) in entries.iter().enumerate() {
        if position > 0 {
            text.push_str(&" ".repeat(indent));
        }
        let key = string(&entry.key);
        match key.chars().count() > PLAIN_KEY_CHARS_MAX {
            true => text.push_str(&format!("? {key}\n{}:", " ".repeat(indent))),
            false => text.push_str(&format!("{key}:")),
        }
        match entry.value.value() {
            Value::Null => text.push('\n'),
            Value::Mapping(below) if !below.is_empty() => {
                text.push_str(&format!("\n{}", " ".repeat(indent + 2)));
                mapping(below, indent + 2, text);
            }
            Value::Sequence(below) if !below.is_empty() => {
                text.push_str(&format!("\n{}", " ".repeat(indent + 2)));
                sequence(below, indent + 2, text);
            }
            _ => text.push_str(&format!(" {}\n", single(&entry.value))),
        }
    }
}

fn sequence(items: &[Node], indent: usize, text: &mut String) {
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            text.push_str(&" ".repeat(indent));
        }
        text.push_str("- ");
        match item.value() {
            Value::Mapping(below) if !below.is_empty() => mapping(below, indent + 2, text),
            Value::Sequence(below) if !below.is_empty() => sequence(below, indent + 2, text),
            _ => text.push_str(&format!("{}\n", single(item))),
        }
    }
}

fn single(node: &Node) -> String {
    let own = Node::new(node.place().clone(), node.value().clone());
    match node.value() {
        Value::Null => "null".to_owned(),
        Value::Mapping(_) => "{}".to_owned(),
        Value::Sequence(_) => "[]".to_owned(),
        Value::String(text) => string(text),
        // As it was written, if that alone is the value; a comment or a tag may stand with it.
        _ => match node.text() {
            Some(text) if same_kind(&scalar::resolve(text), node.value()) => text.to_owned(),
            _ => own.text().unwrap_or_default().to_owned(),
        },
    }
}

fn same_kind(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(left), Value::Int(right)) => left == right,
        (Value::Float(left), Value::Float(right)) => left.to_bits() == right.to_bits(),
        _ => false,
    }
}

/// A text with as few marks around it as it needs.
fn string(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    if text
        .chars()
        .all(|character| is_printable(character) && character != '\t')
    {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            _ if is_printable(character) => quoted.push(character),
            _ if (character as u32) < 0x100 => quoted.push_str(&format!("\\x{:02x}", character as u32)),
            _ if (character as u32) < 0x1_0000 => quoted.push_str(&format!("\\u{:04x}", character as u32)),
            _ => quoted.push_str(&format!("\\U{:08x}", character as u32)),
        }
    }
    quoted.push('"');
    quoted
}

/// Whether YAML takes the character as it stands, on one line, whoever reads it.
fn is_printable(character: char) -> bool {
    matches!(character, ' '..='~' | '\u{a1}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{1_0000}'..)
        && !matches!(character, '\u{2028}' | '\u{2029}')
}

fn is_plain(text: &str) -> bool {
    let word = |character: char| character.is_ascii_alphanumeric() || "_-./:@%+".contains(character);
    let begins =
        text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '/' || first == '_');
    let digits = text.starts_with(|first: char| first.is_ascii_digit());
    // Older readers take these for booleans, dates and numbers of base 60.
    let other = matches!(
        text.to_ascii_lowercase().as_str(),
        "y" | "n" | "yes" | "no" | "on" | "off"
    ) || (digits
        && text
            .chars()
            .all(|character| character.is_ascii_digit() || "-:.TZ_+".contains(character))
        && !text.contains('.'));
    begins
        && text.chars().all(word)
        && !text.ends_with(':')
        && !other
        && matches!(scalar::resolve(text), Value::String(_))
}
