//! What is remembered of a target from scrape to scrape: when each series began, and which there were, so that those
//! that are gone can be marked. Owns its share of the memory budget; a series that does not fit into it is passed on
//! all the same, and its end goes unmarked.

use std::collections::HashMap;

use cupola_telemetry::memory::{MemoryBudget, Reservation};

use super::assemble::Ready;
use super::relabel::Labels;
use crate::receivers::series::{Classic, Family, Kind, PointValue, STALE_NAN, Summary, nanos};

#[derive(Debug)]
pub(super) struct Memory {
    series: HashMap<Labels, Remembered>,
    scrape: u64,
    reserved: Reservation,
}

#[derive(Debug)]
struct Remembered {
    kind: Kind,
    help: String,
    unit: String,
    form: Form,
    start_unix_nano: u64,
    /// Its value, or its count.
    last: f64,
    /// The last scrape that had it.
    scrape: u64,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Number,
    Classic,
    Summary,
}

impl Memory {
    pub(super) fn new(budget: &MemoryBudget) -> Memory {
        Memory {
            series: HashMap::new(),
            scrape: 0,
            reserved: budget.reservation(),
        }
    }

    /// Takes in what a scrape at `time` has, and writes into it when each cumulative series began: as it says itself,
    /// or when it was first seen, or seen to begin anew. Tells how many series are new.
    pub(super) fn observe(&mut self, series: &mut [Ready<'_>], time_unix_nano: u64) -> usize {
        self.scrape += 1;
        let mut added = 0;
        for ready in series {
            let time = ready.unix_milli.map_or(time_unix_nano, nanos);
            let (form, value) = match &ready.value {
                PointValue::Number(value) => (Form::Number, *value),
                PointValue::Classic(classic) => (Form::Classic, classic.count as f64),
                PointValue::Summary(summary) => (Form::Summary, summary.count as f64),
                PointValue::Native(_) => continue,
            };
            let known = self
                .series
                .get_mut(&ready.labels)
                .filter(|known| known.form == form);
            let start = match (&known, ready.start_unix_nano) {
                (_, said) if said > 0 => said,
                (Some(known), _) if value >= known.last => known.start_unix_nano,
                _ => time,
            };
            if is_cumulative(ready.family.kind, form) {
                ready.start_unix_nano = start;
            }
            if let Some(known) = known {
                (known.last, known.scrape, known.start_unix_nano) = (value, self.scrape, start);
                continue;
            }
            added += 1;
            let remembered = Remembered {
                kind: ready.family.kind,
                help: ready.family.help.to_owned(),
                unit: ready.family.unit.to_owned(),
                form,
                start_unix_nano: start,
                last: value,
                // With a time of its own a series does not end when it is not there once.
                scrape: if ready.unix_milli.is_some() {
                    u64::MAX
                } else {
                    self.scrape
                },
                bytes: bytes(ready),
            };
            if self.reserved.try_grow(remembered.bytes)
                && let Some(before) = self.series.insert(ready.labels.clone(), remembered)
            {
                self.reserved.shrink(before.bytes);
            }
        }
        added
    }

    /// A marker for each series that the last scrape did not have.
    pub(super) fn gone(&self) -> Vec<Ready<'_>> {
        self.marked(|series| series.scrape < self.scrape)
    }

    /// A marker for each series.
    pub(super) fn all(&self) -> Vec<Ready<'_>> {
        self.marked(|series| series.scrape != u64::MAX)
    }

    fn marked(&self, which: impl Fn(&Remembered) -> bool) -> Vec<Ready<'_>> {
        let chosen = self.series.iter().filter(|(_, series)| which(series));
        chosen.map(|(labels, series)| series.marker(labels)).collect()
    }

    /// Forgets what is gone, after its markers have been taken.
    pub(super) fn forget_gone(&mut self) {
        let scrape = self.scrape;
        let mut freed = 0;
        self.series.retain(|_, series| {
            let kept = series.scrape >= scrape;
            freed += if kept { 0 } else { series.bytes };
            kept
        });
        self.reserved.shrink(freed);
    }
}

impl Remembered {
    fn marker(&self, labels: &Labels) -> Ready<'_> {
        let value = match self.form {
            Form::Number => PointValue::Number(f64::from_bits(STALE_NAN)),
            Form::Classic => PointValue::Classic(Box::new(Classic {
                stale: true,
                ..Classic::default()
            })),
            Form::Summary => PointValue::Summary(Box::new(Summary {
                stale: true,
                ..Summary::default()
            })),
        };
        Ready {
            labels: labels.clone(),
            family: Family {
                kind: self.kind,
                help: &self.help,
                unit: &self.unit,
            },
            value,
            unix_milli: None,
            start_unix_nano: if is_cumulative(self.kind, self.form) {
                self.start_unix_nano
            } else {
                0
            },
            exemplars: Vec::new(),
        }
    }
}

fn is_cumulative(kind: Kind, form: Form) -> bool {
    form != Form::Number || matches!(kind, Kind::Counter | Kind::Histogram | Kind::Summary)
}

/// What a series takes here, about.
fn bytes(ready: &Ready<'_>) -> usize {
    const SERIES: usize = 256;
    const LABEL: usize = 96;
    let labels: usize = ready
        .labels
        .iter()
        .map(|(name, value)| LABEL + name.len() + value.len())
        .sum();
    SERIES + labels + ready.family.help.len() + ready.family.unit.len()
}
