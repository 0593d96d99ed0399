//! Paths: what a statement reads and writes, resolved once when it is compiled.
//!
//! Reading a field that is not there gives its default, as in the data model; a key that a map does not have gives nil;
//! a field that a data point of another kind would have gives nil, and setting it does nothing.

mod access;
mod keys;
mod table;

use cupola_telemetry::edit::{Map, Value as Telemetry};

#[cfg(test)]
pub(super) use self::table::names;
use super::ast::{self, Expression};
use super::context::Context;
use super::error::{Fault, Problem, Span, nearest};
use super::eval::{Evaluator, Run};
use super::lexer::Failure;
use super::value::Value;
use keys::Key;
use table::Field;

/// Compiles an expression between brackets.
type CompileKey<'c> = dyn FnMut(&Expression) -> Result<Evaluator, Failure> + 'c;

#[derive(Debug)]
pub(super) struct Path {
    field: Field,
    keys: Vec<Evaluator>,
}

impl Path {
    /// Finds what `path` names in `context`, with the prefix of a context around it or without.
    pub(super) fn resolve(
        context: Context,
        path: &ast::Path,
        span: Span,
        compile: &mut CompileKey<'_>,
    ) -> Result<Self, Failure> {
        let dotted = path.dotted();
        let Some(field) = find(context, &dotted) else {
            let named = dotted
                .split_once('.')
                .and_then(|(prefix, _)| Context::of_prefix(prefix));
            if let (Some(named), Some(signal)) = (named, context.signal())
                && !named.is_of(signal)
            {
                return Err((span, named.foreign_to(signal)));
            }
            let problem = Problem::UnknownPath {
                nearest: nearest_path(context, &dotted),
                path: dotted,
                context: context.as_str(),
            };
            return Err((span, problem));
        };
        let indexable = matches!(
            field,
            Field::Cache
                | Field::Attributes(..)
                | Field::Body
                | Field::TraceState(..)
                | Field::Point(_)
                | Field::Messages(..)
                | Field::MetricPoints
        );
        let last = path.segments.len().saturating_sub(1);
        let mut keys = Vec::new();
        for (index, segment) in path.segments.iter().enumerate() {
            if segment.keys.is_empty() {
                continue;
            }
            if index != last || !indexable {
                return Err((segment.span, Problem::NotIndexable { path: dotted }));
            }
            for key in &segment.keys {
                keys.push(compile(key)?);
            }
        }
        if field == Field::Whole {
            return Err((span, Problem::Whole { path: dotted }));
        }
        Ok(Self { field, keys })
    }

    /// Whether an editor may change it.
    pub(super) fn is_writable(&self) -> bool {
        !matches!(
            self.field,
            Field::EventIndex | Field::Messages(..) | Field::MetricPoints | Field::MetricType
        )
    }

    #[inline]
    pub(super) fn get<'a>(&'a self, run: &Run<'_, 'a>) -> Result<Value<'a>, Fault> {
        let mut keys = self.keys.iter();
        let mut value = match (self.keys.first(), run.resolve(self.field)) {
            (_, None) => return Ok(Value::Nil),
            (Some(first), Some(field)) => match (first.text(), field) {
                // The path that nearly all statements have.
                (Some(key), Field::Attributes(at, number)) => {
                    keys.next();
                    run.read(at, |message| message.attribute(number, key))
                        .map_or(Value::Nil, Value::from)
                }
                (Some(key), Field::TraceState(at, number)) => {
                    keys.next();
                    keys::trace_state_entry(&run.read(at, |message| message.text(number)), key)
                }
                // Not out of a copy of all of it.
                (_, Field::Cache) => {
                    keys.next();
                    match first.value(run)? {
                        Value::String(key) => run.cache.get(&key).map_or(Value::Nil, Value::from),
                        key => Value::Map(Map::new()).index(&key)?,
                    }
                }
                (_, field) => run.get(field),
            },
            (None, Some(field)) => run.get(field),
        };
        for key in keys {
            if value.is_nil() {
                // What is not there has no element, whatever the key would come to.
                break;
            }
            value = value.index(&key.value(run)?)?;
        }
        Ok(value)
    }

    pub(super) fn set<'a>(&'a self, run: &mut Run<'_, 'a>, value: Value<'a>) -> Result<(), Fault> {
        let Some(field) = run.resolve(self.field) else {
            return Ok(());
        };
        if let Some((first, rest)) = self.keys.split_first() {
            let first = Key::of(first.value(run)?)?;
            let mut keys = Vec::with_capacity(rest.len());
            for key in rest {
                keys.push(Key::of(key.value(run)?)?);
            }
            return run.set_key(field, first, &keys, value);
        }
        run.set(field, value)
    }

    /// Changes a map in its place.
    pub(super) fn change_map<'a>(
        &'a self,
        run: &mut Run<'_, 'a>,
        change: impl FnOnce(&mut Map<'a>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if self.keys.is_empty() {
            match run.resolve(self.field) {
                None => return Ok(()),
                Some(Field::Cache) => return change(run.cache),
                Some(Field::Attributes(at, number)) => return change(run.message_mut(at).map_mut(number)),
                Some(_) => {}
            }
        }
        let mut map = self.get(run)?.into_map()?;
        change(&mut map)?;
        if map.is_changed() {
            self.set(run, Value::Map(map))?;
        }
        Ok(())
    }
}

/// The field that a dotted name is in `context`.
fn find(context: Context, dotted: &str) -> Option<Field> {
    if let Some((prefix, rest)) = dotted.split_once('.')
        && let Some(named) = Context::of_prefix(prefix)
        && context.sees(named)
        && let Some(field) = table::find(named, rest)
    {
        // The cache is the statements' own, whatever stands before it.
        return (field != Field::Cache || named == context).then_some(field);
    }
    match Context::of_prefix(dotted) {
        Some(named) if context.sees(named) && named != context => Some(Field::Whole),
        _ => table::find(context, dotted),
    }
}

fn nearest_path(context: Context, dotted: &str) -> Option<String> {
    let visible = || Context::ALL.into_iter().filter(|named| context.sees(*named));
    let prefixed: Vec<String> = visible()
        .flat_map(|named| table::names(named).map(move |name| format!("{named}.{name}")))
        .collect();
    let bare: Vec<&str> = table::names(context).collect();
    nearest(
        dotted,
        bare.into_iter().chain(prefixed.iter().map(String::as_str)),
    )
}

/// Values that are to stand in a map, each as deep as it may be there.
pub(super) fn check_nesting_of(pairs: &[(std::borrow::Cow<'_, str>, Telemetry<'_>)]) -> Result<(), Fault> {
    pairs
        .iter()
        .try_for_each(|(_, value)| keys::check_nesting(value, 1))
}
