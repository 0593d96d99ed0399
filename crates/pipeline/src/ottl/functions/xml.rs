//! Converters of XML: as a map, as one that is simpler and loses attributes, and from XML to XML.
//!
//! They are those of the Collector, whose answers they give; `tree` is the document, `path` and `select` are XPath.

mod path;
mod select;
#[cfg(test)]
mod tests;
mod tree;

use std::borrow::Cow;
use std::collections::HashMap;

use cupola_telemetry::edit::{Map, VALUE_NESTING_MAX, Value as Telemetry};

use super::{Arguments, Constants, Converter, Kind as Parameter, Made, TARGET};
use super::{converter, made, optional, plain, required, value};
use crate::ottl::error::Fault;
use crate::ottl::value::Value;
use path::Paths;
use select::{Item, select};
use tree::{Id, Kind, Node, Problem, ROOT, Tree};

const XPATH: &str = "xpath";

pub(super) const TABLE: &[Converter] = &[
    converter("ParseXML", TARGET, |_| plain(parse)),
    converter("ParseSimplifiedXML", TARGET, |_| plain(parse_simplified)),
    converter(
        "ConvertAttributesToElementsXML",
        &[value("target"), optional(XPATH, Parameter::Text)],
        attributes_to_elements,
    ),
    converter(
        "ConvertTextToElementsXML",
        &[
            value("target"),
            optional(XPATH, Parameter::Text),
            optional("element_name", Parameter::Text),
        ],
        text_to_elements,
    ),
    converter(
        "GetXML",
        &[value("target"), required(XPATH, Parameter::Text)],
        get,
    ),
    converter(
        "InsertXML",
        &[
            value("target"),
            required(XPATH, Parameter::Text),
            value("sub_document"),
        ],
        insert,
    ),
    converter(
        "RemoveXML",
        &[value("target"), required(XPATH, Parameter::Text)],
        remove,
    ),
];

fn fault(problem: Problem) -> Fault {
    Fault::of(format_args!("{problem}"))
}

/// The document that an argument is, for those who keep its names as they are.
fn document(text: &str) -> Result<Tree, Fault> {
    let tree = Tree::read(text).map_err(fault)?;
    match &tree.undeclared {
        None => Ok(tree),
        Some(prefix) => Err(Fault::of(format_args!(
            "no XML: nothing says what `{prefix}:` is"
        ))),
    }
}

fn paths(constants: &Constants, default: &str) -> Result<Paths, super::Refused> {
    let text = constants
        .text(1)
        .filter(|text| !text.is_empty())
        .unwrap_or(default);
    Paths::parse(text).map_err(|problem| (1, format!("{text:?} is no path: {problem}")))
}

fn written(tree: &Tree) -> Result<Value<'static>, Fault> {
    Ok(Value::text(tree.write().map_err(fault)?))
}

fn bounded<'a>(map: Map<'static>) -> Result<Value<'a>, Fault> {
    let value = Telemetry::Map(map);
    match value.nesting() > VALUE_NESTING_MAX {
        true => Err(Fault::new("the XML is nested too deeply for a map")),
        false => Ok(value.into()),
    }
}

type Pairs = Vec<(Cow<'static, str>, Telemetry<'static>)>;

fn parse<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let text = arguments.get(0).as_str()?;
    let tree = Tree::read(text).map_err(fault)?;
    if tree.first_end != text.len() {
        return Err(Fault::new("something follows the first element of the XML"));
    }
    let root = tree.nodes[ROOT].children.iter().find(|id| tree.is_element(**id));
    bounded(root.map_or_else(Map::new, |root| element(&tree, *root)))
}

fn element(tree: &Tree, id: Id) -> Map<'static> {
    let node = &tree.nodes[id];
    let (mut content, mut children) = (String::new(), Vec::new());
    for child in &node.children {
        let of_it = &tree.nodes[*child];
        match of_it.kind {
            Kind::Text | Kind::CData => content.push_str(of_it.text.trim()),
            Kind::Element => children.push(Telemetry::Map(element(tree, *child))),
            _ => {}
        }
    }
    let mut pairs: Pairs = vec![("tag".into(), node.name.local.clone().into())];
    if !content.is_empty() {
        pairs.push(("content".into(), content.into()));
    }
    if !node.attributes.is_empty() {
        let named = node.attributes.iter().map(|attribute| {
            let name = attribute.name.local.clone();
            (Cow::Owned(name), Telemetry::from(attribute.value.clone()))
        });
        pairs.push(("attributes".into(), Telemetry::Map(last_of_each(named).collect())));
    }
    if !children.is_empty() {
        let children = Telemetry::Array(children.into_iter().collect());
        pairs.push(("children".into(), children));
    }
    pairs.into_iter().collect()
}

/// A name that comes again has its last value, in the first place.
fn last_of_each(
    pairs: impl Iterator<Item = (Cow<'static, str>, Telemetry<'static>)>,
) -> impl Iterator<Item = (Cow<'static, str>, Telemetry<'static>)> {
    let mut places: HashMap<Cow<'static, str>, usize> = HashMap::new();
    let mut kept: Pairs = Vec::new();
    for (key, value) in pairs {
        match places.get(&key) {
            Some(place) => kept[*place].1 = value,
            None => {
                places.insert(key.clone(), kept.len());
                kept.push((key, value));
            }
        }
    }
    kept.into_iter()
}

fn parse_simplified<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let tree = document(arguments.get(0).as_str()?)?;
    bounded(simplified(&tree, ROOT))
}

/// Elements below one, by name: those of the same name as a list. What is empty is left out.
fn simplified(tree: &Tree, id: Id) -> Map<'static> {
    let children = tree.nodes[id].children.iter().copied();
    let elements: Vec<Id> = children.filter(|child| tree.is_element(*child)).collect();
    let mut times: HashMap<&str, usize> = HashMap::new();
    for child in &elements {
        *times.entry(&tree.nodes[*child].name.local).or_default() += 1;
    }
    let mut order: Vec<&str> = Vec::new();
    let mut lists: HashMap<&str, Vec<Telemetry<'static>>> = HashMap::new();
    for child in elements {
        let node = &tree.nodes[child];
        if node.children.is_empty() {
            continue;
        }
        let name = node.name.local.as_str();
        let is_listed = times.get(name).is_some_and(|times| *times > 1);
        let found = match leaf(tree, child) {
            Some(text) => Some(Telemetry::from(text.to_owned())),
            None => Some(simplified(tree, child))
                .filter(|map| !map.is_empty())
                .map(Telemetry::Map),
        };
        // A list is there even if nothing comes into it.
        if found.is_some() || is_listed {
            let list = lists.entry(name).or_insert_with(|| {
                order.push(name);
                Vec::new()
            });
            list.extend(found);
        }
    }
    let pairs = order.into_iter().filter_map(|name| {
        let mut list = lists.remove(name)?;
        let value = match times.get(name) {
            Some(1) => list.pop()?,
            _ => Telemetry::Array(list.into_iter().collect()),
        };
        Some((Cow::Owned(name.to_owned()), value))
    });
    pairs.collect()
}

/// The first text of an element that has no elements.
fn leaf(tree: &Tree, id: Id) -> Option<&str> {
    let children = &tree.nodes[id].children;
    if children.iter().any(|child| tree.is_element(*child)) {
        return None;
    }
    let mut nodes = children.iter().map(|child| &tree.nodes[*child]);
    let text = nodes.find(|node| matches!(node.kind, Kind::Text | Kind::CData))?;
    Some(text.text.as_str()).filter(|text| !text.is_empty())
}

fn attributes_to_elements(constants: &Constants) -> Made {
    let paths = paths(constants, "//@*")?;
    made(move |arguments| {
        let mut tree = document(arguments.get(0).as_str()?)?;
        let found = select(&tree, &paths).map_err(fault)?;
        for (id, place) in &found {
            let Some(attribute) = place.and_then(|place| tree.nodes[*id].attributes.get(place)) else {
                continue;
            };
            let (name, value) = (attribute.name.local.clone(), attribute.value.clone());
            let mut node = Node::new(Kind::Element, String::new(), *id);
            node.name.local = name;
            let added = tree.add(node).map_err(fault)?;
            tree.add(Node::new(Kind::Text, value, added)).map_err(fault)?;
        }
        remove_attributes(&mut tree, &found);
        written(&tree)
    })
}

/// For each attribute that was found, removes one of its name that has no prefix, as the Collector does: what declares
/// prefixes stays.
fn remove_attributes(tree: &mut Tree, found: &[Item]) {
    let mut names: HashMap<Id, HashMap<String, usize>> = HashMap::new();
    for (id, place) in found {
        if let Some(attribute) = place.and_then(|place| tree.nodes[*id].attributes.get(place)) {
            let name = attribute.name.local.clone();
            *names.entry(*id).or_default().entry(name).or_default() += 1;
        }
    }
    for (id, mut names) in names {
        tree.nodes[id].attributes.retain(|attribute| {
            let times = names.get_mut(&attribute.name.local);
            match times.filter(|times| **times > 0 && attribute.name.prefix.is_empty()) {
                Some(times) => {
                    *times -= 1;
                    false
                }
                None => true,
            }
        });
    }
}

fn text_to_elements(constants: &Constants) -> Made {
    let paths = paths(constants, "/")?;
    let name = constants
        .text(2)
        .filter(|name| !name.is_empty())
        .unwrap_or("value")
        .to_owned();
    made(move |arguments| {
        let mut tree = document(arguments.get(0).as_str()?)?;
        let found = select(&tree, &paths).map_err(fault)?;
        let mut done = vec![false; tree.nodes.len()];
        for (id, place) in found {
            if place.is_none() {
                wrap(&mut tree, id, &name, &mut done).map_err(fault)?;
            }
        }
        written(&tree)
    })
}

/// Has each text of an element in an element of its own, unless there is nothing else.
fn wrap(tree: &mut Tree, id: Id, name: &str, done: &mut Vec<bool>) -> Result<(), Problem> {
    let of_it = &tree.nodes[id];
    if !matches!(of_it.kind, Kind::Element | Kind::Document) || done.get(id) != Some(&false) {
        return Ok(());
    }
    // What is found within something that was found is not to be gone through again.
    done[id] = true;
    let children = of_it.children.clone();
    let (mut texts, mut elements) = (0_usize, 0_usize);
    for child in &children {
        match tree.nodes[*child].kind {
            Kind::Element => {
                elements += 1;
                wrap(tree, *child, name, done)?;
            }
            Kind::Text => texts += 1,
            _ => {}
        }
    }
    if texts == 0 || texts + elements <= 1 {
        return Ok(());
    }
    for child in children {
        let node = &mut tree.nodes[child];
        if node.kind == Kind::Text {
            node.kind = Kind::Element;
            node.name.local = name.to_owned();
            let text = std::mem::take(&mut node.text);
            tree.add(Node::new(Kind::Text, text, child))?;
        }
    }
    Ok(())
}

fn get(constants: &Constants) -> Made {
    let paths = paths(constants, "")?;
    made(move |arguments| {
        let text = arguments.get(0).as_str()?;
        if text.is_empty() {
            return Ok(Value::text(""));
        }
        let tree = document(text)?;
        let mut out = String::new();
        for (id, place) in select(&tree, &paths).map_err(fault)? {
            let node = &tree.nodes[id];
            match (&node.kind, place.and_then(|place| node.attributes.get(place))) {
                (_, Some(attribute)) => tree::escape(&attribute.value, &mut out),
                (Kind::CData, None) => tree::escape(&node.text, &mut out),
                (Kind::Element | Kind::Text, None) => {
                    tree.write_node(id, true, &mut out).map_err(fault)?;
                }
                _ => {}
            }
            if out.len() > tree::TEXT_BYTES_MAX {
                return Err(Fault::new("the XML gets too long"));
            }
        }
        Ok(Value::text(out))
    })
}

fn insert(constants: &Constants) -> Made {
    let paths = paths(constants, "")?;
    made(move |arguments| {
        let text = arguments.get(0).as_str()?;
        let mut tree = match text {
            "" => Tree::empty(),
            text => document(text)?,
        };
        let inserted = document(arguments.get(2).as_str()?)?;
        for (id, place) in select(&tree, &paths).map_err(fault)? {
            match (&tree.nodes[id].kind, place) {
                (Kind::Element | Kind::Document, None) => {
                    tree.copy(&inserted, ROOT, id).map_err(fault)?;
                }
                _ => return Err(Fault::new("the path finds something that is no element")),
            }
        }
        written(&tree)
    })
}

fn remove(constants: &Constants) -> Made {
    let paths = paths(constants, "")?;
    made(move |arguments| {
        let text = arguments.get(0).as_str()?;
        if text.is_empty() {
            return Ok(Value::text(""));
        }
        let mut tree = document(text)?;
        let found = select(&tree, &paths).map_err(fault)?;
        let mut gone = vec![false; tree.nodes.len()];
        remove_attributes(&mut tree, &found);
        for (id, place) in found {
            let kind = &tree.nodes[id].kind;
            gone[id] =
                place.is_none() && matches!(kind, Kind::Element | Kind::Text | Kind::Comment | Kind::CData);
        }
        for node in &mut tree.nodes {
            node.children.retain(|child| !gone[*child]);
        }
        written(&tree)
    })
}
