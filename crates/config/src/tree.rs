//! A configuration as a tree: scalars, sequences and mappings, each with the place where it was written and where its
//! value came from. Cheap to clone and to change in one spot, since what stays the same is shared. Refuses to know
//! what a key means.

mod edit;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::problem::{Place, Problem};

/// A node of a configuration. Two nodes are equal if they read the same; places and origins do not count, nor does the
/// order of keys.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    place: Place,
    origin: Origin,
    value: Value,
    /// The text it was read from: of each scalar, and of what a reference was replaced by.
    text: Option<Arc<str>>,
    /// Nodes of this tree, itself included.
    size: usize,
    /// Levels of this tree, itself included.
    depth: usize,
}

#[derive(Clone)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    String(Arc<str>),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A key of a mapping with its value.
#[derive(Clone)]
pub struct Entry {
    pub key: Arc<str>,
    /// Of the key.
    pub place: Place,
    pub value: Node,
}

/// Where a value came from. What is not written in the configuration itself is never shown in a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    #[default]
    Written,
    /// The environment variable of this name.
    Environment(Arc<str>),
    /// The file of this path, by a `${file:…}` reference.
    File(Arc<str>),
}

impl Origin {
    pub fn is_written(&self) -> bool {
        *self == Origin::Written
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Written => f.write_str("the configuration"),
            Origin::Environment(name) => write!(f, "the environment variable `{name}`"),
            Origin::File(path) => write!(f, "the file `{path}`"),
        }
    }
}

impl Node {
    /// Reads one YAML document; an empty text is null.
    pub fn parse(file: &str, text: &str) -> Result<Node, Problem> {
        crate::parse::parse(file, text)
    }

    /// A node of this value. Scalars get the text that they would be written as.
    pub fn new(place: Place, value: Value) -> Node {
        let text = match &value {
            Value::Bool(flag) => Some(flag.to_string().into()),
            Value::Int(number) => Some(number.to_string().into()),
            Value::Float(number) => Some(crate::scalar::float_text(*number).into()),
            Value::Null | Value::String(_) | Value::Sequence(_) | Value::Mapping(_) => None,
        };
        Node::with_text(place, Origin::Written, value, text)
    }

    pub(crate) fn with_text(place: Place, origin: Origin, value: Value, text: Option<Arc<str>>) -> Node {
        let (mut size, mut depth) = (1_usize, 1);
        let mut add = |child: &Node| {
            size = size.saturating_add(child.size());
            depth = depth.max(child.depth() + 1);
        };
        match &value {
            Value::Sequence(items) => items.iter().for_each(&mut add),
            Value::Mapping(entries) => entries.iter().for_each(|entry| add(&entry.value)),
            _ => {}
        }
        Node(Arc::new(Inner {
            place,
            origin,
            value,
            text,
            size,
            depth,
        }))
    }

    /// What a text from elsewhere is as a single value: a boolean, a number, or the text. Never a list or a mapping, whatever it
    /// looks like; settings of type text get it as it stands.
    pub fn scalar(place: Place, origin: Origin, text: &str) -> Node {
        Node::with_text(place, origin, crate::scalar::resolve(text), Some(text.into()))
    }

    pub fn null(place: Place) -> Node {
        Node::new(place, Value::Null)
    }

    pub fn string(place: Place, text: impl Into<Arc<str>>) -> Node {
        Node::new(place, Value::String(text.into()))
    }

    pub fn sequence(place: Place, items: impl IntoIterator<Item = Node>) -> Node {
        Node::new(place, Value::Sequence(items.into_iter().collect()))
    }

    /// Keys must differ; of two entries with one key the first is found.
    pub fn mapping(place: Place, entries: impl IntoIterator<Item = Entry>) -> Node {
        Node::new(place, Value::Mapping(entries.into_iter().collect()))
    }

    pub fn place(&self) -> &Place {
        &self.0.place
    }

    pub fn origin(&self) -> &Origin {
        &self.0.origin
    }

    pub fn value(&self) -> &Value {
        &self.0.value
    }

    /// Nodes of this tree, itself included; those shared count each time.
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// Levels of this tree, itself included.
    pub fn depth(&self) -> usize {
        self.0.depth
    }

    /// The text that a setting of type text gets: a string itself, otherwise the text the value was read from.
    pub fn text(&self) -> Option<&str> {
        match &self.0.value {
            Value::String(text) => Some(text),
            _ => self.0.text.as_deref(),
        }
    }

    /// The text of a string; `None` for every other kind.
    pub fn as_str(&self) -> Option<&str> {
        match &self.0.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self.0.value {
            Value::Bool(flag) => Some(flag),
            _ => None,
        }
    }

    pub fn as_int(&self) -> Option<i128> {
        match self.0.value {
            Value::Int(number) => Some(number),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.0.value, Value::Null)
    }

    pub fn is_mapping(&self) -> bool {
        matches!(self.0.value, Value::Mapping(_))
    }

    pub fn is_sequence(&self) -> bool {
        matches!(self.0.value, Value::Sequence(_))
    }

    /// The entries of a mapping in order; none for every other kind.
    pub fn entries(&self) -> &[Entry] {
        match &self.0.value {
            Value::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a sequence; none for every other kind.
    pub fn items(&self) -> &[Node] {
        match &self.0.value {
            Value::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The entry of a mapping with this key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| &*entry.key == key)
    }

    /// The value of a mapping's key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The node at a path of keys; an item of a sequence is at its number from 0.
    pub fn at(&self, path: &[impl AsRef<str>]) -> Option<&Node> {
        path.iter().try_fold(self, |node, step| node.child(step.as_ref()))
    }

    fn child(&self, step: &str) -> Option<&Node> {
        match &self.0.value {
            Value::Sequence(items) => items.get(step.parse::<usize>().ok()?),
            _ => self.get(step),
        }
    }

    /// The kind in a word or two, for messages.
    pub fn kind(&self) -> &'static str {
        match self.0.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::String(_) => "a text",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        if Arc::ptr_eq(&self.0, &other.0) {
            return true;
        }
        match (&self.0.value, &other.0.value) {
            (Value::Null, Value::Null) => true,
            (Value::String(left), Value::String(right)) => left == right,
            (Value::Bool(_), Value::Bool(_))
            | (Value::Int(_), Value::Int(_))
            | (Value::Float(_), Value::Float(_)) => self.0.text == other.0.text,
            (Value::Sequence(left), Value::Sequence(right)) => left == right,
            (Value::Mapping(left), Value::Mapping(right)) => same_entries(left, right),
            _ => false,
        }
    }
}

fn same_entries(left: &[Entry], right: &[Entry]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let by_key: HashMap<&str, &Node> = right.iter().map(|entry| (&*entry.key, &entry.value)).collect();
    left.iter().all(|entry| {
        by_key
            .get(&*entry.key)
            .is_some_and(|value| entry.value == **value)
    })
}

/// Shows keys, and values only where they are written in the configuration and are no secrets by their name.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.value {
            Value::Sequence(items) => f.debug_list().entries(items).finish(),
            Value::Mapping(entries) => f
                .debug_map()
                .entries(entries.iter().map(|entry| (&*entry.key, Shown(entry))))
                .finish(),
            _ if !self.0.origin.is_written() => f.write_str(crate::MASK),
            Value::Null => f.write_str("null"),
            Value::String(text) => write!(f, "{text:?}"),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => f.write_str(self.text().unwrap_or_default()),
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", self.key, Shown(self))
    }
}

/// The value of an entry, for `Debug`.
struct Shown<'e>(&'e Entry);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match crate::mask::is_secret_name(&self.0.key) {
            true => f.write_str(crate::MASK),
            false => self.0.value.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Node {
        Node::parse("f.yaml", text).unwrap()
    }

    #[test]
    fn nodes_are_found_changed_and_removed_by_path() {
        let tree = parse("a: {b: [1, {c: x}]}\nd: true\n");
        assert_eq!(tree.at(&["a", "b", "1", "c"]).and_then(Node::as_str), Some("x"));
        assert_eq!(tree.at(&["a", "b", "2"]), None);
        assert_eq!(
            tree.without(&["a", "b", "0"]),
            parse("a: {b: [{c: x}]}\nd: true\n")
        );
        assert_eq!(tree.without(&["a", "no", "such"]), tree);
        let place = Place::whole("flag");
        let changed = tree.with(&["a", "b", "1", "c"], Node::string(place.clone(), "y"));
        assert_eq!(changed, parse("{d: true, a: {b: [1, {c: y}]}}"));
        assert_eq!(
            tree.with(&["e", "f"], Node::null(place)),
            parse("{a: {b: [1, {c: x}]}, d: true, e: {f: }}")
        );
        assert_eq!(
            changed.at(&["a", "b"]).unwrap().place(),
            &Place::new("f.yaml", 1, 8)
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let tree = parse("{a: {password: hunter2, list: [{api_key: [hunter2]}]}}");
        assert!(!format!("{tree:?} {:?}", tree.entries()).contains("hunter2"));
    }

    #[test]
    fn a_text_from_elsewhere_is_a_single_value() {
        let of = |text: &str| Node::scalar(Place::whole("f"), Origin::Environment("A".into()), text);
        assert_eq!(of("12").as_int(), Some(12));
        assert_eq!(of("true").as_bool(), Some(true));
        assert!(of("").is_null());
        for text in ["{a: 1}", "- a", "a: 1\nb: 2", "'q'"] {
            assert_eq!(of(text).as_str(), Some(text));
        }
    }

    #[test]
    fn the_text_of_a_scalar_is_kept() {
        let tree = parse("a: 0123\nb: 1e3\nc: 'x'\nd: True\n");
        let text = |key: &str| tree.get(key).and_then(Node::text);
        assert_eq!(
            [text("a"), text("b"), text("c"), text("d")],
            [Some("0123"), Some("1e3"), Some("x"), Some("True")]
        );
        assert_eq!(tree.get("a").unwrap().as_int(), Some(83));
    }
}
