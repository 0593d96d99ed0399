//! XML as a tree that can be looked through, changed and written again.
//!
//! Reads what Go's reader takes, so that the same text is an error here and in the Collector: names may come with prefixes,
//! there may be several elements at the root, and an entity is one of the five of XML or a number. What a document type
//! declares is kept as text and never looked at: nothing is expanded and nothing is fetched. Depth and number of nodes are
//! bounded, and so is what is written.

use std::borrow::Cow;
use std::collections::HashMap;

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

/// Elements within one another.
pub(super) const DEPTH_MAX: usize = 256;
/// Elements, texts, comments and attributes of a document.
const NODES_MAX: usize = 100_000;
/// What a document may be written as: empty elements and letters that are escaped take more than they did.
pub(super) const TEXT_BYTES_MAX: usize = 16 << 20;

pub(super) type Id = usize;

/// Why a text cannot be read, or not be written.
pub(super) type Problem = Cow<'static, str>;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Document,
    /// `<?xml …?>`.
    Declaration,
    Element,
    Text,
    CData,
    Comment,
    /// `<?target …?>`, with all that is in it as its text.
    Instruction,
    /// `<!DOCTYPE …>`.
    Directive,
}

/// The name of an element or an attribute.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Name {
    pub(super) prefix: String,
    pub(super) local: String,
}

#[derive(Clone, Debug)]
pub(super) struct Attribute {
    pub(super) name: Name,
    pub(super) value: String,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Of an element.
    pub(super) name: Name,
    pub(super) attributes: Vec<Attribute>,
    /// Of everything that is not an element.
    pub(super) text: String,
    pub(super) parent: Id,
    pub(super) children: Vec<Id>,
    /// Behind the last one of those below it, as long as nothing has been changed.
    pub(super) end: Id,
}

/// A document. Nodes are in the order of the text; the first one is the document itself.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    parts: usize,
    /// Of texts that were copied into it.
    bytes: usize,
    /// Behind the first element of the root.
    pub(super) first_end: usize,
    /// A prefix of an element that nothing declares.
    pub(super) undeclared: Option<String>,
}

pub(super) const ROOT: Id = 0;

impl Node {
    pub(super) fn new(kind: Kind, text: String, parent: Id) -> Node {
        Node {
            kind,
            name: Name::default(),
            attributes: Vec::new(),
            text,
            parent,
            children: Vec::new(),
            end: 0,
        }
    }
}

impl Name {
    fn read(raw: &[u8]) -> Result<Name, Problem> {
        let text = std::str::from_utf8(raw).map_err(|error| error.to_string())?;
        let mut letters = text.chars();
        let begins = letters
            .next()
            .is_some_and(|letter| letter.is_alphabetic() || matches!(letter, '_' | ':'));
        let goes_on = |letter: char| {
            letter.is_alphanumeric() || !letter.is_ascii() || matches!(letter, '_' | ':' | '-' | '.')
        };
        if !begins || !letters.all(goes_on) {
            return Err(format!("{text:?} is no name").into());
        }
        Ok(match text.split_once(':') {
            Some((_, local)) if local.contains(':') => {
                return Err(format!("{text:?} has more than one prefix").into());
            }
            Some((prefix, local)) if !prefix.is_empty() && !local.is_empty() => Name {
                prefix: prefix.to_owned(),
                local: local.to_owned(),
            },
            _ => Name {
                prefix: String::new(),
                local: text.to_owned(),
            },
        })
    }

    fn write(&self, out: &mut String) {
        if !self.prefix.is_empty() {
            out.push_str(&self.prefix);
            out.push(':');
        }
        out.push_str(&self.local);
    }
}

/// Line ends are single, and letters those that XML may have.
fn cleaned(text: Cow<'_, str>) -> Result<String, Problem> {
    let is_letter = |letter: char| {
        matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..) && letter != '\u{fffe}'
    };
    if let Some(other) = text.chars().find(|letter| !is_letter(*letter)) {
        return Err(format!(
            "there is a letter that XML cannot have, U+{:04X}",
            u32::from(other)
        )
        .into());
    }
    Ok(match text.contains('\r') {
        true => text.replace("\r\n", "\n").replace('\r', "\n"),
        false => text.into_owned(),
    })
}

/// A document on its way into a tree.
struct Reading {
    tree: Tree,
    /// Elements that are open, and the document.
    open: Vec<Id>,
    /// A text whose end has not come.
    text: Option<String>,
    /// Prefixes that are declared, with how often, and those of each element that is open.
    prefixes: HashMap<String, usize>,
    declared: Vec<Vec<String>>,
    /// Something has come that the root keeps: before it, comments and texts are passed over.
    begun: bool,
    keeps_first: bool,
    has_element: bool,
}

impl Tree {
    /// A document with nothing in it, to be added to.
    pub(super) fn empty() -> Tree {
        Tree {
            nodes: vec![Node::new(Kind::Document, String::new(), ROOT)],
            parts: 0,
            bytes: 0,
            first_end: 0,
            undeclared: None,
        }
    }

    pub(super) fn read(text: &str) -> Result<Tree, Problem> {
        let mut reader = Reader::from_str(text);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.check_comments = true;
        let mut reading = Reading {
            tree: Tree::empty(),
            open: vec![ROOT],
            text: None,
            prefixes: HashMap::new(),
            declared: Vec::new(),
            begun: false,
            keeps_first: text.starts_with("<?xml"),
            has_element: false,
        };
        loop {
            let event = reader.read_event().map_err(|error| format!("no XML: {error}"))?;
            if let Event::Eof = event {
                break;
            }
            reading.take(event)?;
            if reading.tree.first_end == 0 && reading.open.len() == 1 && reading.has_element {
                reading.tree.first_end = reader.buffer_position() as usize;
            }
        }
        reading.end_text()?;
        match (reading.open.len(), reading.has_element) {
            (1, true) => {}
            (1, false) => return Err("no XML: there is no element".into()),
            _ => return Err("no XML: an element is not closed".into()),
        }
        reading.tree.nodes[ROOT].end = reading.tree.nodes.len();
        Ok(reading.tree)
    }

    /// Adds a node below another one, as the last of those that it has.
    pub(super) fn add(&mut self, node: Node) -> Result<Id, Problem> {
        self.parts += 1 + node.attributes.len();
        if self.parts > NODES_MAX {
            return Err(format!("the XML has more than {NODES_MAX} parts").into());
        }
        let (id, parent) = (self.nodes.len(), node.parent);
        self.nodes.push(node);
        self.nodes[parent].children.push(id);
        self.nodes[id].end = id + 1;
        Ok(id)
    }

    /// Adds copies of what is below a node of another document.
    pub(super) fn copy(&mut self, other: &Tree, from: Id, to: Id) -> Result<(), Problem> {
        for child in &other.nodes[from].children {
            let node = &other.nodes[*child];
            let mut copied = Node::new(node.kind.clone(), node.text.clone(), to);
            copied.name = node.name.clone();
            copied.attributes.clone_from(&node.attributes);
            let values = node.attributes.iter().map(|attribute| attribute.value.len());
            self.bytes += node.text.len() + values.sum::<usize>();
            if self.bytes > TEXT_BYTES_MAX {
                return Err("the XML gets too long".into());
            }
            let added = self.add(copied)?;
            self.copy(other, *child, added)?;
        }
        Ok(())
    }

    pub(super) fn is_element(&self, id: Id) -> bool {
        self.nodes[id].kind == Kind::Element
    }

    pub(super) fn write(&self) -> Result<String, Problem> {
        let mut out = String::new();
        for child in &self.nodes[ROOT].children {
            self.write_node(*child, true, &mut out)?;
        }
        Ok(out)
    }

    /// `keeps`: white space around texts is a part of them.
    pub(super) fn write_node(&self, id: Id, keeps: bool, out: &mut String) -> Result<(), Problem> {
        let node = &self.nodes[id];
        match node.kind {
            Kind::Text if keeps => escape(&node.text, out),
            Kind::Text => escape(node.text.trim(), out),
            Kind::CData => around("<![CDATA[", &node.text, "]]>", out),
            Kind::Comment => around("<!--", &node.text, "-->", out),
            Kind::Directive => around("<!", &node.text, ">", out),
            Kind::Instruction => around("<?", &node.text, "?>", out),
            Kind::Declaration => {
                out.push_str("<?xml");
                attributes(&node.attributes, out);
                out.push_str("?>");
            }
            Kind::Document => {}
            Kind::Element => {
                let space = |attribute: &&Attribute| {
                    attribute.name.prefix == "xml" && attribute.name.local == "space"
                };
                let keeps = match node
                    .attributes
                    .iter()
                    .find(space)
                    .map(|found| found.value.as_str())
                {
                    Some("preserve") => true,
                    Some("default") => false,
                    _ => keeps,
                };
                out.push('<');
                node.name.write(out);
                attributes(&node.attributes, out);
                out.push('>');
                for child in &node.children {
                    self.write_node(*child, keeps, out)?;
                }
                out.push_str("</");
                node.name.write(out);
                out.push('>');
            }
        }
        match out.len() > TEXT_BYTES_MAX {
            true => Err("the XML gets too long".into()),
            false => Ok(()),
        }
    }
}

fn around(before: &str, text: &str, after: &str, out: &mut String) {
    for part in [before, text, after] {
        out.push_str(part);
    }
}

fn attributes(attributes: &[Attribute], out: &mut String) {
    for attribute in attributes {
        out.push(' ');
        attribute.name.write(out);
        out.push_str("=\"");
        escape(&attribute.value, out);
        out.push('"');
    }
}

/// As Go's package for HTML does it.
pub(super) fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&#39;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            other => out.push(other),
        }
    }
}

impl Reading {
    fn parent(&self) -> Id {
        self.open.last().copied().unwrap_or(ROOT)
    }

    fn take(&mut self, event: Event<'_>) -> Result<(), Problem> {
        let decoded = |text: &[u8]| -> Result<String, Problem> {
            std::str::from_utf8(text)
                .map(str::to_owned)
                .map_err(|error| error.to_string().into())
        };
        match event {
            Event::Text(text) => {
                let text = decoded(&text)?;
                if text.contains("]]>") {
                    return Err("no XML: there is a `]]>` outside of CDATA".into());
                }
                self.text.get_or_insert_default().push_str(&text);
                return Ok(());
            }
            Event::GeneralRef(reference) => {
                let name = decoded(&reference)?;
                let letter = unescape(&format!("&{name};"))
                    .map_err(|error| format!("no XML: {error}"))?
                    .into_owned();
                self.text.get_or_insert_default().push_str(&letter);
                return Ok(());
            }
            _ => self.end_text()?,
        }
        match event {
            Event::Start(start) => self.start(&start),
            Event::End(_) => {
                if let Some(id) = self.open.pop() {
                    self.tree.nodes[id].end = self.tree.nodes.len();
                }
                for prefix in self.declared.pop().into_iter().flatten() {
                    if let Some(times) = self.prefixes.get_mut(&prefix) {
                        *times -= 1;
                    }
                }
                Ok(())
            }
            Event::CData(text) => {
                let text = cleaned(decoded(&text)?.into())?;
                self.leaf(Kind::CData, text)
            }
            Event::Comment(text) => {
                let text = decoded(&text)?;
                self.leaf(Kind::Comment, text)
            }
            Event::DocType(text) => {
                let text = format!("DOCTYPE {}", decoded(&text)?);
                self.leaf(Kind::Directive, text)
            }
            Event::Decl(declared) => {
                let text = decoded(&declared)?;
                self.declare(&text)
            }
            Event::PI(instruction) => {
                let text = decoded(&instruction)?;
                self.begin(Node::new(
                    Kind::Instruction,
                    text.trim().to_owned(),
                    self.parent(),
                ))
            }
            Event::Empty(_) | Event::Text(_) | Event::GeneralRef(_) | Event::Eof => Ok(()),
        }
    }

    fn end_text(&mut self) -> Result<(), Problem> {
        match self.text.take() {
            Some(text) => self.leaf(Kind::Text, cleaned(text.into())?),
            None => Ok(()),
        }
    }

    fn leaf(&mut self, kind: Kind, text: String) -> Result<(), Problem> {
        if !self.begun {
            return Ok(());
        }
        let node = Node::new(kind, text, self.parent());
        self.tree.add(node).map(drop)
    }

    /// What a document begins with is kept if it is a declaration at the very beginning.
    fn begin(&mut self, node: Node) -> Result<(), Problem> {
        let is_first = !std::mem::replace(&mut self.begun, true);
        match is_first && !self.keeps_first {
            true => Ok(()),
            false => self.tree.add(node).map(drop),
        }
    }

    fn declare(&mut self, text: &str) -> Result<(), Problem> {
        let mut node = Node::new(Kind::Declaration, String::new(), self.parent());
        for pair in text.split(' ').map(str::trim) {
            if let Some((name, value)) = pair.split_once('=').filter(|(name, _)| !name.is_empty()) {
                let value = value.trim_matches(['"', '\'']).to_owned();
                if name == "version" && value != "1.0" {
                    return Err(format!("XML {value:?} is not read: 1.0 is").into());
                }
                let name = Name::read(name.as_bytes())?;
                node.attributes.push(Attribute { name, value });
            }
        }
        self.begin(node)
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), Problem> {
        (self.begun, self.has_element) = (true, true);
        if self.open.len() > DEPTH_MAX {
            return Err(format!("the XML is nested deeper than {DEPTH_MAX} elements").into());
        }
        let mut node = Node::new(Kind::Element, String::new(), self.parent());
        node.name = Name::read(start.name().as_ref())?;
        let mut declared = Vec::new();
        let mut attributes = start.attributes();
        // A name may come twice, as Go has it.
        for attribute in attributes.with_checks(false) {
            let attribute = attribute.map_err(|error| format!("no XML: {error}"))?;
            let raw = std::str::from_utf8(&attribute.value).map_err(|error| error.to_string())?;
            if raw.contains('<') {
                return Err("no XML: there is a `<` within quotes".into());
            }
            let value = unescape(raw).map_err(|error| format!("no XML: {error}"))?;
            let name = Name::read(attribute.key.as_ref())?;
            if name.prefix == "xmlns" {
                *self.prefixes.entry(name.local.clone()).or_default() += 1;
                declared.push(name.local.clone());
            }
            node.attributes.push(Attribute {
                name,
                value: cleaned(value)?,
            });
        }
        let prefix = node.name.prefix.as_str();
        let is_known =
            prefix.is_empty() || prefix == "xml" || self.prefixes.get(prefix).is_some_and(|times| *times > 0);
        if !is_known && self.tree.undeclared.is_none() {
            self.tree.undeclared = Some(prefix.to_owned());
        }
        self.declared.push(declared);
        let id = self.tree.add(node)?;
        self.open.push(id);
        Ok(())
    }
}
