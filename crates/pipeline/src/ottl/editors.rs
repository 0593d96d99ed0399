//! Editors: functions that change telemetry.

mod flatten;
mod maps;
mod metrics;
mod replace;
mod span_name;

use std::borrow::Cow;

use cupola_telemetry::edit::{Array, Map};

use super::compile::Bound;
use super::context::Context;
use super::error::Fault;
use super::eval::{Evaluator, Run};
use super::functions::{Kind, Parameter, optional, required};
use super::lexer::Failure;
use super::path::Path;
use super::value::Value;
use maps::MapEditor;
use metrics::MetricEditor;
use replace::Replace;

/// An editor with its arguments.
#[derive(Debug)]
pub(super) enum Editor {
    Set {
        target: Path,
        value: Evaluator,
    },
    Append {
        target: Path,
        value: Evaluator,
        values: Evaluator,
    },
    Clear(Path),
    DeleteIndex {
        target: Path,
        start: Evaluator,
        end: Evaluator,
    },
    Map {
        target: Path,
        editor: MapEditor,
    },
    Replace {
        target: Path,
        replace: Replace,
    },
    Metric(MetricEditor),
    /// With the attribute that keeps the old name.
    SpanName(Option<String>),
}

pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) parameters: &'static [Parameter],
    /// The only context that it works in.
    pub(super) context: Option<Context>,
    pub(super) make: fn(&Bound<'_>) -> Result<Editor, Failure>,
}

const fn editor(
    name: &'static str,
    parameters: &'static [Parameter],
    make: fn(&Bound<'_>) -> Result<Editor, Failure>,
) -> Definition {
    Definition {
        name,
        parameters,
        context: None,
        make,
    }
}

const TARGET: Parameter = required("target", Kind::Target);

const TABLE: &[Definition] = &[
    editor("set", &[TARGET, required("value", Kind::Value)], |bound| {
        Ok(Editor::Set {
            target: bound.target(0)?,
            value: bound.value(1)?,
        })
    }),
    editor("clear", &[TARGET], |bound| Ok(Editor::Clear(bound.target(0)?))),
    editor(
        "append",
        &[
            TARGET,
            optional("value", Kind::Value),
            optional("values", Kind::Values),
        ],
        |bound| {
            if !bound.is_given(1) && !bound.is_given(2) {
                return Err(bound.missing(1));
            }
            Ok(Editor::Append {
                target: bound.target(0)?,
                value: bound.value(1)?,
                values: bound.value(2)?,
            })
        },
    ),
    editor(
        "delete_index",
        &[
            TARGET,
            required("start_index", Kind::Value),
            optional("end_index", Kind::Value),
        ],
        |bound| {
            Ok(Editor::DeleteIndex {
                target: bound.target(0)?,
                start: bound.value(1)?,
                end: bound.value(2)?,
            })
        },
    ),
];

/// Every editor.
pub(super) fn all() -> impl Iterator<Item = &'static Definition> {
    [
        TABLE,
        maps::TABLE,
        replace::TABLE,
        metrics::TABLE,
        span_name::TABLE,
    ]
    .into_iter()
    .flatten()
}

pub(super) fn find(name: &str) -> Option<&'static Definition> {
    all().find(|editor| editor.name == name)
}

impl Editor {
    /// Whether it can make new items.
    pub(super) fn appends(&self) -> bool {
        matches!(self, Self::Metric(editor) if editor.appends())
    }

    #[inline]
    pub(super) fn run<'a>(&'a self, run: &mut Run<'_, 'a>) -> Result<(), Fault> {
        match self {
            Self::Set { target, value } => {
                let value = value.value(run)?;
                target.set(run, value)
            }
            Self::Clear(target) => {
                let zero = target.get(run)?.zero();
                target.set(run, zero)
            }
            Self::Map { target, editor } => editor.run(target, run),
            Self::Replace { target, replace } => replace.run(target, run),
            Self::Append {
                target,
                value,
                values,
            } => append(target, value, values, run),
            Self::DeleteIndex { target, start, end } => delete_index(target, start, end, run),
            Self::Metric(editor) => editor.run(run),
            Self::SpanName(attribute) => {
                span_name::set(run.place, attribute.as_deref());
                Ok(())
            }
        }
    }
}

fn append<'a>(
    target: &'a Path,
    value: &'a Evaluator,
    values: &'a Evaluator,
    run: &mut Run<'_, 'a>,
) -> Result<(), Fault> {
    let mut list = match target.get(run)? {
        Value::Nil => Array::new(),
        Value::List(list) => list,
        Value::Map(_) => return Err(Fault::new("nothing can be appended to a map")),
        scalar => Array::from_iter([scalar.into_telemetry()?]),
    };
    for more in [value.value(run)?, values.value(run)?] {
        match more {
            Value::Nil => {}
            Value::List(more) => more.iter().for_each(|item| list.push(item)),
            item => list.push(item.into_telemetry()?),
        }
    }
    target.set(run, Value::List(list))
}

fn delete_index<'a>(
    target: &'a Path,
    start: &'a Evaluator,
    end: &'a Evaluator,
    run: &mut Run<'_, 'a>,
) -> Result<(), Fault> {
    let mut list = target.get(run)?.into_list()?;
    let start = start.value(run)?.as_int()?;
    let end = match end.value(run)? {
        Value::Nil => start.saturating_add(1),
        end => end.as_int()?,
    };
    let bounds = (usize::try_from(start), usize::try_from(end));
    let (Ok(from), Ok(to)) = bounds else {
        return Err(Fault::of(format_args!("there are no elements {start} to {end}")));
    };
    if from == to {
        return Ok(());
    }
    if from > to || to > list.len() {
        let length = list.len();
        return Err(Fault::of(format_args!(
            "there are no elements {start} to {end} in a list of {length}"
        )));
    }
    list.remove(from, to);
    target.set(run, Value::List(list))
}

/// Pairs of a map, to be put together anew.
fn pairs<'a>(map: &Map<'a>) -> Vec<(Cow<'a, str>, cupola_telemetry::edit::Value<'a>)> {
    map.iter().collect()
}
