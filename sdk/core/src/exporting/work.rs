//! What the exporting thread does: waits for something to do, takes what has been recorded when it is due, hands it to the
//! backends, and answers those who ask.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use cupola_telemetry::{Batch, Signal, TenantId};
use tokio::sync::mpsc::Receiver;

use super::backends::{Backends, Mark};
use super::batching::Batching;
use super::left::{Leavings, Means};
use super::own_metrics::OwnMetrics;
use super::{Command, Exporting, Flag, scrubber};
use crate::recorder::{Taken, Wanted};
use crate::resource::Resource;
use crate::scrub::Scrubber;
use crate::settings::Settings;
use crate::tail::{Tail, With};

/// How often those who wait for the end of deliveries are looked after.
const DELIVERED_TICK: Duration = Duration::from_millis(5);
/// How often what could not be done is tried again: backends that did not start, batches that no queue took, what ended
/// processes have left; and how often files of configuration are looked at.
const AGAIN_TICK: Duration = Duration::from_secs(5);
/// After what time queues that were full are tried again, at least: each attempt may be one to write to a full disk.
const HELD_TICK: Duration = Duration::from_millis(100);

/// Exports whose segments are kept back at most.
const KEPT_BACK_MAX: usize = 256;

/// Within the half second that callers wait beyond their time.
const CLOSE_TIME: Duration = Duration::from_millis(250);

/// The thread's own state.
pub(super) struct Work {
    exporting: Arc<Exporting>,
    commands: Receiver<Command>,
    settings: Arc<Settings>,
    resource: Arc<Resource>,
    tenant: TenantId,
    backends: Backends,
    leavings: Leavings,
    scrubber: Scrubber,
    /// Decides upon traces when they have ended, if that is wanted.
    tail: Option<Tail>,
    /// Segments of records that are not in the queues yet, as they wait for a decision or for room; and when they were taken, in
    /// nanoseconds since 1970.
    kept_back: VecDeque<(u64, Taken)>,
    own: OwnMetrics,
    /// What its records have in common is in the spool.
    has_kept_resource: bool,
    has_said_resource: bool,
    /// When the records of a signal are exported.
    due: [Option<Instant>; 2],
    /// When metrics are collected; `None` while nothing has been measured.
    collected: Option<Instant>,
    /// When spans that run are looked at.
    pending: Instant,
    again: Instant,
    /// When queues that were full are tried again.
    held: Instant,
    held_pause: Duration,
    /// Those who wait until what there was has been delivered.
    waiting: Vec<(Mark, Waiting)>,
    /// Of those who want this thread to end.
    ending: Vec<Waiting>,
}

struct Waiting {
    deadline: Instant,
    answer: mpsc::SyncSender<bool>,
}

/// Signals that are recorded one by one.
const RECORDED: [Signal; 2] = [Signal::Logs, Signal::Traces];

impl Work {
    pub(super) fn new(exporting: Arc<Exporting>, commands: Receiver<Command>) -> Work {
        let settings = exporting.settings();
        let resource = exporting.resource();
        Work {
            scrubber: scrubber(&settings),
            tail: settings.traces.tail.clone().map(Tail::new),
            kept_back: VecDeque::new(),
            pending: Instant::now(),
            own: OwnMetrics::default(),
            has_kept_resource: false,
            has_said_resource: false,
            collected: None,
            commands,
            resource,
            tenant: TenantId::default_tenant(),
            backends: Backends::default(),
            leavings: Leavings::default(),
            due: [None; 2],
            again: Instant::now() + AGAIN_TICK,
            held: Instant::now(),
            held_pause: HELD_TICK,
            waiting: Vec::new(),
            ending: Vec::new(),
            settings,
            exporting,
        }
    }

    /// Until it is ended.
    pub(super) async fn run(mut self) {
        self.keep_resource();
        self.backends
            .start(&self.settings.backends, &self.exporting)
            .await;
        self.take_over(true).await;
        if self.settings.self_metrics {
            self.own.register(&self.exporting);
        }
        loop {
            self.wait().await;
            self.note_flags();
            self.do_what_is_due().await;
            self.answer_those_who_wait();
            if self.is_to_end() {
                return self.end().await;
            }
        }
    }

    /// So that whoever takes over what this process leaves knows whose it is. Tried again later where there is no room for it.
    fn keep_resource(&mut self) {
        let process = self.exporting.spool.as_ref().and_then(|spool| spool.process());
        let Some(process) = process.filter(|_| !self.has_kept_resource) else {
            return;
        };
        let kept = process.keep_resource(&self.resource);
        self.has_kept_resource = kept.is_ok();
        if let Err(error) = kept
            && !std::mem::replace(&mut self.has_said_resource, true)
        {
            crate::say::text(&format!(
                "what {} is of could not be written there yet: {error}",
                process.path().display()
            ));
        }
    }

    /// Until a flag was set, somebody asks, or something is due.
    async fn wait(&mut self) {
        let next = self.next();
        let exporting = self.exporting.clone();
        let handle = exporting.handle();
        let command = tokio::select! {
            biased;
            command = self.commands.recv() => command,
            () = handle.notify.notified() => None,
            () = tokio::time::sleep_until(next.into()) => None,
        };
        if let Some(command) = command {
            self.obey(command).await;
        }
    }

    fn next(&self) -> Instant {
        let due = self.due.iter().flatten().chain(&self.collected).copied().min();
        let decided = self
            .tail
            .as_ref()
            .and_then(Tail::next)
            .map(|at| self.instant_of(at));
        let pending = self.settings.traces.pending.is_some().then_some(self.pending);
        let is_waited_for = !self.waiting.is_empty() || !self.ending.is_empty();
        let tick = is_waited_for.then(|| Instant::now() + DELIVERED_TICK);
        let held = self.is_waiting_for_room().then_some(self.held);
        [due, tick, decided, pending, held]
            .into_iter()
            .flatten()
            .fold(self.again, Instant::min)
    }

    /// The moment of a time in nanoseconds since 1970.
    fn instant_of(&self, unix_nano: u64) -> Instant {
        let wait = unix_nano.saturating_sub(self.exporting.clock.now());
        Instant::now() + Duration::from_nanos(wait)
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Flush { deadline, answer } => {
                self.export_all().await;
                let mark = self.backends.mark();
                self.waiting.push((mark, Waiting { deadline, answer }));
            }
            Command::Shutdown { deadline, answer } => {
                self.export_all().await;
                self.decide_upon_all().await;
                self.ending.push(Waiting { deadline, answer });
            }
            Command::Apply { settings, answer } => {
                let problems = self.apply(settings).await;
                let _ = answer.send(problems);
            }
            Command::Health(answer) => {
                let _ = answer.send(self.backends.health());
            }
        }
    }

    /// Changes what it does; what could not be changed is told.
    async fn apply(&mut self, settings: Arc<Settings>) -> Vec<String> {
        let problems = self.backends.replace(&settings.backends, &self.exporting).await;
        self.leavings.let_go().await;
        self.scrubber = scrubber(&settings);
        match (&mut self.tail, &settings.traces.tail) {
            (Some(tail), Some(other)) => tail.apply(other.clone()),
            (None, Some(other)) => self.tail = Some(Tail::new(other.clone())),
            (Some(_), None) => {
                self.decide_upon_all().await;
                self.tail = None;
            }
            (None, None) => {}
        }
        self.settings = settings;
        problems
    }

    /// Applies what has been written into the files of configuration since it looked last.
    async fn look_at_files(&mut self) {
        if let Some(settings) = self.exporting.changed() {
            for problem in self.apply(settings).await {
                crate::say::text(&problem);
            }
        }
    }

    /// Uses a spool that could not be made before: backends have their queues there from now on.
    async fn try_spool_again(&mut self) {
        let is_new = self
            .exporting
            .spool
            .as_ref()
            .is_some_and(|spool| spool.try_again());
        if !is_new {
            return;
        }
        self.keep_resource();
        let settings = self.settings.clone();
        for problem in self.apply(settings).await {
            crate::say::text(&problem);
        }
    }

    /// Looks at the flags that threads have set.
    fn note_flags(&mut self) {
        let flags = self.exporting.handle().flags.swap(0, Ordering::AcqRel);
        let now = Instant::now();
        for (signal, due) in RECORDED.into_iter().zip(&mut self.due) {
            let delay = match signal {
                Signal::Traces => self.settings.traces.queue.delay,
                Signal::Logs | Signal::Metrics => self.settings.logs.queue.delay,
            };
            if flags & Flag::of(signal, Wanted::Much).0 != 0 {
                *due = Some(now);
            } else if flags & Flag::of(signal, Wanted::First).0 != 0 {
                due.get_or_insert(now + delay);
            }
        }
        if flags & Flag::of(Signal::Metrics, Wanted::First).0 != 0 {
            self.collected.get_or_insert(now + self.settings.metrics.interval);
        }
    }

    async fn do_what_is_due(&mut self) {
        self.backends.reap();
        if self.is_waiting_for_room() && self.held <= Instant::now() {
            self.offer_held().await;
        }
        if !self.ending.is_empty() {
            // What is recorded now would keep the end from coming.
            return;
        }
        let now = Instant::now();
        for (at, signal) in RECORDED.into_iter().enumerate() {
            if self.due[at].is_some_and(|due| due <= now) {
                self.due[at] = None;
                self.export(signal).await;
            }
        }
        if let Some(due) = self.collected.filter(|due| *due <= now) {
            self.collect().await;
            let next = due + self.settings.metrics.interval;
            // Not several at once, if it could not be done in time.
            self.collected = Some(next.max(now));
        }
        self.decide().await;
        if self.settings.traces.pending.is_some() && self.pending <= now {
            self.tell_what_runs().await;
        }
        if self.again <= now {
            self.again = now + AGAIN_TICK;
            self.look_at_files().await;
            self.try_spool_again().await;
            self.keep_resource();
            if self.backends.start_failed(&self.exporting).await {
                self.leavings.look_again();
            }
            self.offer_held().await;
            self.take_over(true).await;
        }
    }

    /// Whether something is only held or left behind because queues were full, which may have room at any moment.
    fn is_waiting_for_room(&self) -> bool {
        self.backends.is_waiting_for_room() || self.leavings.has_more(&self.backends)
    }

    async fn export_all(&mut self) {
        self.note_flags();
        for signal in RECORDED {
            self.export(signal).await;
        }
        self.due = [None; 2];
        if self.collected.is_some() {
            self.collect().await;
        }
        self.offer_held().await;
    }

    /// Takes what has been recorded of a signal and hands it to the backends.
    async fn export(&mut self, signal: Signal) {
        let (batches, taken) = self.take(signal);
        self.offer(batches).await;
        // Only now: a crash until here finds it in the segments.
        let may_wait = self.tail.is_some() && signal == Signal::Traces || self.backends.is_holding();
        match may_wait && !taken.segments.is_empty() {
            true => self.kept_back.push_back((self.exporting.clock.now(), taken)),
            false => self.release(taken),
        }
    }

    async fn offer(&mut self, batches: Vec<Batch>) {
        for batch in batches {
            self.backends.offer(batch, &self.exporting.counts).await;
        }
    }

    fn release(&self, taken: Taken) {
        if let Some(spool) = &self.exporting.spool {
            taken
                .segments
                .into_iter()
                .for_each(|segment| spool.release(segment));
        }
    }

    /// Decides upon the traces whose time has come.
    async fn decide(&mut self) {
        let now = self.exporting.clock.now();
        if self
            .tail
            .as_ref()
            .and_then(Tail::next)
            .is_some_and(|due| due <= now)
        {
            let batches = self.decided(|tail, with| tail.due(now, with));
            self.offer(batches).await;
        }
        self.release_what_is_queued(now);
    }

    /// Gives back the segments of records that are in the queues by now; and of others where there are too many, which a crash
    /// would lose.
    fn release_what_is_queued(&mut self, now: u64) {
        while self.kept_back.len() > KEPT_BACK_MAX
            && let Some((_, taken)) = self.kept_back.pop_front()
        {
            self.release(taken);
        }
        if self.backends.is_holding() {
            return;
        }
        // Nothing waits longer than this.
        let wait_max = self
            .settings
            .traces
            .tail
            .as_ref()
            .map_or(Duration::ZERO, |tail| tail.wait_max + tail.linger);
        let is_empty = self.tail.as_ref().and_then(Tail::next).is_none();
        while let Some((taken_at, _)) = self.kept_back.front()
            && (is_empty || taken_at.saturating_add(wait_max.as_nanos() as u64) < now)
            && let Some((_, taken)) = self.kept_back.pop_front()
        {
            self.release(taken);
        }
    }

    /// Decides upon everything that waits.
    async fn decide_upon_all(&mut self) {
        let batches = self.decided(Tail::flush);
        self.offer(batches).await;
        if !self.backends.is_holding() {
            for (_, taken) in std::mem::take(&mut self.kept_back) {
                self.release(taken);
            }
        }
    }

    /// Leaves what only waits for backends to start to those alone: the others have it.
    fn owe_what_is_kept_back(&mut self) {
        let Some(spool) = self
            .exporting
            .spool
            .as_ref()
            .filter(|_| !self.backends.is_waiting_for_room())
        else {
            return;
        };
        for segment in std::mem::take(&mut self.kept_back)
            .into_iter()
            .flat_map(|(_, taken)| taken.segments)
        {
            let backends = self.backends.not_started(segment.signal());
            spool.owe(segment, backends);
        }
    }

    /// Batches of the spans that `decide` hands out.
    fn decided(&mut self, decide: impl FnOnce(&mut Tail, &mut With<'_>)) -> Vec<Batch> {
        let Some(tail) = &mut self.tail else {
            return Vec::new();
        };
        let mut batching = Batching::new(&self.exporting.spans, &self.resource, &self.tenant);
        decide(tail, &mut |scope, record| batching.add(scope, record));
        batching.finish()
    }

    /// Exports a log record for each span that has been running for long.
    async fn tell_what_runs(&mut self) {
        let Some(pending) = &self.settings.traces.pending else {
            return;
        };
        let now = self.exporting.clock.now();
        let mut batching = Batching::new(&self.exporting.logs, &self.resource, &self.tenant);
        let mut buffer = Vec::new();
        let next = self.exporting.pending.due(pending, now, &mut |scope, record| {
            batching.add(scope, self.scrubber.scrub(Signal::Logs, record, &mut buffer));
        });
        self.pending = self.instant_of(next);
        let batches = batching.finish();
        self.offer(batches).await;
    }

    /// Collects metrics and hands them to the backends.
    async fn collect(&mut self) {
        if self.settings.self_metrics {
            self.own.look(&self.backends.health());
        }
        for batch in self.exporting.meters.collect(&self.resource, &self.tenant) {
            self.backends.offer(batch, &self.exporting.counts).await;
        }
    }

    fn take(&mut self, signal: Signal) -> (Vec<Batch>, Taken) {
        let exporting = self.exporting.clone();
        let (recorder, mut tail) = match signal {
            Signal::Traces => (&exporting.spans, self.tail.take()),
            Signal::Logs | Signal::Metrics => (&exporting.logs, None),
        };
        let now = exporting.clock.now();
        let mut buffer = Vec::new();
        let mut batching = Batching::new(recorder, &self.resource, &self.tenant);
        let taken = recorder.take_each(|scope, record| {
            let record = self.scrubber.scrub(signal, record, &mut buffer);
            match &mut tail {
                Some(tail) => tail.add(scope, record, now, &mut |scope, record| {
                    batching.add(scope, record)
                }),
                None => batching.add(scope, record),
            }
        });
        let batches = batching.finish();
        if signal == Signal::Traces {
            self.tail = tail;
        }
        (batches, taken)
    }

    /// Sees after what processes have left that have ended: looks for it, or goes on with what has been found.
    async fn take_over(&mut self, is_to_look: bool) {
        if let Some(spool) = self.exporting.spool.clone() {
            let means = Means {
                spool: &spool,
                exporting: &self.exporting,
                scrubber: &self.scrubber,
                tenant: &self.tenant,
            };
            match is_to_look {
                true => self.leavings.see_to(&means, &mut self.backends).await,
                false => self.leavings.go_on(&means, &mut self.backends).await,
            }
        }
    }

    /// Offers again what no queue had room for, and with it what waits for that. Seldom, where it is in vain and nobody waits.
    async fn offer_held(&mut self) {
        let before = self.backends.held();
        self.backends.offer_held(&self.exporting.counts).await;
        if self.leavings.has_more(&self.backends) && !self.backends.is_waiting_for_room() {
            self.take_over(false).await;
        } else {
            self.leavings.remove_exported(&self.backends);
        }
        let is_in_vain = before > 0 && self.backends.held() >= before;
        self.held_pause = match is_in_vain && self.ending.is_empty() && self.waiting.is_empty() {
            true => (self.held_pause * 2).min(AGAIN_TICK),
            false => HELD_TICK,
        };
        self.held = Instant::now() + self.held_pause;
    }

    /// Nothing waits any more.
    fn has_delivered(&self) -> bool {
        self.backends.is_idle() && self.leavings.is_idle(&self.backends)
    }

    fn is_to_end(&self) -> bool {
        let deadline = self.ending.iter().map(|ending| ending.deadline).min();
        deadline.is_some_and(|deadline| deadline <= Instant::now() || self.has_delivered())
    }

    fn answer_those_who_wait(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let are_left_delivered = self.leavings.is_idle(&self.backends);
        if self.leavings.has_more(&self.backends) {
            self.waiting.iter_mut().for_each(|(mark, _)| mark.renew());
        }
        let now = Instant::now();
        let backends = &self.backends;
        self.waiting.retain_mut(|(mark, waiting)| {
            let is_done = are_left_delivered && backends.has_passed(mark);
            let is_answered = is_done || waiting.deadline <= now;
            if is_answered {
                let _ = waiting.answer.send(is_done);
            }
            !is_answered
        });
    }

    /// Ends the backends. What they have not delivered stays in their queues, where those are on disk.
    async fn end(mut self) {
        self.exporting.unwatch();
        self.decide_upon_all().await;
        self.owe_what_is_kept_back();
        let is_done = self.has_delivered();
        let deadline = self.ending.iter().map(|ending| ending.deadline).min();
        // Time to close what is open, if delivering has taken all that there was.
        let deadline = deadline
            .unwrap_or_else(Instant::now)
            .max(Instant::now() + CLOSE_TIME);
        self.backends.shutdown(deadline).await;
        self.leavings.shutdown(deadline, &self.backends).await;
        match &self.exporting.spool {
            // What is held is in segments, which are not given back.
            Some(spool) => spool.end(self.backends.has_delivered() && self.kept_back.is_empty()),
            None => self.exporting.counts.dropped.add(self.backends.give_up() as u64),
        }
        self.exporting.note_end(is_done);
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Flush { answer, .. } | Command::Shutdown { answer, .. } => {
                    let _ = answer.send(is_done);
                }
                Command::Apply { answer, .. } => {
                    let _ = answer.send(Vec::new());
                }
                Command::Health(answer) => {
                    let _ = answer.send(Vec::new());
                }
            }
        }
        let waiting = self.waiting.drain(..).map(|(_, waiting)| waiting);
        for waiting in waiting.chain(self.ending.drain(..)) {
            let _ = waiting.answer.send(is_done);
        }
    }
}
