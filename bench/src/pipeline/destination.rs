//! Where a collector under test sends to: takes everything and counts.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

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
    /// Takes so many items a second and no more.
    pace: Option<Pace>,
}

struct Pace {
    items_per_second: f64,
    /// When the next batch may be taken.
    next: Mutex<Instant>,
}

impl Pace {
    async fn wait(&self, items: usize) {
        let at = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let at = (*next).max(Instant::now());
            *next = at + Duration::from_secs_f64(items as f64 / self.items_per_second);
            at
        };
        tokio::time::sleep_until(at.into()).await;
    }
}

#[async_trait]
impl Sink for Counter {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        if let Some(pace) = &self.pace {
            pace.wait(batch.items()).await;
        }
        self.items.fetch_add(batch.items() as u64, Ordering::AcqRel);
        self.changed.notify_waiters();
        Ok(Accepted::all())
    }
}

impl Destination {
    pub(super) async fn start() -> Result<Destination> {
        Destination::paced(None).await
    }

    /// One that takes so many items a second.
    pub(super) async fn paced(items_per_second: Option<f64>) -> Result<Destination> {
        let config = OtlpReceiverConfig {
            grpc: Some(GrpcConfig {
                endpoint: SocketAddr::from(([127, 0, 0, 1], 0)),
                message_bytes_max: 64 << 20,
                ..GrpcConfig::default()
            }),
            http: None,
            ..OtlpReceiverConfig::default()
        };
        let counter = Arc::new(Counter {
            pace: items_per_second.map(|items_per_second| Pace {
                items_per_second,
                next: Mutex::new(Instant::now()),
            }),
            ..Counter::default()
        });
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
