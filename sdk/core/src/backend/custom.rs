//! A destination whose calls may wait, on a thread of its own: one call at a time, and few that wait.
//!
//! What panics gives up its batch, which is counted, and goes on with the next. An attempt that has ended before its turn came
//! is not made; one that ends while it is being made may succeed all the same, which is remembered when the batch comes again.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cupola_export::{Accepted, Component, Condition, Sample, SendError, Sink, Trouble};
use cupola_telemetry::Batch;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::{BackendError, Custom, CustomError};

/// Calls that wait for the one that is being made; who has another waits until there is room.
const CALLS_MAX: usize = 1;
/// Batches that are remembered to have been taken when nobody waited for the answer any more.
const LATE_MAX: usize = 16;
/// Longest that an end waits for a call that is being made, and for the flush.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// A custom backend as a sink.
pub(super) struct CustomSink {
    /// `None` once closed.
    calls: Mutex<Option<Sender<Call>>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    panics: AtomicU64,
    unflushed: AtomicU64,
    condition: Mutex<Condition>,
}

enum Call {
    Export(Batch, oneshot::Sender<Result<(), CustomError>>),
    Close(oneshot::Sender<()>),
}

impl CustomSink {
    pub(super) fn start(name: &str, custom: Custom) -> Result<CustomSink, BackendError> {
        let (calls, called) = channel(CALLS_MAX);
        let shared = Arc::<Shared>::default();
        let serving = Serving {
            custom,
            shared: shared.clone(),
            late: VecDeque::new(),
        };
        std::thread::Builder::new()
            .name(format!("cupola-{name}"))
            .spawn(move || serving.serve(called))
            .map_err(BackendError::of)?;
        Ok(CustomSink {
            calls: Mutex::new(Some(calls)),
            shared,
        })
    }

    fn calls(&self) -> Option<Sender<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the thread has.
struct Serving {
    custom: Custom,
    shared: Arc<Shared>,
    /// Hashes of batches that it took too late for the answer.
    late: VecDeque<u128>,
}

impl Serving {
    /// Answers calls until the sink is gone.
    fn serve(mut self, mut called: Receiver<Call>) {
        while let Some(call) = called.blocking_recv() {
            match call {
                Call::Export(_, answer) if answer.is_closed() => {}
                Call::Export(batch, answer) => {
                    let exported = self.export(&batch);
                    if exported.is_ok() && called.is_empty() {
                        self.flush();
                    }
                    if let Err(Ok(())) = answer.send(exported) {
                        self.late.push_back(hash(&batch));
                        if self.late.len() > LATE_MAX {
                            self.late.pop_front();
                        }
                    }
                }
                Call::Close(answer) => {
                    self.close();
                    let _ = answer.send(());
                    return;
                }
            }
        }
        self.close();
    }

    fn export(&mut self, batch: &Batch) -> Result<(), CustomError> {
        if !self.late.is_empty() {
            let this = hash(batch);
            if let Some(at) = self.late.iter().position(|late| *late == this) {
                self.late.remove(at);
                return Ok(());
            }
        }
        self.guarded(|custom| custom.0.export(batch))
    }

    fn flush(&self) {
        let failing = self.guarded(|custom| custom.0.flush()).err().map(|error| {
            self.shared.unflushed.fetch_add(1, Ordering::Relaxed);
            Trouble::new(&format!("it could not be flushed: {error}"), true)
        });
        let condition = &self.shared.condition;
        let mut condition = condition.lock().unwrap_or_else(PoisonError::into_inner);
        condition.last_error = failing.clone().or(condition.last_error.take());
        condition.failing = failing;
    }

    fn close(&self) {
        self.flush();
        let _ = self.guarded(|custom| {
            custom.0.close();
            Ok(())
        });
    }

    fn guarded(&self, call: impl FnOnce(&Custom) -> Result<(), CustomError>) -> Result<(), CustomError> {
        catch_unwind(AssertUnwindSafe(|| call(&self.custom))).unwrap_or_else(|_| {
            self.shared.panics.fetch_add(1, Ordering::Relaxed);
            Err(CustomError::GiveUp("the backend panicked".to_owned()))
        })
    }
}

fn hash(batch: &Batch) -> u128 {
    xxh3_128_with_seed(batch.payload(), batch.signal() as u64)
}

fn closed() -> SendError {
    SendError::retryable("the backend has been closed")
}

#[async_trait]
impl Sink for CustomSink {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let (answer, answered) = oneshot::channel();
        let calls = self.calls().ok_or_else(closed)?;
        let called = calls.send(Call::Export(batch, answer)).await;
        drop(calls);
        called.map_err(|_| closed())?;
        match answered.await {
            Ok(Ok(())) => Ok(Accepted::all()),
            Ok(Err(CustomError::Again(reason))) => Err(SendError::retryable(reason)),
            Ok(Err(CustomError::GiveUp(reason))) => Err(SendError::permanent(reason)),
            Err(_) => Err(closed()),
        }
    }
}

#[async_trait]
impl Component for CustomSink {
    /// A call that does not come back is waited for within a bound; its thread ends when it does.
    async fn shutdown(&self) {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(calls) = calls else {
            return;
        };
        let (answer, answered) = oneshot::channel();
        let close = async {
            if calls.send(Call::Close(answer)).await.is_ok() {
                let _ = answered.await;
            }
        };
        let _ = tokio::time::timeout(CLOSE_TIME_MAX, close).await;
    }

    fn condition(&self) -> Condition {
        let condition = &self.shared.condition;
        condition.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        let count = |name, help, count: &AtomicU64| Sample::count(name, help, count.load(Ordering::Relaxed));
        samples.extend([
            count(
                "cupola_sdk_backend_panics",
                "Calls of a custom backend that panicked.",
                &self.shared.panics,
            ),
            count(
                "cupola_sdk_backend_flush_failures",
                "Flushes of a custom backend that failed.",
                &self.shared.unflushed,
            ),
        ]);
    }
}

#[cfg(test)]
mod tests;
