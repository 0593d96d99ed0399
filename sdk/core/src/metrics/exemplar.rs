//! Exemplars: measurements kept as they were made, with their span. Owns which of those that are offered are kept: each as likely
//! as any other, of a series or of a bucket.
//!
//! <https://opentelemetry.io/docs/specs/otel/metrics/sdk/#exemplarreservoir>

use cupola_telemetry::{SpanId, TraceId};
use rand::Rng;
use rand::rngs::SmallRng;

use super::instrument::Number;

/// One measurement.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exemplar {
    pub(super) number: Number,
    pub(super) unix_nano: u64,
    /// The span in which it was made.
    pub(super) span: Option<(TraceId, SpanId)>,
    /// Attributes that the series does not have, as fields of the message.
    pub(super) filtered: Vec<u8>,
}

/// What is kept of one series between two collections.
#[derive(Debug)]
pub(super) enum Reservoir {
    /// `SimpleFixedSizeExemplarReservoir`.
    Fixed { size: usize, drawn: Drawn },
    /// `AlignedHistogramBucketExemplarReservoir`: one of each bucket.
    Aligned(Box<[Drawn]>),
}

/// Some of those that were offered.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    offered: u64,
    kept: Vec<Exemplar>,
}

impl Reservoir {
    pub(super) fn fixed(size: usize) -> Reservoir {
        let drawn = Drawn::default();
        Reservoir::Fixed { size, drawn }
    }

    pub(super) fn aligned(buckets: usize) -> Reservoir {
        Reservoir::Aligned(std::iter::repeat_with(Drawn::default).take(buckets).collect())
    }

    /// Offers a measurement in a bucket, which is made if it is kept.
    pub(super) fn offer(&mut self, bucket: usize, random: &mut SmallRng, make: impl FnOnce() -> Exemplar) {
        match self {
            Reservoir::Fixed { size, drawn } => drawn.offer(*size, random, make),
            Reservoir::Aligned(buckets) => {
                if let Some(drawn) = buckets.get_mut(bucket) {
                    drawn.offer(1, random, make);
                }
            }
        }
    }

    /// Takes over what another of the same shape was offered.
    pub(super) fn merge(&mut self, other: Reservoir, random: &mut SmallRng) {
        match (self, other) {
            (Reservoir::Fixed { size, drawn }, Reservoir::Fixed { drawn: more, .. }) => {
                drawn.merge(more, *size, random);
            }
            (Reservoir::Aligned(buckets), Reservoir::Aligned(more)) => {
                for (drawn, more) in buckets.iter_mut().zip(more) {
                    drawn.merge(more, 1, random);
                }
            }
            _ => {}
        }
    }

    pub(super) fn kept(&self) -> impl Iterator<Item = &Exemplar> {
        let drawn = match self {
            Reservoir::Fixed { drawn, .. } => std::slice::from_ref(drawn),
            Reservoir::Aligned(buckets) => buckets,
        };
        drawn.iter().flat_map(|drawn| &drawn.kept)
    }
}

impl Drawn {
    /// Vitter's algorithm R.
    fn offer(&mut self, size: usize, random: &mut SmallRng, make: impl FnOnce() -> Exemplar) {
        self.offered += 1;
        if self.kept.len() < size {
            self.kept.push(make());
            return;
        }
        let at = random.random_range(0..self.offered);
        if let Some(kept) = usize::try_from(at).ok().and_then(|at| self.kept.get_mut(at)) {
            *kept = make();
        }
    }

    /// Draws from both, each as likely as it has been offered more.
    fn merge(&mut self, mut other: Drawn, size: usize, random: &mut SmallRng) {
        let (mut left, mut right) = (self.offered, other.offered);
        self.offered += other.offered;
        let mut own = std::mem::take(&mut self.kept);
        while self.kept.len() < size && left + right > 0 {
            let (from, rest) = match random.random_range(0..left + right) < left {
                true => (&mut own, &mut left),
                false => (&mut other.kept, &mut right),
            };
            *rest -= 1;
            if from.is_empty() {
                // Cannot be: as many were kept as can be drawn.
                *rest = 0;
                continue;
            }
            let at = random.random_range(0..from.len());
            self.kept.push(from.swap_remove(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn exemplar(number: i64) -> Exemplar {
        Exemplar {
            number: Number::Int(number),
            unix_nano: 0,
            span: None,
            filtered: Vec::new(),
        }
    }

    fn numbers(reservoir: &Reservoir) -> Vec<i64> {
        let number = |exemplar: &Exemplar| match exemplar.number {
            Number::Int(number) => number,
            Number::Double(_) => panic!("a double"),
        };
        reservoir.kept().map(number).collect()
    }

    #[test]
    fn each_is_as_likely_to_be_kept_also_when_threads_are_merged() {
        const ROUNDS: u64 = 20_000;
        let mut random = SmallRng::seed_from_u64(1);
        let mut kept = [0u64; 10];
        for _ in 0..ROUNDS {
            // Seven in one thread, three in another, two of all.
            let mut both = [Reservoir::fixed(2), Reservoir::fixed(2)];
            for number in 0..10 {
                both[usize::from(number >= 7)].offer(0, &mut random, || exemplar(number));
            }
            let [mut one, other] = both;
            one.merge(other, &mut random);
            let numbers = numbers(&one);
            assert_eq!(numbers.len(), 2);
            numbers.into_iter().for_each(|number| kept[number as usize] += 1);
        }
        let expected = ROUNDS / 5;
        for (number, count) in kept.into_iter().enumerate() {
            assert!(
                count.abs_diff(expected) < expected / 10,
                "{number}: {count} of {expected}"
            );
        }
    }

    #[test]
    fn of_each_bucket_there_is_one_at_most() {
        let mut random = SmallRng::seed_from_u64(1);
        let mut one = Reservoir::aligned(3);
        for number in [0, 0, 2, 2, 2] {
            one.offer(number as usize, &mut random, || exemplar(number));
        }
        let mut other = Reservoir::aligned(3);
        other.offer(1, &mut random, || exemplar(1));
        other.offer(2, &mut random, || exemplar(2));
        assert_eq!(numbers(&one), [0, 2]);
        one.merge(other, &mut random);
        assert_eq!(numbers(&one), [0, 1, 2]);
    }
}
