//! Native histograms: sparse buckets to dense ones. Refuses what would unfold to more buckets than anybody has.

use crate::receivers::protobuf::{Field, Fields, ProtobufError};

use super::STALE_NAN;

/// Most buckets on one side, zeros in between included.
const BUCKETS_MAX: usize = 16 * 1024;
/// The schema of histograms whose bounds are given one by one.
const CUSTOM: i64 = -53;

/// A native histogram with its counts rounded to whole ones: those of recording rules may be fractions.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::receivers) struct Native {
    pub(super) count: u64,
    pub(super) sum: f64,
    pub(super) scale: i32,
    pub(super) zero_threshold: f64,
    pub(super) zero_count: u64,
    pub(super) positive: Buckets,
    pub(super) negative: Buckets,
    /// Bounds, if they are given one by one; then only `positive` counts, from the first bucket.
    pub(super) custom: Option<Vec<f64>>,
    /// A gauge: every point stands for itself.
    pub(super) gauge: bool,
    pub(super) stale: bool,
}

/// Counts from an offset on, as OTLP has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Buckets {
    pub(super) offset: i32,
    pub(super) counts: Vec<u64>,
}

/// A histogram as it came, its time in milliseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::receivers) struct Timed {
    pub(in crate::receivers) unix_milli: i64,
    pub(in crate::receivers) start_unix_milli: i64,
    pub(in crate::receivers) histogram: Native,
}

/// Spans and what they count.
#[derive(Default)]
struct Sparse {
    spans: Vec<(i64, u64)>,
    deltas: Vec<u64>,
    counts: Vec<f64>,
}

#[derive(Debug, thiserror::Error)]
pub(in crate::receivers) enum NativeError {
    #[error(transparent)]
    Protobuf(#[from] ProtobufError),
    #[error("the spans of a histogram do not fit its counts")]
    Spans,
    #[error("a histogram has more than {BUCKETS_MAX} buckets")]
    TooMany,
    #[error("a histogram has the schema {0}, which does not exist")]
    Schema(i64),
}

/// Reads the message `Histogram`, which is the same in both versions of the protocol.
pub(in crate::receivers) fn read(message: &[u8]) -> Result<Timed, NativeError> {
    let mut timed = Timed::default();
    let (mut positive, mut negative) = (Sparse::default(), Sparse::default());
    let (mut schema, mut custom) = (0, Vec::new());
    let native = &mut timed.histogram;
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => native.count = field.uint()?,
            2 => native.count = whole(field.double()?),
            3 => native.sum = field.double()?,
            4 => schema = field.sint()?,
            5 => native.zero_threshold = field.double()?,
            6 => native.zero_count = field.uint()?,
            7 => native.zero_count = whole(field.double()?),
            8 => negative.span(field)?,
            9 => field.uints(&mut negative.deltas)?,
            10 => field.doubles(&mut negative.counts)?,
            11 => positive.span(field)?,
            12 => field.uints(&mut positive.deltas)?,
            13 => field.doubles(&mut positive.counts)?,
            14 => native.gauge = field.uint()? == 3,
            15 => timed.unix_milli = field.int()?,
            16 => field.doubles(&mut custom)?,
            17 => timed.start_unix_milli = field.int()?,
            _ => {}
        }
    }
    if native.sum.to_bits() == STALE_NAN {
        timed.histogram = Native {
            stale: true,
            ..Native::default()
        };
        return Ok(timed);
    }
    if schema == CUSTOM {
        if custom.len() > BUCKETS_MAX {
            return Err(NativeError::TooMany);
        }
        native.positive = positive.expand(0)?;
        let first = usize::try_from(native.positive.offset).map_err(|_| NativeError::Spans)?;
        let counts = std::mem::take(&mut native.positive.counts);
        let last = first.checked_add(counts.len()).ok_or(NativeError::Spans)?;
        if last > custom.len() + 1 {
            return Err(NativeError::Spans);
        }
        native.positive.counts = vec![0; custom.len() + 1];
        native.positive.counts[first..last].copy_from_slice(&counts);
        native.custom = Some(custom);
        return Ok(timed);
    }
    if !(-4..=8).contains(&schema) {
        return Err(NativeError::Schema(schema));
    }
    native.scale = schema as i32;
    // Prometheus numbers a bucket by its upper bound, OTLP by its lower one.
    native.positive = positive.expand(-1)?;
    native.negative = negative.expand(-1)?;
    Ok(timed)
}

/// A count of floating point as a whole one.
fn whole(count: f64) -> u64 {
    count.round() as u64
}

impl Sparse {
    fn span(&mut self, field: Field<'_>) -> Result<(), ProtobufError> {
        let (mut offset, mut length) = (0, 0);
        for field in Fields::new(field.bytes()?) {
            let field = field?;
            match field.number {
                1 => offset = field.sint()?,
                2 => length = field.uint()?,
                _ => {}
            }
        }
        self.spans.push((offset, length));
        Ok(())
    }

    fn expand(&self, shift: i64) -> Result<Buckets, NativeError> {
        let mut given: Box<dyn Iterator<Item = u64>> = match self.counts.is_empty() {
            false => Box::new(self.counts.iter().map(|count| whole(*count))),
            true => Box::new(self.deltas.iter().scan(0i64, |sum, delta| {
                *sum = sum.wrapping_add(crate::receivers::protobuf::zigzag(*delta));
                // A count below zero cannot be; it is caught by nothing and counts nothing.
                Some(u64::try_from(*sum).unwrap_or(0))
            })),
        };
        let mut buckets = Buckets::default();
        for (index, (offset, length)) in self.spans.iter().enumerate() {
            let length = usize::try_from(*length).map_err(|_| NativeError::TooMany)?;
            if index == 0 {
                let first = offset
                    .checked_add(shift)
                    .and_then(|first| i32::try_from(first).ok());
                buckets.offset = first.ok_or(NativeError::Spans)?;
            } else {
                let gap = usize::try_from(*offset).map_err(|_| NativeError::Spans)?;
                if gap > BUCKETS_MAX - buckets.counts.len() {
                    return Err(NativeError::TooMany);
                }
                buckets.counts.resize(buckets.counts.len() + gap, 0);
            }
            if length > BUCKETS_MAX - buckets.counts.len() {
                return Err(NativeError::TooMany);
            }
            for _ in 0..length {
                buckets.counts.push(given.next().ok_or(NativeError::Spans)?);
            }
        }
        match given.next() {
            Some(_) => Err(NativeError::Spans),
            None => Ok(buckets),
        }
    }
}

impl Native {
    /// An upper bound of what its point takes.
    pub(in crate::receivers) fn bytes(&self) -> usize {
        let custom = self.custom.as_ref().map_or(0, Vec::len);
        128 + 10 * (self.positive.counts.len() + self.negative.counts.len()) + 8 * custom
    }
}
