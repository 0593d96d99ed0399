//! From the text of one YAML file to a tree, within bounds. Aliases and merge keys (`<<`) are resolved here. Refuses
//! keys set twice, several documents, tags of its own, and trees that aliases make too large.

mod indented;

use std::collections::HashMap;
use std::sync::Arc;

use indented::Indented;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::problem::{Place, Problem};
use crate::scalar;
use crate::tree::{Entry, Node, Origin, Value};

/// Bytes of one file.
pub const TEXT_BYTES_MAX: usize = 8 << 20;
/// Nodes of one tree, those reached through an alias counted each time.
pub const NODES_MAX: usize = 200_000;
/// Levels of one tree.
pub const DEPTH_MAX: usize = 64;

pub(crate) fn parse(file: &str, text: &str) -> Result<Node, Problem> {
    let file: Arc<str> = file.into();
    if text.len() > TEXT_BYTES_MAX {
        return Err(Problem::error(
            Place::whole(file),
            "",
            format!("is larger than {TEXT_BYTES_MAX} bytes; a configuration is not"),
        ));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut indented = Indented::new(text);
    let mut first = None;
    loop {
        let wrong = match build(&file, &indented) {
            Ok(node) => return Ok(node),
            Err(Wrong::Content(problem)) => return Err(first.unwrap_or(problem)),
            Err(Wrong::Text(error)) => error,
        };
        let problem = scan_problem(&indented.place(&file, *wrong.marker()), &wrong);
        if !indented.repair(&wrong) {
            // What was wrong first says more than what came of bearing with it.
            return Err(first.unwrap_or(problem));
        }
        first.get_or_insert(problem);
    }
}

enum Wrong {
    Text(ScanError),
    Content(Problem),
}

fn build(file: &Arc<str>, text: &Indented<'_>) -> Result<Node, Wrong> {
    let mut builder = Builder {
        file: file.clone(),
        text,
        open: Vec::new(),
        anchors: HashMap::new(),
        document: None,
    };
    let mut parser = Parser::new_from_str(text.as_str());
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(Wrong::Text)?;
        builder.take(event, span).map_err(Wrong::Content)?;
    }
    Ok(builder
        .document
        .unwrap_or_else(|| Node::null(Place::new(file.clone(), 1, 1))))
}

fn scan_problem(place: &Place, error: &ScanError) -> Problem {
    Problem::error(place.clone(), "", format!("is not YAML: {}", error.info()))
}

struct Builder<'t> {
    file: Arc<str>,
    text: &'t Indented<'t>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    document: Option<Node>,
}

/// A collection that has begun.
struct Open {
    anchor: usize,
    place: Place,
    /// Nodes in it so far.
    size: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        places: HashMap<Arc<str>, usize>,
        key: Option<Key>,
        merged: Vec<Node>,
    },
}

struct Key {
    text: Arc<str>,
    place: Place,
    merges: bool,
}

impl Builder<'_> {
    fn place(&self, span: Span) -> Place {
        self.text.place(&self.file, span.start)
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let place = self.place(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.document.is_some() => {
                let problem = Problem::error(place, "", "a second document begins; only one is read");
                Err(problem.hint("put it into a file of its own"))
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Problem::error(place, "", "the alias refers to what contains it"));
                };
                if self.wants_key() {
                    let text = node.text().map(Arc::from);
                    return self.key(text, place, false);
                }
                self.node(node, 0)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                if self.wants_key() {
                    let merges = plain && text == "<<" && tag.is_none();
                    return self.key(Some(text.as_ref().into()), place, merges);
                }
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let text = match block && self.text.ends_within(span.end) {
                    true => text.strip_suffix('\n').unwrap_or(&text),
                    false => &text,
                };
                let node = self.scalar(text, plain, tag.as_deref(), place)?;
                self.node(node, anchor)
            }
            Event::SequenceStart(anchor, tag) => self.begin(anchor, tag.as_deref(), "seq", place),
            Event::MappingStart(anchor, tag) => self.begin(anchor, tag.as_deref(), "map", place),
            Event::SequenceEnd | Event::MappingEnd => self.end(place),
        }
    }

    fn wants_key(&self) -> bool {
        matches!(
            self.open.last(),
            Some(Open {
                content: Content::Mapping { key: None, .. },
                ..
            })
        )
    }

    fn key(&mut self, text: Option<Arc<str>>, place: Place, merges: bool) -> Result<(), Problem> {
        let Some(text) = text else {
            return Err(Problem::error(place, "", "a key must be a plain word"));
        };
        let Some(Open {
            content: Content::Mapping { places, key, .. },
            ..
        }) = self.open.last_mut()
        else {
            return Ok(());
        };
        if !merges && let Some(line) = places.insert(text.clone(), place.line) {
            let problem = Problem::error(place, &*text, "this key is set twice");
            return Err(problem.hint(format!("it was set in line {line} before; keep one of the two")));
        }
        *key = Some(Key { text, place, merges });
        Ok(())
    }

    fn scalar(&self, text: &str, plain: bool, tag: Option<&Tag>, place: Place) -> Result<Node, Problem> {
        let value = match tag {
            None if plain => Some(scalar::resolve(text)),
            None => Some(Value::String(text.into())),
            Some(tag) if tag.is_yaml_core_schema() => tagged(text, &tag.suffix),
            Some(tag) if tag.handle == "!" && tag.suffix.is_empty() => Some(Value::String(text.into())),
            Some(_) => None,
        };
        match (value, tag) {
            (Some(value), _) => Ok(Node::with_text(place, Origin::Written, value, Some(text.into()))),
            (None, tag) => Err(refused_tag(place, tag)),
        }
    }

    fn begin(&mut self, anchor: usize, tag: Option<&Tag>, kind: &str, place: Place) -> Result<(), Problem> {
        if tag.is_some_and(|tag| !(tag.is_yaml_core_schema() && tag.suffix == kind)) {
            return Err(refused_tag(place, tag));
        }
        if self.wants_key() {
            return Err(Problem::error(
                place,
                "",
                "a key must be a plain word, not a list or a mapping",
            ));
        }
        if self.open.len() + 1 >= DEPTH_MAX {
            return Err(too_deep(place));
        }
        let content = match kind {
            "seq" => Content::Sequence(Vec::new()),
            _ => Content::Mapping {
                entries: Vec::new(),
                places: HashMap::new(),
                key: None,
                merged: Vec::new(),
            },
        };
        self.open.push(Open {
            anchor,
            place,
            size: 1,
            content,
        });
        Ok(())
    }

    fn end(&mut self, end: Place) -> Result<(), Problem> {
        let Some(Open {
            anchor,
            place,
            content,
            ..
        }) = self.open.pop()
        else {
            return Err(Problem::error(
                end,
                "",
                "is not YAML: something ends that has not begun",
            ));
        };
        let node = match content {
            Content::Sequence(items) => Node::sequence(place, items),
            Content::Mapping {
                mut entries,
                mut places,
                merged,
                ..
            } => {
                for node in merged {
                    // What is written wins over what is merged in, and the first of several over the next.
                    for entry in node.entries() {
                        if places.insert(entry.key.clone(), 0).is_none() {
                            entries.push(entry.clone());
                        }
                    }
                }
                Node::mapping(place, entries)
            }
        };
        self.node(node, anchor)
    }

    /// A whole node is there: it goes where it belongs.
    fn node(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if self.open.len() + node.depth() > DEPTH_MAX {
            return Err(too_deep(node.place().clone()));
        }
        let size = self
            .open
            .iter()
            .map(|open| open.size)
            .fold(node.size(), usize::saturating_add);
        if size > NODES_MAX {
            let message = format!("holds more than {NODES_MAX} values, counting those that aliases repeat");
            return Err(Problem::error(node.place().clone(), "", message));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.document = Some(node);
            return Ok(());
        };
        open.size = open.size.saturating_add(node.size());
        match &mut open.content {
            Content::Sequence(items) => items.push(node),
            Content::Mapping {
                entries, key, merged, ..
            } => match key.take() {
                Some(key) if key.merges => merge_sources(&node, &key.place, merged)?,
                Some(key) => entries.push(Entry {
                    key: key.text,
                    place: key.place,
                    value: node,
                }),
                None => {}
            },
        }
        Ok(())
    }
}

fn merge_sources(node: &Node, place: &Place, merged: &mut Vec<Node>) -> Result<(), Problem> {
    let sources = match node.value() {
        Value::Sequence(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    if !sources.iter().all(Node::is_mapping) {
        let problem = Problem::error(
            place.clone(),
            "<<",
            "a merge key takes a mapping or a list of mappings",
        );
        return Err(problem.hint("write for example `<<: *name`, with `&name` at the mapping"));
    }
    merged.extend(sources.iter().cloned());
    Ok(())
}

fn tagged(text: &str, kind: &str) -> Option<Value> {
    match kind {
        "str" => Some(Value::String(text.into())),
        "int" => scalar::int(text).map(Value::Int),
        "float" => scalar::float(text).map(Value::Float),
        "bool" | "null" => match (scalar::resolve(text), kind) {
            (Value::Bool(flag), "bool") => Some(Value::Bool(flag)),
            (Value::Null, "null") => Some(Value::Null),
            _ => None,
        },
        _ => None,
    }
}

fn refused_tag(place: Place, tag: Option<&Tag>) -> Problem {
    let name = tag.map(|tag| format!("`{tag}`")).unwrap_or_default();
    Problem::error(place, "", format!("the tag {name} does not fit here"))
        .hint("write the value without a tag")
}

fn too_deep(place: Place) -> Problem {
    Problem::error(place, "", format!("is nested more than {DEPTH_MAX} levels deep"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Node {
        Node::parse("f.yaml", text).unwrap()
    }

    fn problem(text: &str) -> String {
        Node::parse("f.yaml", text).unwrap_err().to_string()
    }

    #[test]
    fn aliases_and_merge_keys_are_resolved() {
        let tree =
            parse("base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\nall:\n  <<: [*b, *m]\n  x: 0\nagain: *b\n");
        assert_eq!(*tree.get("all").unwrap(), parse("{x: 0, y: 2, z: 4}"));
        assert_eq!(tree.get("again"), tree.get("base"));
        assert_eq!(
            tree.at(&["all", "z"]).unwrap().place(),
            &Place::new("f.yaml", 2, 20)
        );
        assert_eq!(parse("'<<': 1\n").get("<<").unwrap().as_int(), Some(1));
    }

    #[test]
    fn tags_of_the_core_schema_are_read() {
        assert_eq!(parse("a: !!str 0123\n").get("a").unwrap().as_str(), Some("0123"));
        assert!(problem("a: !mine x\n").contains("!mine"));
        assert!(problem("a: !!int x\n").contains("does not fit"));
    }

    #[test]
    fn an_empty_file_is_null() {
        for text in ["", "# nothing\n", "\u{feff}", "---\n", "~"] {
            assert!(parse(text).is_null(), "{text:?}");
        }
    }

    #[test]
    fn what_is_ambiguous_is_refused_at_its_place() {
        assert_eq!(
            problem("a: 1\nb: 2\na: 3\n"),
            "f.yaml:3:1: a: this key is set twice"
        );
        assert!(problem("a: 1\n---\nb: 2\n").starts_with("f.yaml:2:1: a second document"));
        assert!(problem("? [a]\n: b\n").contains("plain word"));
        assert!(problem("a: &x [*x]\n").contains("alias"));
        assert!(problem("a: *nothing\n").starts_with("f.yaml:1:"));
        assert!(problem("<<: 3\n").contains("merge key"));
    }

    #[test]
    fn brackets_and_quotes_may_end_at_any_indentation() {
        let tree =
            parse("a: [\n  x,\n  y\n]\nb:\n  c: {\n    k: v\n  }\n  d: 'one\n  two\nthree'\n  e: [\n1\n]\n");
        assert_eq!(
            tree,
            parse("{a: [x, y], b: {c: {k: v}, d: one two three, e: [1]}}")
        );
        assert_eq!(
            tree.at(&["b", "e", "0"]).unwrap().place(),
            &Place::new("f.yaml", 13, 1)
        );
        assert_eq!(
            tree.at(&["b", "e"]).unwrap().place(),
            &Place::new("f.yaml", 12, 6)
        );
        assert!(problem("a:\n  b: 'open\nc: 'd'\n").starts_with("f.yaml:2:6: is not YAML"));
        assert!(problem("a:\n  b: [\nc: 1\n").starts_with("f.yaml:3:1: is not YAML"));
        assert!(problem("a:\n    b: 1\n  c: 2\n").starts_with("f.yaml:3:3"));
    }

    #[test]
    fn a_block_of_text_at_the_end_has_a_line_break_only_if_the_file_has() {
        let text = |text: &str| parse(text).get("a").and_then(Node::as_str).map(str::to_owned);
        assert_eq!(text("a: |\n  x\n").as_deref(), Some("x\n"));
        assert_eq!(text("a: |\n  x").as_deref(), Some("x"));
        assert_eq!(text("a: >-\n  x").as_deref(), Some("x"));
        assert_eq!(text("a: |\n  x\n\nb: 1").as_deref(), Some("x\n"));
    }

    #[test]
    fn alias_bombs_and_depth_are_refused() {
        let mut bomb = "a0: &a0 [x, x]\n".to_owned();
        for level in 1..40 {
            bomb.push_str(&format!("a{level}: &a{level} [*a{0}, *a{0}, *a{0}]\n", level - 1));
        }
        assert!(problem(&bomb).contains("aliases"));
        let mut ladder = "a0: &a0 [x]\n".to_owned();
        for level in 1..80 {
            ladder.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        assert!(problem(&ladder).contains("deep"));
        assert!(problem(&"[".repeat(200)).contains("deep"));
        let mut merged = "a0: &a0 {x: &b [1, 1, 1, 1, 1, 1, 1, 1]}\n".to_owned();
        for level in 1..40 {
            merged.push_str(&format!(
                "a{level}: &a{level} {{<<: *a{0}, y: *a{0}, z: *a{0}}}\n",
                level - 1
            ));
        }
        assert!(problem(&merged).contains("aliases"));
    }
}
