//! What serde finds wrong, kept apart by kind, with the spot that it concerns. Refuses to word it for people.

use std::fmt;
use std::sync::Arc;

use serde::de::{Expected, Unexpected};

use crate::leaf::Leaf;
use crate::problem::Place;
use crate::tree::{Entry, Node};

/// What does not fit, and where.
#[derive(Clone, Debug)]
pub(crate) struct Mistake(pub(super) Box<MistakeInner>);

#[derive(Clone, Debug)]
pub(crate) struct MistakeInner {
    pub(crate) kind: Kind,
    pub(crate) spot: Option<Spot>,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    UnknownKey {
        key: String,
        known: &'static [&'static str],
    },
    UnknownWord {
        word: String,
        known: &'static [&'static str],
    },
    MissingKey(&'static str),
    DuplicateKey(&'static str),
    Unfit {
        found: String,
        expected: String,
    },
    Other(String),
}

/// The node that made a mistake.
#[derive(Clone, Debug)]
pub(crate) struct Spot {
    pub(crate) path: Vec<Step>,
    pub(crate) node: Node,
    /// Of the node, or of its key where that says more.
    pub(crate) place: Place,
    /// The type of this crate that was to be read.
    pub(crate) leaf: Option<&'static Leaf>,
}

/// A step of a path: a key, or the number of an item from 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Step {
    pub(crate) text: Arc<str>,
    pub(crate) item: bool,
}

impl AsRef<str> for Step {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl Mistake {
    pub(super) fn new(kind: Kind) -> Self {
        Self(Box::new(MistakeInner { kind, spot: None }))
    }

    /// A mistake of a key and not of its value.
    pub(super) fn of_key(mut self, path: &Path<'_>, entry: &Entry) -> Self {
        self.0.spot.get_or_insert_with(|| Spot {
            path: Path::Key(path, entry).steps(),
            node: entry.value.clone(),
            place: entry.place.clone(),
            leaf: None,
        });
        self
    }

    pub(crate) fn into_parts(self) -> (Kind, Option<Spot>) {
        (self.0.kind, self.0.spot)
    }
}

/// The way down to a node, as a list on the stack.
pub(super) enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p Entry),
    Item(&'p Path<'p>, usize),
}

impl Path<'_> {
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut path = self;
        loop {
            path = match path {
                Path::Root => break,
                Path::Key(parent, entry) => {
                    steps.push(Step {
                        text: entry.key.clone(),
                        item: false,
                    });
                    parent
                }
                Path::Item(parent, index) => {
                    steps.push(Step {
                        text: index.to_string().into(),
                        item: true,
                    });
                    parent
                }
            };
        }
        steps.reverse();
        steps
    }
}

impl serde::de::Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Mistake::new(Kind::Other(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Mistake::new(Kind::Unfit {
            found: found.to_string(),
            expected: expected.to_string(),
        })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Mistake::invalid_type(found, expected)
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Mistake::new(Kind::UnknownKey {
            key: key.to_owned(),
            known,
        })
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Mistake::new(Kind::UnknownWord {
            word: word.to_owned(),
            known,
        })
    }

    fn missing_field(key: &'static str) -> Self {
        Mistake::new(Kind::MissingKey(key))
    }

    fn duplicate_field(key: &'static str) -> Self {
        Mistake::new(Kind::DuplicateKey(key))
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            Kind::UnknownKey { key, .. } => write!(f, "unknown key `{key}`"),
            Kind::UnknownWord { word, .. } => write!(f, "unknown word `{word}`"),
            Kind::MissingKey(key) => write!(f, "the key `{key}` is missing"),
            Kind::DuplicateKey(key) => write!(f, "the key `{key}` is set twice"),
            Kind::Unfit { found, expected } => write!(f, "expected {expected}, found {found}"),
            Kind::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Mistake {}
