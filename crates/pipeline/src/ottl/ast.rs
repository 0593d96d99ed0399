//! What the parser makes of a statement: names are not looked up yet.

use super::error::Span;

#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) editor: Call,
    pub(super) condition: Option<Expression>,
}

#[derive(Clone, Debug)]
pub(super) struct Expression {
    pub(super) node: Node,
    pub(super) span: Span,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// An enum, or the name of a function that is an argument.
    Symbol(String),
    Path(Path),
    Call(Call),
    List(Vec<Expression>),
    Map(Vec<(String, Expression)>),
    /// Operators of one rank, applied from left to right.
    Math(Box<Expression>, Vec<(MathOperator, Expression)>),
    Compare(CompareOperator, Box<[Expression; 2]>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Not(Box<Expression>),
}

#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) name_span: Span,
    pub(super) arguments: Vec<Argument>,
    pub(super) keys: Vec<Expression>,
    pub(super) span: Span,
}

#[derive(Clone, Debug)]
pub(super) struct Argument {
    pub(super) name: Option<(String, Span)>,
    pub(super) value: Expression,
}

#[derive(Clone, Debug)]
pub(super) struct Path {
    pub(super) segments: Vec<Segment>,
}

#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) name: String,
    pub(super) keys: Vec<Expression>,
    pub(super) span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MathOperator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CompareOperator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Expression {
    /// Shows every path and call in this, outermost first.
    pub(super) fn walk<'e>(&'e self, visit: &mut impl FnMut(&'e Expression)) {
        visit(self);
        match &self.node {
            Node::Path(path) => {
                let keys = path.segments.iter().flat_map(|segment| &segment.keys);
                keys.for_each(|key| key.walk(visit));
            }
            Node::Call(call) => call.walk(visit),
            Node::List(items) | Node::And(items) | Node::Or(items) => {
                items.iter().for_each(|item| item.walk(visit));
            }
            Node::Map(pairs) => pairs.iter().for_each(|(_, value)| value.walk(visit)),
            Node::Math(first, rest) => {
                first.walk(visit);
                rest.iter().for_each(|(_, operand)| operand.walk(visit));
            }
            Node::Compare(_, sides) => sides.iter().for_each(|side| side.walk(visit)),
            Node::Not(inner) => inner.walk(visit),
            _ => {}
        }
    }
}

impl Call {
    pub(super) fn walk<'e>(&'e self, visit: &mut impl FnMut(&'e Expression)) {
        self.arguments
            .iter()
            .for_each(|argument| argument.value.walk(visit));
        self.keys.iter().for_each(|key| key.walk(visit));
    }
}

impl Path {
    /// As it is written, without keys.
    pub(super) fn dotted(&self) -> String {
        let names: Vec<&str> = self
            .segments
            .iter()
            .map(|segment| segment.name.as_str())
            .collect();
        names.join(".")
    }
}
