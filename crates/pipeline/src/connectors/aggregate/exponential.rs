//! A histogram whose buckets double in width every 2^scale buckets, and whose scale follows from the values.
//!
//! Of values that are not negative, as durations are.
//! <https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram>

/// The finest scale: where the specification begins.
const SCALE_MAX: i32 = 20;
/// The coarsest scale: all positive doubles are in two buckets.
const SCALE_MIN: i32 = -10;

/// At most `max_size` buckets beside each other.
#[derive(Clone, Debug)]
pub(super) struct Exponential {
    max_size: usize,
    pub(super) scale: i32,
    pub(super) zero_count: u64,
    /// Index of the first of `counts`.
    pub(super) offset: i32,
    pub(super) counts: Vec<u64>,
    pub(super) sum: f64,
}

impl Exponential {
    /// `max_size` is at least 2.
    pub(super) fn new(max_size: usize) -> Self {
        Self {
            max_size: max_size.max(2),
            scale: SCALE_MAX,
            zero_count: 0,
            offset: 0,
            counts: Vec::new(),
            sum: 0.0,
        }
    }

    /// Counts a value so many times, and returns a number of its bucket that is good for comparing at one scale.
    pub(super) fn add(&mut self, value: f64, times: u64) -> i64 {
        self.sum += value * times as f64;
        if value <= 0.0 {
            self.zero_count = self.zero_count.saturating_add(times);
            return i64::MIN;
        }
        let mut index = index(value, self.scale);
        let shift = self.shift_for(index, index);
        if shift > 0 {
            self.downscale(shift);
            index >>= shift;
        }
        self.count_at(index, times);
        i64::from(index)
    }

    pub(super) fn count(&self) -> u64 {
        let counts = self.counts.iter();
        counts.fold(self.zero_count, |sum, count| sum.saturating_add(*count))
    }

    pub(super) fn merge(&mut self, other: &Exponential) {
        self.sum += other.sum;
        self.zero_count = self.zero_count.saturating_add(other.zero_count);
        if other.counts.is_empty() {
            return;
        }
        self.downscale(self.scale - other.scale);
        let mut scaled = other.clone();
        scaled.downscale(other.scale - self.scale);
        let last = scaled.offset + scaled.counts.len() as i32 - 1;
        let shift = self.shift_for(scaled.offset, last);
        self.downscale(shift);
        scaled.downscale(shift);
        for (at, count) in scaled.counts.iter().enumerate() {
            if *count > 0 {
                self.count_at(scaled.offset + at as i32, *count);
            }
        }
    }

    /// By how much the scale must go down for buckets `first` to `last` to have room beside those that there are.
    fn shift_for(&self, first: i32, last: i32) -> i32 {
        let (mut low, mut high) = (first, last);
        if !self.counts.is_empty() {
            low = low.min(self.offset);
            high = high.max(self.offset + self.counts.len() as i32 - 1);
        }
        let mut shift = 0;
        while i64::from(high) - i64::from(low) >= self.max_size as i64 && self.scale - shift > SCALE_MIN {
            low >>= 1;
            high >>= 1;
            shift += 1;
        }
        shift
    }

    /// Joins buckets, two by two, `shift` times.
    fn downscale(&mut self, shift: i32) {
        if shift <= 0 {
            return;
        }
        self.scale -= shift;
        if self.counts.is_empty() {
            return;
        }
        let offset = self.offset >> shift;
        let last = (self.offset + self.counts.len() as i32 - 1) >> shift;
        let mut counts = vec![0; (last - offset + 1) as usize];
        for (at, count) in self.counts.iter().enumerate() {
            let to = ((self.offset + at as i32) >> shift) - offset;
            counts[to as usize] = u64::saturating_add(counts[to as usize], *count);
        }
        self.offset = offset;
        self.counts = counts;
    }

    fn count_at(&mut self, index: i32, count: u64) {
        if self.counts.is_empty() {
            self.offset = index;
        }
        if index < self.offset {
            let missing = (self.offset - index) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.offset = index;
        }
        let at = (index - self.offset) as usize;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] = self.counts[at].saturating_add(count);
    }
}

/// The bucket of a positive value: `base^index < value <= base^(index + 1)` with `base = 2^(2^-scale)`.
pub(super) fn index(value: f64, scale: i32) -> i32 {
    let value = value.clamp(f64::MIN_POSITIVE, f64::MAX);
    let bits = value.to_bits();
    let exponent = (bits >> 52) as i32 - 1023;
    let power_of_two = bits & ((1 << 52) - 1) == 0;
    if scale <= 0 {
        return (exponent - i32::from(power_of_two)) >> -scale;
    }
    if power_of_two {
        return (exponent << scale) - 1;
    }
    // The logarithm may round to the neighbour of the power above or below: that is known better.
    let factor = f64::from(1 << scale) / std::f64::consts::LN_2;
    let found = (value.ln() * factor).floor() as i32;
    found.clamp(exponent << scale, ((exponent + 1) << scale) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bounds of a bucket, within what doubles can tell.
    fn holds(index: i32, scale: i32, value: f64) -> bool {
        let bound = |index: i32| (f64::from(index) * 2f64.powi(-scale)).exp2();
        bound(index) <= value * (1.0 + 1e-9) && value <= bound(index + 1) * (1.0 + 1e-9)
    }

    #[test]
    fn powers_of_two_are_the_highest_values_of_their_buckets() {
        assert_eq!(
            (index(1.0, 0), index(2.0, 0), index(2.1, 0), index(0.5, 0)),
            (-1, 0, 1, -2)
        );
        assert_eq!(
            (index(4.0, -1), index(4.1, -1), index(1.0, 3), index(2.0, 3)),
            (0, 1, -1, 7)
        );
        assert_eq!(index(f64::MIN_POSITIVE / 2.0, 0), index(f64::MIN_POSITIVE, 0));
    }

    proptest! {
        #[test]
        fn values_are_counted_in_the_buckets_that_hold_them(
            values in proptest::collection::vec(1e-6f64..1e9, 1..60),
            max_size in 2usize..40,
            split in 0usize..60,
        ) {
            let mut whole = Exponential::new(max_size);
            let (mut left, mut right) = (Exponential::new(max_size), Exponential::new(max_size));
            for (at, value) in values.iter().enumerate() {
                whole.add(*value, 1);
                if at < split { left.add(*value, 1) } else { right.add(*value, 1) };
            }
            left.merge(&right);
            for histogram in [&whole, &left] {
                prop_assert!(histogram.counts.len() <= max_size);
                prop_assert_eq!(histogram.count(), values.len() as u64);
                let mut expected = vec![0; histogram.counts.len()];
                for value in &values {
                    let index = index(*value, histogram.scale);
                    prop_assert!(holds(index, histogram.scale, *value));
                    expected[(index - histogram.offset) as usize] += 1;
                }
                prop_assert_eq!(&expected, &histogram.counts);
            }
            prop_assert_eq!(whole.scale, left.scale);
        }
    }
}
