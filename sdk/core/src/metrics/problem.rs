//! What is wrong with how metrics are used. Each is said once, and none stops anything.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::fork::ProcessCount;
use crate::say;

/// Most that are kept and said; the others are counted.
const PROBLEMS_MAX: usize = 64;

/// Something that an application or its settings should do otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error(
        "{name:?} cannot be the name of an instrument, and what it measures is not recorded: {why}; names begin with a letter and have \
         up to 255 letters, digits and _.-/"
    )]
    Name { name: String, why: &'static str },
    #[error(
        "the boundaries of the histogram {instrument:?} are not used: they must be finite, increasing and at most {most}"
    )]
    Boundaries { instrument: String, most: usize },
    #[error(
        "the meter {meter:?} has the instrument {first:?} already, of which {name:?} is another spelling; the first one counts"
    )]
    Spelling {
        meter: String,
        first: String,
        name: String,
    },
    #[error(
        "{instrument:?} of the meter {meter:?} is made again with other advice on attributes or boundaries; that of the first one counts"
    )]
    Advice { meter: String, instrument: String },
    #[error(
        "the meter {meter:?} has two metrics {name:?} that differ in {differ}, and both are sent; {hint}"
    )]
    Conflict {
        meter: String,
        name: String,
        differ: String,
        hint: String,
    },
    #[error(
        "a view names its stream {name:?} and can match several instruments; they keep their own names. Select one by its name"
    )]
    WideView { name: String },
    #[error("a view does not fit {instrument:?}, an {kind}, and is left out: {why}")]
    UnfitView {
        instrument: String,
        kind: &'static str,
        why: &'static str,
    },
    #[error(
        "there are {most} instruments already; {instrument:?} is not recorded. Make instruments once, not for each request"
    )]
    Instruments { instrument: String, most: usize },
    #[error("there are {most} callbacks already; one more is not called")]
    Callbacks { most: usize },
    #[error("{instrument:?} only counts up: negative measurements of it are dropped. Use an up-down counter")]
    Negative { instrument: String },
    #[error("measurements of {instrument:?} that are infinite or no numbers are dropped")]
    NotFinite { instrument: String },
    #[error(
        "{metric:?} has more than {limit} series: the others are together in one with otel.metric.overflow=true. Give it fewer \
         attributes, or leave some out with a view"
    )]
    Overflow { metric: String, limit: usize },
    #[error("a callback that observes metrics panicked: {message}")]
    Panic { message: String },
    #[error(
        "observing metrics took longer than {milliseconds} ms; callbacks were left out of this collection"
    )]
    Late { milliseconds: u128 },
    #[error("{instrument:?} was observed by a callback of another SDK, which is not recorded")]
    Stranger { instrument: String },
}

/// Those that there were, without a lock.
#[derive(Debug, Default)]
pub(super) struct Problems {
    known: ArcSwap<Vec<Problem>>,
    further: ProcessCount,
}

impl Problems {
    /// Says it, if it has not been said.
    #[cold]
    pub(super) fn add(&self, problem: Problem) {
        let before = self.known.rcu(|known| {
            if known.len() >= PROBLEMS_MAX || known.contains(&problem) {
                return known.clone();
            }
            let mut more = Vec::clone(known);
            more.push(problem.clone());
            Arc::new(more)
        });
        if before.contains(&problem) {
            return;
        }
        if before.len() >= PROBLEMS_MAX {
            self.further.add(1);
            return;
        }
        say::warning(&problem);
    }

    pub(super) fn known(&self) -> Vec<Problem> {
        Vec::clone(&self.known.load())
    }

    pub(super) fn further(&self) -> u64 {
        self.further.get()
    }
}
