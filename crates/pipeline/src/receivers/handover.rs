//! What becomes of what a receiver fetched by itself: nobody else has it, so that it is offered until the sink takes it,
//! refuses it for good, or the next of its kind is due, and then counted as lost. Owns the waits in between.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use cupola_export::{SendError, Sink};
use cupola_telemetry::Batch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::http::stats::{SignalStats, count};

/// First wait before a batch is offered again; it doubles.
const RETRY_FIRST: Duration = Duration::from_millis(100);

/// Where scrapes go, and what is counted of them.
pub(super) struct Handover<'a> {
    /// What was scraped, for the log.
    pub(super) source: &'a str,
    pub(super) sink: &'a dyn Sink,
    pub(super) items: &'a SignalStats,
    /// Points of scrapes that were still not taken when the next one was due.
    pub(super) points_lost: &'a AtomicU64,
    /// The receiver ends.
    pub(super) stop: &'a CancellationToken,
}

impl Handover<'_> {
    /// Offers a batch until it is taken or refused for good, or `until`. Whether it was taken.
    pub(super) async fn offer(&self, batch: Batch, until: Instant) -> bool {
        let (source, items) = (self.source, batch.items() as u64);
        count(&self.items.payload_bytes, batch.payload().len() as u64);
        let mut wait = RETRY_FIRST;
        loop {
            let error = match self.sink.send(batch.clone()).await {
                Ok(accepted) => {
                    let rejected = accepted.rejected.min(items);
                    count(&self.items.accepted_items, items - rejected);
                    count(&self.items.failed_items, rejected);
                    return true;
                }
                Err(error) => error,
            };
            let SendError::Retryable { retry_after, .. } = &error else {
                count(&self.items.failed_items, items);
                tracing::error!(source, items, %error, "scrape lost");
                return false;
            };
            count(&self.items.refused_items, items);
            let next = Instant::now() + retry_after.unwrap_or(wait).max(wait);
            wait = wait.saturating_mul(2);
            let ended = tokio::select! {
                () = tokio::time::sleep_until(next.min(until)) => next >= until,
                () = self.stop.cancelled() => true,
            };
            if ended {
                count(self.points_lost, items);
                tracing::error!(source, items, %error, "scrape lost: it was not taken in time");
                return false;
            }
        }
    }
}
