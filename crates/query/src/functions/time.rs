//! Time: buckets.

mod time_bucket;

pub(crate) use time_bucket::TimeBucket;
