//! Exponential histograms with bounds of their own: `convert_exponential_histogram_to_histogram`.
//!
//! A bucket that lies between bounds is given to one of the new ones, or in parts to several. Buckets of negative values and
//! of zero are counted as well, so that the new counts add up to the old ones.

use cupola_telemetry::edit::{Message, MetricKind};

use super::percentile::bucket;
use super::points::{
    BUCKET_COUNTS, COUNT, EXPLICIT_BOUNDS, START, SUM, TIME, attributes, double, set_double, set_doubles,
    set_fixed64s, sint32, varints,
};
use crate::ottl::eval::Run;

/// Where the values of a bucket are taken to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::ottl) enum Distribution {
    Upper,
    Midpoint,
    /// All over it alike.
    Uniform,
    /// Like uniform, but what does not come out even is left to chance.
    Random,
}

impl Distribution {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "upper" => Self::Upper,
            "midpoint" => Self::Midpoint,
            "uniform" => Self::Uniform,
            "random" | "" => Self::Random,
            _ => return None,
        })
    }
}

/// Fields that both kinds of points have, by their numbers in the old one and in the new one.
const MIN: (u32, u32) = (12, 11);
const MAX: (u32, u32) = (13, 12);
const FLAGS: u32 = 10;
const EXEMPLARS: (u32, u32) = (11, 8);

pub(super) fn to_explicit(run: &mut Run<'_, '_>, distribution: Distribution, bounds: &[f64]) {
    if run.place.metric_kind() != Some(MetricKind::ExponentialHistogram) {
        return;
    }
    let mut points = Vec::new();
    for point in run.place.points_now() {
        let point = Message::new(point);
        let mut counts = Counts {
            bounds,
            counts: vec![0; bounds.len() + 1],
            distribution,
            chance: (run.env.random() as u64 >> 11) as f64 / (1u64 << 53) as f64,
        };
        counts.add_point(&point);
        points.push(converted(&point, bounds, &counts.counts));
    }
    run.place.set_points(MetricKind::Histogram, points);
}

fn converted(point: &Message<'_>, bounds: &[f64], counts: &[u64]) -> Vec<u8> {
    let mut new = Message::new(&[]);
    new.set_map(
        attributes(MetricKind::Histogram),
        point.map(attributes(MetricKind::ExponentialHistogram)),
    );
    for number in [START, TIME, COUNT] {
        if let Some(bits) = point.number(number).filter(|bits| *bits != 0) {
            new.set_fixed64(number, bits);
        }
    }
    for (old, number) in [(SUM, SUM), MIN, MAX] {
        if let Some(value) = double(point, old) {
            set_double(&mut new, number, value);
        }
    }
    if let Some(flags) = point.number(FLAGS) {
        new.set_varint(FLAGS, flags);
    }
    set_doubles(&mut new, EXPLICIT_BOUNDS, bounds);
    set_fixed64s(&mut new, BUCKET_COUNTS, counts);
    let mut encoded = new.encode();
    for exemplar in point.repeated(EXEMPLARS.0) {
        cupola_telemetry::wire::write_bytes(&mut encoded, EXEMPLARS.1, exemplar);
    }
    encoded
}

struct Counts<'b> {
    bounds: &'b [f64],
    /// One more than there are bounds.
    counts: Vec<u64>,
    distribution: Distribution,
    /// From 0 up to 1.
    chance: f64,
}

impl Counts<'_> {
    fn add_point(&mut self, point: &Message<'_>) {
        let scale = sint32(point, 6);
        let buckets =
            |number| point.with_message(number, |buckets| (sint32(buckets, 1), varints(buckets, 2)));
        self.add_at(0.0, point.number(7).unwrap_or(0));
        let (offset, counts) = buckets(8);
        for (index, count) in counts.into_iter().enumerate() {
            let (lower, upper) = bucket(offset, index, scale);
            self.add(lower, upper, count);
        }
        let (offset, counts) = buckets(9);
        for (index, count) in counts.into_iter().enumerate() {
            let (lower, upper) = bucket(offset, index, scale);
            self.add(-upper, -lower, count);
        }
    }

    /// Counts values at one place.
    fn add_at(&mut self, value: f64, count: u64) {
        let index = self.bounds.partition_point(|bound| *bound < value);
        if let Some(sum) = self.counts.get_mut(index) {
            *sum = sum.wrapping_add(count);
        }
    }

    /// Counts values between two bounds, the upper one included.
    fn add(&mut self, lower: f64, upper: f64, count: u64) {
        if count == 0 {
            return;
        }
        let width = upper - lower;
        let rounded = match self.distribution {
            Distribution::Upper => return self.add_at(upper, count),
            Distribution::Midpoint => return self.add_at(f64::midpoint(lower, upper), count),
            _ if !width.is_finite() || width <= 0.0 => return self.add_at(upper, count),
            Distribution::Uniform => f64::ceil,
            Distribution::Random => f64::floor,
        };
        let chance = match self.distribution {
            Distribution::Random => self.chance,
            _ => 0.0,
        };
        let first = self.bounds.partition_point(|bound| *bound <= lower);
        let mut given = 0;
        for index in first..self.bounds.len() {
            let bound = self.bounds[index];
            if bound >= upper {
                break;
            }
            // What lies below the bound, in whole values; what the ones before have is not counted again.
            let below = count as f64 * ((bound - lower) / width);
            let through = (rounded(below + chance) as u64).clamp(given, count);
            self.counts[index] = self.counts[index].wrapping_add(through - given);
            given = through;
        }
        self.add_at(upper, count - given);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(distribution: Distribution, bounds: &[f64], buckets: &[(f64, f64, u64)]) -> Vec<u64> {
        let mut counts = Counts {
            bounds,
            counts: vec![0; bounds.len() + 1],
            distribution,
            chance: 0.5,
        };
        for (lower, upper, count) in buckets {
            counts.add(*lower, *upper, *count);
        }
        counts.counts
    }

    #[test]
    fn every_value_of_a_bucket_is_counted_once() {
        let bounds: Vec<f64> = (1..=10).map(|index| f64::from(index) * 10.0).collect();
        let buckets = [(32.0, 64.0, 10), (64.0, 128.0, 22), (128.0, 256.0, 12)];
        let cases = [
            (Distribution::Upper, vec![0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 34]),
            (Distribution::Midpoint, vec![0, 0, 0, 0, 10, 0, 0, 0, 0, 22, 12]),
            (Distribution::Uniform, vec![0, 0, 0, 3, 3, 3, 4, 3, 3, 4, 21]),
            (Distribution::Random, vec![0, 0, 0, 3, 3, 3, 3, 4, 3, 3, 22]),
        ];
        for (distribution, expected) in cases {
            assert_eq!(
                counts(distribution, &bounds, &buckets),
                expected,
                "{distribution:?}"
            );
        }
        assert_eq!(
            counts(Distribution::Uniform, &[-4.0, 0.0], &[(-8.0, -2.0, 9)]),
            [6, 3, 0]
        );
    }
}
