//! A backend at work: what it is given of all that is recorded, its queue and its retries, and how it is.
//!
//! Retries are within the queue: a batch is tried again with growing pauses while the destination does not take it. With
//! fallbacks a destination that fails is left alone after one failure and the batch goes to the next, at once; after
//! [`FALLBACK_INTERVAL`] one batch tries whether it works again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cupola_export::exporter::Exporter;
use cupola_export::failover::Failover;
use cupola_export::{Component, Condition, ExporterError, Sample, SendError, Sink};
use cupola_telemetry::edit::{Editor, Level, Place, Verdict, edit};
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, Signal};

use super::{Backend, BackendError};
use crate::log::Severity;

/// A destination that has failed is tried again after so long, while another takes its place.
const FALLBACK_INTERVAL: Duration = Duration::from_secs(10);

/// A backend that has been started.
pub(crate) struct Running {
    backend: Backend,
    exporter: Exporter,
    failover: Option<Arc<Failover>>,
}

/// The state of a backend.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendHealth {
    pub name: String,
    /// What does not work now, if anything; secrets are masked.
    pub condition: Condition,
    /// It could not be started; records wait for it within a bound.
    pub not_started: Option<String>,
    /// What waits or is being sent.
    pub queued_batches: usize,
    pub queued_items: usize,
    pub queued_bytes: usize,
    /// The fallback that is in use, counted from one; zero while the destination itself works.
    pub fallback: usize,
    /// Everything that is counted, under the names that the Collector has for it.
    pub samples: Vec<Sample>,
}

impl BackendHealth {
    pub(crate) fn not_started(name: &str, problem: &str) -> BackendHealth {
        BackendHealth {
            name: name.to_owned(),
            condition: Condition::default(),
            not_started: Some(problem.to_owned()),
            queued_batches: 0,
            queued_items: 0,
            queued_bytes: 0,
            fallback: 0,
            samples: Vec::new(),
        }
    }

    /// Whether what it is given now gets somewhere.
    pub fn is_healthy(&self) -> bool {
        self.not_started.is_none() && self.condition.failing.is_none()
    }
}

impl Running {
    /// Starts a backend on the current runtime. `queue` is the directory of its queue, of it alone; without one the queue is in
    /// memory, which `budget` bounds together with those of others.
    pub(crate) async fn start(
        backend: &Backend,
        queue: Option<PathBuf>,
        budget: MemoryBudget,
    ) -> Result<Running, BackendError> {
        let name = &backend.name;
        let mut levels = vec![backend.destination.build(name)?];
        for fallback in &backend.fallbacks {
            levels.push(fallback.build(name)?);
        }
        let failover = (levels.len() > 1).then(|| Arc::new(Failover::new(levels.clone(), FALLBACK_INTERVAL)));
        let sink: Arc<dyn Component> = match &failover {
            Some(failover) => Arc::new(Levels {
                failover: failover.clone(),
                levels,
            }),
            None => levels.swap_remove(0),
        };
        let mut delivery = backend.delivery.clone();
        delivery.sending_queue.storage = queue.as_ref().map(|_| "spool".to_owned());
        if queue.is_some() {
            // What is on disk waits until it is taken, however long that is.
            delivery.retry_on_failure.max_elapsed_time = Duration::ZERO;
        }
        let exporter = Exporter::start(name.clone(), delivery, sink, queue, None, budget).await?;
        Ok(Running {
            backend: backend.clone(),
            exporter,
            failover,
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

    pub(crate) fn health(&self) -> BackendHealth {
        let queued = self.exporter.queued();
        let mut samples = Vec::new();
        self.exporter.collect(&mut samples);
        BackendHealth {
            name: self.name().to_owned(),
            condition: self.exporter.condition(),
            not_started: None,
            queued_batches: queued.requests as usize,
            queued_items: queued.items as usize,
            queued_bytes: queued.bytes as usize,
            fallback: self
                .failover
                .as_ref()
                .and_then(|failover| failover.active())
                .unwrap_or(0),
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

/// A failover and the destinations that it goes to, which end with it.
struct Levels {
    failover: Arc<Failover>,
    levels: Vec<Arc<dyn Component>>,
}

#[async_trait::async_trait]
impl Sink for Levels {
    async fn send(&self, batch: Batch) -> Result<cupola_export::Accepted, SendError> {
        self.failover.send(batch).await
    }
}

#[async_trait::async_trait]
impl Component for Levels {
    async fn shutdown(&self) {
        for level in &self.levels {
            level.shutdown().await;
        }
    }

    fn is_healthy(&self) -> bool {
        self.failover.is_healthy()
    }

    fn condition(&self) -> Condition {
        self.failover.condition()
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        self.failover.collect(samples);
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
