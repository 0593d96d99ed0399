//! Exponential histograms: adding and subtracting across scales and zero thresholds.
//!
//! <https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram>

use cupola_telemetry::view::{Buckets as View, ExponentialHistogramDataPoint};

/// Buckets that one half may have; more are merged by lowering the scale.
pub(in crate::processors) const BUCKETS_MAX: usize = 160;

/// Consecutive buckets from `offset` on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::processors) struct Buckets {
    pub(in crate::processors) offset: i32,
    pub(in crate::processors) counts: Vec<u64>,
}

impl Buckets {
    /// Without the empty ones at both ends. Claims of more buckets than could be kept are cut: the bytes of a point say
    /// at most so many.
    fn of(view: Option<View<'_>>) -> Self {
        let Some(view) = view else { return Self::default() };
        let mut buckets = Self {
            offset: view.offset,
            counts: view.bucket_counts.collect(),
        };
        buckets.trim();
        buckets
    }

    fn trim(&mut self) {
        while self.counts.last() == Some(&0) {
            self.counts.pop();
        }
        let leading = self.counts.iter().take_while(|count| **count == 0).count();
        self.counts.drain(..leading);
        self.offset = self.offset.saturating_add(leading as i32);
        if self.counts.is_empty() {
            self.offset = 0;
        }
    }

    /// One past the last.
    fn end(&self) -> i64 {
        i64::from(self.offset) + self.counts.len() as i64
    }

    /// At a scale lower by `by`: two to the power of that many buckets become one.
    fn downscale(&mut self, by: u32) {
        if by == 0 || self.counts.is_empty() {
            return;
        }
        let by = by.min(31);
        let offset = self.offset >> by;
        let last = (self.end() - 1) >> by;
        let mut counts = vec![0u64; usize::try_from(last - i64::from(offset) + 1).unwrap_or(1)];
        for (index, count) in self.counts.iter().enumerate() {
            let place = ((i64::from(self.offset) + index as i64) >> by) - i64::from(offset);
            if let Some(sum) = usize::try_from(place)
                .ok()
                .and_then(|place| counts.get_mut(place))
            {
                *sum = sum.saturating_add(*count);
            }
        }
        self.offset = offset;
        self.counts = counts;
    }

    /// Buckets from the first of either to the last of either.
    fn span(&self, other: &Self) -> usize {
        match (self.counts.is_empty(), other.counts.is_empty()) {
            (_, true) => self.counts.len(),
            (true, false) => other.counts.len(),
            (false, false) => {
                let start = i64::from(self.offset.min(other.offset));
                usize::try_from(self.end().max(other.end()) - start).unwrap_or(usize::MAX)
            }
        }
    }

    /// Adds, or, if `subtract`, takes away; `None` if more is taken away than there is.
    fn combine(&self, other: &Self, subtract: bool) -> Option<Self> {
        if other.counts.is_empty() {
            return Some(self.clone());
        }
        let offset = match self.counts.is_empty() {
            true => other.offset,
            false => self.offset.min(other.offset),
        };
        let mut counts = vec![0u64; self.span(other)];
        let place = |of: &Self| usize::try_from(i64::from(of.offset) - i64::from(offset)).unwrap_or(0);
        for (sum, count) in counts.iter_mut().skip(place(self)).zip(&self.counts) {
            *sum = *count;
        }
        for (sum, count) in counts.iter_mut().skip(place(other)).zip(&other.counts) {
            *sum = match subtract {
                true => sum.checked_sub(*count)?,
                false => sum.saturating_add(*count),
            };
        }
        let mut combined = Self { offset, counts };
        combined.trim();
        Some(combined)
    }

    /// The upper bound of the bucket that `threshold` divides, if there is one with something in it.
    fn divided(&self, threshold: f64, scale: i32) -> Option<f64> {
        let offset = i64::from(self.offset);
        let place =
            (0..self.counts.len()).find(|place| threshold <= bound(offset + *place as i64 + 1, scale))?;
        let divides = bound(offset + place as i64, scale) < threshold && self.counts.get(place) > Some(&0);
        divides.then(|| bound(offset + place as i64 + 1, scale))
    }

    /// Takes out the buckets that begin below `threshold`; how many they held.
    fn take_below(&mut self, threshold: f64, scale: i32) -> u64 {
        let offset = i64::from(self.offset);
        let below = (0..self.counts.len())
            .take_while(|place| bound(offset + *place as i64, scale) < threshold)
            .count();
        let taken = self.counts.drain(..below).fold(0u64, u64::saturating_add);
        self.offset = self.offset.saturating_add(below as i32);
        self.trim();
        taken
    }
}

/// The lower bound of a bucket: its index as a power of 2^(2^-scale).
fn bound(index: i64, scale: i32) -> f64 {
    (index as f64 * (-f64::from(scale)).exp2()).exp2()
}

/// What an exponential histogram counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::processors) struct Exponential {
    pub(in crate::processors) scale: i32,
    pub(in crate::processors) zero_threshold: f64,
    pub(in crate::processors) zero_count: u64,
    pub(in crate::processors) positive: Buckets,
    pub(in crate::processors) negative: Buckets,
}

impl Exponential {
    pub(in crate::processors) fn of(point: &ExponentialHistogramDataPoint<'_>) -> Self {
        Self {
            scale: point.scale,
            zero_threshold: point.zero_threshold,
            zero_count: point.zero_count,
            positive: Buckets::of(point.positive),
            negative: Buckets::of(point.negative),
        }
    }

    fn downscale_to(&mut self, scale: i32) {
        let by = u32::try_from(i64::from(self.scale) - i64::from(scale)).unwrap_or(0);
        self.positive.downscale(by);
        self.negative.downscale(by);
        self.scale = self.scale.min(scale);
    }

    /// Counts as zero what is not above `threshold`. A bucket that it divides goes as a whole, and the threshold is then
    /// the upper bound of that.
    fn widen_zero(&mut self, threshold: f64) {
        if threshold > self.zero_threshold {
            let halves = [&self.positive, &self.negative].into_iter();
            let divided = halves.filter_map(|half| half.divided(threshold, self.scale));
            let threshold = divided.fold(threshold, f64::max);
            self.zero_threshold = threshold;
            let taken = self.positive.take_below(threshold, self.scale);
            let taken = taken.saturating_add(self.negative.take_below(threshold, self.scale));
            self.zero_count = self.zero_count.saturating_add(taken);
        }
    }

    /// The same zero threshold and scale on both sides, with no more buckets than there may be.
    fn align(&mut self, other: &mut Self) {
        let scale = self.scale.min(other.scale);
        self.downscale_to(scale);
        other.downscale_to(scale);
        let buckets = |a: &Self, b: &Self| a.positive.span(&b.positive).max(a.negative.span(&b.negative));
        // At most 32 times: then all indexes are -1 and 0.
        while self.scale > i32::MIN && buckets(self, other) > BUCKETS_MAX {
            let lower = self.scale - 1;
            self.downscale_to(lower);
            other.downscale_to(lower);
        }
        // The second time for a threshold that the first one has moved to a bound, which both sides have alike.
        for _ in 0..2 {
            let threshold = self.zero_threshold.max(other.zero_threshold);
            self.widen_zero(threshold);
            other.widen_zero(threshold);
        }
    }

    /// The sum of both.
    pub(in crate::processors) fn add(mut self, mut other: Self) -> Self {
        self.align(&mut other);
        Self {
            zero_count: self.zero_count.saturating_add(other.zero_count),
            positive: self.positive.combine(&other.positive, false).unwrap_or_default(),
            negative: self.negative.combine(&other.negative, false).unwrap_or_default(),
            ..self
        }
    }

    /// What came since `earlier`; `None` if that has more of anything, which means that the counting began anew.
    pub(in crate::processors) fn since(mut self, mut earlier: Self) -> Option<Self> {
        self.align(&mut earlier);
        Some(Self {
            zero_count: self.zero_count.checked_sub(earlier.zero_count)?,
            positive: self.positive.combine(&earlier.positive, true)?,
            negative: self.negative.combine(&earlier.negative, true)?,
            ..self
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(scale: i32, offset: i32, counts: &[u64]) -> Exponential {
        Exponential {
            scale,
            positive: Buckets {
                offset,
                counts: counts.to_vec(),
            },
            ..Exponential::default()
        }
    }

    #[test]
    fn scales_are_brought_together() {
        let sum = of(1, -3, &[1, 2, 3, 4]).add(of(0, 0, &[10]));
        // At scale 0, indexes -3, -2, -1, 0 become -2, -1, -1, 0.
        assert_eq!(sum, of(0, -2, &[1, 5, 14]));
        let back = sum.since(of(1, -3, &[1, 2, 3, 4]));
        assert_eq!(back, Some(of(0, 0, &[10])));
        assert_eq!(of(0, 0, &[1]).since(of(0, 0, &[2])), None);
    }

    #[test]
    fn distant_buckets_lower_the_scale_and_a_wider_zero_takes_buckets() {
        let sum = of(5, 0, &[1]).add(of(5, 100_000, &[2]));
        assert!(sum.positive.counts.len() <= BUCKETS_MAX);
        assert_eq!(sum.positive.counts.iter().sum::<u64>(), 3);
        let extreme = of(20, i32::MIN, &[1]).add(of(20, i32::MAX, &[1]));
        assert_eq!(extreme.positive.counts.iter().sum::<u64>(), 2);
        let mut wide = of(0, 2, &[5]);
        wide.zero_threshold = 3.0;
        wide.zero_count = 7;
        let sum = of(0, 0, &[1, 2, 4]).add(wide);
        // (1, 2] lies below 3, which divides (2, 4]: from now on all up to 4 is zero.
        let positive = Buckets {
            offset: 2,
            counts: vec![4 + 5],
        };
        assert_eq!(
            (sum.zero_threshold, sum.zero_count, sum.positive),
            (4.0, 7 + 3, positive)
        );
    }
}
