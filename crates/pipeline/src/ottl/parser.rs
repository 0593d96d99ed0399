//! From tokens to a tree, by the grammar of the OpenTelemetry Transformation Language.
//!
//! `or` binds loosest, then `and`, `not`, comparisons, `+ -`, `* /`. Recursion is bounded.
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/blob/main/pkg/ottl/LANGUAGE.md>

use super::ast::{Argument, Call, CompareOperator, Expression, MathOperator, Node, Path, Segment, Statement};
use super::error::{OttlError, Problem, Span};
use super::lexer::{Failure, Spanned, Token, tokens};

/// Deepest nesting of parentheses, lists and arguments.
pub(super) const DEPTH_MAX: usize = 64;

/// Parses `editor(…)` or `editor(…) where condition`.
pub(super) fn statement(text: &str) -> Result<Statement, OttlError> {
    parse(text, |parser| {
        let expected = "an editor, as in `set(…)`";
        let Token::Name(name) = parser.peek().clone() else {
            return parser.expected(expected);
        };
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            return parser.expected("an editor, whose name starts with a small letter");
        }
        let start = parser.advance();
        if *parser.peek() != Token::Mark("(") {
            return parser.expected("`(`");
        }
        let editor = parser.call(name, start)?;
        if !editor.keys.is_empty() {
            return Err((editor.span, Problem::EditorIndexed));
        }
        let condition = match parser.take_word("where") {
            true => Some(parser.or()?),
            false => None,
        };
        parser.end("`where` or the end of the statement")?;
        Ok(Statement { editor, condition })
    })
}

/// Parses a condition alone.
pub(super) fn condition(text: &str) -> Result<Expression, OttlError> {
    parse(text, |parser| {
        let condition = parser.or()?;
        parser.end("`and`, `or` or the end of the condition")?;
        Ok(condition)
    })
}

fn parse<T>(text: &str, rule: impl FnOnce(&mut Parser) -> Result<T, Failure>) -> Result<T, OttlError> {
    let parsed = tokens(text).and_then(|tokens| {
        rule(&mut Parser {
            tokens,
            at: 0,
            depth: 0,
        })
    });
    parsed.map_err(|(span, problem)| OttlError {
        statement: text.to_owned(),
        span,
        problem,
    })
}

struct Parser {
    /// Ends with [`Token::End`], which is never passed.
    tokens: Vec<Spanned>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens
            .get(self.at)
            .map_or(&Token::End, |spanned| &spanned.token)
    }

    fn peek_second(&self) -> &Token {
        self.tokens
            .get(self.at + 1)
            .map_or(&Token::End, |spanned| &spanned.token)
    }

    fn span(&self) -> Span {
        self.tokens
            .get(self.at)
            .map_or(Span::new(0, 0), |spanned| spanned.span)
    }

    /// Where the last token taken ends.
    fn last_span(&self) -> Span {
        let last = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        last.map_or(Span::new(0, 0), |spanned| spanned.span)
    }

    fn advance(&mut self) -> Span {
        let span = self.span();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        span
    }

    fn expected<T>(&self, expected: &'static str) -> Result<T, Failure> {
        Err((self.span(), Problem::Expected { expected }))
    }

    fn take_mark(&mut self, mark: &str) -> bool {
        let found = matches!(self.peek(), Token::Mark(next) if *next == mark);
        if found {
            self.advance();
        }
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Name(next) if next == word);
        if found {
            self.advance();
        }
        found
    }

    fn end(&self, expected: &'static str) -> Result<(), Failure> {
        match self.peek() {
            Token::End => Ok(()),
            _ => self.expected(expected),
        }
    }

    fn nested<T>(&mut self, rule: impl FnOnce(&mut Self) -> Result<T, Failure>) -> Result<T, Failure> {
        if self.depth == DEPTH_MAX {
            return Err((self.span(), Problem::Nesting));
        }
        self.depth += 1;
        let parsed = rule(self);
        self.depth -= 1;
        parsed
    }

    fn or(&mut self) -> Result<Expression, Failure> {
        let first = self.and()?;
        self.chain(first, "or", Node::Or, Self::and)
    }

    fn and(&mut self) -> Result<Expression, Failure> {
        let first = self.not()?;
        self.chain(first, "and", Node::And, Self::not)
    }

    fn chain(
        &mut self,
        first: Expression,
        word: &str,
        node: fn(Vec<Expression>) -> Node,
        rule: fn(&mut Self) -> Result<Expression, Failure>,
    ) -> Result<Expression, Failure> {
        if !matches!(self.peek(), Token::Name(next) if next == word) {
            return Ok(first);
        }
        let start = first.span;
        let mut all = vec![first];
        while self.take_word(word) {
            all.push(rule(self)?);
        }
        Ok(Expression {
            node: node(all),
            span: start.to(self.last_span()),
        })
    }

    fn not(&mut self) -> Result<Expression, Failure> {
        let start = self.span();
        if !self.take_word("not") {
            return self.comparison();
        }
        let inner = self.nested(Self::not)?;
        Ok(Expression {
            span: start.to(inner.span),
            node: Node::Not(Box::new(inner)),
        })
    }

    fn comparison(&mut self) -> Result<Expression, Failure> {
        let left = self.sum()?;
        let operator = match self.peek() {
            Token::Mark("==") => CompareOperator::Equal,
            Token::Mark("!=") => CompareOperator::NotEqual,
            Token::Mark("<") => CompareOperator::Less,
            Token::Mark("<=") => CompareOperator::LessOrEqual,
            Token::Mark(">") => CompareOperator::Greater,
            Token::Mark(">=") => CompareOperator::GreaterOrEqual,
            _ => return Ok(left),
        };
        self.advance();
        let right = self.sum()?;
        Ok(Expression {
            span: left.span.to(right.span),
            node: Node::Compare(operator, Box::new([left, right])),
        })
    }

    fn sum(&mut self) -> Result<Expression, Failure> {
        self.operators(Self::product, |mark| match mark {
            "+" => Some(MathOperator::Add),
            "-" => Some(MathOperator::Subtract),
            _ => None,
        })
    }

    fn product(&mut self) -> Result<Expression, Failure> {
        self.operators(Self::operand, |mark| match mark {
            "*" => Some(MathOperator::Multiply),
            "/" => Some(MathOperator::Divide),
            _ => None,
        })
    }

    /// Operands with operators of one rank between them. A list and not a tree, so that a long sum is not a deep one.
    fn operators(
        &mut self,
        operand: fn(&mut Self) -> Result<Expression, Failure>,
        operator: fn(&str) -> Option<MathOperator>,
    ) -> Result<Expression, Failure> {
        let first = operand(self)?;
        let mut rest = Vec::new();
        while let Token::Mark(mark) = self.peek()
            && let Some(operator) = operator(mark)
        {
            self.advance();
            rest.push((operator, operand(self)?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        Ok(Expression {
            span: first.span.to(self.last_span()),
            node: Node::Math(Box::new(first), rest),
        })
    }

    fn operand(&mut self) -> Result<Expression, Failure> {
        let start = self.span();
        let node = match self.peek().clone() {
            Token::Mark("(") => {
                self.advance();
                let inner = self.nested(Self::or)?;
                if !self.take_mark(")") {
                    return self.expected("`)`");
                }
                return Ok(inner);
            }
            Token::Mark("[") => self.list()?,
            Token::Mark("{") => self.map()?,
            Token::Mark(sign @ ("-" | "+")) => {
                self.advance();
                self.signed(sign == "-")?
            }
            Token::Text(text) => self.literal(Node::Text(text)),
            Token::Bytes(bytes) => self.literal(Node::Bytes(bytes)),
            Token::Int(_) | Token::Float(_) => self.signed_number(false)?,
            Token::Name(name) => return self.named(name),
            Token::Mark(_) | Token::End => return self.expected("a value"),
        };
        Ok(Expression {
            node,
            span: start.to(self.last_span()),
        })
    }

    fn literal(&mut self, node: Node) -> Node {
        self.advance();
        node
    }

    /// What a sign stands in front of: a number, or anything that comes to one.
    fn signed(&mut self, negative: bool) -> Result<Node, Failure> {
        if matches!(self.peek(), Token::Int(_) | Token::Float(_)) {
            return self.signed_number(negative);
        }
        let operand = self.nested(Self::operand)?;
        if !negative {
            return Ok(operand.node);
        }
        let zero = Expression {
            node: Node::Int(0),
            span: operand.span,
        };
        Ok(Node::Math(
            Box::new(zero),
            vec![(MathOperator::Subtract, operand)],
        ))
    }

    fn signed_number(&mut self, negative: bool) -> Result<Node, Failure> {
        let node = match *self.peek() {
            Token::Float(value) => Node::Float(if negative { -value } else { value }),
            Token::Int(value) => {
                let value = i128::from(value);
                match i64::try_from(if negative { -value } else { value }) {
                    Ok(value) => Node::Int(value),
                    Err(_) => return Err((self.span(), Problem::NumberRange)),
                }
            }
            _ => return self.expected("a number"),
        };
        Ok(self.literal(node))
    }

    fn named(&mut self, name: String) -> Result<Expression, Failure> {
        let start = self.advance();
        let word = match name.as_str() {
            "true" => Some(Node::Bool(true)),
            "false" => Some(Node::Bool(false)),
            "nil" => Some(Node::Nil),
            "and" | "or" | "not" | "where" => {
                return Err((start, Problem::Expected { expected: "a value" }));
            }
            _ => None,
        };
        if let Some(node) = word {
            return Ok(Expression { node, span: start });
        }
        if *self.peek() == Token::Mark("(") {
            let call = self.call(name, start)?;
            return Ok(Expression {
                span: call.span,
                node: Node::Call(call),
            });
        }
        if name.starts_with(|c: char| c.is_ascii_uppercase()) {
            return Ok(Expression {
                node: Node::Symbol(name),
                span: start,
            });
        }
        self.path(name, start)
    }

    fn path(&mut self, first: String, start: Span) -> Result<Expression, Failure> {
        let keys = self.keys()?;
        let mut segments = vec![Segment {
            name: first,
            keys,
            span: start,
        }];
        while self.take_mark(".") {
            let Token::Name(name) = self.peek().clone() else {
                return self.expected("the name of a field");
            };
            let span = self.advance();
            let keys = self.keys()?;
            segments.push(Segment { name, keys, span });
        }
        Ok(Expression {
            node: Node::Path(Path { segments }),
            span: start.to(self.last_span()),
        })
    }

    fn keys(&mut self) -> Result<Vec<Expression>, Failure> {
        let mut keys = Vec::new();
        while self.take_mark("[") {
            keys.push(self.nested(Self::sum)?);
            if !self.take_mark("]") {
                return self.expected("`]`");
            }
        }
        Ok(keys)
    }

    /// The arguments and keys of a call whose name has been taken.
    fn call(&mut self, name: String, start: Span) -> Result<Call, Failure> {
        let mut arguments = Vec::new();
        self.advance();
        if !self.take_mark(")") {
            loop {
                arguments.push(self.nested(Self::argument)?);
                if self.take_mark(")") {
                    break;
                }
                if !self.take_mark(",") {
                    return self.expected("`,` or `)`");
                }
            }
        }
        let keys = self.keys()?;
        Ok(Call {
            name,
            name_span: start,
            arguments,
            keys,
            span: start.to(self.last_span()),
        })
    }

    fn argument(&mut self) -> Result<Argument, Failure> {
        let mut name = None;
        if let (Token::Name(word), Token::Mark("=")) = (self.peek().clone(), self.peek_second()) {
            name = Some((word, self.advance()));
            self.advance();
        }
        let value = self.or()?;
        Ok(Argument { name, value })
    }

    fn list(&mut self) -> Result<Node, Failure> {
        self.advance();
        let mut items = Vec::new();
        while !self.take_mark("]") {
            items.push(self.nested(Self::sum)?);
            if !self.take_mark(",") && *self.peek() != Token::Mark("]") {
                return self.expected("`,` or `]`");
            }
        }
        Ok(Node::List(items))
    }

    fn map(&mut self) -> Result<Node, Failure> {
        self.advance();
        let mut pairs = Vec::new();
        while !self.take_mark("}") {
            let Token::Text(key) = self.peek().clone() else {
                return self.expected("a key in quotes");
            };
            self.advance();
            if !self.take_mark(":") {
                return self.expected("`:`");
            }
            pairs.push((key, self.nested(Self::sum)?));
            if !self.take_mark(",") && *self.peek() != Token::Mark("}") {
                return self.expected("`,` or `}`");
            }
        }
        Ok(Node::Map(pairs))
    }
}
