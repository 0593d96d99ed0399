//! Exponential histograms as native ones.
//!
//! Both have bounds at powers of 2^(2^-scale). A bucket of OpenTelemetry is numbered by its lower bound, one of
//! Prometheus by its upper bound, hence one more. Prometheus stops at scale 8: finer ones are merged, which is exact.

use cupola_telemetry::view::{Buckets, ExponentialHistogramDataPoint};

const SCHEMA_MIN: i32 = -4;
const SCHEMA_MAX: i32 = 8;
/// What counts as zero unless the point says.
const ZERO_THRESHOLD: f64 = 1e-128;
/// As many empty buckets in between are cheaper to write than a new span.
const GAP_MAX: i64 = 2;

/// A native histogram with integer counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NativeHistogram {
    pub schema: i32,
    pub count: u64,
    pub sum: f64,
    pub zero_threshold: f64,
    pub zero_count: u64,
    pub positive: NativeBuckets,
    pub negative: NativeBuckets,
}

/// Filled buckets by number, rising: bucket `i` goes up to and includes 2^(i × 2^-schema).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NativeBuckets(pub Vec<(i32, u64)>);

impl NativeBuckets {
    /// Spans as (gap to the one before, length), and counts as differences from bucket to bucket.
    pub fn spans_and_deltas(&self) -> (Vec<(i32, u32)>, Vec<i64>) {
        let (mut spans, mut deltas): (Vec<(i32, u32)>, Vec<i64>) = (Vec::new(), Vec::new());
        let mut next: Option<i64> = None;
        let mut before = 0_i64;
        for (index, count) in &self.0 {
            let index = i64::from(*index);
            let gap = next.map_or(index, |next| index - next);
            match spans.last_mut() {
                Some((_, length)) if gap <= GAP_MAX => {
                    for _ in 0..gap {
                        deltas.push(-before);
                        before = 0;
                    }
                    *length += gap as u32 + 1;
                }
                _ => spans.push((gap as i32, 1)),
            }
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            deltas.push(count - before);
            before = count;
            next = Some(index + 1);
        }
        (spans, deltas)
    }
}

impl NativeHistogram {
    /// The native form of a point; an error says why it has none.
    pub(super) fn of(point: &ExponentialHistogramDataPoint<'_>) -> Result<NativeHistogram, &'static str> {
        if point.scale < SCHEMA_MIN {
            return Err("exponential histograms coarser than scale -4 have no native form");
        }
        let shift = (point.scale - SCHEMA_MAX).max(0) as u32;
        Ok(NativeHistogram {
            schema: point.scale.min(SCHEMA_MAX),
            count: point.count,
            sum: point.sum.unwrap_or(0.0),
            zero_threshold: if point.zero_threshold > 0.0 {
                point.zero_threshold
            } else {
                ZERO_THRESHOLD
            },
            zero_count: point.zero_count,
            positive: merged(point.positive, shift)?,
            negative: merged(point.negative, shift)?,
        })
    }

    /// Adds another histogram of the same measurements. The coarser scale and the wider zero bucket of both remain.
    pub fn add(&mut self, other: &NativeHistogram) {
        let schema = self.schema.min(other.schema);
        let zero_threshold = self.zero_threshold.max(other.zero_threshold);
        for (own, others) in [
            (&mut self.positive, &other.positive),
            (&mut self.negative, &other.negative),
        ] {
            let mut counts: std::collections::BTreeMap<i32, u64> = std::collections::BTreeMap::new();
            for (buckets, shift) in [(&*own, self.schema - schema), (others, other.schema - schema)] {
                for (index, count) in &buckets.0 {
                    // Numbered by the upper bound: one less is the lower one, which is what merges evenly.
                    let index = ((index - 1) >> shift.clamp(0, 31)) + 1;
                    let sum = counts.entry(index).or_default();
                    *sum = sum.saturating_add(*count);
                }
            }
            *own = NativeBuckets(counts.into_iter().collect());
        }
        self.schema = schema;
        self.zero_threshold = zero_threshold;
        self.zero_count = self.zero_count.saturating_add(other.zero_count);
        self.count = self.count.saturating_add(other.count);
        self.sum += other.sum;
    }

    /// The same with explicit bounds, one for each filled bucket, for formats that have no native histograms.
    pub fn to_classic(&self) -> super::ClassicHistogram {
        let bound = |index: i32| (f64::from(index) * (-f64::from(self.schema)).exp2()).exp2();
        let mut buckets = Vec::with_capacity(self.positive.0.len() + self.negative.0.len() + 1);
        let mut total = 0_u64;
        let mut push = |bound: f64, count: u64| {
            total = total.saturating_add(count);
            buckets.push((bound, total));
        };
        for (index, count) in self.negative.0.iter().rev() {
            // The upper bound of a negative bucket is the lower one of its counterpart.
            push(-bound(index.saturating_sub(1)), *count);
        }
        if self.zero_count > 0 {
            push(self.zero_threshold, self.zero_count);
        }
        for (index, count) in &self.positive.0 {
            push(bound(*index), *count);
        }
        buckets.retain(|(bound, _)| bound.is_finite());
        super::ClassicHistogram {
            buckets,
            count: self.count,
            sum: Some(self.sum),
        }
    }
}

/// Filled buckets, every 2^shift of them made one.
fn merged(buckets: Option<Buckets<'_>>, shift: u32) -> Result<NativeBuckets, &'static str> {
    let mut filled: Vec<(i32, u64)> = Vec::new();
    let Some(buckets) = buckets else {
        return Ok(NativeBuckets::default());
    };
    for (place, count) in buckets.bucket_counts.enumerate() {
        if count == 0 {
            continue;
        }
        let lower = (i64::from(buckets.offset) + place as i64) >> shift.min(63);
        let index = i32::try_from(lower + 1).map_err(|_| "a bucket is numbered beyond what there is")?;
        match filled.last_mut() {
            Some((last, sum)) if *last == index => *sum = sum.saturating_add(count),
            _ => filled.push((index, count)),
        }
    }
    // Spans say how far buckets are apart in 32 bits.
    if let (Some((first, _)), Some((last, _))) = (filled.first(), filled.last())
        && last.checked_sub(*first).is_none()
    {
        return Err("the buckets are too far apart");
    }
    Ok(NativeBuckets(filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_deltas_say_the_same_as_the_buckets() {
        let buckets = NativeBuckets(vec![(-3, 5), (-2, 7), (0, 1), (9, 2), (10, 2)]);
        let (spans, deltas) = buckets.spans_and_deltas();
        assert_eq!(spans, [(-3, 4), (8, 2)]);
        assert_eq!(deltas, [5, 2, -7, 1, 1, 0]);
        let mut back = Vec::new();
        let (mut index, mut count, mut deltas) = (0, 0, deltas.into_iter());
        for (gap, length) in spans {
            index += gap;
            for _ in 0..length {
                count += deltas.next().unwrap();
                if count > 0 {
                    back.push((index, count as u64));
                }
                index += 1;
            }
        }
        assert_eq!(back, buckets.0);
        assert_eq!(NativeBuckets::default().spans_and_deltas(), (vec![], vec![]));
    }

    #[test]
    fn adding_coarsens_to_what_both_can_say() {
        let of = |schema, buckets: &[(i32, u64)]| NativeHistogram {
            schema,
            count: buckets.iter().map(|(_, count)| count).sum(),
            sum: 1.0,
            positive: NativeBuckets(buckets.to_vec()),
            ..NativeHistogram::default()
        };
        let mut sum = of(1, &[(1, 1), (2, 1), (3, 1), (4, 1)]);
        sum.add(&of(0, &[(2, 5)]));
        assert_eq!(sum.positive.0, [(1, 2), (2, 7)]);
        assert_eq!((sum.schema, sum.count, sum.sum), (0, 9, 2.0));
        let classic = sum.to_classic();
        assert_eq!(classic.buckets, [(2.0, 2), (4.0, 9)]);
    }
}
