//! So many traces in a second, and no more.

use super::{Answer, Decision, Question, Sampler};
use crate::rate_limit::{Bucket, Rate};

/// Keeps up to a number of traces in a second, of which as many may come at once after a silence. Each process counts its own, a
/// child from where its parent was.
///
/// To be the root of [`ParentBased`](super::ParentBased), or spans of one trace are counted, and dropped, one by one.
#[derive(Debug)]
pub struct RateLimited {
    per_second: f64,
    rate: Rate,
    bucket: Bucket,
}

impl RateLimited {
    /// `None` if it is no number that is greater than zero. Less than one is possible: 0.1 is one in ten seconds.
    pub fn new(per_second: f64) -> Option<RateLimited> {
        (per_second.is_finite() && per_second > 0.0).then(|| RateLimited {
            per_second,
            rate: Rate::new(Some(per_second), None, None),
            bucket: Bucket::default(),
        })
    }
}

impl Sampler for RateLimited {
    fn sample(&self, question: &Question<'_>) -> Answer {
        match self.bucket.admits(&self.rate, 0, question.clock.now()) {
            true => Decision::RecordAndSample.into(),
            false => Decision::Drop.into(),
        }
    }

    fn looks_at_attributes(&self) -> bool {
        false
    }

    fn description(&self) -> String {
        format!("RateLimited{{{}}}", self.per_second)
    }
}
