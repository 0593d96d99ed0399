//! Work in flight, made visible: a log record about each span that has been running for long, and again from time to time until it
//! ends. Owns the table of running spans and its bound. Off unless it is configured.
//!
//! The event is called [`EVENT`]. Trace and span are those of the running span; attributes are `span.name`, `span.kind` ("server"),
//! `span.parent_id` (in hex, if there is one), `span.start_time` (nanoseconds since 1970), `span.elapsed` (seconds), and what the
//! span had itself when it started.
//!
//! Threads add and remove spans in parts of the table with a lock each, of which every thread has one that it shares with few. The
//! child of a `fork()` has a table of its own, in which none of its parent's spans are.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cupola_telemetry::SpanId;

use crate::attributes::{AttributeLimits, Attributes};
use crate::context::SpanContext;
use crate::fork::{self, PerProcess, ProcessCount};
use crate::log::{LogRecord, Severity};
use crate::recorder::Scope;
use crate::span::{Span, SpanKind};
use crate::value::Value;

/// The name of the event.
pub const EVENT: &str = "cupola.span.pending";

/// Parts of the table.
const SHARDS: usize = 32;
/// Of one record: what the span may have, and ours.
const LIMITS: AttributeLimits = AttributeLimits {
    count: usize::MAX,
    value_length: None,
};

/// When running spans are told about, and of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingSettings {
    /// How long a span has run when it is told about first.
    pub after: Duration,
    /// How long until it is told about again.
    pub every: Duration,
    /// Most spans that are known while they run; others are not told about.
    pub spans_max: usize,
    /// Attributes of a span that take more are not told.
    pub attribute_bytes_max: usize,
}

impl Default for PendingSettings {
    fn default() -> PendingSettings {
        PendingSettings {
            after: Duration::from_secs(10),
            every: Duration::from_secs(60),
            spans_max: 10_000,
            attribute_bytes_max: 4096,
        }
    }
}

/// The spans of this process that run.
#[derive(Debug, Default)]
pub struct Pending {
    process: PerProcess<Table>,
    overflowed: ProcessCount,
}

/// Those of one process.
struct Table {
    shards: [Mutex<Shard>; SHARDS],
    /// In all of them.
    count: AtomicUsize,
}

#[derive(Default)]
struct Shard {
    slots: Vec<Option<Slot>>,
    /// Empty slots.
    free: Vec<u32>,
}

struct Slot {
    /// When it is told about next.
    due: u64,
    running: Arc<Running>,
}

/// A span as it was when it started.
struct Running {
    scope: Scope,
    context: SpanContext,
    parent: Option<SpanId>,
    name: Cow<'static, str>,
    kind: SpanKind,
    start_unix_nano: u64,
    attributes: Option<Attributes>,
}

/// A span's place in the table, which it has until this is dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    pending: Arc<Pending>,
    generation: u64,
    shard: u32,
    slot: u32,
}

impl Pending {
    pub(crate) fn new() -> Pending {
        fork::watch();
        Pending::default()
    }

    /// Spans of this process that were not registered because there were too many.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.get()
    }

    /// Spans that are registered now.
    pub fn len(&self) -> usize {
        let table = self.process.get();
        table.map_or(0, |table| table.count.load(Ordering::Relaxed))
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this process has registered any yet.
    pub(crate) fn has_begun(&self) -> bool {
        self.process.get().is_some()
    }

    /// Registers a span that starts at `now`. `None` if there are too many.
    pub(crate) fn register(
        self: &Arc<Self>,
        settings: &PendingSettings,
        scope: Scope,
        span: &Span,
        now: u64,
    ) -> Option<Box<Registered>> {
        let table = match self.process.get_or_make(Table::new) {
            Ok(table) => table,
            Err(never) => match never {},
        };
        if table.count.fetch_add(1, Ordering::Relaxed) >= settings.spans_max {
            table.count.fetch_sub(1, Ordering::Relaxed);
            self.overflowed.add(1);
            return None;
        }
        let attributes = Some(span.attributes())
            .filter(|attributes| attributes.as_bytes().len() <= settings.attribute_bytes_max);
        let slot = Slot {
            due: now.saturating_add(nanos(settings.after)),
            running: Arc::new(Running {
                scope,
                context: span.context().clone(),
                parent: span.parent(),
                name: span.shared_name(),
                kind: span.kind(),
                start_unix_nano: span.start_unix_nano(),
                attributes: attributes.cloned(),
            }),
        };
        let shard = own_shard();
        let slot = table.shard(shard).put(slot);
        Some(Box::new(Registered {
            pending: self.clone(),
            generation: fork::generation(),
            shard: shard as u32,
            slot,
        }))
    }

    /// Tells `with` about each span that is due at `now`, nanoseconds since 1970: its scope, and a `LogRecord` of OTLP of the severity
    /// INFO. Gives when to ask again, at the latest.
    pub fn due(&self, settings: &PendingSettings, now: u64, with: &mut dyn FnMut(Scope, &[u8])) -> u64 {
        let mut next = now.saturating_add(nanos(settings.after));
        let Some(table) = self.process.get() else {
            return next;
        };
        let again = now.saturating_add(nanos(settings.every));
        let (mut found, mut record) = (Vec::new(), Vec::new());
        for shard in 0..SHARDS {
            // Written without the lock: a thread of the application may be waiting for it.
            for slot in table.shard(shard).slots.iter_mut().flatten() {
                if slot.due <= now {
                    slot.due = again;
                    found.push(slot.running.clone());
                }
                next = next.min(slot.due);
            }
            for running in found.drain(..) {
                record.clear();
                running.write(now, &mut record);
                with(running.scope, &record);
            }
        }
        next
    }
}

impl Table {
    fn new() -> Result<Table, Infallible> {
        Ok(Table {
            shards: std::array::from_fn(|_| Mutex::default()),
            count: AtomicUsize::new(0),
        })
    }

    fn shard(&self, at: usize) -> MutexGuard<'_, Shard> {
        // Nothing panics while it is held.
        self.shards[at % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn put(&mut self, slot: Slot) -> u32 {
        if let Some(at) = self.free.pop()
            && let Some(empty) = self.slots.get_mut(at as usize)
        {
            *empty = Some(slot);
            return at;
        }
        self.slots.push(Some(slot));
        (self.slots.len() - 1) as u32
    }

    fn take(&mut self, at: u32) -> Option<Slot> {
        let slot = self.slots.get_mut(at as usize)?.take()?;
        self.free.push(at);
        Some(slot)
    }
}

impl Running {
    fn write(&self, now: u64, out: &mut Vec<u8>) {
        let mut record = LogRecord::new(Severity::INFO, Value::Empty, LIMITS);
        record.unix_nano = now;
        record.observed_unix_nano = now;
        record.event_name = EVENT;
        record.span = Some(&self.context);
        record.set("span.name", &*self.name);
        record.set("span.kind", self.kind.name());
        if let Some(parent) = self.parent {
            record.set("span.parent_id", parent.to_string().as_str());
        }
        let start = i64::try_from(self.start_unix_nano).unwrap_or(i64::MAX);
        record.set("span.start_time", start);
        let elapsed = Duration::from_nanos(now.saturating_sub(self.start_unix_nano));
        record.set("span.elapsed", elapsed.as_secs_f64());
        if let Some(attributes) = &self.attributes {
            record.attributes_mut().inherit(attributes, |_| true);
        }
        record.write(out);
    }
}

impl Drop for Registered {
    /// Also of a span that was dropped without an end, and on whichever thread. In a child of the process that registered it there is
    /// nothing to do.
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            return;
        }
        let Some(table) = self.pending.process.get() else {
            return;
        };
        let removed = table.shard(self.shard as usize).take(self.slot);
        // Freed without the lock.
        if removed.is_some() {
            table.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The part of the table that this thread adds to.
fn own_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    OWN.with(|own| *own)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
