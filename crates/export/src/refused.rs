//! Items of a batch that a destination has no form for, and the batch that they make.

use cupola_telemetry::Batch;

use crate::Accepted;
use crate::items::only;

/// Which items of a batch were refused, and why the first one was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Numbers of items in the order of the batch.
    items: Vec<usize>,
    reason: String,
}

impl Refused {
    /// Items by their number.
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

    fn batch(mut self, batch: &Batch) -> Option<Batch> {
        self.items.sort_unstable();
        only(batch, |item| self.items.binary_search(&item).is_ok())
    }
}
