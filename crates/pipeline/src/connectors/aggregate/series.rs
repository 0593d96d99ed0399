//! One series: its value, when it began, when it was last touched.

use super::exemplars::Exemplars;
use super::explicit::Explicit;
use super::exponential::Exponential;
use super::{Kind, Measured};

#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) value: Value,
    /// Of its points: when it began, or the window of a delta.
    pub(super) start: u64,
    pub(super) touched: u64,
    /// Whether a pipeline has got it at all.
    pub(super) is_announced: bool,
    /// The flush that is the first to carry its last change.
    pub(super) round: u64,
    pub(super) exemplars: Exemplars,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Sum(u64),
    Explicit(Explicit),
    Exponential(Exponential),
}

impl Series {
    pub(super) fn new(kind: &Kind, start: u64) -> Self {
        let value = match kind {
            Kind::Sum => Value::Sum(0),
            Kind::Explicit(bounds) => Value::Explicit(Explicit::new(bounds)),
            Kind::Exponential { max_size } => Value::Exponential(Exponential::new(*max_size)),
        };
        Self {
            value,
            start,
            touched: start,
            is_announced: false,
            round: 0,
            exemplars: Exemplars::default(),
        }
    }

    pub(super) fn add(&mut self, count: u64) {
        if let Value::Sum(sum) = &mut self.value {
            *sum = sum.saturating_add(count);
        }
    }

    pub(super) fn observe(&mut self, kind: &Kind, measured: Measured, most: usize) {
        let Measured {
            value,
            times,
            exemplar,
        } = measured;
        let bucket = match (&mut self.value, kind) {
            (Value::Explicit(histogram), Kind::Explicit(bounds)) => histogram.add(bounds, value, times),
            (Value::Exponential(histogram), _) => histogram.add(value, times),
            _ => return,
        };
        if let Some(exemplar) = exemplar {
            self.exemplars.add(exemplar, bucket, self.round, most);
        }
    }

    /// Adds what is from before.
    pub(super) fn merge(&mut self, older: Series, most: usize) {
        match (&mut self.value, &older.value) {
            (Value::Sum(sum), Value::Sum(more)) => *sum = sum.saturating_add(*more),
            (Value::Explicit(histogram), Value::Explicit(more)) => histogram.merge(more),
            (Value::Exponential(histogram), Value::Exponential(more)) => histogram.merge(more),
            _ => debug_assert!(false, "a series has one kind"),
        }
        self.start = self.start.min(older.start);
        self.touched = self.touched.max(older.touched);
        self.exemplars.merge(older.exemplars, most);
    }
}
