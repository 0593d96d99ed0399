//! Operators: what receivers of text do with each log record before it leaves them, as the Collector's receivers have it.
//!
//! `build` reads a list of them and joins each with the ones that its output goes to; `parse` finds values in text,
//! `transform` changes entries; `expression` is the language of conditions. An entry is passed through one after the
//! other; some hold entries back, to join them with later ones, and say which.
//!
//! Refuses to lose: an operator that fails hands its entry on, unless `on_error` says to drop it, which is counted; and to
//! know of clocks and the environment: both are given.

mod build;
pub mod entry;
pub mod expression;
pub mod field;
mod parse;
mod time;
mod transform;
pub mod value;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use smallvec::SmallVec;

pub use build::{OperatorConfig, Problem};
pub(crate) use build::{compile, compile_syslog};
pub(crate) use entry::{Entry, Origin, batch};
pub(crate) use expression::{Template, Variables};
pub use parse::syslog::{Protocol, SyslogConfig, Trailer};
pub(crate) use time::{LayoutType, TimeConfig, TimeParser};
pub use value::{Fields, Value};

use expression::Expression;

/// What an operator does when it cannot work on an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// Hands the entry on, and says so in the log.
    #[default]
    Send,
    Drop,
    SendQuiet,
    DropQuiet,
}

/// What happened to entries, over all operators of a receiver.
#[derive(Debug, Default)]
pub(crate) struct OperatorStats {
    /// Entries that an operator could not work on.
    pub(crate) errors: AtomicU64,
    /// Entries dropped for it, as `on_error` says.
    pub(crate) dropped: AtomicU64,
    /// Entries that `filter` or `router` let end.
    pub(crate) filtered: AtomicU64,
}

/// Where an entry goes: to the operator of this place, or out behind the last one.
type Place = usize;

/// What an operator made of an entry.
type Made = SmallVec<[(Option<Place>, Entry); 1]>;

/// The work of one operator.
trait Work: Send {
    /// Pushes what becomes of `entry` to `made`, with the place that it goes to if that is not the usual one.
    fn run(&mut self, entry: Entry, now: DateTime<Utc>, made: &mut Made) -> Result<(), Failed>;

    /// Hands on entries that have been held for too long, or all of them.
    fn flush(&mut self, _now: DateTime<Utc>, _all: bool, _made: &mut Made) {}

    /// Adds the origins of entries that are held.
    fn held(&self, _origins: &mut Vec<Origin>) {}
}

/// An entry that could not be worked on, and why.
struct Failed {
    entry: Box<Entry>,
    problem: String,
}

/// One operator in its place.
struct Step {
    id: String,
    condition: Option<Expression>,
    on_error: OnError,
    next: Place,
    work: Box<dyn Work>,
    errors: u64,
}

/// Operators, joined.
pub(crate) struct Operators {
    steps: Vec<Step>,
    stats: Arc<OperatorStats>,
}

impl Operators {
    fn new(steps: Vec<Step>, stats: Arc<OperatorStats>) -> Operators {
        Operators { steps, stats }
    }

    /// Passes one entry through; what comes out is added to `out`.
    pub(crate) fn process(&mut self, entry: Entry, now: DateTime<Utc>, out: &mut Vec<Entry>) {
        self.pass(0, entry, now, out);
    }

    /// Hands on what has been held for too long, or everything that is held.
    pub(crate) fn flush(&mut self, now: DateTime<Utc>, all: bool, out: &mut Vec<Entry>) {
        // In their order: what one hands on, a later one may hold.
        for place in 0..self.steps.len() {
            let mut made = Made::new();
            self.steps[place].work.flush(now, all, &mut made);
            self.hand_on(place, made, now, out);
        }
    }

    /// Where the entries come from that are held.
    pub(crate) fn held(&self) -> Vec<Origin> {
        let mut origins = Vec::new();
        for step in &self.steps {
            step.work.held(&mut origins);
        }
        origins
    }

    /// As deep as there are operators: each goes to a later one.
    fn pass(&mut self, place: Place, entry: Entry, now: DateTime<Utc>, out: &mut Vec<Entry>) {
        let Some(step) = self.steps.get_mut(place) else {
            out.push(entry);
            return;
        };
        let mut made = Made::new();
        match step.condition.as_ref().map(|condition| condition.holds(&entry)) {
            Some(Ok(false)) => made.push((None, entry)),
            Some(Err(problem)) => step.fail(
                Failed {
                    entry: entry.into(),
                    problem: format!("if: {problem}"),
                },
                &self.stats,
                &mut made,
            ),
            None | Some(Ok(true)) => {
                if let Err(failed) = step.work.run(entry, now, &mut made) {
                    step.fail(failed, &self.stats, &mut made);
                }
            }
        }
        self.hand_on(place, made, now, out);
    }

    fn hand_on(&mut self, place: Place, made: Made, now: DateTime<Utc>, out: &mut Vec<Entry>) {
        let next = self.steps[place].next;
        for (to, entry) in made {
            self.pass(to.unwrap_or(next), entry, now, out);
        }
    }
}

impl Step {
    fn fail(&mut self, failed: Failed, stats: &OperatorStats, made: &mut Made) {
        stats.errors.fetch_add(1, Ordering::Relaxed);
        self.errors += 1;
        let quiet = matches!(self.on_error, OnError::SendQuiet | OnError::DropQuiet);
        // A log of its own for each line of another one would be worse than what it tells.
        if !quiet && self.errors.is_power_of_two() {
            tracing::warn!(
                operator = self.id,
                problem = failed.problem,
                errors = self.errors,
                "operator failed"
            );
        }
        match self.on_error {
            OnError::Send | OnError::SendQuiet => made.push((None, *failed.entry)),
            OnError::Drop | OnError::DropQuiet => {
                stats.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl std::fmt::Debug for Operators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.steps.iter().map(|step| &step.id))
            .finish()
    }
}

/// Whatever the text is, parsers read or refuse it, and expressions compile or do not; for fuzzing.
#[cfg(fuzzing)]
pub(crate) fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    parse::syslog::fuzz(text);
    let entry = Entry {
        body: Value::from(text),
        ..Entry::default()
    };
    if let Ok(expression) = Expression::compile(text, &Variables::new()) {
        let _ = expression.value(&entry);
    }
    let all = serde_json::json!([
        { "type": "json_parser" }, { "type": "json_array_parser" }, { "type": "key_value_parser" }, { "type": "csv_parser", "header": "a,b" },
        { "type": "uri_parser" }, { "type": "container" }, { "type": "unquote", "field": "body" },
        { "type": "time_parser", "parse_from": "body", "layout": "%Y-%m-%d %H:%M:%S.%f %z %Z" },
    ]);
    let configs: Vec<OperatorConfig> = serde_json::from_value(all).unwrap_or_default();
    if let Ok(mut operators) = compile("", &configs, &Variables::new(), &Arc::default()) {
        let (now, mut out) = (DateTime::UNIX_EPOCH, Vec::new());
        operators.process(entry, now, &mut out);
        operators.flush(now, true, &mut out);
        let _ = batch(&out, "fuzz");
    }
}

#[cfg(test)]
mod tests;
