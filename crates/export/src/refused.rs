//! Items of a batch that a destination has no form for, and the batch that they make.

use std::convert::Infallible;

use cupola_telemetry::edit::{Editor, Level, Place, Verdict, edit};
use cupola_telemetry::{Batch, Signal};

use crate::Accepted;

/// Which items of a batch were refused, and why the first one was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Numbers of items in the order of the batch, rising.
    items: Vec<usize>,
    reason: String,
}

impl Refused {
    /// Items by their number, rising.
    pub(crate) fn new(items: Vec<usize>, reason: &str) -> Refused {
        Refused {
            items,
            reason: reason.to_owned(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn add(&mut self, item: usize, name: &str, reason: &str) {
        if self.items.is_empty() {
            self.reason = format!("{name}: {reason}");
        }
        self.items.push(item);
    }

    /// The answer for `batch`, all of whose other items were taken.
    pub fn into_accepted(self, batch: &Batch) -> Accepted {
        if self.items.is_empty() {
            return Accepted::all();
        }
        let rejected = self.items.len() as u64;
        let message = self.reason.clone();
        let refused = self.batch(batch).into_iter().collect();
        Accepted {
            rejected,
            message,
            refused,
        }
    }

    fn batch(self, batch: &Batch) -> Option<Batch> {
        let mut rest = Rest {
            // A point is part of a metric.
            level: if batch.signal() == Signal::Metrics {
                Level::Part
            } else {
                Level::Item
            },
            refused: self.items.into_iter().peekable(),
            next: 0,
        };
        match edit(batch, &mut rest) {
            Ok(batch) => batch,
            Err(never) => match never {},
        }
    }
}

/// Keeps the items that were refused.
struct Rest {
    level: Level,
    refused: std::iter::Peekable<std::vec::IntoIter<usize>>,
    next: usize,
}

impl<'a> Editor<'a> for Rest {
    type Error = Infallible;

    fn deepest(&self) -> Level {
        self.level
    }

    fn visit(&mut self, level: Level, _place: &mut Place<'a>) -> Result<Verdict, Infallible> {
        if level != self.level {
            return Ok(Verdict::Keep);
        }
        let number = self.next;
        self.next += 1;
        Ok(match self.refused.next_if_eq(&number) {
            Some(_) => Verdict::Keep,
            None => Verdict::Drop,
        })
    }
}
