//! The backends of a process: started, given batches, replaced when settings change, ended.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use cupola_export::SendError;
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, Signal};
use tokio::task::JoinSet;

use super::{Counts, Exporting};
use crate::backend::{Backend, BackendHealth, QueueOnDisk, Running};
use crate::say;
use crate::scrub::Scrubber;
use crate::spool::is_queue_of;

/// Bytes of batches that are held for backends whose queues take none now, together. What is longest held goes first.
const HELD_BYTES_MAX: usize = 32 << 20;
/// Payloads in the queues of one process that are in memory.
const QUEUES_BYTES_MAX: usize = 256 << 20;

/// All backends.
pub(super) struct Backends {
    running: Vec<Arc<Running>>,
    /// Those that did not start, and why.
    failed: Vec<(Backend, String)>,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// The number of what is held next.
    next_held: u64,
    /// How often others have taken the place of those that ran.
    replaced: u64,
    budget: MemoryBudget,
    /// Their queues are, so that they survive this process.
    are_on_disk: bool,
    /// Those that are backends no more, and end: whether each had delivered everything.
    ending: JoinSet<bool>,
    /// A backend that is there no more has left something in its queue.
    leaves_something: bool,
    has_delivered: bool,
}

struct Held {
    number: u64,
    backend: String,
    batch: Batch,
}

/// What there was at some time.
pub(super) struct Mark {
    /// Held batches of lower numbers.
    held_before: u64,
    replaced: u64,
    /// Of each that runs; `None` while something of it is held.
    queues: Option<Vec<u64>>,
}

impl Mark {
    /// What has come into the queues since then was there already, elsewhere: it counts too.
    pub(super) fn renew(&mut self) {
        self.queues = None;
    }
}

impl Default for Backends {
    fn default() -> Backends {
        Backends {
            running: Vec::new(),
            failed: Vec::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            next_held: 0,
            replaced: 0,
            budget: MemoryBudget::new(QUEUES_BYTES_MAX),
            are_on_disk: true,
            ending: JoinSet::new(),
            leaves_something: false,
            has_delivered: false,
        }
    }
}

impl Backends {
    /// Starts those that can be started; the others are tried again.
    pub(super) async fn start(&mut self, backends: &[Backend], exporting: &Exporting) {
        for backend in backends {
            if let Err(problem) = self.start_one(backend, exporting).await {
                say::text(&format!(
                    "backend {} is not used until it can be started: {problem}",
                    backend.name
                ));
                self.failed.push((backend.clone(), problem));
            }
        }
    }

    async fn start_one(&mut self, backend: &Backend, exporting: &Exporting) -> Result<(), String> {
        let queue = exporting.spool.as_ref().and_then(|spool| {
            Some(QueueOnDisk {
                directory: spool.process()?.queue(&backend.name),
                bytes_max: spool.settings().bytes_max,
            })
        });
        self.are_on_disk = queue.is_some();
        let started = Running::start(backend, queue, self.budget.clone()).await;
        let running = started.map_err(|error| chain(&error))?;
        self.running.push(Arc::new(running));
        Ok(())
    }

    /// Tries again to start those that did not; whether one did now.
    pub(super) async fn start_failed(&mut self, exporting: &Exporting) -> bool {
        let before = self.failed.len();
        for (backend, _) in std::mem::take(&mut self.failed) {
            if let Err(problem) = self.start_one(&backend, exporting).await {
                self.failed.push((backend, problem));
            }
        }
        self.failed.len() < before
    }

    pub(super) fn budget(&self) -> &MemoryBudget {
        &self.budget
    }

    pub(super) fn named(&self, name: &str) -> Option<&Arc<Running>> {
        self.running.iter().find(|running| running.name() == name)
    }

    /// Whether a directory in the spool is the queue of one of them, be it that it did not start.
    pub(super) fn has_queue(&self, path: &Path) -> bool {
        let running = self.running.iter().map(|running| running.name());
        let failed = self.failed.iter().map(|(backend, _)| backend.name.as_str());
        running.chain(failed).any(|name| is_queue_of(path, name))
    }

    pub(super) fn running(&self) -> &[Arc<Running>] {
        &self.running
    }

    /// Names of those that did not start and want a signal.
    pub(super) fn not_started(&self, signal: Signal) -> impl Iterator<Item = &str> {
        let failed = self.failed.iter().map(|(backend, _)| backend);
        failed
            .filter(move |backend| backend.signals.has(signal))
            .map(|backend| backend.name.as_str())
    }

    /// Gives a batch to every backend that wants it. Returns when each has it in its queue, or it is held for it.
    pub(super) async fn offer(&mut self, batch: Batch, counts: &Counts) {
        self.offer_to_running(&batch, counts, |_| true).await;
        let failed: Vec<String> = self.not_started(batch.signal()).map(str::to_owned).collect();
        for name in failed {
            self.hold(&name, batch.clone(), counts);
        }
    }

    /// Gives a batch to those that run, want it, and are meant.
    pub(super) async fn offer_to_running(
        &mut self,
        batch: &Batch,
        counts: &Counts,
        is_meant: impl Fn(&str) -> bool,
    ) {
        for running in self.running.clone() {
            if !running.wants(batch.signal()) || !is_meant(running.name()) {
                continue;
            }
            // What is held for it comes first.
            let waits = self.held.iter().any(|held| held.backend == running.name());
            let refused = match waits {
                true => true,
                false => is_refused_for_now(&running, running.send(batch.clone()).await, batch, counts),
            };
            if refused {
                self.hold(running.name(), batch.clone(), counts);
            }
        }
    }

    fn hold(&mut self, backend: &str, batch: Batch, counts: &Counts) {
        self.held_bytes += batch.payload().len();
        self.held.push_back(Held {
            number: self.next_held,
            backend: backend.to_owned(),
            batch,
        });
        self.next_held += 1;
        while self.held_bytes > HELD_BYTES_MAX
            && let Some(oldest) = self.held.pop_front()
        {
            self.held_bytes -= oldest.batch.payload().len();
            counts.dropped.add(oldest.batch.items() as u64);
        }
    }

    /// Offers again what is held, in its order.
    pub(super) async fn offer_held(&mut self, counts: &Counts) {
        let mut full: Vec<String> = Vec::new();
        for held in std::mem::take(&mut self.held) {
            let running = self.named(&held.backend).cloned();
            let is_failed = self
                .failed
                .iter()
                .any(|(backend, _)| backend.name == held.backend);
            let refused = match &running {
                _ if full.contains(&held.backend) => true,
                Some(running) => is_refused_for_now(
                    running,
                    running.send(held.batch.clone()).await,
                    &held.batch,
                    counts,
                ),
                None if is_failed => true,
                // It is no backend any more.
                None => {
                    counts.dropped.add(held.batch.items() as u64);
                    false
                }
            };
            if refused {
                full.push(held.backend.clone());
                self.held.push_back(held);
            } else {
                self.held_bytes -= held.batch.payload().len();
            }
        }
    }

    /// Puts others in the place of those that run. What these have not delivered goes to those of the same name, or is delivered
    /// before they end. Says what could not be done.
    pub(super) async fn replace(&mut self, backends: &[Backend], exporting: &Exporting) -> Vec<String> {
        let mut problems = Vec::new();
        self.replaced += 1;
        let before = std::mem::take(&mut self.running);
        self.failed.clear();
        let mut handed = Vec::new();
        let mut removed = Vec::new();
        for running in before {
            match backends.iter().any(|backend| backend.name == running.name()) {
                true => handed.push((running.backend().clone(), running.retire().await)),
                false => removed.push(running),
            }
        }
        for backend in backends {
            let before = handed.iter_mut().find(|(before, _)| before.name == backend.name);
            let (before, batches) = match before {
                Some((before, batches)) => (Some(before.clone()), std::mem::take(batches)),
                None => (None, Vec::new()),
            };
            if let Err(problem) = self.start_one(backend, exporting).await {
                problems.push(format!(
                    "backend {} could not be changed: {problem}",
                    backend.name
                ));
                self.fall_back(before, backend, problem, exporting).await;
            }
            self.hand_over(&backend.name, batches, &exporting.counts).await;
        }
        // In their own time: what waits for them is not what waits for the others.
        for running in removed {
            self.ending.spawn(async move {
                running.shutdown().await;
                running.is_idle()
            });
        }
        problems
    }

    /// Goes on with what a backend was before, if it was one.
    async fn fall_back(
        &mut self,
        before: Option<Backend>,
        now: &Backend,
        problem: String,
        exporting: &Exporting,
    ) {
        match before {
            Some(before) if self.start_one(&before, exporting).await.is_ok() => {}
            _ => self.failed.push((now.clone(), problem)),
        }
    }

    async fn hand_over(&mut self, name: &str, batches: Vec<Batch>, counts: &Counts) {
        for batch in batches {
            match self.named(name).cloned() {
                Some(running) => running.take_over(batch).await,
                None => self.hold(name, batch, counts),
            }
        }
    }

    /// Looks at those that have ended meanwhile.
    pub(super) fn reap(&mut self) {
        while let Some(ended) = self.ending.try_join_next() {
            self.leaves_something |= !ended.unwrap_or(false);
        }
    }

    /// Whether something waits here for a queue that takes none now.
    pub(super) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether some of it waits for a backend that runs, and not for one to start.
    pub(super) fn is_waiting_for_room(&self) -> bool {
        self.held.iter().any(|held| self.named(&held.backend).is_some())
    }

    /// Batches that wait here.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Gives up what waits here; so many items.
    pub(super) fn give_up(&mut self) -> usize {
        self.held_bytes = 0;
        self.held.drain(..).map(|held| held.batch.items()).sum()
    }

    /// Nothing waits, as far as is known.
    pub(super) fn is_idle(&self) -> bool {
        self.held.is_empty() && self.ending.is_empty() && self.running.iter().all(|running| running.is_idle())
    }

    /// What there is now, for [`has_passed`](Self::has_passed).
    pub(super) fn mark(&self) -> Mark {
        let mut mark = Mark {
            held_before: self.next_held,
            replaced: self.replaced,
            queues: None,
        };
        self.mark_queues(&mut mark);
        mark
    }

    /// Whether all that there was then is delivered, or given up, whatever has come since.
    pub(super) fn has_passed(&self, mark: &mut Mark) -> bool {
        if mark.replaced != self.replaced {
            // What was in the queues is in others.
            mark.replaced = self.replaced;
            mark.queues = None;
        }
        self.mark_queues(mark);
        let Some(queues) = &mark.queues else {
            return false;
        };
        self.ending.is_empty()
            && self
                .running
                .iter()
                .zip(queues)
                .all(|(running, mark)| running.has_passed(*mark))
    }

    /// The number of what is held next.
    pub(super) fn next_held(&self) -> u64 {
        self.next_held
    }

    /// Whether what was offered from the number `held_from` up to a mark is where the end of this process does not reach it: in
    /// queues on disk, or delivered.
    pub(super) fn has_kept(&self, held_from: u64, mark: &mut Mark) -> bool {
        let offered = held_from..mark.held_before;
        if self.held.iter().any(|held| offered.contains(&held.number)) {
            return false;
        }
        self.are_on_disk || self.has_delivered || !self.running.is_empty() && self.has_passed(mark)
    }

    /// What was held has its place in a queue only when it is there.
    fn mark_queues(&self, mark: &mut Mark) {
        let is_held = self.held.iter().any(|held| held.number < mark.held_before);
        if !is_held
            && mark
                .queues
                .as_ref()
                .is_none_or(|queues| queues.len() != self.running.len())
        {
            mark.queues = Some(self.running.iter().map(|running| running.mark()).collect());
        }
    }

    pub(super) fn health(&self) -> Vec<BackendHealth> {
        let failed = self
            .failed
            .iter()
            .map(|(backend, problem)| BackendHealth::not_started(&backend.name, problem));
        self.running
            .iter()
            .map(|running| running.health())
            .chain(failed)
            .collect()
    }

    /// Ends them all, until then at most.
    pub(super) async fn shutdown(&mut self, deadline: Instant) {
        let was_idle = self.is_idle() && self.failed.is_empty();
        for running in std::mem::take(&mut self.running) {
            self.ending.spawn(async move {
                running.shutdown().await;
                running.is_idle()
            });
        }
        let ending = &mut self.ending;
        let all = async {
            let mut are_idle = true;
            while let Some(ended) = ending.join_next().await {
                are_idle &= ended.unwrap_or(false);
            }
            are_idle
        };
        let ended = tokio::time::timeout_at(deadline.into(), all).await;
        self.has_delivered = was_idle && ended.unwrap_or(false) && !self.leaves_something;
    }

    /// Whether nothing was left when they ended.
    pub(super) fn has_delivered(&self) -> bool {
        self.has_delivered
    }
}

/// Whether a backend's queue cannot take a batch now, but may later. What it never will take is counted and said.
fn is_refused_for_now(
    running: &Running,
    answer: Result<(), SendError>,
    batch: &Batch,
    counts: &Counts,
) -> bool {
    match answer {
        Ok(()) => false,
        Err(SendError::Retryable { .. }) => true,
        Err(SendError::Permanent { reason }) => {
            counts.dropped.add(batch.items() as u64);
            say::text(&format!(
                "{} items were lost, which backend {} does not take: {reason}",
                batch.items(),
                running.name()
            ));
            false
        }
    }
}

/// An error with its causes, without secrets that are in them.
fn chain(error: &dyn std::error::Error) -> String {
    Scrubber::usual().scrub_text(&say::chain(error)).into_owned()
}
