//! Exporting what has been recorded: by one thread of each process, which starts with the first record. Owns the way from the
//! recorders to the backends, and what happens at a flush, at the end, when settings change and in the child of a fork.
//!
//! Threads of the application only ever set a flag and wake that thread: they wait for it nowhere, save in a flush or shutdown
//! that they ask for themselves, and there for as long as they say. The thread has a runtime of its own, so that an application
//! needs none and blocks none.
//!
//! A record is in one of these places, and in the next before it leaves the one before: the shard of its thread (and, with a
//! spool, its segment), a batch that this thread is handing on, the queue of each backend. Where a queue cannot take a batch
//! now it is held here, within a bound, and offered again.
//!
//! The child of a fork finds the handle of its parent's thread, which it does not have, and leaves it alone; with its first
//! record it starts a thread of its own, with queues of its own.

mod backends;
mod batching;
mod left;
mod own_metrics;
mod work;

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use cupola_telemetry::Signal;
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::backend::BackendHealth;
use crate::clock::Clock;
use crate::fork::{self, PerProcess, ProcessCount};
use crate::metrics::Meters;
use crate::pending::Pending;
use crate::recorder::{Recorder, Wanted};
use crate::resource::{OwnResource, Resource};
use crate::say;
use crate::scrub::Scrubber;
use crate::settings::Settings;
use crate::spool::Spool;
use crate::suppress;
use work::Work;

/// Beyond the time that a caller gives, for the thread to say how far it came.
const ANSWER_SLACK: Duration = Duration::from_millis(500);

/// Those who ask for something at the same time; further ones are told that it cannot be done.
const COMMANDS_MAX: usize = 256;
/// How often the thread begins anew after something that must not happen.
const STARTS_MAX: u32 = 10;
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// Longest that anybody waits.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What exports for one SDK.
#[derive(Debug)]
pub(crate) struct Exporting {
    pub(crate) spans: Arc<Recorder>,
    pub(crate) logs: Arc<Recorder>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) pending: Arc<Pending>,
    pub(crate) clock: Clock,
    pub(crate) spool: Option<Arc<Spool>>,
    pub(crate) counts: Counts,
    settings: ArcSwap<Settings>,
    resource: OwnResource,
    process: PerProcess<Handle>,
    /// Generation, plus one, in which it was ended.
    over: AtomicU64,
    /// Asked from time to time, by the thread alone, whether there are other settings.
    watcher: Mutex<Option<Watcher>>,
}

/// What knows whether there are other settings.
struct Watcher(Box<dyn FnMut() -> Option<Arc<Settings>> + Send>);

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watcher")
    }
}

/// What this process has lost and why, beside what recorders and backends count.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Records that no backend could be given, because too much was held for one.
    pub(crate) dropped: ProcessCount,
    /// Records that processes had left behind and this one exported.
    pub(crate) taken_over: ProcessCount,
}

/// The thread of this process, as others see it.
#[derive(Debug)]
struct Handle {
    /// Bits of [`Flag`].
    flags: AtomicU8,
    notify: Notify,
    commands: Mutex<Sender<Command>>,
    /// Until the thread takes it.
    receiver: Mutex<Option<Receiver<Command>>>,
    is_started: AtomicBool,
    has_ended: AtomicBool,
    /// Of one that has ended: everything had been delivered.
    is_done: AtomicBool,
    refusals: AtomicU64,
}

/// What the thread is asked for.
#[derive(Debug)]
enum Command {
    /// Says whether all that was recorded before has been delivered.
    Flush {
        deadline: Instant,
        answer: mpsc::SyncSender<bool>,
    },
    Shutdown {
        deadline: Instant,
        answer: mpsc::SyncSender<bool>,
    },
    Apply {
        settings: Arc<Settings>,
        answer: mpsc::SyncSender<Vec<String>>,
    },
    Health(mpsc::SyncSender<Vec<BackendHealth>>),
}

/// What has happened since the thread looked last.
#[derive(Clone, Copy, Debug)]
struct Flag(u8);

impl Flag {
    /// Much has been recorded of every signal.
    const EVERYTHING: u8 = 0b111_1111;

    fn of(signal: Signal, wanted: Wanted) -> Flag {
        let at = match signal {
            Signal::Traces => 0,
            Signal::Logs => 2,
            Signal::Metrics => 4,
        };
        Flag(match wanted {
            Wanted::First => 1 << at,
            Wanted::Much => 2 << at,
        })
    }
}

impl Handle {
    fn new() -> Result<Handle, Infallible> {
        let (commands, receiver) = channel(COMMANDS_MAX);
        Ok(Handle {
            flags: AtomicU8::new(0),
            notify: Notify::new(),
            commands: Mutex::new(commands),
            receiver: Mutex::new(Some(receiver)),
            is_started: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            is_done: AtomicBool::new(false),
            refusals: AtomicU64::new(0),
        })
    }

    fn sender(&self) -> Sender<Command> {
        self.commands
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// It has ended, and everything had been delivered.
    fn ended_well(&self) -> bool {
        self.has_ended.load(Ordering::Acquire) && self.is_done.load(Ordering::Acquire)
    }

    fn is_there(&self) -> bool {
        self.is_started.load(Ordering::Acquire) && !self.has_ended.load(Ordering::Acquire)
    }
}

impl Exporting {
    pub(crate) fn new(settings: Arc<Settings>, clock: Clock) -> Arc<Exporting> {
        fork::watch();
        say::set_level(settings.own_level);
        let spool = settings.spool.clone().map(|spool| Arc::new(Spool::new(spool)));
        Arc::new_cyclic(|exporting: &std::sync::Weak<Exporting>| {
            let recorder = |signal, limits| {
                let exporting = exporting.clone();
                let wake = move |wanted| {
                    if let Some(exporting) = exporting.upgrade() {
                        exporting.wake(signal, wanted);
                    }
                };
                Recorder::kept(signal, limits, Box::new(wake), spool.clone())
            };
            let measuring = exporting.clone();
            let wake = move || {
                if let Some(exporting) = measuring.upgrade() {
                    exporting.wake(Signal::Metrics, Wanted::First);
                }
            };
            Exporting {
                meters: Meters::new(&settings, clock.clone(), Box::new(wake)),
                spans: recorder(Signal::Traces, settings.traces.queue.limits),
                logs: recorder(Signal::Logs, settings.logs.queue.limits),
                pending: Arc::new(Pending::new()),
                clock,
                spool: spool.clone(),
                counts: Counts::default(),
                settings: ArcSwap::new(settings.clone()),
                resource: OwnResource::new(settings.resource.clone()),
                process: PerProcess::default(),
                watcher: Mutex::new(None),
                over: AtomicU64::new(0),
            }
        })
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// The resource of this process.
    pub(crate) fn resource(&self) -> Arc<Resource> {
        Arc::new(self.resource.get(&scrubber(&self.settings.load())).clone())
    }

    /// Has the thread ask for other settings from time to time.
    pub(crate) fn watch(&self, watcher: Box<dyn FnMut() -> Option<Arc<Settings>> + Send>) {
        *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(Watcher(watcher));
    }

    /// Forgets who knows of other settings, who may know this.
    fn unwatch(&self) {
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Said before those are answered who asked for the end, so that whoever asks next is told the same.
    fn note_end(&self, is_done: bool) {
        let handle = self.handle();
        handle.is_done.store(is_done, Ordering::Release);
        handle.has_ended.store(true, Ordering::Release);
    }

    /// Other settings, if there are any.
    fn changed(&self) -> Option<Arc<Settings>> {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = watcher.as_mut().and_then(|watcher| (watcher.0)())?;
        say::set_level(settings.own_level);
        self.settings.store(settings.clone());
        Some(settings)
    }

    fn handle(&self) -> &Handle {
        match self.process.get_or_make(Handle::new) {
            Ok(handle) => handle,
            Err(never) => match never {},
        }
    }

    /// Tells the thread that something has been recorded; starts it if there is none.
    pub(crate) fn wake(self: &Arc<Self>, signal: Signal, wanted: Wanted) {
        if self.over.load(Ordering::Acquire) == fork::generation() + 1 {
            return;
        }
        let handle = self.handle();
        let flag = Flag::of(signal, wanted).0;
        if handle.flags.fetch_or(flag, Ordering::AcqRel) & flag == 0 {
            handle.notify.notify_one();
        }
        if !handle.is_started.load(Ordering::Relaxed) {
            self.start(handle);
        }
    }

    #[cold]
    fn start(self: &Arc<Self>, handle: &Handle) {
        if handle.is_started.swap(true, Ordering::AcqRel) {
            return;
        }
        let exporting = self.clone();
        let thread = std::thread::Builder::new().name("cupola-export".to_owned());
        if let Err(error) = thread.spawn(move || exporting.run()) {
            // The next record tries again.
            handle.is_started.store(false, Ordering::Release);
            if handle.refusals.fetch_add(1, Ordering::Relaxed) == 0 {
                say::text(&format!(
                    "no thread could be started, so that nothing is exported yet: {error}"
                ));
            }
        }
    }

    fn run(self: Arc<Self>) {
        // What is said about exporting would be exported in turn.
        suppress::suppress_thread();
        let handle = self.handle();
        fork::begin_step();
        for attempt in 1..=STARTS_MAX {
            let problem = match catch_unwind(AssertUnwindSafe(|| self.run_once(handle))) {
                Ok(Ok(())) => break,
                Ok(Err(error)) => format!("no runtime can be made: {error}"),
                Err(_) => "the thread that exports panicked".to_owned(),
            };
            match attempt < STARTS_MAX {
                true => say::text(&format!("{problem}; exporting begins anew in a second")),
                false => say::text(&format!("{problem}; nothing is exported any more")),
            }
            // What was recorded meanwhile has told nobody.
            handle.flags.store(Flag::EVERYTHING, Ordering::Release);
            handle.notify.notify_one();
            fork::end_step();
            std::thread::park_timeout(RESTART_PAUSE);
            fork::begin_step();
        }
        handle.has_ended.store(true, Ordering::Release);
        fork::end_step();
    }

    /// Exports until somebody ends it.
    fn run_once(self: &Arc<Self>, handle: &Handle) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(fork::end_step)
            .on_thread_unpark(fork::begin_step)
            .on_thread_start(suppress::suppress_thread)
            .build()?;
        let mut known = handle.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = known.take().unwrap_or_else(|| {
            // The one before went with a panic.
            let (commands, receiver) = channel(COMMANDS_MAX);
            *handle.commands.lock().unwrap_or_else(PoisonError::into_inner) = commands;
            receiver
        });
        drop(known);
        runtime.block_on(Work::new(self.clone(), receiver).run());
        // What blocks, such as a name that is being looked up, is not waited for.
        runtime.shutdown_background();
        Ok(())
    }

    /// Exports what was recorded before and waits until it has been delivered, so long at most. Whether it was.
    pub(crate) fn flush(self: &Arc<Self>, timeout: Duration) -> bool {
        match self.thread() {
            Thread::NotNeeded => true,
            Thread::Ended(is_done) => is_done,
            Thread::There(handle) => {
                let flush = |deadline, answer| Command::Flush { deadline, answer };
                ask(handle, timeout, flush).unwrap_or_else(|| handle.ended_well())
            }
        }
    }

    /// Ends: exports what was recorded and waits until it has been delivered, so long at most. Whether it was. What was not is in
    /// the spool, if there is one.
    pub(crate) fn shutdown(self: &Arc<Self>, timeout: Duration) -> bool {
        let is_done = match self.thread() {
            Thread::NotNeeded => true,
            Thread::Ended(is_done) => is_done,
            Thread::There(handle) => {
                let shutdown = |deadline, answer| Command::Shutdown { deadline, answer };
                ask(handle, timeout, shutdown).unwrap_or_else(|| handle.ended_well())
            }
        };
        // What is recorded from now on starts nothing.
        self.over.store(fork::generation() + 1, Ordering::Release);
        is_done
    }

    /// Ends by itself in a while: nobody waits for it.
    pub(crate) fn abandon(&self) {
        if let Some(handle) = self.process.get().filter(|handle| handle.is_there()) {
            let (answer, _) = mpsc::sync_channel(1);
            let deadline = Instant::now() + self.settings.load().exit_timeout.min(TIMEOUT_MAX);
            let _ = handle.sender().try_send(Command::Shutdown { deadline, answer });
        }
    }

    /// Changes what can be changed; what could not be is told.
    pub(crate) fn apply(self: &Arc<Self>, settings: Arc<Settings>, timeout: Duration) -> Vec<String> {
        say::set_level(settings.own_level);
        self.settings.store(settings.clone());
        let Thread::There(handle) = self.thread() else {
            return Vec::new();
        };
        let applied = ask(handle, timeout, |_, answer| Command::Apply { settings, answer });
        applied.unwrap_or_else(|| {
            vec!["the backends have not been changed yet: the thread that exports is busy".to_owned()]
        })
    }

    /// How the backends are; none while nothing has been recorded.
    pub(crate) fn health(self: &Arc<Self>, timeout: Duration) -> Vec<BackendHealth> {
        let Thread::There(handle) = self.thread() else {
            return Vec::new();
        };
        ask(handle, timeout, |_, answer| Command::Health(answer)).unwrap_or_default()
    }

    /// The thread of this process, started if something waits for it.
    fn thread(self: &Arc<Self>) -> Thread<'_> {
        let Some(handle) = self.process.get() else {
            return Thread::NotNeeded;
        };
        if !handle.is_started.load(Ordering::Acquire) {
            self.start(handle);
        }
        match handle.is_there() {
            true => Thread::There(handle),
            false => Thread::Ended(handle.is_done.load(Ordering::Acquire)),
        }
    }
}

/// The thread that exports, for somebody who asks it for something.
enum Thread<'h> {
    /// Nothing has been recorded.
    NotNeeded,
    There(&'h Handle),
    /// It is not there any more, or cannot be started; whether everything had been delivered.
    Ended(bool),
}

/// Asks the thread for something and waits for the answer, a little longer than it may take.
fn ask<T>(
    handle: &Handle,
    timeout: Duration,
    command: impl FnOnce(Instant, mpsc::SyncSender<T>) -> Command,
) -> Option<T> {
    let (answer, answered) = mpsc::sync_channel(1);
    // Somebody who says "for ever" waits for a day.
    let deadline = Instant::now() + timeout.min(TIMEOUT_MAX);
    handle.sender().try_send(command(deadline, answer)).ok()?;
    answered
        .recv_timeout(timeout.min(TIMEOUT_MAX).saturating_add(ANSWER_SLACK))
        .ok()
}

/// What takes secrets out; the usual one, if what was set cannot be used.
fn scrubber(settings: &Settings) -> Scrubber {
    Scrubber::new(&settings.scrub).unwrap_or_else(|error| {
        say::warning(&error);
        Scrubber::usual()
    })
}
