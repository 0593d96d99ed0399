//! Handing batches on from a source that can wait: again and again until the sink takes them, or says that it never will.
//! Owns pauses and counts. Refuses to drop what is refused for now.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cupola_config::units::TimeSpan;
use cupola_export::retry::RetryConfig;
use cupola_export::{Sample, SendError, Sink};
use cupola_telemetry::{Batch, Signal};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::operators::{OperatorStats, Problem};
use crate::receivers::http::stats::{SignalStats, count};

/// Time that an attempt under way has to end at shutdown.
pub(crate) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// `retry_on_failure` of receivers of text.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryOnFailure {
    /// Without effect: what is refused for now is always offered again.
    pub enabled: bool,
    pub initial_interval: TimeSpan,
    pub max_interval: TimeSpan,
    /// Without effect: nothing is given up.
    pub max_elapsed_time: TimeSpan,
}

impl Default for RetryOnFailure {
    fn default() -> RetryOnFailure {
        RetryOnFailure {
            enabled: false,
            initial_interval: TimeSpan(Duration::from_secs(1)),
            max_interval: TimeSpan(Duration::from_secs(30)),
            max_elapsed_time: TimeSpan(Duration::from_secs(300)),
        }
    }
}

impl RetryOnFailure {
    /// Adds what is wrong with it.
    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        for (key, interval) in [
            ("initial_interval", self.initial_interval),
            ("max_interval", self.max_interval),
        ] {
            if interval.0.is_zero() {
                problems.push((
                    format!("retry_on_failure.{key}"),
                    "must be greater than zero: a batch would be offered again without a pause".to_owned(),
                ));
            }
        }
    }
}

/// What has become of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// Somebody else is responsible for it now, or nobody will ever take it, which is counted.
    Done,
    /// The receiver ends before it was taken.
    Stopped,
}

/// The way out of a receiver.
#[derive(Clone)]
pub(crate) struct Delivery {
    sink: Arc<dyn Sink>,
    retry: RetryConfig,
    pub(crate) stats: Arc<SignalStats>,
    transport: &'static str,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

impl Delivery {
    pub(crate) fn new(sink: Arc<dyn Sink>, retry: RetryOnFailure, transport: &'static str) -> Delivery {
        let retry = RetryConfig {
            initial_interval: retry.initial_interval.0,
            max_interval: retry.max_interval.0,
            max_elapsed_time: Duration::ZERO,
            ..RetryConfig::default()
        };
        Delivery {
            sink,
            retry,
            stats: Arc::default(),
            transport,
        }
    }

    pub(crate) fn transport(&self) -> &'static str {
        self.transport
    }

    /// Offers `batch` until it is taken or `stop` comes; then an attempt under way may still end.
    pub(crate) async fn send(&self, batch: Batch, stop: &CancellationToken) -> Delivered {
        let items = batch.items() as u64;
        let mut attempt = 0;
        loop {
            let sending = self.sink.send(batch.clone());
            tokio::pin!(sending);
            let sent = tokio::select! {
                sent = &mut sending => sent,
                () = stop.cancelled() => match tokio::time::timeout(SHUTDOWN_TIMEOUT, sending).await {
                    Ok(sent) => sent,
                    Err(_) => return Delivered::Stopped,
                },
            };
            let (reason, retry_after) = match sent {
                Ok(accepted) => {
                    let rejected = accepted.rejected.min(items);
                    count(&self.stats.accepted_items, items - rejected);
                    count(&self.stats.failed_items, rejected);
                    if rejected > 0 {
                        tracing::error!(
                            rejected,
                            message = accepted.message,
                            "log records were refused for good"
                        );
                    }
                    return Delivered::Done;
                }
                Err(SendError::Permanent { reason }) => {
                    count(&self.stats.failed_items, items);
                    tracing::error!(items, reason, "log records were refused for good");
                    return Delivered::Done;
                }
                Err(SendError::Retryable { reason, retry_after }) => (reason, retry_after),
            };
            count(&self.stats.refused_items, items);
            let wait = self.retry.wait(attempt, retry_after, rand::random());
            attempt += 1;
            tracing::debug!(attempt, reason, "refused for now, held back");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => return Delivered::Stopped,
            }
        }
    }

    /// Adds what is counted of log records.
    pub(crate) fn collect(&self, operators: &OperatorStats, samples: &mut Vec<Sample>) {
        let mut counts = Vec::new();
        self.stats.collect(self.transport, Signal::Logs, &mut counts);
        let items = counts.into_iter().filter(|count| count.signal.is_none());
        samples.extend(items.map(|count| {
            Sample::count(count.name, count.help, count.value).with("transport", self.transport)
        }));
        for (name, help, value) in [
            (
                "cupola_receiver_operator_errors_total",
                "Log records that an operator could not work on.",
                &operators.errors,
            ),
            (
                "cupola_receiver_operator_dropped_total",
                "Log records dropped because an operator could not work on them, as its `on_error` says.",
                &operators.dropped,
            ),
            (
                "cupola_receiver_operator_filtered_total",
                "Log records that a filter or a router let end.",
                &operators.filtered,
            ),
        ] {
            samples.push(Sample::count(name, help, value.load(Ordering::Relaxed)));
        }
    }
}
