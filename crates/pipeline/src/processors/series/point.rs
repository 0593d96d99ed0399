//! Values of data points that can be added and subtracted, out of points and back into them.

use std::borrow::Cow;

use cupola_telemetry::edit::{Message, MetricKind};
use cupola_telemetry::view::{
    ExponentialHistogramDataPoint, HistogramDataPoint, Message as _, NumberDataPoint, NumberValue,
};
use cupola_telemetry::wire::{VARINT, write_bytes, write_key, write_varint, zigzag32};

use super::exponential::{Buckets, Exponential};

/// The flag of a point that says that there is no value.
const NO_RECORDED_VALUE: u32 = 1;

/// What a data point says of its stream.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::processors) struct Point {
    pub(in crate::processors) start: u64,
    pub(in crate::processors) time: u64,
    pub(in crate::processors) value: Measured,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::processors) enum Measured {
    Number(NumberValue),
    Histogram(Box<Counted<Explicit>>),
    Exponential(Box<Counted<Exponential>>),
}

/// What both kinds of histogram have.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::processors) struct Counted<B> {
    count: u64,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    buckets: B,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::processors) struct Explicit {
    bounds: Vec<f64>,
    counts: Vec<u64>,
}

impl Point {
    /// Number of the attributes in an encoded point.
    pub(in crate::processors) fn attributes(kind: MetricKind) -> u32 {
        match kind {
            MetricKind::Histogram => 9,
            MetricKind::ExponentialHistogram => 1,
            _ => 7,
        }
    }

    /// Reads an encoded point; `None` if it has no value, or one that cannot be added up.
    pub(super) fn read(kind: MetricKind, raw: &[u8]) -> Option<Self> {
        match kind {
            MetricKind::Sum => {
                let point = NumberDataPoint::parse(raw);
                let value = point.value.filter(|value| !value.as_f64().is_nan())?;
                let point = (point.flags, point.start_time_unix_nano, point.time_unix_nano);
                Self::of(point, Measured::Number(value))
            }
            MetricKind::Histogram => {
                let point = HistogramDataPoint::parse(raw);
                let value = Counted {
                    count: point.count,
                    sum: point.sum,
                    min: point.min,
                    max: point.max,
                    buckets: Explicit {
                        bounds: point.explicit_bounds.collect(),
                        counts: point.bucket_counts.collect(),
                    },
                };
                let point = (point.flags, point.start_time_unix_nano, point.time_unix_nano);
                Self::of(point, Measured::Histogram(Box::new(value)))
            }
            MetricKind::ExponentialHistogram => {
                let point = ExponentialHistogramDataPoint::parse(raw);
                let value = Counted {
                    count: point.count,
                    sum: point.sum,
                    min: point.min,
                    max: point.max,
                    buckets: Exponential::of(&point),
                };
                let point = (point.flags, point.start_time_unix_nano, point.time_unix_nano);
                Self::of(point, Measured::Exponential(Box::new(value)))
            }
            MetricKind::Gauge | MetricKind::Summary => None,
        }
    }

    fn of((flags, start, time): (u32, u64, u64), value: Measured) -> Option<Self> {
        (flags & NO_RECORDED_VALUE == 0).then_some(Self { start, time, value })
    }

    /// Writes it over the point that it was read from, or one of the same stream.
    pub(super) fn write(&self, point: &mut Message<'_>) {
        fixed64(point, 2, self.start);
        match &self.value {
            Measured::Number(NumberValue::Int(value)) => {
                point.remove(4);
                point.set_fixed64(6, *value as u64);
            }
            Measured::Number(NumberValue::Double(value)) => {
                point.remove(6);
                point.set_fixed64(4, value.to_bits());
            }
            Measured::Histogram(histogram) => {
                histogram.write(point, (11, 12));
                let packed = histogram
                    .buckets
                    .counts
                    .iter()
                    .flat_map(|count| count.to_le_bytes());
                bytes(point, 6, packed.collect());
            }
            Measured::Exponential(histogram) => {
                histogram.write(point, (12, 13));
                let buckets = &histogram.buckets;
                match buckets.scale {
                    0 => point.remove(6),
                    scale => point.set_varint(6, u64::from(zigzag32(scale))),
                }
                fixed64(point, 7, buckets.zero_count);
                bytes(point, 8, encode(&buckets.positive));
                bytes(point, 9, encode(&buckets.negative));
                fixed64(point, 14, buckets.zero_threshold.to_bits());
            }
        }
    }
}

impl<B> Counted<B> {
    fn write(&self, point: &mut Message<'_>, (min, max): (u32, u32)) {
        fixed64(point, 4, self.count);
        for (number, value) in [(5, self.sum), (min, self.min), (max, self.max)] {
            match value {
                Some(value) => point.set_fixed64(number, value.to_bits()),
                None => point.remove(number),
            }
        }
    }

    fn add(&self, other: &Self, buckets: B) -> Self {
        let both = |a: Option<f64>, b: Option<f64>, of: fn(f64, f64) -> f64| a.zip(b).map(|(a, b)| of(a, b));
        Self {
            count: self.count.saturating_add(other.count),
            sum: both(self.sum, other.sum, |a, b| a + b),
            min: both(self.min, other.min, f64::min),
            max: both(self.max, other.max, f64::max),
            buckets,
        }
    }

    /// Least and largest value of a part of the time are not known.
    fn since(&self, earlier: &Self, buckets: B) -> Option<Self> {
        Some(Self {
            count: self.count.checked_sub(earlier.count)?,
            sum: self.sum.zip(earlier.sum).map(|(now, then)| now - then),
            min: None,
            max: None,
            buckets,
        })
    }
}

impl Measured {
    /// The sum of both; `None` if they are of different kinds or have different bounds.
    pub(in crate::processors) fn add(&self, other: &Self) -> Option<Self> {
        Some(match (self, other) {
            (Self::Number(NumberValue::Int(a)), Self::Number(NumberValue::Int(b))) => {
                Self::Number(NumberValue::Int(a.saturating_add(*b)))
            }
            (Self::Number(a), Self::Number(b)) => Self::Number(NumberValue::Double(a.as_f64() + b.as_f64())),
            (Self::Histogram(a), Self::Histogram(b)) => {
                let buckets = a.buckets.combine(&b.buckets, |a, b| Some(a.saturating_add(b)))?;
                Self::Histogram(Box::new(a.add(b, buckets)))
            }
            (Self::Exponential(a), Self::Exponential(b)) => {
                let buckets = a.buckets.clone().add(b.buckets.clone());
                Self::Exponential(Box::new(a.add(b, buckets)))
            }
            _ => return None,
        })
    }

    /// What came since `earlier`; `None` if that is more, or cannot be compared: the counting began anew.
    pub(in crate::processors) fn since(&self, earlier: &Self) -> Option<Self> {
        Some(match (self, earlier) {
            (Self::Number(NumberValue::Int(now)), Self::Number(NumberValue::Int(then))) => Self::Number(
                NumberValue::Int(now.checked_sub(*then).filter(|delta| *delta >= 0)?),
            ),
            (Self::Number(now), Self::Number(then)) => {
                let delta = now.as_f64() - then.as_f64();
                Self::Number(NumberValue::Double(Some(delta).filter(|delta| *delta >= 0.0)?))
            }
            (Self::Histogram(now), Self::Histogram(then)) => {
                let buckets = now.buckets.combine(&then.buckets, u64::checked_sub)?;
                Self::Histogram(Box::new(now.since(then, buckets)?))
            }
            (Self::Exponential(now), Self::Exponential(then)) => {
                let buckets = now.buckets.clone().since(then.buckets.clone())?;
                Self::Exponential(Box::new(now.since(then, buckets)?))
            }
            _ => return None,
        })
    }
}

impl Explicit {
    fn combine(&self, other: &Self, of: impl Fn(u64, u64) -> Option<u64>) -> Option<Self> {
        if self.bounds != other.bounds || self.counts.len() != other.counts.len() {
            return None;
        }
        let counts = self.counts.iter().zip(&other.counts).map(|(a, b)| of(*a, *b));
        Some(Self {
            bounds: self.bounds.clone(),
            counts: counts.collect::<Option<_>>()?,
        })
    }
}

fn fixed64(point: &mut Message<'_>, number: u32, bits: u64) {
    match bits {
        0 => point.remove(number),
        bits => point.set_fixed64(number, bits),
    }
}

fn bytes(point: &mut Message<'_>, number: u32, bytes: Vec<u8>) {
    match bytes.is_empty() {
        true => point.remove(number),
        false => point.set_bytes(number, Cow::Owned(bytes)),
    }
}

/// The bytes of a `Buckets` message; none if there are no buckets.
fn encode(buckets: &Buckets) -> Vec<u8> {
    let mut out = Vec::new();
    if buckets.counts.is_empty() {
        return out;
    }
    if buckets.offset != 0 {
        write_key(&mut out, 1, VARINT);
        write_varint(&mut out, u64::from(zigzag32(buckets.offset)));
    }
    let mut packed = Vec::with_capacity(buckets.counts.len());
    buckets
        .counts
        .iter()
        .for_each(|count| write_varint(&mut packed, *count));
    write_bytes(&mut out, 2, &packed);
    out
}
