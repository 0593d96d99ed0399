//! What measurements of one series become, and how two of them become one.

use super::exponential::Exponential;
use super::instrument::Number;

/// Of so few, all are looked at.
const BOUNDARIES_COUNTED: usize = 32;

/// What the points of a stream are, resolved from its aggregation.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    Sum,
    LastValue,
    Explicit {
        /// Finite and increasing.
        boundaries: Box<[f64]>,
        record_min_max: bool,
    },
    Exponential {
        max_size: u32,
        max_scale: i8,
        record_min_max: bool,
    },
}

/// What one series has become.
#[derive(Clone, Debug)]
pub(super) enum Point {
    Int(i64),
    Double(f64),
    /// The newest one, and when it was measured.
    Last(Number, u64),
    Explicit(Box<Histogram<Box<[u64]>>>),
    Exponential(Box<Histogram<Exponential>>),
}

/// Counts by bucket, and what all histograms have.
#[derive(Clone, Debug)]
pub(super) struct Histogram<B> {
    pub(super) buckets: B,
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl<B> Histogram<B> {
    fn new(buckets: B) -> Box<Histogram<B>> {
        Box::new(Histogram {
            buckets,
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        })
    }

    fn add(&mut self, value: f64) {
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    fn merge(&mut self, other: &Histogram<B>) {
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

impl Shape {
    /// Of a series that has not been measured yet.
    pub(super) fn point(&self, is_int: bool) -> Point {
        match self {
            Shape::Sum if is_int => Point::Int(0),
            Shape::Sum => Point::Double(0.0),
            Shape::LastValue => Point::Last(Number::Int(0), 0),
            Shape::Explicit { boundaries, .. } => {
                Point::Explicit(Histogram::new(vec![0; boundaries.len() + 1].into()))
            }
            Shape::Exponential { max_scale, .. } => {
                Point::Exponential(Histogram::new(Exponential::new(*max_scale)))
            }
        }
    }

    /// The bucket of a value, for exemplars.
    #[inline]
    pub(super) fn bucket(&self, value: f64) -> usize {
        match self {
            // Quicker than a search, which the processor cannot foresee.
            Shape::Explicit { boundaries, .. } if boundaries.len() <= BOUNDARIES_COUNTED => {
                boundaries.iter().filter(|bound| **bound < value).count()
            }
            Shape::Explicit { boundaries, .. } => boundaries.partition_point(|bound| *bound < value),
            _ => 0,
        }
    }
}

impl Point {
    /// Adds a measurement, which is finite. `now` is asked where it matters when it was made.
    #[inline]
    pub(super) fn add(&mut self, number: Number, shape: &Shape, now: impl FnOnce() -> u64) {
        match self {
            Point::Int(sum) => *sum = sum.saturating_add(number.to_int()),
            Point::Double(sum) => *sum += number.to_double(),
            Point::Last(last, at) => (*last, *at) = (number, now()),
            Point::Explicit(histogram) => {
                let value = number.to_double();
                histogram.add(value);
                histogram.buckets[shape.bucket(value)] += 1;
            }
            Point::Exponential(histogram) => {
                let value = number.to_double();
                histogram.add(value);
                if let Shape::Exponential { max_size, .. } = shape {
                    histogram.buckets.add(value, *max_size);
                }
            }
        }
    }

    /// Puts an observation in place of an earlier one.
    pub(super) fn set(&mut self, number: Number, now: impl FnOnce() -> u64) {
        match self {
            Point::Int(sum) => *sum = number.to_int(),
            Point::Double(sum) => *sum = number.to_double(),
            Point::Last(last, at) => (*last, *at) = (number, now()),
            // Observations never become histograms.
            Point::Explicit(_) | Point::Exponential(_) => {}
        }
    }

    /// Adds what another thread has measured.
    pub(super) fn merge(&mut self, other: &Point, shape: &Shape) {
        match (self, other) {
            (Point::Int(sum), Point::Int(more)) => *sum = sum.saturating_add(*more),
            (Point::Double(sum), Point::Double(more)) => *sum += more,
            (Point::Last(last, at), Point::Last(other, other_at)) if other_at >= at => {
                (*last, *at) = (*other, *other_at);
            }
            (Point::Explicit(histogram), Point::Explicit(other)) => {
                histogram.merge(other);
                for (count, more) in histogram.buckets.iter_mut().zip(&other.buckets) {
                    *count += more;
                }
            }
            (Point::Exponential(histogram), Point::Exponential(other)) => {
                histogram.merge(other);
                if let Shape::Exponential { max_size, .. } = shape {
                    histogram.buckets.merge(&other.buckets, *max_size);
                }
            }
            // An older last value; the points of a stream have one shape.
            _ => {}
        }
    }

    /// How much a sum has grown since `earlier`.
    pub(super) fn since(&self, earlier: &Point) -> Point {
        match (self, earlier) {
            (Point::Int(now), Point::Int(then)) => Point::Int(now.saturating_sub(*then)),
            (Point::Double(now), Point::Double(then)) => Point::Double(now - then),
            _ => self.clone(),
        }
    }

    /// Whether a sum is less than it was.
    pub(super) fn is_below(&self, earlier: &Point) -> bool {
        match (self, earlier) {
            (Point::Int(now), Point::Int(then)) => now < then,
            (Point::Double(now), Point::Double(then)) => now < then,
            _ => false,
        }
    }
}
