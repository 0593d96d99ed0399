//! A histogram whose bounds were chosen beforehand.

/// Counts of a histogram; the bounds are kept by whoever has many of them.
#[derive(Clone, Debug)]
pub(super) struct Explicit {
    pub(super) counts: Box<[u64]>,
    pub(super) sum: f64,
}

/// The bucket of a value: bounds are the highest values of their buckets.
pub(super) fn bucket(bounds: &[f64], value: f64) -> usize {
    bounds.partition_point(|bound| *bound < value)
}

impl Explicit {
    pub(super) fn new(bounds: &[f64]) -> Self {
        Self {
            counts: vec![0; bounds.len() + 1].into(),
            sum: 0.0,
        }
    }

    /// Counts a value so many times and returns its bucket.
    pub(super) fn add(&mut self, bounds: &[f64], value: f64, times: u64) -> i64 {
        let bucket = bucket(bounds, value);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_add(times);
        }
        self.sum += value * times as f64;
        bucket as i64
    }

    pub(super) fn merge(&mut self, other: &Explicit) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        self.sum += other.sum;
    }

    pub(super) fn count(&self) -> u64 {
        self.counts
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }
}
