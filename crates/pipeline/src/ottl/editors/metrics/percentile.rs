//! Percentiles of histograms, by interpolation within the bucket that has them.

use cupola_telemetry::edit::{Message, MetricKind};

use super::points::{BUCKET_COUNTS, COUNT, EXPLICIT_BOUNDS, double, doubles, fixed64s, sint32, varints};
use crate::ottl::error::Fault;

pub(super) enum Percentile {
    Value(f64),
    /// The point says too little.
    None,
}

pub(super) fn of(kind: MetricKind, point: &Message<'_>, percentile: f64) -> Result<Percentile, Fault> {
    let count = point.number(COUNT).unwrap_or(0);
    if count == 0 {
        return Ok(Percentile::None);
    }
    let target = (count as f64 * (percentile / 100.0)).ceil() as u64;
    match kind {
        MetricKind::Histogram => of_explicit(point, target),
        _ => of_exponential(point, target),
    }
}

fn of_explicit(point: &Message<'_>, target: u64) -> Result<Percentile, Fault> {
    const MIN: u32 = 11;
    const MAX: u32 = 12;
    let (counts, bounds) = (fixed64s(point, BUCKET_COUNTS), doubles(point, EXPLICIT_BOUNDS));
    let (min, max) = (double(point, MIN), double(point, MAX));
    if counts.is_empty() {
        return Ok(Percentile::None);
    }
    if counts.len() != bounds.len() + 1 {
        return Err(Fault::of(format_args!(
            "the histogram has {} buckets for {} bounds",
            counts.len(),
            bounds.len()
        )));
    }
    if bounds.is_empty() {
        return match (min, max) {
            (Some(min), Some(max)) => linear(min, max, target as f64 / counts[0] as f64),
            _ => Ok(Percentile::None),
        };
    }
    let mut before = 0u64;
    for (index, count) in counts.iter().enumerate() {
        let through = before.saturating_add(*count);
        if through < target {
            before = through;
            continue;
        }
        let (lower, upper) = match (index, bounds.get(index)) {
            (0, Some(upper)) => match min {
                Some(min) if min < *upper => (min, *upper),
                // There is nothing below to interpolate with.
                _ if *upper < 0.0 => return Ok(Percentile::Value(*upper)),
                _ => (0.0, *upper),
            },
            (_, Some(upper)) => (bounds[index - 1], *upper),
            (_, None) => {
                let lower = bounds[index - 1];
                match max {
                    Some(max) if max > lower => (lower, max),
                    _ => return Ok(Percentile::Value(lower)),
                }
            }
        };
        return linear(lower, upper, (target - before) as f64 / *count as f64);
    }
    Err(Fault::new("the histogram counts more than its buckets do"))
}

fn of_exponential(point: &Message<'_>, target: u64) -> Result<Percentile, Fault> {
    let scale = sint32(point, 6);
    let zeros = point.number(7).unwrap_or(0);
    let threshold = double(point, 14).unwrap_or(0.0);
    let buckets = |number| point.with_message(number, |buckets| (sint32(buckets, 1), varints(buckets, 2)));
    let (positive, negative) = (buckets(8), buckets(9));
    if positive.1.is_empty() && negative.1.is_empty() && zeros == 0 {
        return Ok(Percentile::None);
    }
    let mut before = 0u64;
    for (index, count) in negative.1.iter().enumerate().rev() {
        let through = before.saturating_add(*count);
        if through >= target {
            let ratio = (target - before) as f64 / *count as f64;
            let (lower, upper) = bucket(negative.0, index, scale);
            if lower >= upper {
                return Err(Fault::new(
                    "the scale of the histogram is too fine for its buckets",
                ));
            }
            // The other way round: the first ones are those farthest from zero.
            return Ok(match logarithmic(lower, upper, 1.0 - ratio)? {
                Percentile::Value(value) => Percentile::Value(-value),
                Percentile::None => Percentile::None,
            });
        }
        before = through;
    }
    if before.saturating_add(zeros) >= target {
        let lower = if negative.1.is_empty() && !positive.1.is_empty() {
            0.0
        } else {
            -threshold
        };
        let upper = if positive.1.is_empty() && !negative.1.is_empty() {
            0.0
        } else {
            threshold
        };
        return linear(lower, upper, (target - before) as f64 / zeros as f64);
    }
    before = before.saturating_add(zeros);
    for (index, count) in positive.1.iter().enumerate() {
        let through = before.saturating_add(*count);
        if through >= target {
            let (lower, upper) = bucket(positive.0, index, scale);
            return logarithmic(lower, upper, (target - before) as f64 / *count as f64);
        }
        before = through;
    }
    Err(Fault::new("the histogram counts more than its buckets do"))
}

/// The bounds of a bucket of positive values.
pub(super) fn bucket(offset: i32, index: usize, scale: i32) -> (f64, f64) {
    let index = f64::from(offset) + index as f64;
    // 2^(2^-scale) is the base, so that this is right for every scale.
    let width = (-f64::from(scale)).exp2();
    let bound = |index: f64| match index {
        // Of every base, an infinite one included.
        0.0 => 1.0,
        _ => (index * width).exp2(),
    };
    (bound(index), bound(index + 1.0))
}

fn linear(lower: f64, upper: f64, ratio: f64) -> Result<Percentile, Fault> {
    in_range(ratio)?;
    Ok(Percentile::Value(lower + ratio * (upper - lower)))
}

fn logarithmic(lower: f64, upper: f64, ratio: f64) -> Result<Percentile, Fault> {
    in_range(ratio)?;
    if lower <= 0.0 || upper <= 0.0 {
        return Err(Fault::new(
            "the scale of the histogram is too coarse for its buckets",
        ));
    }
    let (lower, upper) = (lower.log2(), upper.log2());
    Ok(Percentile::Value((lower + (upper - lower) * ratio).exp2()))
}

fn in_range(ratio: f64) -> Result<(), Fault> {
    match (0.0..=1.0).contains(&ratio) {
        true => Ok(()),
        false => Err(Fault::new("the histogram counts more than its buckets do")),
    }
}

#[cfg(test)]
mod tests {
    use super::bucket;

    #[test]
    fn buckets_of_every_scale_have_bounds() {
        assert_eq!(bucket(0, 0, 0), (1.0, 2.0));
        assert_eq!(bucket(-3, 2, -1), (0.25, 1.0));
        assert_eq!(bucket(0, 0, i32::MIN), (1.0, f64::INFINITY));
        assert_eq!(bucket(-1, 0, i32::MIN), (0.0, 1.0));
        assert_eq!(bucket(i32::MAX, 0, i32::MAX), (1.0, 1.0));
    }
}
