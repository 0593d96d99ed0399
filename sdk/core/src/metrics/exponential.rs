//! Histograms whose buckets are powers of a base: the scale falls when values lie too far apart for the buckets that there may be.
//!
//! A value is looked up at the finest scale of all, where its bucket is `index`; that at a coarser one is the same shifted right,
//! as each bucket there is two of here. So values, and histograms of other scales, always land in the same buckets, in whatever
//! order they come.
//!
//! <https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram>

/// The finest scale, at which indexes of all numbers fit 32 bits.
pub(super) const SCALE_MAX: i8 = 20;
/// At this one, all numbers are in two buckets.
pub(super) const SCALE_MIN: i8 = -10;
/// Bounds of the number of buckets.
pub(super) const SIZE_MIN: u32 = 2;
pub(super) const SIZE_MAX: u32 = 16_384;

const MANTISSA_BITS: u32 = 52;
const EXPONENT_BIAS: i32 = 1023;

/// Counts of values by bucket.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exponential {
    pub(super) scale: i8,
    pub(super) zeros: u64,
    pub(super) positive: Buckets,
    pub(super) negative: Buckets,
}

/// Consecutive buckets.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Buckets {
    /// Index of the first.
    pub(super) start: i32,
    pub(super) counts: Vec<u64>,
}

impl Exponential {
    pub(super) fn new(max_scale: i8) -> Exponential {
        Exponential {
            scale: max_scale,
            zeros: 0,
            positive: Buckets::default(),
            negative: Buckets::default(),
        }
    }

    /// Counts a finite value.
    pub(super) fn add(&mut self, value: f64, max_size: u32) {
        if value == 0.0 {
            self.zeros += 1;
            return;
        }
        let finest = index(value.abs());
        let buckets = self.side(value);
        let at = finest >> shift(SCALE_MAX, self.scale);
        let excess = excess(buckets.span_with(at, at), max_size);
        self.coarsen(excess);
        let at = finest >> shift(SCALE_MAX, self.scale);
        match value > 0.0 {
            true => self.positive.add(at, 1),
            false => self.negative.add(at, 1),
        }
    }

    /// Counts all that another has counted.
    pub(super) fn merge(&mut self, other: &Exponential, max_size: u32) {
        self.zeros += other.zeros;
        if let Some(steps) = self.scale.checked_sub(other.scale).filter(|steps| *steps > 0) {
            self.coarsen(steps as u32);
        }
        // The other one is as coarse as this now, or finer.
        let sides = [
            (&self.positive, &other.positive),
            (&self.negative, &other.negative),
        ];
        let finer = shift(other.scale, self.scale);
        let steps = sides.map(|(own, more)| match more.last() {
            Some(last) => excess(own.span_with(more.start >> finer, last >> finer), max_size),
            None => 0,
        });
        self.coarsen(steps[0].max(steps[1]));
        let finer = shift(other.scale, self.scale);
        self.positive.merge(&other.positive, finer);
        self.negative.merge(&other.negative, finer);
    }

    pub(super) fn count(&self) -> u64 {
        let counted = |buckets: &Buckets| buckets.counts.iter().sum::<u64>();
        self.zeros + counted(&self.positive) + counted(&self.negative)
    }

    fn side(&self, value: f64) -> &Buckets {
        match value > 0.0 {
            true => &self.positive,
            false => &self.negative,
        }
    }

    fn coarsen(&mut self, steps: u32) {
        if steps == 0 {
            return;
        }
        let lowest = i32::from(self.scale) - steps as i32;
        self.scale = lowest.max(i32::from(SCALE_MIN)) as i8;
        self.positive.coarsen(steps);
        self.negative.coarsen(steps);
    }
}

impl Buckets {
    fn last(&self) -> Option<i32> {
        let further = self.counts.len().checked_sub(1)?;
        Some(self.start + further as i32)
    }

    /// The first and the last bucket if those from `low` to `high` are there too.
    fn span_with(&self, low: i32, high: i32) -> (i32, i32) {
        match self.last() {
            Some(last) => (self.start.min(low), last.max(high)),
            None => (low, high),
        }
    }

    fn add(&mut self, at: i32, count: u64) {
        if self.counts.is_empty() {
            self.start = at;
        }
        if at < self.start {
            let more = (self.start - at) as usize;
            self.counts.splice(..0, std::iter::repeat_n(0, more));
            self.start = at;
        }
        let index = (at - self.start) as usize;
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += count;
    }

    fn merge(&mut self, other: &Buckets, finer: u32) {
        for (at, count) in (other.start..).zip(&other.counts) {
            if *count > 0 {
                self.add(at >> finer, *count);
            }
        }
    }

    fn coarsen(&mut self, steps: u32) {
        let Some(last) = self.last() else {
            return;
        };
        let start = self.start >> steps;
        let length = ((last >> steps) - start) as usize + 1;
        for index in 0..self.counts.len() {
            let to = ((self.start + index as i32) >> steps) - start;
            let count = std::mem::take(&mut self.counts[index]);
            // Never behind the one that it is taken from.
            self.counts[to as usize] += count;
        }
        self.counts.truncate(length);
        self.start = start;
    }
}

/// How far an index at one scale is shifted to be one at a coarser.
fn shift(from: i8, to: i8) -> u32 {
    u32::try_from(i32::from(from) - i32::from(to)).unwrap_or(0)
}

/// By how many steps the scale must fall for these buckets to be no more than `max_size`.
fn excess((low, high): (i32, i32), max_size: u32) -> u32 {
    let mut steps = 0;
    while i64::from(high >> steps) - i64::from(low >> steps) >= i64::from(max_size) {
        steps += 1;
    }
    steps
}

/// The bucket of a finite value above zero at the finest scale: that of (2^(i/2^20), 2^((i+1)/2^20)]. What is smaller than a normal
/// number counts as the smallest.
fn index(value: f64) -> i32 {
    let bits = value.to_bits();
    let exponent = (bits >> MANTISSA_BITS) as i32;
    let mantissa = bits & ((1 << MANTISSA_BITS) - 1);
    if exponent == 0 {
        return ((1 - EXPONENT_BIAS) << SCALE_MAX) - 1;
    }
    let base = (exponent - EXPONENT_BIAS) << SCALE_MAX;
    if mantissa == 0 {
        // Exactly a power of two: the upper bound of its bucket.
        return base - 1;
    }
    let fraction = f64::from_bits((EXPONENT_BIAS as u64) << MANTISSA_BITS | mantissa);
    let buckets = 1 << SCALE_MAX;
    let within = (fraction.log2() * f64::from(buckets)).ceil() as i32 - 1;
    base + within.clamp(0, buckets - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The bucket of a value at a scale, by its definition: `base^i < value <= base^(i+1)`.
    fn bounds(at: i32, scale: i8) -> (f64, f64) {
        let exponent = |at: i32| (f64::from(at) * f64::from(-scale).exp2()).exp2();
        (exponent(at), exponent(at + 1))
    }

    /// Finite numbers of all magnitudes, with many near to each other and many powers of two.
    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            Just(0.0),
            (-40i32..40).prop_map(|exponent| f64::from(exponent).exp2()),
            -1000.0..1000.0,
            1.0..1.001,
            any::<f64>().prop_filter("finite", |value| value.is_finite()),
        ]
    }

    /// What must come of values: the finest scale at which they fit, each in its bucket.
    fn reference(values: &[f64], max_size: u32, max_scale: i8) -> Exponential {
        let indexes = |is_side: fn(f64) -> bool| {
            let side = values.iter().filter(move |value| is_side(**value));
            side.map(|value| index(value.abs())).collect::<Vec<i32>>()
        };
        let sides = [indexes(|value| value > 0.0), indexes(|value| value < 0.0)];
        let fits = |scale: i8| {
            sides.iter().all(|side| {
                let at = |index: &i32| i64::from(index >> (20 - scale));
                let low = side.iter().map(at).min().unwrap_or(0);
                let high = side.iter().map(at).max().unwrap_or(0);
                high - low < i64::from(max_size)
            })
        };
        let scale = (SCALE_MIN..=max_scale).rev().find(|scale| fits(*scale)).unwrap();
        let [positive, negative] = sides.map(|side| {
            let at: Vec<i32> = side.iter().map(|index| index >> (20 - scale)).collect();
            let (Some(low), Some(high)) = (at.iter().min(), at.iter().max()) else {
                return Buckets::default();
            };
            let count = |bucket| at.iter().filter(|at| **at == bucket).count() as u64;
            Buckets {
                start: *low,
                counts: (*low..=*high).map(count).collect(),
            }
        });
        Exponential {
            scale,
            zeros: values.iter().filter(|value| **value == 0.0).count() as u64,
            positive,
            negative,
        }
    }

    proptest! {
        #[test]
        fn values_are_counted_at_the_finest_scale_at_which_they_fit(
            values in proptest::collection::vec(value(), 0..40),
            max_size in 2u32..200,
            max_scale in SCALE_MIN..=SCALE_MAX,
        ) {
            let mut histogram = Exponential::new(max_scale);
            values.iter().for_each(|value| histogram.add(*value, max_size));
            prop_assert_eq!(&histogram, &reference(&values, max_size, max_scale));
            prop_assert_eq!(histogram.count(), values.len() as u64);
        }

        #[test]
        fn merged_ones_are_one_of_all_values_whatever_their_scales(
            parts in proptest::collection::vec(proptest::collection::vec(value(), 0..20), 0..5),
            max_size in 2u32..200,
        ) {
            let mut merged = Exponential::new(SCALE_MAX);
            for part in &parts {
                let mut histogram = Exponential::new(SCALE_MAX);
                part.iter().for_each(|value| histogram.add(*value, max_size));
                merged.merge(&histogram, max_size);
            }
            prop_assert_eq!(merged, reference(&parts.concat(), max_size, SCALE_MAX));
        }

        #[test]
        fn a_value_is_within_the_bounds_of_its_bucket(
            value in prop_oneof![1e-6..1e6, 0.9..1.1],
            scale in -3i8..=8,
        ) {
            let (low, high) = bounds(index(value) >> (20 - scale), scale);
            // As exact as the bounds themselves can be computed.
            prop_assert!(low <= value * (1.0 + 1e-12) && value <= high * (1.0 + 1e-12), "{low} {value} {high}");
        }
    }

    #[test]
    fn powers_of_two_end_their_buckets_at_every_scale() {
        for scale in SCALE_MIN..=SCALE_MAX {
            for exponent in -1022i32..=1023 {
                let at = index(f64::from(exponent).exp2()) >> (20 - scale);
                let wanted = match scale >= 0 {
                    true => (exponent << scale) - 1,
                    false => (exponent - 1) >> -scale,
                };
                assert_eq!(at, wanted, "2^{exponent} at {scale}");
            }
        }
    }

    #[test]
    fn the_smallest_and_the_largest_numbers_fit_two_buckets() {
        let mut histogram = Exponential::new(SCALE_MAX);
        for value in [f64::MIN_POSITIVE, f64::MAX, 5e-324, -f64::MAX, -5e-324, 1.0] {
            histogram.add(value, 2);
        }
        assert_eq!(histogram.scale, SCALE_MIN);
        assert_eq!(
            (histogram.positive.start, &*histogram.positive.counts),
            (-1, &[3, 1][..])
        );
        assert_eq!(
            (histogram.negative.start, &*histogram.negative.counts),
            (-1, &[1, 1][..])
        );
    }
}
