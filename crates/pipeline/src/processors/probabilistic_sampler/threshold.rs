//! 56-bit thresholds and randomness. An item is sampled when its randomness is not below the threshold.
//!
//! <https://opentelemetry.io/docs/specs/otel/trace/tracestate-handling/>

use std::fmt;

/// One more than the largest randomness.
const RANGE: u64 = 1 << 56;
const HEX_DIGITS: usize = 14;
/// The smallest probability that there is.
pub(super) const PROBABILITY_MIN: f64 = 1.0 / RANGE as f64;
/// Of the hash only so many bits decide.
const BUCKET_BITS: u32 = 14;
const BUCKETS: u32 = 1 << BUCKET_BITS;

/// The share of what is rejected, in parts of 2^56.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Threshold(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Randomness(u64);

impl Threshold {
    pub(super) const ALWAYS: Self = Self(0);
    pub(super) const NEVER: Self = Self(RANGE);

    /// What has no randomness is sampled if everything but nothing would do.
    pub(super) fn samples(self, randomness: Option<Randomness>) -> bool {
        self.0 <= randomness.map_or(RANGE - 1, |randomness| randomness.0)
    }

    pub(super) fn probability(self) -> f64 {
        (RANGE - self.0) as f64 / RANGE as f64
    }

    /// With as many significant digits, after leading zeros or `f`s; below what can be expressed it is never.
    pub(super) fn of_probability(probability: f64, precision: u8) -> Self {
        if probability >= 1.0 {
            return Self::ALWAYS;
        }
        if probability.is_nan() || probability < PROBABILITY_MIN {
            return Self::NEVER;
        }
        let leading = leading_hex_zeros(probability).max(leading_hex_zeros(1.0 - probability));
        let digits = (usize::from(precision) + leading).min(HEX_DIGITS);
        let threshold = RANGE - (probability * RANGE as f64).round() as u64;
        let shift = 4 * (HEX_DIGITS - digits);
        let half = if shift == 0 { 0 } else { 1 << (shift - 1) };
        Self((threshold + half) >> shift << shift)
    }

    /// Of a percentage, as buckets of a hash are counted; `None` if it is less than one bucket.
    pub(super) fn of_buckets(percentage: f32) -> Option<Self> {
        // In single precision and rounded down, as the Collector has it: both make the same decisions.
        let taken = (percentage * (f64::from(BUCKETS) / 100.0) as f32) as u32;
        (taken > 0).then(|| Self(u64::from(BUCKETS - taken.min(BUCKETS)) << (56 - BUCKET_BITS)))
    }

    /// Up to 14 hex digits, zeros at the end left out.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > HEX_DIGITS || !is_hex(text) {
            return None;
        }
        let digits = u64::from_str_radix(text, 16).ok()?;
        Some(Self(digits << (4 * (HEX_DIGITS - text.len()))))
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:014x}", self.0.min(RANGE - 1));
        match digits.trim_end_matches('0') {
            "" => f.write_str("0"),
            digits => f.write_str(digits),
        }
    }
}

impl Randomness {
    /// The last 56 bits of a trace id: <https://www.w3.org/TR/trace-context-2/#randomness-of-trace-id>.
    pub(super) fn of_trace_id(id: &[u8]) -> Option<Self> {
        let last: &[u8; 8] = id.last_chunk()?;
        Some(Self(u64::from_be_bytes(*last) & (RANGE - 1)))
    }

    /// Of a 32-bit FNV-1a hash, of which 14 bits decide and the others fill the rest.
    pub(super) fn of_hash(bytes: &[u8], seed: u32) -> Self {
        let all = seed.to_le_bytes().into_iter().chain(bytes.iter().copied());
        let hash = all.fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let bucket = u64::from(hash & (BUCKETS - 1));
        let unused = u64::from(hash >> (32 - BUCKET_BITS));
        let mixed = unused ^ (unused << 10);
        // Buckets below the taken ones are sampled: turned round, randomness above a threshold is.
        Self((u64::from(BUCKETS - 1) - bucket) << 42 | mixed << 14 | bucket)
    }

    /// Exactly 14 hex digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() != HEX_DIGITS || !is_hex(text) {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for Randomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:014x}", self.0)
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Hex digits of zero behind the point.
fn leading_hex_zeros(mut fraction: f64) -> usize {
    let mut zeros = 0;
    while fraction > 0.0 && fraction < 1.0 / 16.0 && zeros < HEX_DIGITS {
        fraction *= 16.0;
        zeros += 1;
    }
    zeros
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_written_as_the_specification_has_them() {
        let of = |probability| Threshold::of_probability(probability, 4).to_string();
        assert_eq!([of(1.0), of(0.5), of(0.25), of(0.1)], ["0", "8", "c", "e666"]);
        assert_eq!([of(0.01), of(0.001)], ["fd70a", "ffbe77"]);
        assert_eq!(Threshold::parse("c").map(Threshold::probability), Some(0.25));
        assert_eq!((Threshold::parse("C"), Threshold::parse("")), (None, None));
        assert!(Threshold::of_probability(0.0, 4) == Threshold::NEVER);
        assert!(!Threshold::NEVER.samples(None) && Threshold::ALWAYS.samples(None));
    }
}
