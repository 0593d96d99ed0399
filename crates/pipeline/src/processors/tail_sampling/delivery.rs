//! Handing sampled traces on: in batches of one tenant, again and again until they are taken or refused for good.

use std::sync::Arc;
use std::time::Duration;

use cupola_export::SendError;
use cupola_telemetry::Batch;

use super::Shared;
use super::config::Acknowledge;
use super::outbox::Outgoing;

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Delivers what there is, for ever.
pub(super) async fn deliver(shared: Arc<Shared>) {
    loop {
        let next = shared.store.lock().outbox.next();
        match next {
            None => shared.deliverable.notified().await,
            Some((outgoing, more)) => {
                if more {
                    shared.deliverable.notify_one();
                }
                shared.deliver(outgoing).await;
            }
        }
    }
}

impl Shared {
    async fn deliver(&self, outgoing: Outgoing) {
        let spans = outgoing.spans();
        let Outgoing {
            fragments,
            bytes,
            mut memory,
            tickets,
        } = outgoing;
        let held = memory.bytes();
        // Both exist while the one is copied into the other.
        let copied = if fragments.len() > 1 { bytes } else { 0 };
        memory.grow(copied);
        let batch = Batch::concat(&fragments);
        drop(fragments);
        memory.shrink(copied);
        let outcome = match batch {
            Some(batch) => self.send_on(batch).await,
            None => Err(SendError::permanent(
                "traces of several tenants were put together",
            )),
        };
        let rejected = outcome.as_ref().map_or(0, |accepted| accepted.rejected);
        if let Err(error) = &outcome
            && tickets.is_empty()
        {
            tracing::error!(spans, %error, "sampled traces were refused, spans lost");
        }
        if rejected > 0 {
            tracing::warn!(spans = rejected, "spans of sampled traces were rejected");
        }
        // Whoever waits for the answer has the spans still.
        let failed = outcome.is_err() && tickets.is_empty();
        drop(memory);
        let idle = self.store.lock().delivered(spans, held, failed, rejected);
        let mut tickets = tickets.into_iter();
        if let Some(first) = tickets.next() {
            // Nobody says whose items were rejected: they are told once.
            let others = outcome.as_ref().map(|_| Default::default()).map_err(Clone::clone);
            first.complete(outcome);
            tickets.for_each(|ticket| ticket.complete(others.clone()));
        }
        if idle {
            self.idle.notify_waiters();
        }
    }

    async fn send_on(&self, batch: Batch) -> Result<cupola_export::Accepted, SendError> {
        let mut backoff = BACKOFF_MIN;
        loop {
            match self.next.send(batch.clone()).await {
                Err(SendError::Retryable { reason, retry_after })
                    if self.acknowledge == Acknowledge::Taken =>
                {
                    tracing::debug!(reason, "sampled traces were not taken, trying again");
                    tokio::time::sleep(retry_after.unwrap_or(backoff)).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
                outcome => return outcome,
            }
        }
    }
}
