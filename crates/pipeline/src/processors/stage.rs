//! A processor that works on each batch by itself, as a component: the work, then the next sink's answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use cupola_export::{Accepted, Component, Sample, SendError, Sink};
use cupola_telemetry::{Batch, Signal};

use super::attributes::Attributes;
use super::filter::Filter;
use super::resource::Resource;
use super::transform::Transform;
use crate::ottl::{Env, Outcome};

/// Larger batches are worked on beside the threads that serve connections.
const INLINE_BYTES_MAX: usize = 256 * 1024;

/// What a processor makes of one batch.
pub trait Work: Send + Sync + 'static {
    /// The batch as it goes on; without a batch in it nothing is left. An error is one that ends the batch.
    fn work(&self, batch: Batch, env: &dyn Env) -> Result<Outcome, SendError>;

    /// Whether losing items is what it is for, and the names under which the Collector counts them, by signal.
    fn dropped_names(&self) -> Option<[&'static str; Signal::ALL.len()]> {
        None
    }
}

/// A [`Work`] in a pipeline.
pub struct Stage {
    work: Arc<dyn Work>,
    env: Arc<dyn Env + Send>,
    next: Arc<dyn Sink>,
    dropped: [AtomicU64; Signal::ALL.len()],
    errors: AtomicU64,
}

impl Stage {
    pub fn new(work: impl Work, env: Arc<dyn Env + Send>, next: Arc<dyn Sink>) -> Stage {
        Stage {
            work: Arc::new(work),
            env,
            next,
            dropped: Default::default(),
            errors: AtomicU64::new(0),
        }
    }

    async fn outcome(&self, batch: Batch) -> Result<Outcome, SendError> {
        let (work, env) = (self.work.clone(), self.env.clone());
        worked(batch.payload().len(), move || work.work(batch, &*env)).await?
    }
}

/// What is made of a batch of so many bytes: at once, or beside the threads that serve connections.
pub(super) async fn worked<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SendError> {
    if bytes <= INLINE_BYTES_MAX {
        return Ok(work());
    }
    let worked = tokio::task::spawn_blocking(work).await;
    worked.map_err(|error| match error.is_panic() {
        // A bug of ours, which the same bytes would meet again.
        true => SendError::permanent("the batch could not be processed"),
        false => SendError::retryable("the program is ending"),
    })
}

#[async_trait]
impl Sink for Stage {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let (signal, items) = (batch.signal(), batch.items());
        let outcome = self.outcome(batch).await?;
        if outcome.errors > 0 {
            self.errors.fetch_add(outcome.errors as u64, Ordering::Relaxed);
            if let Some(error) = outcome.first_error {
                tracing::warn!(errors = outcome.errors, first = %error, cause = %error.source, "statements failed");
            }
        }
        let left = outcome.batch.as_ref().map_or(0, Batch::items);
        self.dropped[signal as usize].fetch_add(items.saturating_sub(left) as u64, Ordering::Relaxed);
        match outcome.batch {
            Some(batch) => self.next.send(batch).await,
            None => Ok(Accepted::all()),
        }
    }
}

#[async_trait]
impl Component for Stage {
    fn collect(&self, samples: &mut Vec<Sample>) {
        if let Some(names) = self.work.dropped_names() {
            for signal in Signal::ALL {
                let dropped = self.dropped[signal as usize].load(Ordering::Relaxed);
                samples.push(Sample::count(
                    names[signal as usize],
                    "Items that a condition held for.",
                    dropped,
                ));
            }
        }
        let errors = self.errors.load(Ordering::Relaxed);
        samples.push(Sample::count(
            "cupola_processor_statement_errors",
            "Statements that failed on an item.",
            errors,
        ));
    }
}

fn unfailing(batch: Batch) -> Outcome {
    Outcome {
        batch: Some(batch),
        errors: 0,
        first_error: None,
    }
}

/// What failed on a batch will fail on it again.
fn lasting(error: &crate::ottl::RunError) -> SendError {
    SendError::permanent(format!("{error}: {}", error.source))
}

impl Work for Attributes {
    fn work(&self, batch: Batch, _env: &dyn Env) -> Result<Outcome, SendError> {
        Ok(unfailing(self.process(batch)))
    }
}

impl Work for Resource {
    fn work(&self, batch: Batch, _env: &dyn Env) -> Result<Outcome, SendError> {
        Ok(unfailing(self.process(batch)))
    }
}

impl Work for Transform {
    fn work(&self, batch: Batch, env: &dyn Env) -> Result<Outcome, SendError> {
        self.process(batch, env).map_err(|error| lasting(&error))
    }
}

impl Work for Filter {
    fn work(&self, batch: Batch, env: &dyn Env) -> Result<Outcome, SendError> {
        self.process(batch, env).map_err(|error| lasting(&error))
    }

    fn dropped_names(&self) -> Option<[&'static str; Signal::ALL.len()]> {
        Some([
            "otelcol_processor_filter_logs_filtered",
            "otelcol_processor_filter_datapoints_filtered",
            "otelcol_processor_filter_spans_filtered",
        ])
    }
}
