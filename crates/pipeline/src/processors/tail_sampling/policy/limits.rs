//! Policies that keep to a rate: token buckets, and the shares of a composite.

use std::time::Duration;

use super::{Evidence, Policy};
use crate::ottl::RunError;

/// Lets through what its tokens pay for; tokens come at a rate, up to a number.
#[derive(Debug)]
pub(super) struct TokenBucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled: Duration,
}

impl TokenBucket {
    /// Full at first. A burst of zero means twice the rate.
    pub(super) fn new(per_second: u64, burst: u64) -> Self {
        let per_second = per_second as f64;
        let burst = if burst == 0 {
            2.0 * per_second
        } else {
            burst as f64
        };
        Self {
            per_second,
            burst,
            tokens: burst,
            filled: Duration::ZERO,
        }
    }

    /// Takes `amount` tokens at time `now`, or none.
    pub(super) fn take(&mut self, amount: usize, now: Duration) -> bool {
        let since = now.saturating_sub(self.filled);
        self.filled = self.filled.max(now);
        self.tokens = (self.tokens + since.as_secs_f64() * self.per_second).min(self.burst);
        let amount = amount as f64;
        let enough = amount <= self.tokens;
        if enough {
            self.tokens -= amount;
        }
        enough
    }
}

#[derive(Debug)]
pub(super) struct SubPolicy {
    pub(super) policy: Policy,
    /// Spans that it may sample in a second.
    pub(super) spans_max: u64,
    pub(super) spans: u64,
}

/// Policies in an order, each with a share of the spans of a second.
#[derive(Debug)]
pub(super) struct Composite {
    pub(super) spans_max: u64,
    pub(super) second: u64,
    pub(super) policies: Vec<SubPolicy>,
}

impl Composite {
    /// The first policy that would sample decides by its share: what does not fit is not sampled, and a smaller trace may
    /// fit later.
    pub(super) fn decide(&mut self, trace: &Evidence<'_>) -> Result<bool, RunError> {
        if self.second != trace.elapsed.as_secs() {
            self.second = trace.elapsed.as_secs();
            self.policies.iter_mut().for_each(|policy| policy.spans = 0);
        }
        let total: u64 = self.policies.iter().map(|policy| policy.spans).sum();
        let spans = trace.span_count as u64;
        for sub in &mut self.policies {
            if sub.policy.decide(trace)?.is_sampled() {
                let fits = sub.spans + spans <= sub.spans_max && total + spans <= self.spans_max;
                if fits {
                    sub.spans += spans;
                }
                return Ok(fits);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_keeps_to_its_rate_and_its_burst() {
        let mut bucket = TokenBucket::new(10, 0);
        let at = Duration::from_millis;
        assert!(bucket.take(20, at(0)));
        assert!(!bucket.take(1, at(0)));
        assert!(bucket.take(5, at(500)));
        assert!(!bucket.take(21, at(60_000)));
        assert!(bucket.take(20, at(60_000)));
    }
}
