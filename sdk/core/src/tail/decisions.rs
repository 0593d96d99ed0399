//! What was decided about traces, for spans that end later. As many as there is room for, those asked for last.

use std::collections::HashMap;

use cupola_telemetry::TraceId;

/// Two halves: what is asked for moves to the newer one, and when that is full, the older one is forgotten as a whole.
#[derive(Debug)]
pub(super) struct Decisions {
    newer: HashMap<TraceId, bool>,
    older: HashMap<TraceId, bool>,
    /// Of each half.
    most: usize,
}

impl Decisions {
    /// For so many at most.
    pub(super) fn new(most: usize) -> Decisions {
        Decisions {
            newer: HashMap::new(),
            older: HashMap::new(),
            most: most / 2,
        }
    }

    pub(super) fn bound(&mut self, most: usize) {
        self.most = most / 2;
        if self.newer.len() > self.most {
            self.newer.clear();
        }
        if self.older.len() > self.most {
            self.older.clear();
        }
    }

    /// Whether the trace was kept; `None` if nobody knows.
    pub(super) fn of(&mut self, trace_id: TraceId) -> Option<bool> {
        if let Some(is_kept) = self.newer.get(&trace_id) {
            return Some(*is_kept);
        }
        let is_kept = self.older.remove(&trace_id)?;
        self.remember(trace_id, is_kept);
        Some(is_kept)
    }

    pub(super) fn remember(&mut self, trace_id: TraceId, is_kept: bool) {
        if self.most == 0 {
            return;
        }
        if self.newer.len() >= self.most && !self.newer.contains_key(&trace_id) {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(trace_id, is_kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> TraceId {
        TraceId(number.to_be_bytes())
    }

    #[test]
    fn what_is_asked_for_is_remembered_and_the_rest_forgotten_within_the_bound() {
        let mut decisions = Decisions::new(10);
        decisions.remember(id(0), true);
        for number in 1..1_000 {
            decisions.remember(id(number), number % 2 == 0);
            assert_eq!(decisions.of(id(0)), Some(true), "{number}");
            assert_eq!(decisions.of(id(number)), Some(number % 2 == 0));
            assert!(decisions.newer.len() + decisions.older.len() <= 10);
        }
        assert_eq!(decisions.of(id(1)), None);
        decisions.remember(id(999), true);
        assert_eq!(decisions.of(id(999)), Some(true), "the later decision counts");
        decisions.bound(2);
        assert!(decisions.newer.len() + decisions.older.len() <= 2);
        let mut none = Decisions::new(0);
        none.remember(id(1), true);
        assert_eq!(none.of(id(1)), None);
    }
}
