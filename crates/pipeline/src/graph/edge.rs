//! The way from one component to the next, which can be held up and led elsewhere while batches flow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use cupola_export::{Accepted, Outlook, SendError, Sink};
use cupola_telemetry::{Batch, Signal};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

/// A sink whose destination may change. Batches on their way hold the old destination until it has answered.
pub struct Edge {
    /// Held for reading while a batch is on its way: whoever gets it for writing knows that none is.
    target: Arc<RwLock<Arc<dyn Sink>>>,
    /// Items that the destination has taken, by signal.
    passed: [AtomicU64; Signal::ALL.len()],
}

/// An edge that is held up: what is sent waits.
pub type Held = OwnedRwLockWriteGuard<Arc<dyn Sink>>;

impl Edge {
    /// An edge that refuses until it is led somewhere.
    pub fn new() -> Arc<Edge> {
        Arc::new(Edge {
            target: Arc::new(RwLock::new(Arc::new(Nowhere))),
            passed: Default::default(),
        })
    }

    /// Holds up what is sent, after what is on its way has been answered. The guard is what the destination is changed
    /// with; dropping it lets go on.
    pub async fn hold(&self) -> Held {
        self.target.clone().write_owned().await
    }

    /// Leads the edge to `target`, once nothing is on its way.
    pub async fn lead(&self, target: Arc<dyn Sink>) {
        *self.hold().await = target;
    }

    /// Items of a signal that the destination has taken.
    pub fn passed(&self, signal: Signal) -> u64 {
        self.passed[signal as usize].load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Sink for Edge {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let (signal, items) = (batch.signal(), batch.items() as u64);
        let target = self.target.read().await;
        let answer = target.send(batch).await;
        if let Ok(accepted) = &answer {
            let taken = items.saturating_sub(accepted.rejected);
            self.passed[signal as usize].fetch_add(taken, Ordering::Relaxed);
        }
        answer
    }

    /// Nothing is known while the edge is held up: what is sent waits.
    fn outlook(&self, signal: Signal) -> Outlook {
        match self.target.try_read() {
            Ok(target) => target.outlook(signal),
            Err(_) => Outlook::Unknown,
        }
    }
}

/// Where an edge leads before it is led anywhere, and after its destination has gone.
struct Nowhere;

#[async_trait]
impl Sink for Nowhere {
    async fn send(&self, _batch: Batch) -> Result<Accepted, SendError> {
        Err(SendError::retryable("the pipeline is not running"))
    }
}
