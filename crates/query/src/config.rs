//! What queries may use.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of the engine.
#[derive(Debug, Clone)]
pub struct QueryConfig {
    /// Threads that plan and execute queries.
    pub threads: usize,
    /// Queries that run at one time; others wait, within their time limit.
    pub running_max: usize,
    /// Queries that may wait; one more is refused with [`crate::QueryError::Overloaded`].
    pub waiting_max: usize,
    /// Limits of queries that name none, and the most a query may ask for.
    pub limits: QueryLimits,
    /// Where queries that need more memory than they have put rows. Cleared at start. `None`: they fail instead.
    pub spill_directory: Option<PathBuf>,
    /// Most bytes in `spill_directory`.
    pub spill_bytes_max: u64,
    /// Parsed footers of segments kept in memory.
    pub metadata_cache_bytes_max: usize,
    /// Queries that take longer are logged.
    pub slow_query: Duration,
}

impl Default for QueryConfig {
    fn default() -> QueryConfig {
        QueryConfig {
            threads: std::thread::available_parallelism().map_or(2, usize::from),
            running_max: 16,
            waiting_max: 128,
            limits: QueryLimits::default(),
            spill_directory: None,
            spill_bytes_max: 8 << 30,
            metadata_cache_bytes_max: 64 << 20,
            slow_query: Duration::from_secs(5),
        }
    }
}

/// What one query may use. `None`: what the engine allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryLimits {
    /// From being asked to the last row taken.
    pub time: Option<Duration>,
    /// Memory for sorting, grouping and joining; beyond it rows are spilled where the operator can.
    pub memory_bytes_max: Option<usize>,
    /// Rows of the answer.
    pub rows_max: Option<u64>,
    /// Bytes of the answer in memory.
    pub bytes_max: Option<u64>,
}

impl Default for QueryLimits {
    fn default() -> QueryLimits {
        QueryLimits {
            time: Some(Duration::from_secs(300)),
            memory_bytes_max: None,
            rows_max: Some(10_000_000),
            bytes_max: Some(4 << 30),
        }
    }
}

impl QueryLimits {
    /// What the engine allows, whatever it is.
    pub const UNSET: QueryLimits = QueryLimits {
        time: None,
        memory_bytes_max: None,
        rows_max: None,
        bytes_max: None,
    };

    /// The stricter of each.
    pub(crate) fn within(self, most: QueryLimits) -> QueryLimits {
        fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
            match (one, other) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            }
        }
        QueryLimits {
            time: least(self.time, most.time),
            memory_bytes_max: least(self.memory_bytes_max, most.memory_bytes_max),
            rows_max: least(self.rows_max, most.rows_max),
            bytes_max: least(self.bytes_max, most.bytes_max),
        }
    }
}
