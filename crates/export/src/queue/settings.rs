//! The settings of a queue, as the Collector's `sending_queue` has them. Refuses what cannot work.

use cupola_config::units::ByteSize;
use serde::{Deserialize, Deserializer};

use crate::exporter::BatchSettings;

/// What a queue's size is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sizer {
    /// Batches.
    #[default]
    Requests,
    /// Log records, spans and data points.
    Items,
    /// Payload bytes before compression.
    Bytes,
}

/// What happens to a batch that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// Refused with a retryable error: the sender keeps it.
    #[default]
    Refuse,
    /// Refused while the destination works; dropped and counted while it fails, so that one that is down does not keep
    /// batches from others.
    DropWhileFailing,
    /// Dropped and counted.
    DropNewest,
    /// The longest waiting make room for it, dropped and counted.
    DropOldest,
}

/// `sending_queue` of an exporter. `when_full`, `storage_size` and `segment_size` are Cupola's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// Without a queue a sender waits until its batch is delivered or given up.
    pub enabled: bool,
    /// Batches sent at the same time.
    pub num_consumers: usize,
    /// What the queue may hold, waiting or being sent, in the unit of `sizer`: a number, or for bytes also `512MiB`.
    pub queue_size: ByteSize,
    pub sizer: Sizer,
    /// A sender waits while the queue is full. Comes before `when_full`.
    pub block_on_overflow: bool,
    /// A sender is answered when its batch is delivered rather than when it is queued.
    pub wait_for_result: bool,
    /// The `file_storage` extension that keeps the queue; without one it is in memory.
    pub storage: Option<String>,
    /// Makes larger batches of small ones before they are sent; none without it.
    #[serde(deserialize_with = "present")]
    pub batch: Option<BatchSettings>,
    pub when_full: WhenFull,
    /// Bytes on the disk, of a queue with storage.
    pub storage_size: ByteSize,
    /// Size beyond which a file of the queue is not added to.
    pub segment_size: ByteSize,
}

/// More consumers than this are a mistake.
const CONSUMERS_MAX: usize = 10_000;

impl Default for QueueConfig {
    fn default() -> QueueConfig {
        QueueConfig {
            enabled: true,
            num_consumers: 10,
            queue_size: ByteSize(1000),
            sizer: Sizer::default(),
            block_on_overflow: false,
            wait_for_result: false,
            storage: None,
            batch: None,
            when_full: WhenFull::default(),
            storage_size: ByteSize(10 << 30),
            segment_size: ByteSize(32 << 20),
        }
    }
}

/// A setting no queue can be made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {problem}")]
pub struct SettingError {
    /// The key, with those above it.
    pub key: &'static str,
    pub problem: String,
}

impl SettingError {
    pub(crate) fn new(key: &'static str, problem: impl Into<String>) -> SettingError {
        SettingError {
            key,
            problem: problem.into(),
        }
    }
}

/// A key without a value counts as there.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BatchSettings>, D::Error> {
    BatchSettings::deserialize(deserializer).map(Some)
}

impl QueueConfig {
    pub fn validate(&self) -> Result<(), SettingError> {
        if !self.enabled {
            return Ok(());
        }
        if self.num_consumers == 0 || self.num_consumers > CONSUMERS_MAX {
            let problem = format!("must be between 1 and {CONSUMERS_MAX}");
            return Err(SettingError::new("sending_queue.num_consumers", problem));
        }
        if self.queue_size.0 == 0 {
            let problem = "must be greater than 0; to go without a queue set `enabled: false`";
            return Err(SettingError::new("sending_queue.queue_size", problem));
        }
        if self.segment_size.0 < 4096 {
            return Err(SettingError::new(
                "sending_queue.segment_size",
                "must be at least 4KiB",
            ));
        }
        if self.storage_size.0 < self.segment_size.0 {
            let problem = "must not be smaller than `segment_size`";
            return Err(SettingError::new("sending_queue.storage_size", problem));
        }
        self.batch.as_ref().map_or(Ok(()), BatchSettings::validate)
    }
}
