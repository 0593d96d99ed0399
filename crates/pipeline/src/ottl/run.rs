//! Running statements and conditions over a batch.

mod passes;
mod select;

use cupola_telemetry::edit::{Editor as Edits, Level, Map, Place, Verdict, edit};
use cupola_telemetry::{Batch, Signal};

use super::compile::Compiler;
use super::context::{Context, ErrorMode};
use super::editors::Editor;
use super::env::Env;
use super::error::{Fault, OttlError, RunError};
use super::eval::{Condition, Run};
use super::lexer::Failure;
use super::parser;

use passes::Progress;
pub use passes::SharedCaches;
pub use select::{Marks, Split};

/// What became of a batch.
#[derive(Debug)]
pub struct Outcome {
    /// The same batch if nothing was changed; `None` if nothing is left.
    pub batch: Option<Batch>,
    /// Statements and conditions that failed on an item and were passed over.
    pub errors: usize,
    /// The first of them, unless errors are silent.
    pub first_error: Option<RunError>,
}

#[derive(Debug)]
struct Statement {
    text: String,
    editor: Editor,
    condition: Option<Condition>,
}

/// Statements of one context, in the order in which they run.
#[derive(Debug)]
pub struct Statements {
    context: Context,
    statements: Vec<Statement>,
    conditions: Option<Conditions>,
    error_mode: ErrorMode,
    shared_cache: bool,
}

/// Conditions of one context, of which one is enough.
#[derive(Debug)]
pub struct Conditions {
    context: Context,
    conditions: Vec<(String, Condition)>,
    error_mode: ErrorMode,
}

fn located(text: &str) -> impl Fn(Failure) -> OttlError + '_ {
    |(span, problem)| OttlError {
        statement: text.to_owned(),
        span,
        problem,
    }
}

/// All that could be compiled, or all that could not.
fn compile_all<T>(
    texts: &[String],
    compile: impl Fn(&str) -> Result<T, OttlError>,
) -> Result<Vec<T>, Vec<OttlError>> {
    let (mut compiled, mut errors) = (Vec::new(), Vec::new());
    for text in texts {
        match compile(text) {
            Ok(one) => compiled.push(one),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(compiled)
    } else {
        Err(errors)
    }
}

impl Statements {
    /// Compiles statements; errors are ignored while they run, unless told otherwise.
    pub fn compile(context: Context, texts: &[String]) -> Result<Self, Vec<OttlError>> {
        let compiler = Compiler { context };
        let statements = compile_all(texts, |text| {
            let tree = parser::statement(text)?;
            let (editor, condition) = compiler.statement(&tree).map_err(located(text))?;
            Ok(Statement {
                text: text.to_owned(),
                editor,
                condition,
            })
        })?;
        Ok(Self {
            context,
            statements,
            conditions: None,
            error_mode: ErrorMode::Ignore,
            shared_cache: false,
        })
    }

    pub fn with_error_mode(mut self, error_mode: ErrorMode) -> Self {
        self.error_mode = error_mode;
        if let Some(conditions) = &mut self.conditions {
            conditions.error_mode = error_mode;
        }
        self
    }

    /// Keeps `cache` from one item to the next, and to other statements that do.
    pub fn with_shared_cache(mut self, shared: bool) -> Self {
        self.shared_cache = shared;
        self
    }

    /// Runs the statements only for what one of `conditions`, of the same context, holds for.
    pub fn with_conditions(mut self, conditions: Conditions) -> Self {
        debug_assert_eq!(conditions.context, self.context);
        self.conditions = Some(Conditions {
            error_mode: self.error_mode,
            ..conditions
        });
        self
    }

    pub fn context(&self) -> Context {
        self.context
    }

    /// Runs the statements for each thing of their context in `batch`; a batch of a signal that does not have it comes
    /// back as it is.
    pub fn apply(&self, batch: &Batch, env: &dyn Env) -> Result<Outcome, RunError> {
        self.apply_sharing(batch, env, &mut SharedCaches::default())
    }

    /// Like [`apply`](Self::apply), with caches that other statements over the same batch share.
    pub fn apply_sharing(
        &self,
        batch: &Batch,
        env: &dyn Env,
        caches: &mut SharedCaches,
    ) -> Result<Outcome, RunError> {
        if self
            .context
            .signal()
            .is_some_and(|signal| signal != batch.signal())
        {
            return Ok(unchanged(batch));
        }
        passes::run(self, batch, env, caches)
    }
}

impl Conditions {
    /// Compiles conditions; errors end the batch, unless told otherwise.
    pub fn compile(context: Context, texts: &[String]) -> Result<Self, Vec<OttlError>> {
        let compiler = Compiler { context };
        let conditions = compile_all(texts, |text| {
            let tree = parser::condition(text)?;
            let condition = compiler.condition(&tree).map_err(located(text))?;
            Ok((text.to_owned(), condition))
        })?;
        Ok(Self {
            context,
            conditions,
            error_mode: ErrorMode::Propagate,
        })
    }

    pub fn with_error_mode(mut self, error_mode: ErrorMode) -> Self {
        self.error_mode = error_mode;
        self
    }

    pub fn context(&self) -> Context {
        self.context
    }

    /// Drops what a condition holds for.
    pub fn drop_matching(&self, batch: &Batch, env: &dyn Env) -> Result<Outcome, RunError> {
        drop_matching(&[self], batch, env)
    }
}

/// Drops what a condition of any of `rules` holds for, in one pass: what is in something that was dropped is not looked
/// at. Rules for other signals are passed over.
pub fn drop_matching(rules: &[&Conditions], batch: &Batch, env: &dyn Env) -> Result<Outcome, RunError> {
    let of_signal = |rule: &&&Conditions| {
        rule.context
            .signal()
            .is_none_or(|signal| signal == batch.signal())
    };
    let deepest = rules
        .iter()
        .filter(of_signal)
        .max_by_key(|rule| rule.context.level())
        .map(|rule| rule.context);
    match deepest {
        Some(deepest) => run(batch, deepest, Work::Drop(rules), env),
        None => Ok(unchanged(batch)),
    }
}

fn unchanged(batch: &Batch) -> Outcome {
    Outcome {
        batch: Some(batch.clone()),
        errors: 0,
        first_error: None,
    }
}

fn run<'a>(
    batch: &'a Batch,
    deepest: Context,
    work: Work<'a>,
    env: &'a dyn Env,
) -> Result<Outcome, RunError> {
    if deepest.signal().is_some_and(|signal| signal != batch.signal()) {
        return Ok(unchanged(batch));
    }
    let mut executor = Executor::new(work, env, batch.signal(), deepest.level());
    let batch = edit(batch, &mut executor)?;
    Ok(Outcome {
        batch,
        errors: executor.errors,
        first_error: executor.first_error,
    })
}

#[derive(Clone, Copy)]
enum Work<'a> {
    Statements(&'a Statements),
    Drop(&'a [&'a Conditions]),
}

struct Executor<'a> {
    work: Work<'a>,
    env: &'a dyn Env,
    signal: Signal,
    deepest: Level,
    cache: Map<'a>,
    part_index: usize,
    progress: Progress,
    errors: usize,
    first_error: Option<RunError>,
}

impl<'a> Edits<'a> for Executor<'a> {
    type Error = RunError;

    fn deepest(&self) -> Level {
        self.deepest
    }

    fn visit(&mut self, level: Level, place: &mut Place<'a>) -> Result<Verdict, RunError> {
        let verdict = match self.work {
            Work::Statements(statements) => {
                self.progress.enter(level, statements);
                if self.is_met(statements.context, level) && !self.progress.is_skipping() {
                    self.statements(statements, place)?;
                }
                self.progress.leave(level, place);
                Verdict::Keep
            }
            Work::Drop(rules) => self.rules(rules, level, place)?,
        };
        match level {
            Level::Part => self.part_index += 1,
            _ => self.part_index = 0,
        }
        Ok(verdict)
    }
}

impl<'a> Executor<'a> {
    fn new(work: Work<'a>, env: &'a dyn Env, signal: Signal, deepest: Level) -> Self {
        Self {
            work,
            env,
            signal,
            deepest,
            cache: Map::new(),
            part_index: 0,
            progress: Progress::default(),
            errors: 0,
            first_error: None,
        }
    }

    /// Whether the walk has come to something of that context.
    fn is_met(&self, context: Context, level: Level) -> bool {
        context.level() == level && context.signal().is_none_or(|signal| signal == self.signal)
    }

    fn statements(&mut self, statements: &'a Statements, place: &mut Place<'a>) -> Result<(), RunError> {
        if !statements.shared_cache {
            self.cache = Map::new();
        }
        if let Some(conditions) = &statements.conditions
            && !self.any_holds(conditions, place)?
        {
            return Ok(());
        }
        for statement in &statements.statements {
            let mut run = Run {
                place: &mut *place,
                cache: &mut self.cache,
                env: self.env,
                part_index: self.part_index,
                points_done: &self.progress.points_done,
                room: &mut self.progress.room,
            };
            if let Err(fault) = statement.run(&mut run) {
                self.failed(statements.error_mode, &statement.text, fault)?;
            }
        }
        Ok(())
    }

    fn rules(
        &mut self,
        rules: &'a [&'a Conditions],
        level: Level,
        place: &mut Place<'a>,
    ) -> Result<Verdict, RunError> {
        for rule in rules {
            if self.is_met(rule.context, level) && self.any_holds(rule, place)? {
                return Ok(Verdict::Drop);
            }
        }
        Ok(Verdict::Keep)
    }

    fn any_holds(&mut self, conditions: &'a Conditions, place: &mut Place<'a>) -> Result<bool, RunError> {
        for (text, condition) in &conditions.conditions {
            let run = Run {
                place: &mut *place,
                cache: &mut self.cache,
                env: self.env,
                part_index: self.part_index,
                points_done: &[],
                room: &mut 0,
            };
            match condition.holds(&run) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(fault) => self.failed(conditions.error_mode, text, fault)?,
            }
        }
        Ok(false)
    }

    fn failed(&mut self, mode: ErrorMode, text: &str, fault: Fault) -> Result<(), RunError> {
        self.errors += 1;
        let error = |source| RunError {
            statement: text.to_owned(),
            source,
        };
        match mode {
            ErrorMode::Propagate => return Err(error(fault)),
            ErrorMode::Ignore if self.first_error.is_none() => self.first_error = Some(error(fault)),
            ErrorMode::Ignore | ErrorMode::Silent => {}
        }
        Ok(())
    }
}

impl Statement {
    #[inline]
    fn run<'a>(&'a self, run: &mut Run<'_, 'a>) -> Result<(), Fault> {
        if let Some(condition) = &self.condition
            && !condition.holds(run)?
        {
            return Ok(());
        }
        self.editor.run(run)
    }
}
