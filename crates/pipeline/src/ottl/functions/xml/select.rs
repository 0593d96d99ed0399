//! What a path finds in a tree, within a bound on the nodes that are looked at: conditions may look through the document
//! again for each node.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;

use super::path::{Axis, Comparison, Expression, Function, Path, Paths, Step, Test};
use super::tree::{Id, Kind, Name, Problem, ROOT, Tree};

/// Nodes that are looked at, all conditions together.
const LOOKS_MAX: usize = 2_000_000;

/// A node, or an attribute of one by its place; in the order of the document.
pub(super) type Item = (Id, Option<usize>);

/// What an expression comes to.
enum Value<'t> {
    Items(Vec<Item>),
    Text(Cow<'t, str>),
    Number(f64),
    Bool(bool),
}

struct Selecting<'t> {
    tree: &'t Tree,
    looks: Cell<usize>,
}

/// Where an expression is evaluated.
#[derive(Clone, Copy)]
struct Place {
    item: Item,
    position: usize,
    size: usize,
}

/// What the first path finds, in the order of the document, then what the others find besides. Only of a tree that has not
/// been changed.
pub(super) fn select(tree: &Tree, paths: &Paths) -> Result<Vec<Item>, Problem> {
    let selecting = Selecting {
        tree,
        looks: Cell::new(0),
    };
    let mut found = Vec::new();
    let mut known: HashSet<Item> = HashSet::new();
    for path in &paths.0 {
        let more = selecting.path(path, (ROOT, None))?;
        found.extend(more.into_iter().filter(|item| known.insert(*item)));
    }
    Ok(found)
}

impl<'t> Selecting<'t> {
    fn looked(&self, nodes: usize) -> Result<(), Problem> {
        let looks = self.looks.get() + nodes;
        self.looks.set(looks);
        match looks > LOOKS_MAX {
            true => Err("the path looks at too many parts of the XML".into()),
            false => Ok(()),
        }
    }

    fn path(&self, path: &Path, from: Item) -> Result<Vec<Item>, Problem> {
        let mut found = vec![if path.absolute { (ROOT, None) } else { from }];
        for step in &path.steps {
            let mut next = Vec::new();
            for item in found {
                next.extend(self.step(step, item)?);
            }
            next.sort_unstable();
            next.dedup();
            found = next;
        }
        Ok(found)
    }

    fn step(&self, step: &Step, (id, attribute): Item) -> Result<Vec<Item>, Problem> {
        let node = &self.tree.nodes[id];
        let candidates: Vec<Item> = match (step.axis, attribute) {
            (Axis::Itself, _) => vec![(id, attribute)],
            (Axis::Within, None) => (id..node.end.max(id + 1)).map(|id| (id, None)).collect(),
            (Axis::Within, Some(_)) => vec![(id, attribute)],
            (Axis::Parent, Some(_)) => vec![(id, None)],
            (Axis::Parent, None) if id == ROOT => Vec::new(),
            (Axis::Parent, None) => vec![(node.parent, None)],
            (Axis::Child, None) => node.children.iter().map(|child| (*child, None)).collect(),
            (Axis::Attribute, None) if node.kind == Kind::Element => (0..node.attributes.len())
                .map(|place| (id, Some(place)))
                .collect(),
            (Axis::Child | Axis::Attribute, _) => Vec::new(),
        };
        self.looked(1 + candidates.len())?;
        let mut found: Vec<Item> = candidates
            .into_iter()
            .filter(|item| self.passes(&step.test, *item))
            .collect();
        for condition in &step.conditions {
            let size = found.len();
            let mut kept = Vec::new();
            for (index, item) in found.into_iter().enumerate() {
                let place = Place {
                    item,
                    position: index + 1,
                    size,
                };
                let holds = match self.value(condition, place)? {
                    Value::Number(number) => number == place.position as f64,
                    other => is_true(&other),
                };
                if holds {
                    kept.push(item);
                }
            }
            found = kept;
        }
        Ok(found)
    }

    fn passes(&self, test: &Test, (id, attribute): Item) -> bool {
        let kind = &self.tree.nodes[id].kind;
        match (test, attribute) {
            (Test::Node, _) | (Test::Any, Some(_)) => true,
            (Test::Named(name), _) => {
                let named = attribute.is_some() || *kind == Kind::Element;
                named && self.name((id, attribute)) == name
            }
            (Test::Any, None) => *kind == Kind::Element,
            (Test::Text, None) => matches!(kind, Kind::Text | Kind::CData),
            (Test::Comment, None) => *kind == Kind::Comment,
            (Test::Text | Test::Comment, Some(_)) => false,
        }
    }

    fn name(&self, (id, attribute): Item) -> &'t Name {
        let node = &self.tree.nodes[id];
        match attribute.and_then(|place| node.attributes.get(place)) {
            Some(attribute) => &attribute.name,
            None => &node.name,
        }
    }

    /// The text of a node: of an element, all that is in it.
    fn text(&self, (id, attribute): Item) -> Result<Cow<'t, str>, Problem> {
        let node = &self.tree.nodes[id];
        if let Some(attribute) = attribute.and_then(|place| node.attributes.get(place)) {
            return Ok(attribute.value.as_str().into());
        }
        if !matches!(node.kind, Kind::Element | Kind::Document) {
            return Ok(node.text.as_str().into());
        }
        self.looked(node.end - id)?;
        let within = &self.tree.nodes[id..node.end];
        let texts = within
            .iter()
            .filter(|node| matches!(node.kind, Kind::Text | Kind::CData));
        let mut all = String::new();
        for node in texts {
            // Letters cost as nodes do: a long text would be copied for each element around it.
            self.looked(node.text.len() / 16)?;
            all.push_str(&node.text);
        }
        Ok(all.into())
    }

    fn value<'e: 't>(&self, expression: &'e Expression, place: Place) -> Result<Value<'t>, Problem> {
        let holds = |expression| Ok::<_, Problem>(is_true(&self.value(expression, place)?));
        Ok(match expression {
            Expression::Or(both) => Value::Bool(holds(&both.0)? || holds(&both.1)?),
            Expression::And(both) => Value::Bool(holds(&both.0)? && holds(&both.1)?),
            Expression::Compare(comparison, both) => {
                let (left, right) = (self.value(&both.0, place)?, self.value(&both.1, place)?);
                Value::Bool(self.compare(*comparison, &left, &right)?)
            }
            Expression::Path(path) => Value::Items(self.path(path, place.item)?),
            Expression::Text(text) => Value::Text(text.as_str().into()),
            Expression::Number(number) => Value::Number(*number),
            Expression::Call(function, arguments) => self.call(*function, arguments, place)?,
        })
    }

    fn call<'e: 't>(
        &self,
        function: Function,
        arguments: &'e [Expression],
        place: Place,
    ) -> Result<Value<'t>, Problem> {
        let value = |index: usize| match arguments.get(index) {
            Some(argument) => self.value(argument, place),
            None => Ok(Value::Items(vec![place.item])),
        };
        let text = |index: usize| self.as_text(value(index)?);
        Ok(match function {
            Function::Not => Value::Bool(!is_true(&value(0)?)),
            Function::Contains => Value::Bool(text(0)?.contains(&*text(1)?)),
            Function::StartsWith => Value::Bool(text(0)?.starts_with(&*text(1)?)),
            Function::Position => Value::Number(place.position as f64),
            Function::Last => Value::Number(place.size as f64),
            Function::Count => match value(0)? {
                Value::Items(items) => Value::Number(items.len() as f64),
                _ => return Err("`count` counts what a path finds".into()),
            },
            Function::Name => {
                let name = self.name(place.item);
                Value::Text(match name.prefix.is_empty() {
                    true => name.local.as_str().into(),
                    false => format!("{}:{}", name.prefix, name.local).into(),
                })
            }
            Function::LocalName => Value::Text(self.name(place.item).local.as_str().into()),
            Function::StringLength => Value::Number(text(0)?.chars().count() as f64),
            Function::NormalizeSpace => {
                let text = text(0)?;
                Value::Text(text.split_whitespace().collect::<Vec<_>>().join(" ").into())
            }
            Function::Text => Value::Text(text(0)?),
            Function::Number => Value::Number(number(&text(0)?)),
            Function::True => Value::Bool(true),
            Function::False => Value::Bool(false),
        })
    }

    fn as_text(&self, value: Value<'t>) -> Result<Cow<'t, str>, Problem> {
        Ok(match value {
            Value::Items(items) => match items.first() {
                Some(item) => self.text(*item)?,
                None => "".into(),
            },
            Value::Text(text) => text,
            Value::Number(number) => number.to_string().into(),
            Value::Bool(flag) => flag.to_string().into(),
        })
    }

    /// Of what a path finds, one that compares so is enough.
    fn compare(&self, comparison: Comparison, left: &Value<'t>, right: &Value<'t>) -> Result<bool, Problem> {
        let is_bool = matches!(left, Value::Bool(_)) || matches!(right, Value::Bool(_));
        if is_bool {
            let number = |value: &Value<'_>| f64::from(u8::from(is_true(value)));
            return Ok(holds(comparison, number(left), number(right)));
        }
        let rights = self.texts(right)?;
        for left in self.texts(left)? {
            for right in &rights {
                self.looked(1)?;
                let as_text = !(left.1 || right.1);
                let found = match comparison {
                    Comparison::Equal if as_text => left.0 == right.0,
                    Comparison::Unequal if as_text => left.0 != right.0,
                    _ => holds(comparison, number(&left.0), number(&right.0)),
                };
                if found {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The texts that a value compares as, and whether it is a number.
    fn texts(&self, value: &Value<'t>) -> Result<Vec<(Cow<'t, str>, bool)>, Problem> {
        Ok(match value {
            Value::Items(items) => items
                .iter()
                .map(|item| Ok((self.text(*item)?, false)))
                .collect::<Result<_, Problem>>()?,
            Value::Text(text) => vec![(text.clone(), false)],
            Value::Number(number) => vec![(number.to_string().into(), true)],
            Value::Bool(flag) => vec![(flag.to_string().into(), false)],
        })
    }
}

fn holds(comparison: Comparison, left: f64, right: f64) -> bool {
    match comparison {
        Comparison::Equal => left == right,
        Comparison::Unequal => left != right,
        Comparison::Less => left < right,
        Comparison::LessOrEqual => left <= right,
        Comparison::Greater => left > right,
        Comparison::GreaterOrEqual => left >= right,
    }
}

fn number(text: &str) -> f64 {
    text.trim().parse().unwrap_or(f64::NAN)
}

fn is_true(value: &Value<'_>) -> bool {
    match value {
        Value::Items(items) => !items.is_empty(),
        Value::Text(text) => !text.is_empty(),
        Value::Number(number) => *number != 0.0 && !number.is_nan(),
        Value::Bool(flag) => *flag,
    }
}
