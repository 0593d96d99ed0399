//! What stands in a pipeline: a [`Sink`] that can be ended and that counts.

use async_trait::async_trait;

use cupola_telemetry::Batch;

use crate::{Condition, Sink};

/// A processor, a connector or an exporter. Its settings are checked before it is made, and it is ready as soon as it is.
///
/// The order at an end is that of the data: whoever hands batches over has ended before, so that nothing arrives that
/// could not be passed on. After [`shutdown`](Self::shutdown) has begun, `send` refuses with a retryable error or
/// passes on at once what it is given; it keeps nothing back.
#[async_trait]
pub trait Component: Sink {
    /// Hands on what is held back and ends the tasks. Returns when both is done, or has been given up and counted.
    async fn shutdown(&self) {}

    /// Ends because one with other settings takes its place, which is given what has been taken and not delivered. What
    /// is kept on disk is not among it: it stays there.
    async fn retire(&self) -> Vec<Batch> {
        self.shutdown().await;
        Vec::new()
    }

    /// Takes what the one before it handed back with [`retire`](Self::retire). Nobody else has it any more.
    async fn take_over(&self, batch: Batch) {
        let items = batch.items();
        if let Err(error) = self.send(batch).await {
            tracing::error!(items, %error, "items lost: what another had taken was refused");
        }
    }

    /// Whether a batch given to it now would get somewhere soon. What does not know says yes.
    fn is_healthy(&self) -> bool {
        true
    }

    /// How it is, for health checks. What does not know says nothing.
    fn condition(&self) -> Condition {
        Condition::default()
    }

    /// Adds what is counted, for a metrics page. The labels that say which component this is are added by whoever asks.
    fn collect(&self, _samples: &mut Vec<Sample>) {}
}

/// One number of a component, ready for a metrics page.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// As the Collector names it, where it does: `otelcol_exporter_queue_size`.
    pub name: &'static str,
    pub help: &'static str,
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
    /// A level rather than a count.
    pub gauge: bool,
}

impl Sample {
    /// A count since the start.
    pub fn count(name: &'static str, help: &'static str, value: u64) -> Self {
        Self {
            name,
            help,
            labels: Vec::new(),
            value: value as f64,
            gauge: false,
        }
    }

    /// A level.
    pub fn level(name: &'static str, help: &'static str, value: f64) -> Self {
        Self {
            name,
            help,
            labels: Vec::new(),
            value,
            gauge: true,
        }
    }

    #[must_use]
    pub fn with(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((label, value.into()));
        self
    }
}
