//! What a type asks for at one place, and the samples it is answered with.

use crate::leaf::Leaf;

/// The way to a place within a type.
pub(crate) type TypePath = Vec<Step>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Field(&'static str),
    /// Any item of a sequence.
    Item,
    /// An item of a tuple.
    Index(usize),
    /// A key of a mapping.
    Key,
    /// The value of any key of a mapping.
    Value,
    /// The content of an enum's variant.
    Variant(&'static str),
}

#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    /// What the type says of itself when it refuses a value.
    pub(crate) expected: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Takes what comes, and decides then.
    Open,
    Leaf(&'static Leaf),
    Bool,
    Integer {
        min: i128,
        max: i128,
    },
    Number,
    String,
    Nothing,
    Struct(&'static [&'static str]),
    /// A struct within itself, or too deep.
    Cut,
    Map,
    Sequence,
    Tuple(usize),
    Enum(&'static [&'static str]),
}

/// Texts that types which parse them may take.
pub(crate) const TEXTS: &[&str] = &[
    "",
    "a",
    "1",
    "10s",
    "127.0.0.1:4317",
    "127.0.0.1",
    "http://localhost:4318/",
    "otlp",
    "true",
    "/a",
    "^a$",
    "1970-01-01T00:00:00Z",
];

pub(crate) const INTEGERS: &[i64] = &[1, 0, 2, 10, 100, 1_000, 60_000];
pub(crate) const NUMBERS: &[f64] = &[1.0, 0.0, 0.5, 10.0];

/// A sample for a place that takes what comes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sample {
    Text(&'static str),
    Integer(i64),
    Number(f64),
    Bool(bool),
    Nothing,
    Sequence,
    Mapping,
}

pub(crate) const OPEN: &[Sample] = &[
    Sample::Text(""),
    Sample::Text("a"),
    Sample::Text("1"),
    Sample::Text("10s"),
    Sample::Text("127.0.0.1:4317"),
    Sample::Text("http://localhost:4318/"),
    Sample::Integer(1),
    Sample::Integer(0),
    Sample::Number(0.5),
    Sample::Bool(false),
    Sample::Nothing,
    Sample::Sequence,
    Sample::Mapping,
];

impl Sample {
    /// The type in JSON Schema.
    pub(crate) fn json_type(self) -> &'static str {
        match self {
            Sample::Text(_) => "string",
            Sample::Integer(_) => "integer",
            Sample::Number(_) => "number",
            Sample::Bool(_) => "boolean",
            Sample::Nothing => "null",
            Sample::Sequence => "array",
            Sample::Mapping => "object",
        }
    }
}

impl Kind {
    /// How many samples there are to answer with.
    pub(crate) fn samples(&self) -> usize {
        match self {
            Kind::Open => OPEN.len(),
            Kind::Leaf(leaf) => leaf.examples.len(),
            Kind::Bool => 2,
            Kind::Integer { .. } => INTEGERS.len(),
            Kind::Number => NUMBERS.len(),
            Kind::String => TEXTS.len(),
            Kind::Enum(words) => words.len(),
            _ => 1,
        }
    }
}
