//! Where a collector under test sends to: takes everything and counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use async_trait::async_trait;
use cupola_export::{Accepted, SendError, Sink};
use cupola_pipeline::receivers::otlp::{GrpcConfig, OtlpReceiver, OtlpReceiverConfig, RunningReceiver};
use cupola_telemetry::Batch;
use cupola_telemetry::memory::MemoryBudget;
use tokio::sync::Notify;

pub(super) struct Destination {
    pub(super) address: SocketAddr,
    counter: Arc<Counter>,
    _receiver: RunningReceiver,
}

#[derive(Default)]
struct Counter {
    items: AtomicU64,
    changed: Notify,
}

#[async_trait]
impl Sink for Counter {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        self.items.fetch_add(batch.items() as u64, Ordering::AcqRel);
        self.changed.notify_waiters();
        Ok(Accepted::all())
    }
}

impl Destination {
    pub(super) async fn start() -> Result<Destination> {
        let config = OtlpReceiverConfig {
            grpc: Some(GrpcConfig {
                endpoint: SocketAddr::from(([127, 0, 0, 1], 0)),
                message_bytes_max: 64 << 20,
                ..GrpcConfig::default()
            }),
            http: None,
            ..OtlpReceiverConfig::default()
        };
        let counter = Arc::new(Counter::default());
        let receiver = OtlpReceiver::start(config, counter.clone(), MemoryBudget::unlimited()).await?;
        let address = receiver
            .grpc_addr
            .ok_or_else(|| anyhow::anyhow!("the destination does not listen"))?;
        Ok(Destination {
            address,
            counter,
            _receiver: receiver,
        })
    }

    pub(super) fn items(&self) -> u64 {
        self.counter.items.load(Ordering::Acquire)
    }

    /// Returns when this many items have come.
    pub(super) async fn wait_for(&self, items: u64) {
        loop {
            let changed = self.counter.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.items() >= items {
                return;
            }
            changed.await;
        }
    }
}
