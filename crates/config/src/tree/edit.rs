//! Trees made from others by a change in one spot; what stays the same is shared.

use super::{Entry, Node, Origin, Value};
use crate::problem::Place;

impl Node {
    /// This tree without the node at `path`; the same tree if there is none.
    #[must_use]
    pub fn without(&self, path: &[impl AsRef<str>]) -> Node {
        let [first, rest @ ..] = path else {
            return self.clone();
        };
        let first = first.as_ref();
        if rest.is_empty() {
            return match self.value() {
                Value::Mapping(entries) => self.replaced(Value::Mapping(
                    entries
                        .iter()
                        .filter(|entry| &*entry.key != first)
                        .cloned()
                        .collect(),
                )),
                Value::Sequence(items) => {
                    let left_out = first.parse::<usize>().ok();
                    let kept = items
                        .iter()
                        .enumerate()
                        .filter(|(index, _)| Some(*index) != left_out);
                    self.replaced(Value::Sequence(kept.map(|(_, item)| item.clone()).collect()))
                }
                _ => self.clone(),
            };
        }
        match self.child(first) {
            Some(child) => self.with_child(first, child.without(rest)),
            None => self.clone(),
        }
    }

    /// This tree with `node` at `path`. Mappings on the way are made where they are missing; what is not a mapping
    /// there, nor a sequence long enough, is replaced by one.
    #[must_use]
    pub fn with(&self, path: &[impl AsRef<str>], node: Node) -> Node {
        let [first, rest @ ..] = path else {
            return node;
        };
        let first = first.as_ref();
        let below = match self.child(first) {
            Some(child) => child.with(rest, node),
            None => Node::mapping(node.place().clone(), []).with(rest, node),
        };
        self.with_child(first, below)
    }

    fn with_child(&self, step: &str, child: Node) -> Node {
        let mut value = self.value().clone();
        if let Value::Sequence(items) = &mut value
            && let Some(item) = step.parse::<usize>().ok().and_then(|index| items.get_mut(index))
        {
            *item = child;
            return self.replaced(value);
        }
        let mut entries = match value {
            Value::Mapping(entries) => entries,
            _ => Vec::new(),
        };
        match entries.iter_mut().find(|entry| &*entry.key == step) {
            Some(entry) => entry.value = child,
            None => entries.push(Entry {
                key: step.into(),
                place: child.place().clone(),
                value: child,
            }),
        }
        self.replaced(Value::Mapping(entries))
    }

    /// The same place and origin with another value.
    pub(crate) fn replaced(&self, value: Value) -> Node {
        Node::with_text(self.place().clone(), self.origin().clone(), value, None)
    }

    /// The same value and text, from elsewhere; at `place` if one is given. Everything below likewise.
    pub(crate) fn moved(&self, origin: &Origin, place: Option<&Place>) -> Node {
        let value = match self.value() {
            Value::Sequence(items) => {
                Value::Sequence(items.iter().map(|item| item.moved(origin, place)).collect())
            }
            Value::Mapping(entries) => Value::Mapping(
                entries
                    .iter()
                    .map(|entry| Entry {
                        key: entry.key.clone(),
                        place: place.unwrap_or(&entry.place).clone(),
                        value: entry.value.moved(origin, place),
                    })
                    .collect(),
            ),
            scalar => scalar.clone(),
        };
        let place = place.unwrap_or(self.place()).clone();
        Node::with_text(place, origin.clone(), value, self.0.text.clone())
    }
}
