//! Telemetry as text for people, as the Collector's `debug` exporter prints it. Owns how much is said and how often.
//! Refuses to fail: what cannot be printed is counted, and a batch is acknowledged whether or not it was shown.
//!
//! Not a destination: nothing is kept, and sampling leaves batches out.

mod detailed;
mod metrics;
mod normal;
mod text;

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cupola_telemetry::{Batch, Signal};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::Instant;

use crate::{Accepted, Component, Sample, SendError, Sink};

/// The stretch of time that sampling counts in.
const SAMPLING_WINDOW: Duration = Duration::from_secs(1);

/// How much is said of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verbosity {
    /// One line with counts.
    #[default]
    Basic,
    /// One line an item.
    Normal,
    /// Every field.
    Detailed,
}

/// Settings of the exporter, under the Collector's names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DebugConfig {
    pub verbosity: Verbosity,
    /// Batches of a signal shown in each second before sampling begins.
    pub sampling_initial: u64,
    /// Of those after that, one in so many is shown; 0 shows none.
    pub sampling_thereafter: u64,
    /// Read and of no effect: where the text goes is the program's to say.
    pub use_internal_logger: bool,
    /// Read and of no effect, as above.
    pub output_paths: Vec<String>,
}

impl Default for DebugConfig {
    fn default() -> Self {
        DebugConfig {
            verbosity: Verbosity::default(),
            sampling_initial: 2,
            sampling_thereafter: 1,
            use_internal_logger: true,
            output_paths: Vec::new(),
        }
    }
}

/// The exporter.
pub struct DebugSink {
    config: DebugConfig,
    sampling: Mutex<[Window; 3]>,
    writer: Mutex<Box<dyn Write + Send>>,
    hidden: AtomicU64,
    unwritten: AtomicU64,
}

/// Batches of a signal in the second that began at `start`.
#[derive(Clone, Copy, Default)]
struct Window {
    start: Option<Instant>,
    batches: u64,
}

impl Window {
    /// Whether one more batch is to be shown.
    fn shows(&mut self, config: &DebugConfig, now: Instant) -> bool {
        if self
            .start
            .is_none_or(|start| now.saturating_duration_since(start) >= SAMPLING_WINDOW)
        {
            *self = Window {
                start: Some(now),
                batches: 0,
            };
        }
        self.batches += 1;
        match self.batches.checked_sub(config.sampling_initial) {
            None | Some(0) => true,
            Some(beyond) => config.sampling_thereafter > 0 && beyond % config.sampling_thereafter == 0,
        }
    }
}

impl DebugSink {
    /// Prints to standard error.
    pub fn new(config: DebugConfig) -> DebugSink {
        DebugSink::with_writer(config, Box::new(std::io::stderr()))
    }

    /// Prints to `writer`, each batch in one piece.
    pub fn with_writer(config: DebugConfig, writer: Box<dyn Write + Send>) -> DebugSink {
        DebugSink {
            config,
            sampling: Mutex::default(),
            writer: Mutex::new(writer),
            hidden: AtomicU64::new(0),
            unwritten: AtomicU64::new(0),
        }
    }
}

#[async_trait]
impl Sink for DebugSink {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let place = match batch.signal() {
            Signal::Logs => 0,
            Signal::Metrics => 1,
            Signal::Traces => 2,
        };
        if !self.sampling.lock()[place].shows(&self.config, Instant::now()) {
            self.hidden.fetch_add(1, Ordering::Relaxed);
            return Ok(Accepted::all());
        }
        let mut text = text::summary(&batch);
        match self.config.verbosity {
            Verbosity::Basic => {}
            Verbosity::Normal => normal::write(&mut text, &batch),
            Verbosity::Detailed => detailed::write(&mut text, &batch),
        }
        let mut writer = self.writer.lock();
        if writer
            .write_all(text.as_bytes())
            .and_then(|()| writer.flush())
            .is_err()
        {
            self.unwritten.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Accepted::all())
    }
}

#[async_trait]
impl Component for DebugSink {
    fn collect(&self, samples: &mut Vec<Sample>) {
        let count = |name, help, count: &AtomicU64| Sample::count(name, help, count.load(Ordering::Relaxed));
        samples.extend([
            count(
                "cupola_exporter_debug_hidden",
                "Batches left out by sampling",
                &self.hidden,
            ),
            count(
                "cupola_exporter_debug_unwritten",
                "Batches that could not be printed",
                &self.unwritten,
            ),
        ]);
    }
}

#[cfg(test)]
mod tests;
