//! Tokens as a tree, by the precedence of expr-lang.

use cupola_config::nearest::nearest;
use regex::Regex;

use super::eval::{self, Function};
use super::lexer::{Placed, Token};
use super::{Variables, Wrong};
use crate::operators::value::Value;
use crate::ottl::pattern;

/// Brackets and operators within one another.
const DEPTH_MAX: usize = 64;
/// Operators in one expression: a long chain of them is a deep tree.
const OPERATORS_MAX: usize = 256;

#[derive(Debug)]
pub(super) enum Node {
    Literal(Value),
    Root(Root),
    List(Vec<Node>),
    Member {
        of: Box<Node>,
        key: Box<Node>,
        optional: bool,
    },
    Not(Box<Node>),
    Negative(Box<Node>),
    Binary {
        operator: Operator,
        left: Box<Node>,
        right: Box<Node>,
    },
    Matches {
        text: Box<Node>,
        pattern: Regex,
    },
    Choice {
        condition: Box<Node>,
        yes: Box<Node>,
        no: Box<Node>,
    },
    Call {
        function: &'static Function,
        arguments: Vec<Node>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Root {
    Body,
    Attributes,
    Resource,
    Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Contains,
    StartsWith,
    EndsWith,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
    Otherwise,
}

/// How strongly an operator binds.
fn binary(token: &Token) -> Option<(u16, Option<Operator>)> {
    use Operator::*;
    let (binds, operator) = match token {
        Token::Sign("||") => (10, Or),
        Token::Sign("&&") => (15, And),
        Token::Sign("==") => (20, Equal),
        Token::Sign("!=") => (20, Unequal),
        Token::Sign("<") => (20, Less),
        Token::Sign("<=") => (20, LessOrEqual),
        Token::Sign(">") => (20, Greater),
        Token::Sign(">=") => (20, GreaterOrEqual),
        Token::Sign("+") => (30, Add),
        Token::Sign("-") => (30, Subtract),
        Token::Sign("*") => (60, Multiply),
        Token::Sign("/") => (60, Divide),
        Token::Sign("%") => (60, Remainder),
        Token::Sign("**") => (100, Power),
        Token::Sign("??") => (500, Otherwise),
        Token::Name(name) => match name.as_str() {
            "or" => (10, Or),
            "and" => (15, And),
            "in" => (20, In),
            "contains" => (20, Contains),
            "startsWith" => (20, StartsWith),
            "endsWith" => (20, EndsWith),
            "matches" | "not" => return Some((20, None)),
            _ => return None,
        },
        _ => return None,
    };
    Some((binds, Some(operator)))
}

pub(super) fn parse(text: &str, tokens: &[Placed], variables: &Variables) -> Result<Node, Wrong> {
    let mut parser = Parser {
        text,
        tokens,
        at: 0,
        depth: 0,
        operators: 0,
        variables,
    };
    let node = parser.choice()?;
    match parser.peek() {
        None => Ok(node),
        Some(placed) => {
            let shown = &text[placed.start..placed.end];
            let problem = match placed.token {
                Token::Sign("..") => "there are no ranges here".to_owned(),
                _ => format!("`{shown}` cannot stand here"),
            };
            Err(Wrong::new(placed.start, placed.end, problem))
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    tokens: &'t [Placed],
    at: usize,
    depth: usize,
    operators: usize,
    variables: &'t Variables,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t Placed> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<&'t Placed> {
        let placed = self.tokens.get(self.at)?;
        self.at += 1;
        Some(placed)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Placed { token: Token::Sign(found), .. }) if *found == sign);
        self.at += usize::from(found);
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Placed { token: Token::Name(found), .. }) if found == word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), Wrong> {
        match self.take(sign) {
            true => Ok(()),
            false => Err(self.wrong(format_args!("expected `{sign}`"))),
        }
    }

    /// About the next token, or the end.
    fn wrong(&self, problem: impl std::fmt::Display) -> Wrong {
        let (start, end) = self.peek().map_or((self.text.len(), self.text.len()), |placed| {
            (placed.start, placed.end)
        });
        Wrong::new(start, end, problem)
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Wrong>) -> Result<T, Wrong> {
        if self.depth >= DEPTH_MAX {
            return Err(self.wrong(format_args!("nested deeper than {DEPTH_MAX} levels")));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn choice(&mut self) -> Result<Node, Wrong> {
        self.deeper(|parser| {
            let condition = parser.operators(0)?;
            if !parser.take("?") {
                return Ok(condition);
            }
            let yes = parser.choice()?;
            parser.expect(":")?;
            let no = parser.choice()?;
            Ok(Node::Choice {
                condition: condition.into(),
                yes: yes.into(),
                no: no.into(),
            })
        })
    }

    fn operators(&mut self, least: u16) -> Result<Node, Wrong> {
        let mut left = self.unary()?;
        while let Some(placed) = self.peek() {
            let Some((binds, operator)) = binary(&placed.token) else {
                break;
            };
            if binds < least {
                break;
            }
            if self.operators >= OPERATORS_MAX {
                return Err(self.wrong(format_args!("more than {OPERATORS_MAX} operators")));
            }
            self.at += 1;
            self.operators += 1;
            left = match operator {
                Some(operator) => {
                    // Powers are taken from the right: 2 ** 3 ** 2 is 2 ** 9.
                    let least = if operator == Operator::Power {
                        binds
                    } else {
                        binds + 1
                    };
                    let right = self.deeper(|parser| parser.operators(least))?;
                    Node::Binary {
                        operator,
                        left: left.into(),
                        right: right.into(),
                    }
                }
                None => self.worded(placed, left)?,
            };
        }
        Ok(left)
    }

    /// What follows `matches`, `not in`, `not matches` and the like.
    fn worded(&mut self, placed: &Placed, left: Node) -> Result<Node, Wrong> {
        const RIGHT: u16 = 21;
        let negated = matches!(&placed.token, Token::Name(name) if name == "not");
        if negated && !self.take_word("matches") {
            let operator = match self.next().map(|placed| &placed.token) {
                Some(Token::Name(name)) if name == "in" => Operator::In,
                Some(Token::Name(name)) if name == "contains" => Operator::Contains,
                Some(Token::Name(name)) if name == "startsWith" => Operator::StartsWith,
                Some(Token::Name(name)) if name == "endsWith" => Operator::EndsWith,
                _ => return Err(Wrong::new(placed.start, placed.end, "`not` cannot stand here")),
            };
            let right = self.deeper(|parser| parser.operators(RIGHT))?;
            return Ok(Node::Not(
                Node::Binary {
                    operator,
                    left: left.into(),
                    right: right.into(),
                }
                .into(),
            ));
        }
        let Some(Placed {
            token: Token::Text(text),
            start,
            end,
        }) = self.next()
        else {
            self.at -= 1;
            return Err(self.wrong("the pattern of `matches` must be written out as text"));
        };
        let compiled = pattern::compile(text).map_err(|problem| {
            Wrong::new(
                *start,
                *end,
                format_args!("the pattern cannot be used: {problem}"),
            )
        })?;
        let node = Node::Matches {
            text: left.into(),
            pattern: compiled,
        };
        Ok(if negated { Node::Not(node.into()) } else { node })
    }

    fn unary(&mut self) -> Result<Node, Wrong> {
        // Binds more than a comparison: `not a == b` is `(not a) == b`, as in expr-lang.
        if self.take("!") || self.take_word("not") {
            let inner = self.deeper(|parser| parser.operators(50))?;
            return Ok(Node::Not(inner.into()));
        }
        if self.take("-") {
            let inner = self.deeper(|parser| parser.operators(90))?;
            return Ok(Node::Negative(inner.into()));
        }
        if self.take("+") {
            return self.deeper(|parser| parser.operators(90));
        }
        let primary = self.primary()?;
        self.members(primary)
    }

    fn primary(&mut self) -> Result<Node, Wrong> {
        let Some(placed) = self.next() else {
            return Err(self.wrong("expected a value"));
        };
        Ok(match &placed.token {
            Token::Text(text) => Node::Literal(Value::from(text.as_str())),
            Token::Int(value) => Node::Literal(Value::Int(*value)),
            Token::Float(value) => Node::Literal(Value::Float(*value)),
            Token::Sign("(") => {
                let inner = self.choice()?;
                self.expect(")")?;
                inner
            }
            Token::Sign("[") => Node::List(self.list("]")?),
            Token::Sign(sign) => {
                return Err(Wrong::new(
                    placed.start,
                    placed.end,
                    format_args!("expected a value, found `{sign}`"),
                ));
            }
            Token::Name(name) => match name.as_str() {
                "true" => Node::Literal(Value::Bool(true)),
                "false" => Node::Literal(Value::Bool(false)),
                "nil" => Node::Literal(Value::Nil),
                _ if self.take("(") => self.call(placed, name)?,
                "body" | "$" => Node::Root(Root::Body),
                "attributes" => Node::Root(Root::Attributes),
                "resource" => Node::Root(Root::Resource),
                "timestamp" => Node::Root(Root::Timestamp),
                _ => {
                    return Err(unknown(
                        placed,
                        name,
                        &["body", "attributes", "resource", "timestamp"],
                        "value",
                    ));
                }
            },
        })
    }

    fn call(&mut self, placed: &Placed, name: &str) -> Result<Node, Wrong> {
        let Some(function) = eval::FUNCTIONS.iter().find(|function| function.name == name) else {
            let mut known: Vec<&str> = eval::FUNCTIONS.iter().map(|function| function.name).collect();
            known.push("env");
            if name != "env" {
                return Err(unknown(placed, name, &known, "function"));
            }
            let arguments = self.list(")")?;
            let [Node::Literal(Value::Text(variable))] = &arguments[..] else {
                return Err(Wrong::new(
                    placed.start,
                    placed.end,
                    "`env` takes the name of a variable as text",
                ));
            };
            let value = self.variables.get(variable).cloned().unwrap_or_default();
            return Ok(Node::Literal(Value::Text(value)));
        };
        let arguments = self.list(")")?;
        if arguments.len() != function.arguments {
            let problem = format!(
                "`{name}` takes {} arguments, not {}",
                function.arguments,
                arguments.len()
            );
            return Err(Wrong::new(placed.start, placed.end, problem));
        }
        Ok(Node::Call { function, arguments })
    }

    fn list(&mut self, end: &str) -> Result<Vec<Node>, Wrong> {
        let mut items = Vec::new();
        while !self.take(end) {
            if !items.is_empty() {
                self.expect(",")?;
                // A comma may stand behind the last item.
                if self.take(end) {
                    break;
                }
            }
            items.push(self.choice()?);
        }
        Ok(items)
    }

    fn members(&mut self, mut node: Node) -> Result<Node, Wrong> {
        let mut steps = 0;
        loop {
            let optional = self.take("?.");
            let key = if optional || self.take(".") {
                match self.next().map(|placed| &placed.token) {
                    Some(Token::Name(name)) => Node::Literal(Value::from(name.as_str())),
                    Some(Token::Sign("[")) if optional => self.key()?,
                    _ => {
                        self.at -= 1;
                        return Err(self.wrong("expected the name of a member"));
                    }
                }
            } else if self.take("[") {
                self.key()?
            } else {
                return Ok(node);
            };
            steps += 1;
            if steps > DEPTH_MAX {
                return Err(self.wrong(format_args!("nested deeper than {DEPTH_MAX} levels")));
            }
            node = Node::Member {
                of: node.into(),
                key: key.into(),
                optional,
            };
        }
    }

    fn key(&mut self) -> Result<Node, Wrong> {
        let key = self.choice()?;
        if self.take(":") {
            self.at -= 1;
            return Err(self.wrong("there are no slices here"));
        }
        self.expect("]")?;
        Ok(key)
    }
}

fn unknown(placed: &Placed, name: &str, known: &[&str], kind: &str) -> Wrong {
    let problem = match nearest(name, known.iter().copied()) {
        Some(near) => format!("`{name}` is no {kind}; is it `{near}`?"),
        None => format!("`{name}` is no {kind}; there are `{}`", known.join("`, `")),
    };
    Wrong::new(placed.start, placed.end, problem)
}
