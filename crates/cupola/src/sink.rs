//! The store as a sink: what receivers hand batches to. The one place where the pipeline and the store meet.

use async_trait::async_trait;
use cupola_export::{Accepted, SendError, Sink};
use cupola_store::Store;
use cupola_telemetry::Batch;
use tracing::Instrument as _;

/// Appends batches to the store and answers when they are durable and visible.
pub(crate) struct StoreSink {
    store: Store,
}

impl StoreSink {
    pub(crate) fn new(store: Store) -> Self {
        StoreSink { store }
    }
}

#[async_trait]
impl Sink for StoreSink {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let span = tracing::info_span!(
            "store.append",
            cupola.signal = batch.signal().as_str(),
            cupola.tenant = batch.tenant().as_str(),
            cupola.items = batch.items() as u64,
            cupola.bytes = batch.payload().len() as u64,
        );
        match self.store.append(batch.without_gzip()).instrument(span).await {
            Ok(()) => Ok(Accepted::all()),
            Err(error) => {
                let reason = error.to_string();
                Err(match error.is_retryable() {
                    true => SendError::Retryable {
                        reason,
                        retry_after: error.retry_after(),
                    },
                    false => SendError::Permanent { reason },
                })
            }
        }
    }
}
