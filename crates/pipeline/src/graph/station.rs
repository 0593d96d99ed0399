//! A component at its place in the graph, with what flows into it counted and what it answers watched.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use cupola_export::{Accepted, Component, Condition, Outlook, Sample, SendError, Sink, Trouble};
use cupola_telemetry::{Batch, Signal};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Counts what comes in, by signal.
pub(crate) struct Station {
    pub(crate) component: Arc<dyn Component>,
    incoming: [AtomicU64; Signal::ALL.len()],
    refused: [AtomicU64; Signal::ALL.len()],
    failed: [AtomicU64; Signal::ALL.len()],
    begun: Instant,
    /// Seconds after the beginning when something came in last, plus one; zero if nothing ever did.
    last_input: AtomicU64,
    /// The last answer was a refusal for now: looked at for each batch, so that a good answer after a good one takes no lock.
    refusing: AtomicBool,
    /// The component had an [`Outlook`] for a signal that was not unknown.
    asked: [AtomicBool; Signal::ALL.len()],
    /// Its last one was a refusal: what was let in before and is taken now does not end the trouble.
    refusing_unread: AtomicBool,
    answers: Mutex<Condition>,
}

impl Station {
    pub(crate) fn new(component: Arc<dyn Component>) -> Arc<Station> {
        Arc::new(Station {
            component,
            incoming: Default::default(),
            refused: Default::default(),
            failed: Default::default(),
            begun: Instant::now(),
            last_input: AtomicU64::new(0),
            refusing: AtomicBool::new(false),
            asked: Default::default(),
            refusing_unread: AtomicBool::new(false),
            answers: Mutex::default(),
        })
    }

    /// How long nothing has come in: since the last batch, or since the beginning.
    pub(crate) fn silent_for(&self) -> Duration {
        let since = self.last_input.load(Ordering::Relaxed).saturating_sub(1);
        self.begun.elapsed().saturating_sub(Duration::from_secs(since))
    }

    pub(crate) fn has_had_input(&self) -> bool {
        self.last_input.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn incoming(&self, signal: Signal) -> u64 {
        self.incoming[signal as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn counts(&self, signal: Signal) -> Counts {
        let load = |counts: &[AtomicU64]| counts[signal as usize].load(Ordering::Relaxed);
        Counts {
            incoming: load(&self.incoming),
            refused: load(&self.refused),
            failed: load(&self.failed),
        }
    }

    /// What the component says of itself, and else what it answered last.
    pub(crate) fn condition(&self) -> Condition {
        self.component.condition().or(self.answers.lock().clone())
    }

    fn spoken_to(&self) {
        self.last_input
            .store(self.begun.elapsed().as_secs() + 1, Ordering::Relaxed);
    }

    fn refused_with(&self, error: &SendError) {
        let trouble = Trouble::new(error.reason(), error.is_retryable());
        let mut answers = self.answers.lock();
        // One that is refused for good says something about the batch, and nothing about the component.
        if error.is_retryable() {
            self.refusing.store(true, Ordering::Relaxed);
            let since = answers
                .failing
                .as_ref()
                .map_or(trouble.since, |failing| failing.since);
            answers.failing = Some(Trouble {
                since,
                ..trouble.clone()
            });
        }
        answers.last_error = Some(trouble);
    }

    fn taken(&self, is_admitted: bool) {
        if !self.refusing.load(Ordering::Relaxed) {
            return;
        }
        if is_admitted && self.refusing_unread.load(Ordering::Relaxed) {
            return;
        }
        let mut answers = self.answers.lock();
        self.refusing.store(false, Ordering::Relaxed);
        self.refusing_unread.store(false, Ordering::Relaxed);
        answers.failing = None;
        answers.recovered = Some(SystemTime::now());
    }

    /// What every component counts, and what this one counts of its own.
    pub(crate) fn collect(&self, samples: &mut Vec<Sample>) {
        for signal in Signal::ALL {
            let at = signal as usize;
            let load = |counts: &[AtomicU64]| counts[at].load(Ordering::Relaxed);
            if load(&self.incoming) == 0 {
                continue;
            }
            let rows = [
                ("cupola_component_incoming_items", INCOMING, &self.incoming),
                ("cupola_component_refused_items", REFUSED, &self.refused),
                ("cupola_component_failed_items", FAILED, &self.failed),
            ];
            for (name, help, counts) in rows {
                samples.push(Sample::count(name, help, load(counts)).with("otel_signal", signal.as_str()));
            }
        }
        self.component.collect(samples);
    }
}

/// Items of one signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed to the component.
    pub incoming: u64,
    /// Refused for now, by it or what follows it.
    pub refused: u64,
    /// Refused for good.
    pub failed: u64,
}

const INCOMING: &str = "Items handed to the component.";
const REFUSED: &str = "Items that the component, or what follows it, refused for now.";
const FAILED: &str = "Items that the component, or what follows it, refused for good.";

#[async_trait]
impl Sink for Station {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let (at, items) = (batch.signal() as usize, batch.items() as u64);
        self.incoming[at].fetch_add(items, Ordering::Relaxed);
        self.spoken_to();
        // One that was asked nothing has let nothing in.
        let is_admitted = batch.is_admitted() && self.asked[at].load(Ordering::Relaxed);
        let batch = batch.with_admission(is_admitted);
        let answer = self.component.send(batch).await;
        match &answer {
            Ok(_) => self.taken(is_admitted),
            Err(error) => self.refused_with(error),
        }
        match &answer {
            Ok(accepted) if accepted.rejected == 0 => {}
            Ok(accepted) => {
                self.failed[at].fetch_add(accepted.rejected.min(items), Ordering::Relaxed);
            }
            Err(SendError::Retryable { .. }) => {
                self.refused[at].fetch_add(items, Ordering::Relaxed);
            }
            Err(SendError::Permanent { .. }) => {
                self.failed[at].fetch_add(items, Ordering::Relaxed);
            }
        }
        answer
    }

    /// Seen in its condition and not in its counts: of how many items it is, nobody knows.
    fn outlook(&self, signal: Signal) -> Outlook {
        let outlook = self.component.outlook(signal);
        match &outlook {
            Outlook::Unknown => {}
            Outlook::Open => self.refusing_unread.store(false, Ordering::Relaxed),
            Outlook::Refused(refusal) => {
                self.spoken_to();
                self.refusing_unread.store(true, Ordering::Relaxed);
                self.refused_with(refusal);
            }
        }
        self.asked[signal as usize].store(outlook != Outlook::Unknown, Ordering::Relaxed);
        outlook
    }
}

#[cfg(test)]
mod tests {
    use cupola_telemetry::TenantId;
    use cupola_telemetry::encode::LogsEncoder;

    use super::*;

    /// Refuses new logs while it is closed, takes what it is given, and knows nothing of other signals beforehand.
    #[derive(Default)]
    struct Door {
        is_closed: AtomicBool,
        admitted: AtomicBool,
    }

    #[async_trait]
    impl Sink for Door {
        async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
            self.admitted.store(batch.is_admitted(), Ordering::Relaxed);
            Ok(Accepted::all())
        }

        fn outlook(&self, signal: Signal) -> Outlook {
            match (signal, self.is_closed.load(Ordering::Relaxed)) {
                (Signal::Logs, true) => Outlook::Refused(SendError::retryable("closed")),
                (Signal::Logs, false) => Outlook::Open,
                _ => Outlook::Unknown,
            }
        }
    }

    #[async_trait]
    impl Component for Door {}

    fn logs(is_admitted: bool) -> Batch {
        let mut logs = LogsEncoder::new();
        logs.resource_logs().scope_logs().record().body("a");
        logs.finish(TenantId::default_tenant())
            .with_admission(is_admitted)
    }

    #[tokio::test]
    async fn what_was_let_in_before_does_not_end_a_trouble_and_what_is_new_does() {
        let door = Arc::new(Door::default());
        let station = Station::new(door.clone());
        let is_failing = || station.condition().failing.is_some();
        assert_eq!(station.outlook(Signal::Logs), Outlook::Open);
        door.is_closed.store(true, Ordering::Relaxed);
        assert!(matches!(station.outlook(Signal::Logs), Outlook::Refused(_)));
        assert!(is_failing());
        station.send(logs(true)).await.unwrap();
        assert!(is_failing(), "it had been let in before");
        station.send(logs(false)).await.unwrap();
        assert!(!is_failing(), "somebody who does not ask was let in now");

        assert!(matches!(station.outlook(Signal::Logs), Outlook::Refused(_)));
        door.is_closed.store(false, Ordering::Relaxed);
        assert_eq!(station.outlook(Signal::Logs), Outlook::Open);
        station.send(logs(true)).await.unwrap();
        assert!(!is_failing());
    }

    #[tokio::test]
    async fn a_batch_is_let_in_by_what_was_asked_about_its_signal_alone() {
        let door = Arc::new(Door::default());
        let station = Station::new(door.clone());
        station.send(logs(true)).await.unwrap();
        assert!(!door.admitted.load(Ordering::Relaxed), "nobody has asked");
        station.outlook(Signal::Logs);
        station.outlook(Signal::Traces);
        station.send(logs(true)).await.unwrap();
        assert!(door.admitted.load(Ordering::Relaxed));
    }
}
