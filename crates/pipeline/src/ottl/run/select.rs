//! Telling what conditions hold for, without changing anything: marks, and the two parts that they make of a batch.

use cupola_telemetry::Batch;
use cupola_telemetry::edit::{Editor as Edits, Level, Place, Verdict, edit};

use super::{Conditions, Executor, Work};
use crate::ottl::env::Env;
use crate::ottl::error::RunError;

/// Whether one of the conditions holds, for each thing of their context in the order of the batch.
#[derive(Debug, Default)]
pub struct Marks {
    pub marks: Vec<bool>,
    /// Conditions that failed on an item and were passed over.
    pub errors: usize,
    /// The first of them, unless errors are silent.
    pub first_error: Option<RunError>,
}

/// A batch in two parts.
#[derive(Debug)]
pub struct Split {
    /// What a condition holds for, with what is around it.
    pub matched: Option<Batch>,
    pub rest: Option<Batch>,
    /// Conditions that failed on an item and were passed over.
    pub errors: usize,
    /// The first of them, unless errors are silent.
    pub first_error: Option<RunError>,
}

impl Conditions {
    /// Looks at each thing of the context; at none if the batch is of a signal that does not have it.
    pub fn marks(&self, batch: &Batch, env: &dyn Env) -> Result<Marks, RunError> {
        if self
            .context
            .signal()
            .is_some_and(|signal| signal != batch.signal())
        {
            return Ok(Marks::default());
        }
        let mut marking = Marking {
            executor: Executor::new(Work::Drop(&[]), env, batch.signal(), self.context.level()),
            conditions: self,
            marks: Vec::new(),
        };
        edit(batch, &mut marking)?;
        Ok(Marks {
            marks: marking.marks,
            errors: marking.executor.errors,
            first_error: marking.executor.first_error,
        })
    }

    /// Parts a batch into what a condition holds for and what none holds for. Each item is in exactly one of both.
    pub fn split(&self, batch: &Batch, env: &dyn Env) -> Result<Split, RunError> {
        let Marks {
            marks,
            errors,
            first_error,
        } = self.marks(batch, env)?;
        let part = |wanted: bool| {
            if marks.iter().all(|mark| *mark == wanted) && !marks.is_empty() {
                return Some(batch.clone());
            }
            if !marks.contains(&wanted) {
                // Nothing was looked at: that is not matched, but it is there.
                return (marks.is_empty() && !wanted).then(|| batch.clone());
            }
            let mut parting = Parting {
                level: self.context.level(),
                marks: marks.iter(),
                wanted,
            };
            let Ok(part) = edit(batch, &mut parting);
            part.filter(|part| part.items() > 0)
        };
        Ok(Split {
            matched: part(true),
            rest: part(false),
            errors,
            first_error,
        })
    }
}

struct Marking<'a> {
    executor: Executor<'a>,
    conditions: &'a Conditions,
    marks: Vec<bool>,
}

impl<'a> Edits<'a> for Marking<'a> {
    type Error = RunError;

    fn deepest(&self) -> Level {
        self.executor.deepest
    }

    fn visit(&mut self, level: Level, place: &mut Place<'a>) -> Result<Verdict, RunError> {
        if level == self.executor.deepest {
            self.marks.push(self.executor.any_holds(self.conditions, place)?);
        }
        match level {
            Level::Part => self.executor.part_index += 1,
            _ => self.executor.part_index = 0,
        }
        Ok(Verdict::Keep)
    }
}

/// Drops what is not in the part that is wanted.
struct Parting<'m> {
    level: Level,
    marks: std::slice::Iter<'m, bool>,
    wanted: bool,
}

impl<'a> Edits<'a> for Parting<'_> {
    type Error = std::convert::Infallible;

    fn deepest(&self) -> Level {
        self.level
    }

    fn visit(&mut self, level: Level, _: &mut Place<'a>) -> Result<Verdict, Self::Error> {
        let other = level == self.level && self.marks.next().is_some_and(|mark| *mark != self.wanted);
        Ok(if other { Verdict::Drop } else { Verdict::Keep })
    }
}
