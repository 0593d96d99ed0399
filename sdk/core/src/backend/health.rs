//! How a backend is, for whoever asks.

use cupola_export::{Condition, Sample};

/// Items that a destination or a fallback has taken.
pub(crate) const SENT: &[&str] = &[
    "otelcol_exporter_sent_log_records",
    "otelcol_exporter_sent_metric_points",
    "otelcol_exporter_sent_spans",
];
/// Attempts after the first.
pub(crate) const RETRIES: &[&str] = &["cupola_exporter_retries"];
/// Items given up: refused for good, tried for too long, beyond the bound of the queue, or damaged in it.
pub(crate) const DROPPED: &[&str] = &[
    "otelcol_exporter_send_failed_log_records",
    "otelcol_exporter_send_failed_metric_points",
    "otelcol_exporter_send_failed_spans",
    "cupola_exporter_queue_dropped_items",
    "cupola_exporter_queue_damaged_items",
];

/// The state of a backend.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendHealth {
    pub name: String,
    /// What does not work now, if anything; secrets are masked.
    pub condition: Condition,
    /// It could not be started; records wait for it within a bound.
    pub not_started: Option<String>,
    /// What waits or is being sent.
    pub queued_batches: usize,
    pub queued_items: usize,
    pub queued_bytes: usize,
    /// The fallback that is in use, counted from one; zero while the destination itself works.
    pub fallback: usize,
    /// Everything that is counted, under the names that the Collector has for it.
    pub samples: Vec<Sample>,
}

impl BackendHealth {
    pub(crate) fn not_started(name: &str, problem: &str) -> BackendHealth {
        BackendHealth {
            name: name.to_owned(),
            condition: Condition::default(),
            not_started: Some(problem.to_owned()),
            queued_batches: 0,
            queued_items: 0,
            queued_bytes: 0,
            fallback: 0,
            samples: Vec::new(),
        }
    }

    /// Whether what it is given now gets somewhere: to its destination, or to a fallback.
    pub fn is_healthy(&self) -> bool {
        self.not_started.is_none() && (self.condition.failing.is_none() || self.fallback > 0)
    }

    /// Items that its destination or a fallback has taken.
    pub fn sent(&self) -> u64 {
        self.sum_of(SENT)
    }

    /// Attempts after the first.
    pub fn retried(&self) -> u64 {
        self.sum_of(RETRIES)
    }

    /// Items that it has given up: refused for good, tried for too long, beyond the bound of its queue, or damaged there.
    pub fn dropped(&self) -> u64 {
        self.sum_of(DROPPED)
    }

    /// What went wrong last, whether it still does or not.
    pub fn last_error(&self) -> Option<&str> {
        let last = self.condition.last_error.as_ref();
        self.not_started
            .as_deref()
            .or(last.map(|trouble| trouble.reason.as_str()))
    }

    /// Samples of these names, added up.
    pub(crate) fn sum_of(&self, names: &[&str]) -> u64 {
        let of_names = self.samples.iter().filter(|sample| names.contains(&sample.name));
        of_names.map(|sample| sample.value as u64).sum()
    }
}
