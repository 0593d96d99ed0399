//! Which context statements belong to that name their contexts in front of their paths.

use cupola_telemetry::Signal;

use super::ast::{Expression, Node, Path};
use super::context::Context;
use super::error::{OttlError, Problem, Span};
use super::{editors, functions, parser};

/// What a statement or condition needs of its context.
#[derive(Default)]
struct Needs {
    named: Vec<Context>,
    /// The only context that a function in it works in.
    function: Option<Context>,
}

impl Needs {
    fn add(&mut self, expression: &Expression) {
        match &expression.node {
            Node::Path(path) => self.named.extend(prefix(path)),
            Node::Call(call) => {
                let context = functions::find(&call.name).and_then(|converter| converter.context);
                self.function = self.function.or(context);
            }
            _ => {}
        }
    }

    /// The outermost context of `signal` that sees all that is named; the items' own if nothing is.
    fn context(&self, signal: Signal) -> Option<Context> {
        let sees_all = |context: Context| self.named.iter().all(|named| context.sees(*named));
        if let Some(context) = self.function {
            return sees_all(context).then_some(context);
        }
        if self.named.is_empty() {
            return Context::of_signal(signal).get(2).copied();
        }
        Context::of_signal(signal)
            .iter()
            .copied()
            .find(|context| sees_all(*context))
    }
}

fn prefix(path: &Path) -> Option<Context> {
    let first = path.segments.first()?;
    Context::of_prefix(&first.name).filter(|_| path.segments.len() > 1)
}

/// The context of one statement of `signal`.
pub fn infer_statement(signal: Signal, statement: &str) -> Result<Context, OttlError> {
    let tree = parser::statement(statement)?;
    let mut needs = Needs {
        function: editors::find(&tree.editor.name).and_then(|editor| editor.context),
        ..Needs::default()
    };
    tree.editor.walk(&mut |expression| needs.add(expression));
    if let Some(condition) = &tree.condition {
        condition.walk(&mut |expression| needs.add(expression));
    }
    finish(signal, statement, &needs)
}

/// The context of one condition of `signal`.
pub fn infer_condition(signal: Signal, condition: &str) -> Result<Context, OttlError> {
    let tree = parser::condition(condition)?;
    let mut needs = Needs::default();
    tree.walk(&mut |expression| needs.add(expression));
    finish(signal, condition, &needs)
}

/// The context of statements and conditions that run together.
pub fn infer_group(
    signal: Signal,
    statements: &[String],
    conditions: &[String],
) -> Result<Context, OttlError> {
    let mut needs = Needs::default();
    for statement in statements {
        let tree = parser::statement(statement)?;
        let function = editors::find(&tree.editor.name).and_then(|editor| editor.context);
        needs.function = needs.function.or(function);
        tree.editor.walk(&mut |expression| needs.add(expression));
        if let Some(condition) = &tree.condition {
            condition.walk(&mut |expression| needs.add(expression));
        }
    }
    for condition in conditions {
        parser::condition(condition)?.walk(&mut |expression| needs.add(expression));
    }
    let first = statements.first().or(conditions.first());
    finish(signal, first.map_or("", String::as_str), &needs)
}

fn finish(signal: Signal, statement: &str, needs: &Needs) -> Result<Context, OttlError> {
    needs.context(signal).ok_or_else(|| {
        let mut names: Vec<&str> = needs
            .named
            .iter()
            .chain(&needs.function)
            .map(|context| context.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        let whole = Span::new(0, statement.len());
        let foreign = needs.named.iter().find(|context| !context.is_of(signal));
        let (span, problem) = match foreign {
            Some(context) => {
                let name = context.as_str();
                let at = statement.find(&format!("{name}."));
                (
                    at.map_or(whole, |at| Span::new(at, at + name.len())),
                    context.foreign_to(signal),
                )
            }
            None => {
                let paths = names.join(", ");
                (whole, Problem::NoContext { paths })
            }
        };
        OttlError {
            statement: statement.to_owned(),
            span,
            problem,
        }
    })
}
