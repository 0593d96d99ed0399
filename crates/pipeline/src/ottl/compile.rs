//! From the tree to what runs: names are looked up, literals checked, patterns compiled. Once, before any telemetry.

use super::ast::{self, Call as CallTree, Expression, Node};
use super::context::Context;
use super::editors::{self, Editor};
use super::enums;
use super::error::{Problem, Span, nearest};
use super::eval::{Call, Condition, Evaluator};
use super::functions::{self, Body, Constant, Constants, Kind, Parameter, Pure};
use super::lexer::Failure;
use super::path::Path;
use super::pattern::Source;

/// Compiles statements of one context.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compiler {
    pub(super) context: Context,
}

impl Compiler {
    pub(super) fn statement(self, tree: &ast::Statement) -> Result<(Editor, Option<Condition>), Failure> {
        let call = &tree.editor;
        let Some(editor) = editors::find(&call.name) else {
            let problem = Problem::Unknown {
                kind: "editor",
                nearest: nearest(&call.name, editors::all().map(|editor| editor.name)),
                name: call.name.clone(),
                known: "",
            };
            return Err((call.name_span, problem));
        };
        self.check_context(editor.context, editor.name, call)?;
        let bound = self.bind(editor.name, editor.parameters, call)?;
        let condition = tree.condition.as_ref().map(|condition| self.condition(condition));
        Ok(((editor.make)(&bound)?, condition.transpose()?))
    }

    pub(super) fn condition(self, tree: &Expression) -> Result<Condition, Failure> {
        let all = |items: &[Expression]| {
            items
                .iter()
                .map(|item| self.condition(item))
                .collect::<Result<_, _>>()
        };
        Ok(match &tree.node {
            Node::Bool(value) => Condition::Constant(*value),
            Node::Call(call) => Condition::Call(self.call(call)?),
            Node::Compare(operator, sides) => {
                let [left, right] = &**sides;
                let sides = [self.evaluator(left)?, self.evaluator(right)?];
                Condition::Compare(*operator, Box::new(sides))
            }
            Node::And(items) => Condition::And(all(items)?),
            Node::Or(items) => Condition::Or(all(items)?),
            Node::Not(inner) => Condition::Not(Box::new(self.condition(inner)?)),
            _ => return Err((tree.span, Problem::ValueAsBoolean)),
        })
    }

    fn evaluator(self, tree: &Expression) -> Result<Evaluator, Failure> {
        Ok(match &tree.node {
            Node::Nil => Evaluator::Nil,
            Node::Bool(value) => Evaluator::Bool(*value),
            Node::Int(value) => Evaluator::Int(*value),
            Node::Float(value) => Evaluator::Double(*value),
            Node::Text(text) => Evaluator::Text(text.clone()),
            Node::Bytes(bytes) => Evaluator::Bytes(bytes.clone()),
            Node::Symbol(symbol) => Evaluator::Int(symbol_number(symbol, tree.span)?),
            Node::Path(path) => Evaluator::Path(self.path(path, tree.span)?),
            Node::Call(call) => Evaluator::Call(self.call(call)?),
            Node::List(items) => Evaluator::List(
                items
                    .iter()
                    .map(|item| self.evaluator(item))
                    .collect::<Result<_, _>>()?,
            )
            .made_ready(),
            Node::Map(pairs) => {
                let pair = |(key, value): &(String, Expression)| Ok((key.clone(), self.evaluator(value)?));
                Evaluator::Map(pairs.iter().map(pair).collect::<Result<_, Failure>>()?).made_ready()
            }
            Node::Math(first, rest) => {
                let mut operands = Vec::with_capacity(rest.len());
                for (operator, operand) in rest {
                    operands.push((*operator, self.evaluator(operand)?));
                }
                Evaluator::Math(Box::new(self.evaluator(first)?), operands)
            }
            Node::Compare(..) | Node::And(_) | Node::Or(_) | Node::Not(_) => {
                return Err((tree.span, Problem::BooleanAsValue));
            }
        })
    }

    fn path(self, path: &ast::Path, span: Span) -> Result<Path, Failure> {
        Path::resolve(self.context, path, span, &mut |key| self.evaluator(key))
    }

    fn call(self, call: &CallTree) -> Result<Call, Failure> {
        let Some(converter) = functions::find(&call.name) else {
            let kind = match call.name.starts_with(|c: char| c.is_ascii_lowercase()) {
                true => "converter, whose name starts with a capital",
                false => "converter",
            };
            let problem = Problem::Unknown {
                kind,
                nearest: nearest(&call.name, functions::all().map(|converter| converter.name)),
                name: call.name.clone(),
                known: "",
            };
            return Err((call.name_span, problem));
        };
        self.check_context(converter.context, converter.name, call)?;
        let bound = self.bind(converter.name, converter.parameters, call)?;
        let body =
            (converter.make)(&bound.constants).map_err(|(index, problem)| bound.refuse(index, problem))?;
        let mut arguments = Vec::with_capacity(converter.parameters.len());
        for (index, parameter) in converter.parameters.iter().enumerate() {
            arguments.push(match parameter.kind {
                Kind::Value | Kind::Values => bound.value(index)?,
                Kind::Pattern | Kind::Networks if bound.is_calculated(index) => bound.value(index)?,
                // The body was made with it.
                _ => Evaluator::Nil,
            });
        }
        let keys = call
            .keys
            .iter()
            .map(|key| self.evaluator(key))
            .collect::<Result<_, _>>()?;
        Ok(Call {
            body,
            arguments,
            keys,
        })
    }

    fn check_context(
        self,
        needed: Option<Context>,
        function: &'static str,
        call: &CallTree,
    ) -> Result<(), Failure> {
        match needed {
            Some(needed) if needed != self.context => {
                let problem = Problem::FunctionContext {
                    function,
                    expected: needed.as_str(),
                    actual: self.context.as_str(),
                };
                Err((call.name_span, problem))
            }
            _ => Ok(()),
        }
    }

    /// Gives each parameter its argument, by place and then by name.
    fn bind<'t>(
        self,
        function: &'static str,
        parameters: &'static [Parameter],
        call: &'t CallTree,
    ) -> Result<Bound<'t>, Failure> {
        let mut arguments: Vec<Option<&Expression>> = vec![None; parameters.len()];
        for (index, argument) in call.arguments.iter().enumerate() {
            let place = match &argument.name {
                Some((name, span)) => named_place(function, parameters, name, *span)?,
                None if index < parameters.len() => index,
                None => return Err((call.span, argument_count(function, parameters, call))),
            };
            let slot = &mut arguments[place];
            if slot.is_some() {
                let name = parameters[place].name;
                return Err((argument.value.span, Problem::ArgumentTwice { name }));
            }
            *slot = Some(&argument.value);
        }
        let mut constants = Constants::default();
        for (parameter, argument) in parameters.iter().zip(&arguments) {
            let constant = match argument {
                None if parameter.optional => None,
                None => {
                    let name = parameter.name;
                    return Err((call.span, Problem::ArgumentMissing { function, name }));
                }
                Some(expression) => constant(function, parameter, expression)?,
            };
            constants.0.push(constant);
        }
        Ok(Bound {
            compiler: self,
            function,
            parameters,
            arguments,
            constants,
            span: call.span,
        })
    }
}

fn symbol_number(symbol: &str, span: Span) -> Result<i64, Failure> {
    enums::number(symbol).ok_or_else(|| {
        let problem = Problem::Unknown {
            kind: "enum",
            nearest: nearest(symbol, enums::symbols()),
            name: symbol.to_owned(),
            known: "",
        };
        (span, problem)
    })
}

fn argument_count(function: &'static str, parameters: &[Parameter], call: &CallTree) -> Problem {
    let most = parameters.len();
    let least = parameters.iter().filter(|parameter| !parameter.optional).count();
    let expected = if least == most {
        format!("{most} arguments")
    } else {
        format!("{least} to {most} arguments")
    };
    Problem::ArgumentCount {
        function,
        expected,
        actual: call.arguments.len(),
    }
}

/// The place of a parameter; `headerDelimiter` and `header_delimiter` are the same name.
fn named_place(
    function: &'static str,
    parameters: &[Parameter],
    name: &str,
    span: Span,
) -> Result<usize, Failure> {
    let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let wanted = plain(name);
    let place = parameters
        .iter()
        .position(|parameter| plain(parameter.name) == wanted);
    place.ok_or_else(|| {
        let names: Vec<&str> = parameters.iter().map(|parameter| parameter.name).collect();
        let problem = Problem::ArgumentName {
            function,
            name: name.to_owned(),
            names: names.join(", "),
        };
        (span, problem)
    })
}

/// A literal number.
fn number(node: &Node) -> Option<f64> {
    match node {
        Node::Float(value) => Some(*value),
        Node::Int(value) => Some(*value as f64),
        _ => None,
    }
}

/// What is in a list of nothing but texts in quotes.
fn texts(items: &[Expression]) -> Option<Vec<String>> {
    let texts = items.iter().map(|item| match &item.node {
        Node::Text(text) => Some(text.clone()),
        _ => None,
    });
    texts.collect()
}

/// The literal that a parameter needs, if it needs one.
fn constant(
    function: &'static str,
    parameter: &Parameter,
    expression: &Expression,
) -> Result<Option<Constant>, Failure> {
    let expected = match (parameter.kind, &expression.node) {
        (Kind::Value, _) => return Ok(None),
        // Paths and converters may come to a list.
        (Kind::Values, Node::List(_) | Node::Path(_) | Node::Call(_)) => return Ok(None),
        (Kind::Values, _) => "a list",
        (Kind::Text, Node::Text(text)) => return Ok(Some(Constant::Text(text.clone()))),
        (Kind::Text, _) => "a text in quotes",
        (Kind::Pattern, Node::Text(text)) => return Ok(Some(Constant::Text(text.clone()))),
        (Kind::Pattern, _) => return Ok(None),
        (Kind::Networks, Node::List(items)) => return Ok(texts(items).map(Constant::Texts)),
        (Kind::Networks, _) => return Ok(None),
        (Kind::Int, Node::Int(value)) => return Ok(Some(Constant::Int(*value))),
        (Kind::Int, _) => "a whole number",
        (Kind::Double, node) => match number(node) {
            Some(value) => return Ok(Some(Constant::Double(value))),
            None => "a number",
        },
        (Kind::Doubles, Node::List(items)) => match items.iter().map(|item| number(&item.node)).collect() {
            Some(values) => return Ok(Some(Constant::Doubles(values))),
            None => "a list of numbers",
        },
        (Kind::Doubles, _) => "a list of numbers",
        (Kind::Bool, Node::Bool(value)) => return Ok(Some(Constant::Bool(*value))),
        (Kind::Bool, _) => "`true` or `false`",
        (Kind::Texts, Node::List(items)) => match texts(items) {
            Some(texts) => return Ok(Some(Constant::Texts(texts))),
            None => "a list of texts in quotes",
        },
        (Kind::Texts, _) => "a list of texts in quotes",
        (Kind::Target, Node::Path(_)) => return Ok(None),
        (Kind::Target, _) => "a path",
        (Kind::Function, Node::Symbol(_)) => return Ok(None),
        (Kind::Function, _) => "the name of a converter",
    };
    let problem = Problem::ArgumentKind {
        function,
        name: parameter.name,
        expected,
    };
    Err((expression.span, problem))
}

/// The arguments of a call, by parameter.
pub(super) struct Bound<'t> {
    compiler: Compiler,
    function: &'static str,
    parameters: &'static [Parameter],
    arguments: Vec<Option<&'t Expression>>,
    constants: Constants,
    span: Span,
}

impl Bound<'_> {
    fn argument(&self, index: usize) -> Option<&Expression> {
        self.arguments.get(index).copied().flatten()
    }

    fn name(&self, index: usize) -> &'static str {
        self.parameters.get(index).map_or("", |parameter| parameter.name)
    }

    pub(super) fn is_given(&self, index: usize) -> bool {
        self.argument(index).is_some()
    }

    /// Whether it is given and no literal that the function is made with.
    fn is_calculated(&self, index: usize) -> bool {
        self.is_given(index) && matches!(self.constants.0.get(index), Some(None))
    }

    /// An error about the value of an argument.
    pub(super) fn refuse(&self, index: usize, problem: String) -> Failure {
        let span = self.argument(index).map_or(self.span, |argument| argument.span);
        let problem = Problem::ArgumentValue {
            function: self.function,
            name: self.name(index),
            problem,
        };
        (span, problem)
    }

    pub(super) fn missing(&self, index: usize) -> Failure {
        let problem = Problem::ArgumentMissing {
            function: self.function,
            name: self.name(index),
        };
        (self.span, problem)
    }

    /// Any expression; nil if it is not given.
    pub(super) fn value(&self, index: usize) -> Result<Evaluator, Failure> {
        match self.argument(index) {
            Some(argument) => self.compiler.evaluator(argument),
            None => Ok(Evaluator::Nil),
        }
    }

    pub(super) fn target(&self, index: usize) -> Result<Path, Failure> {
        let Some(argument) = self.argument(index) else {
            return Err(self.missing(index));
        };
        let Node::Path(tree) = &argument.node else {
            return Err(self.refuse(index, "it is no path".to_owned()));
        };
        let path = self.compiler.path(tree, argument.span)?;
        if !path.is_writable() {
            return Err((argument.span, Problem::ReadOnly { path: tree.dotted() }));
        }
        Ok(path)
    }

    pub(super) fn text(&self, index: usize) -> Option<&str> {
        self.constants.text(index)
    }

    pub(super) fn bool(&self, index: usize) -> Option<bool> {
        self.constants.bool(index)
    }

    pub(super) fn double(&self, index: usize) -> Option<f64> {
        self.constants.double(index)
    }

    pub(super) fn doubles(&self, index: usize) -> Vec<f64> {
        self.constants.doubles(index).unwrap_or_default().to_vec()
    }

    pub(super) fn texts(&self, index: usize) -> Vec<String> {
        self.constants.texts(index).unwrap_or_default().to_vec()
    }

    /// A number that is not negative.
    pub(super) fn size(&self, index: usize) -> Result<usize, Failure> {
        let value = self.constants.int(index).unwrap_or(0);
        usize::try_from(value).map_err(|_| self.refuse(index, "it cannot be negative".to_owned()))
    }

    /// What a pattern is made into, and the expression that it is.
    pub(super) fn pattern<T>(
        &self,
        index: usize,
        make: impl Fn(&str) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<(Source<T>, Evaluator), Failure> {
        let source = Source::new(self.text(index), make).map_err(|problem| self.refuse(index, problem))?;
        Ok((source, self.value(index)?))
    }

    /// A converter of one argument that is named and not called.
    pub(super) fn function(&self, index: usize) -> Result<Option<Pure>, Failure> {
        let Some(Expression {
            node: Node::Symbol(name),
            ..
        }) = self.argument(index)
        else {
            return Ok(None);
        };
        let Some(converter) = functions::find(name) else {
            return Err(self.refuse(index, format!("`{name}` is no converter")));
        };
        let of_one = converter
            .parameters
            .first()
            .is_some_and(|first| first.kind == Kind::Value)
            && converter
                .parameters
                .iter()
                .skip(1)
                .all(|parameter| parameter.optional);
        let constants = Constants(vec![None; converter.parameters.len()]);
        match (converter.make)(&constants) {
            Ok(Body::Pure(body)) if of_one => Ok(Some(body)),
            _ => Err(self.refuse(index, format!("`{name}` does not take one text"))),
        }
    }
}
