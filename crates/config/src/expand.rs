//! References in a configuration, as the Collector resolves them: `${env:NAME}`, `${env:NAME:-default}`, `${NAME}` and
//! `${file:path}`; `$$` is a dollar sign.
//!
//! A value that is one reference and nothing else takes the type that its text has as YAML, and keeps the text itself for
//! settings of type text; within a longer text the text is inserted. What is inserted may hold references again. A
//! default is only looked at where it is needed. Of a file the last line break is left off, which a secret in a
//! file rarely means to have. Refuses to read anything itself: [`Sources`] does.

mod lookup;
mod part;

use std::collections::BTreeMap;
use std::sync::Arc;

use lookup::Found;
use part::{Part, split, variable_name};

use crate::parse::{DEPTH_MAX, NODES_MAX};
use crate::problem::{Place, Problem, Problems};
use crate::tree::{Entry, Node, Origin, Value};

/// References that one configuration may hold, those within what is inserted counted each time.
pub const REFERENCES_MAX: usize = 10_000;
/// References within references, and within what another one inserts.
const NESTING_MAX: usize = 32;
/// Places of a variable that is not set which a warning lists, beside the first.
const PLACES_TOLD_MAX: usize = 8;

/// Where references lead.
pub trait Sources {
    /// The value of an environment variable; `None` if it is not set.
    fn env(&self, name: &str) -> Option<String>;

    /// The content of a file.
    fn file(&self, path: &str) -> std::io::Result<String>;
}

/// `node` with every reference in its values resolved; keys stay as they are. A reference that cannot be resolved is
/// reported and becomes null.
pub fn expand(node: &Node, sources: &dyn Sources, problems: &mut Problems) -> Node {
    let mut expansion = Expansion {
        sources,
        problems,
        references: 0,
        bytes: 0,
        nodes: node.size(),
        exhausted: false,
        within: Vec::new(),
        key: String::new(),
        unset: BTreeMap::new(),
    };
    let expanded = expansion.node(node);
    let unset = std::mem::take(&mut expansion.unset);
    problems.extend(unset.iter().filter_map(|(name, used)| told_unset(name, used)));
    expanded
}

/// One warning for a variable, however often it is used.
fn told_unset(name: &str, used: &[(String, Place)]) -> Option<Problem> {
    let ((key, place), others) = used.split_first()?;
    let mut message = format!("the environment variable `{name}` is not set; an empty text is used");
    if !others.is_empty() {
        let listed = others.iter().take(PLACES_TOLD_MAX);
        let listed: Vec<String> = listed.map(|(_, place)| place.to_string()).collect();
        let more = if others.len() > PLACES_TOLD_MAX {
            ", …"
        } else {
            ""
        };
        message.push_str(&format!(", also at {}{more}", listed.join(", ")));
    }
    let hint = format!("set it, or give a default: ${{env:{name}:-default}}");
    Some(Problem::warning(place.clone(), key.as_str(), message).hint(hint))
}

struct Expansion<'a> {
    sources: &'a dyn Sources,
    problems: &'a mut Problems,
    references: usize,
    bytes: usize,
    nodes: usize,
    exhausted: bool,
    /// The references being resolved, the outermost first: what one of them inserts may not lead back to it.
    within: Vec<String>,
    key: String,
    /// Variables that are not set, with the keys and places that use them.
    unset: BTreeMap<String, Vec<(String, Place)>>,
}

impl Expansion<'_> {
    fn node(&mut self, node: &Node) -> Node {
        match node.value() {
            Value::Mapping(entries) => {
                let expanded: Vec<Entry> = entries.iter().map(|entry| self.entry(entry)).collect();
                self.rebuilt(node, Value::Mapping(expanded))
            }
            Value::Sequence(items) => {
                let expanded = items.iter().enumerate().map(|(index, item)| {
                    let length = self.key.len();
                    self.key.push_str(&format!("[{index}]"));
                    let item = self.node(item);
                    self.key.truncate(length);
                    item
                });
                let expanded = expanded.collect();
                self.rebuilt(node, Value::Sequence(expanded))
            }
            Value::String(text) if text.contains('$') => self.string(node, text),
            _ => node.clone(),
        }
    }

    fn entry(&mut self, entry: &Entry) -> Entry {
        let length = self.key.len();
        if length > 0 {
            self.key.push('.');
        }
        self.key.push_str(&entry.key);
        let value = self.node(&entry.value);
        self.key.truncate(length);
        Entry {
            value,
            ..entry.clone()
        }
    }

    /// `node` with `value`, keeping the text that a reference was replaced by.
    fn rebuilt(&mut self, node: &Node, value: Value) -> Node {
        let text = node.text().and_then(|text| match text.contains('$') {
            false => Some(Arc::from(text)),
            true => self
                .quietly(|this| this.text_of(text, node.place()))
                .map(|(text, _)| text.into()),
        });
        Node::with_text(node.place().clone(), node.origin().clone(), value, text)
    }

    /// Whatever `work` finds wrong is reported where the same text is looked at as a tree.
    fn quietly<T>(&mut self, work: impl FnOnce(&mut Expansion<'_>) -> Option<T>) -> Option<T> {
        let mut unheard = Problems::new();
        let mut quiet = Expansion {
            sources: self.sources,
            problems: &mut unheard,
            references: self.references,
            bytes: self.bytes,
            nodes: self.nodes,
            exhausted: self.exhausted,
            within: self.within.clone(),
            key: String::new(),
            unset: BTreeMap::new(),
        };
        let done = work(&mut quiet);
        // A bound that was met counts, but is reported by who meets it next.
        (self.references, self.bytes) = (quiet.references, quiet.bytes);
        done.filter(|_| unheard.errors() == 0)
    }

    fn string(&mut self, node: &Node, text: &str) -> Node {
        let parts = self.parts(text, node.place());
        if let [Part::Reference(content)] = parts.as_slice() {
            return match self.whole(content, node) {
                Some(found) => found,
                None => Node::with_text(node.place().clone(), node.origin().clone(), Value::Null, None),
            };
        }
        let joined = self.join(&parts, node.place());
        let (text, origin) = joined.unwrap_or_default();
        let origin = if node.origin().is_written() {
            origin
        } else {
            node.origin().clone()
        };
        let text: Arc<str> = text.into();
        Node::with_text(node.place().clone(), origin, Value::String(text), None)
    }

    /// A value that is one reference: what it leads to is read as YAML.
    fn whole(&mut self, content: &[Part], node: &Node) -> Option<Node> {
        let place = node.place();
        if let Some(default) = self.only_default(content) {
            return self.whole(&default, node);
        }
        let (name, found) = self.resolve(content, place)?;
        let origin = if node.origin().is_written() {
            found.origin.clone()
        } else {
            node.origin().clone()
        };
        let read = self.read_as_yaml(&found, &origin, place)?;
        let expanded = match found.settled {
            true => read,
            false => self.within_of(name, |this| this.node(&read)),
        };
        self.nodes = self.nodes.saturating_add(expanded.size());
        if expanded.depth() > DEPTH_MAX || self.nodes > NODES_MAX {
            self.exhaust(
                place,
                "what references insert makes the configuration too large or too deep",
            );
            return None;
        }
        Some(expanded)
    }

    /// The content of the reference that the default consists of, if that default is what counts.
    fn only_default(&self, content: &[Part]) -> Option<Vec<Part>> {
        let (Part::Text(head), [Part::Reference(default)]) = (content.first()?, content.get(1..)?) else {
            return None;
        };
        let name = variable_name(head.strip_suffix(":-")?)?;
        self.sources.env(name).is_none().then(|| default.clone())
    }

    fn read_as_yaml(&mut self, found: &Found, origin: &Origin, place: &Place) -> Option<Node> {
        let text: Arc<str> = found.text.as_str().into();
        let string = || Node::with_text(place.clone(), origin.clone(), Value::String(text.clone()), None);
        if found.unset {
            return Some(Node::with_text(
                place.clone(),
                origin.clone(),
                Value::Null,
                Some("".into()),
            ));
        }
        let file = match &found.origin {
            Origin::File(path) => Some(path.clone()),
            _ => None,
        };
        if text.is_empty() && matches!(found.origin, Origin::Written) {
            return Some(string());
        }
        let node = match Node::parse(file.as_deref().unwrap_or(&place.file), &text) {
            Ok(node) => node,
            Err(problem)
                if file
                    .as_deref()
                    .is_some_and(|path| path.ends_with(".yaml") || path.ends_with(".yml")) =>
            {
                self.problems.push(problem);
                return None;
            }
            // What is no YAML is a text, as it stands.
            Err(_) => return Some(string()),
        };
        Some(match node.value() {
            Value::String(_) => string(),
            Value::Mapping(_) | Value::Sequence(_) => {
                let moved = node.moved(origin, file.is_none().then_some(place));
                Node::with_text(
                    moved.place().clone(),
                    origin.clone(),
                    moved.value().clone(),
                    Some(text),
                )
            }
            scalar => Node::with_text(place.clone(), origin.clone(), scalar.clone(), Some(text)),
        })
    }

    /// A text with its references inserted, and where the first of them came from.
    fn text_of(&mut self, text: &str, place: &Place) -> Option<(String, Origin)> {
        let parts = self.parts(text, place);
        self.join(&parts, place)
    }

    fn join(&mut self, parts: &[Part], place: &Place) -> Option<(String, Origin)> {
        let mut joined = String::new();
        let mut origin = Origin::Written;
        for part in parts {
            match part {
                Part::Text(text) => joined.push_str(text),
                Part::Reference(content) => {
                    let (name, found) = self.resolve(content, place)?;
                    let inserted = match found.text.contains('$') && !found.settled {
                        false => found.text,
                        true => self.within_of(name, |this| this.text_of(&found.text, place))?.0,
                    };
                    joined.push_str(&inserted);
                    if origin.is_written() {
                        origin = found.origin;
                    }
                }
            }
        }
        Some((joined, origin))
    }

    fn within_of<T>(&mut self, name: String, work: impl FnOnce(&mut Self) -> T) -> T {
        self.within.push(name);
        let done = work(self);
        self.within.pop();
        done
    }

    /// Bounds are reported once.
    fn exhaust(&mut self, place: &Place, message: &str) {
        if !self.exhausted {
            self.exhausted = true;
            self.report(Problem::error(place.clone(), &*self.key, message));
        }
    }

    fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    fn parts(&mut self, text: &str, place: &Place) -> Vec<Part> {
        let (parts, unclosed) = split(text);
        if unclosed {
            let problem = Problem::warning(
                place.clone(),
                &*self.key,
                "`${` is never closed and is taken as it stands",
            );
            self.report(problem.hint("close it with }, or write $${ for a plain ${"));
        }
        parts
    }
}
