//! A backend at work: what it is given of all that is recorded, its queue and its retries, and how it is.
//!
//! Retries are within the queue: a batch is tried again with growing pauses while the destination does not take it. How often
//! before it goes to a fallback, and when it goes to the destination again, is said in [`levels`](super::levels).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cupola_config::units::ByteSize;
use cupola_export::exporter::Exporter;
use cupola_export::queue::{QueueConfig, Sizer};
use cupola_export::{Component, ExporterError, SendError, Sink};
use cupola_telemetry::edit::{Editor, Level, Place, Verdict, edit};
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, Signal};

use super::levels::{Levels, Pace};
use super::{Backend, BackendError, BackendHealth};
use crate::log::Severity;
use crate::scrub::Scrubber;

/// Files of a queue on disk, at most as large as by default, are so many at least.
const QUEUE_FILES_MIN: u64 = 4;

/// A backend that has been started.
pub(crate) struct Running {
    backend: Backend,
    exporter: Exporter,
    /// `None` without fallbacks.
    levels: Option<Arc<Levels>>,
    scrubber: Scrubber,
}

/// Where a backend has its queue on disk.
#[derive(Clone, Debug)]
pub(crate) struct QueueOnDisk {
    /// Of it alone.
    pub(crate) directory: PathBuf,
    pub(crate) bytes_max: u64,
}

impl Running {
    /// Starts a backend on the current runtime. Without a `queue` on disk it has one in memory, which `budget` bounds together
    /// with those of others.
    pub(crate) async fn start(
        backend: &Backend,
        queue: Option<QueueOnDisk>,
        budget: MemoryBudget,
    ) -> Result<Running, BackendError> {
        let name = &backend.name;
        let mut delivery = backend.delivery.clone();
        let destination = backend.destination.build(name)?;
        let mut levels = None;
        let mut sink = destination.clone();
        if !backend.fallbacks.is_empty() {
            let mut built = vec![(backend.destination.kind(), destination)];
            for fallback in &backend.fallbacks {
                built.push((fallback.kind(), fallback.build(name)?));
            }
            let pace = Pace {
                timeout: delivery.timeout,
                pause: delivery.retry_on_failure.initial_interval,
                interval: backend.fallback_interval,
            };
            // An attempt of the queue is one at each of them.
            delivery.timeout = pace.longest(built.len());
            let all = Arc::new(Levels::new(built, pace));
            sink = all.clone();
            levels = Some(all);
        }
        // The thread that exports waits for no destination.
        delivery.sending_queue.enabled = true;
        delivery.sending_queue.block_on_overflow = false;
        delivery.sending_queue.wait_for_result = false;
        if let Some(queue) = &queue {
            delivery.sending_queue.storage = Some("spool".to_owned());
            bound(&mut delivery.sending_queue, queue.bytes_max);
            // What is on disk waits until it is taken, however long that is.
            delivery.retry_on_failure.max_elapsed_time = Duration::ZERO;
        }
        let directory = queue.map(|queue| queue.directory);
        let exporter = Exporter::start(name.clone(), delivery, sink, directory, None, budget).await?;
        Ok(Running {
            backend: backend.clone(),
            exporter,
            levels,
            scrubber: Scrubber::usual(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.backend.name
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.backend
    }

    pub(crate) fn wants(&self, signal: Signal) -> bool {
        self.backend.signals.has(signal)
    }

    /// Puts what of a batch is severe enough into the queue. Returns when it is there.
    pub(crate) async fn send(&self, batch: Batch) -> Result<(), SendError> {
        let severe = match self.backend.level {
            Some(level) if batch.signal() == Signal::Logs => severe_enough(batch, level),
            _ => Some(batch),
        };
        match severe {
            Some(batch) => self.exporter.send(batch).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// Takes what the one before it has handed back.
    pub(crate) async fn take_over(&self, batch: Batch) {
        self.exporter.take_over(batch).await;
    }

    /// Nothing waits and nothing is being sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.exporter.queued().requests == 0
    }

    /// Where it is now, for [`has_passed`](Self::has_passed).
    pub(crate) fn mark(&self) -> u64 {
        self.exporter.mark()
    }

    /// Whether all that it had been given then is delivered, or given up.
    pub(crate) fn has_passed(&self, mark: u64) -> bool {
        self.exporter.has_passed(mark)
    }

    pub(crate) fn health(&self) -> BackendHealth {
        let queued = self.exporter.queued();
        let mut samples = Vec::new();
        self.exporter.collect(&mut samples);
        let mut condition = self.exporter.condition();
        for trouble in [&mut condition.failing, &mut condition.last_error]
            .into_iter()
            .flatten()
        {
            trouble.reason = self.scrubber.scrub_text(&trouble.reason).into_owned();
        }
        BackendHealth {
            name: self.name().to_owned(),
            condition,
            not_started: None,
            queued_batches: queued.requests as usize,
            queued_items: queued.items as usize,
            queued_bytes: queued.bytes as usize,
            fallback: self.levels.as_ref().map_or(0, |levels| levels.fallback()),
            samples,
        }
    }

    /// Delivers what can be delivered now, and ends. What is on disk stays there.
    pub(crate) async fn shutdown(&self) {
        self.exporter.shutdown().await;
    }

    /// Ends and hands back what was in memory.
    pub(crate) async fn retire(&self) -> Vec<Batch> {
        self.exporter.retire().await
    }
}

/// Has a queue on disk hold no more bytes than these.
fn bound(queue: &mut QueueConfig, bytes_max: u64) {
    let QueueConfig {
        segment_size,
        storage_size,
        ..
    } = QueueConfig::default();
    let file = (bytes_max / QUEUE_FILES_MIN).clamp(4096, segment_size.0);
    queue.segment_size = ByteSize(file);
    queue.storage_size = ByteSize(bytes_max.clamp(file, storage_size.0));
    if queue.sizer == Sizer::Bytes {
        queue.queue_size = ByteSize(queue.queue_size.0.max(queue.storage_size.0));
    }
}

impl From<ExporterError> for BackendError {
    fn from(source: ExporterError) -> BackendError {
        BackendError::Start(Box::new(source))
    }
}

/// The records of a batch that are at least so severe, or of which nobody says how severe they are; `None` if there are none.
fn severe_enough(batch: Batch, level: Severity) -> Option<Batch> {
    /// `severity_number` of a log record.
    const SEVERITY: u32 = 2;
    struct Severe(u64);
    impl<'a> Editor<'a> for Severe {
        type Error = std::convert::Infallible;

        fn deepest(&self) -> Level {
            Level::Item
        }

        fn visit(&mut self, level: Level, place: &mut Place<'a>) -> Result<Verdict, Self::Error> {
            let severity = match level {
                Level::Item => place.item.number(SEVERITY).unwrap_or(0),
                _ => 0,
            };
            Ok(match severity == 0 || severity >= self.0 {
                true => Verdict::Keep,
                false => Verdict::Drop,
            })
        }
    }
    match edit(&batch, &mut Severe(u64::from(level.number()))) {
        Ok(edited) => edited,
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use cupola_telemetry::TenantId;
    use cupola_telemetry::encode::LogsEncoder;

    use super::*;

    #[test]
    fn a_queue_on_disk_can_be_as_small_or_large_as_anybody_wants() {
        for bytes_max in [0, 1, 5_000, 1 << 20, 1 << 30, u64::MAX] {
            let mut queue = Backend::default_delivery().sending_queue;
            bound(&mut queue, bytes_max);
            queue.validate().unwrap();
            assert!(queue.storage_size.0 <= bytes_max.max(4096));
            assert!(queue.queue_size.0 >= queue.storage_size.0);
        }
    }

    #[test]
    fn what_is_not_severe_enough_is_left_out() {
        let mut logs = LogsEncoder::new();
        for severity in [5, 9, 17, 0] {
            let resource = &mut logs;
            resource
                .resource_logs()
                .scope_logs()
                .record()
                .severity_number(severity)
                .body("b");
        }
        let batch = logs.finish(TenantId::default_tenant());
        let severe = severe_enough(batch.clone(), Severity::WARN).unwrap();
        let mut found = Vec::new();
        for resource in severe.logs().resources() {
            for scope in resource.scopes() {
                found.extend(scope.records().map(|record| record.severity_number));
            }
        }
        assert_eq!((found, severe.items()), (vec![17, 0], 2));
        assert_eq!(severe_enough(batch, Severity::TRACE).unwrap().items(), 4);
    }
}
