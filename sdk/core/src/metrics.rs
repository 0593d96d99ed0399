//! Metrics: instruments that an application measures with, and what becomes of it until it is exported.
//!
//! 1. A [`Meter`] makes an [`Instrument`], or an [`Observable`] with callbacks; by the [`View`]s it has one stream or several.
//! 2. A measurement goes into a table of its thread, with no lock that another thread takes but while it collects (`table`). There
//!    it becomes a sum, a last value or a histogram at once (`point`).
//! 3. A collection takes the tables of all threads, calls the callbacks, adds up what belongs to one series (`state`), and writes
//!    it as OTLP (`encode`).
//!
//! What is wrong with names, views or numbers is said once ([`Problem`]); it never fails an application. Limits on attributes are
//! not for metrics, whose series they would make others.
//!
//! <https://opentelemetry.io/docs/specs/otel/metrics/>

mod encode;
mod exemplar;
mod exponential;
mod instrument;
mod key;
mod observable;
mod point;
mod problem;
mod registry;
mod settings;
mod state;
mod stream;
mod table;
mod view;

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use cupola_telemetry::{Batch, TenantId};
use foldhash::fast::SeedableRandomState;

pub use instrument::{Bound, Context, Description, Instrument, Kind, Number, Numeric};
pub use key::Attribute;
pub use observable::{Observable, Observer, Registration};
pub use problem::Problem;
pub use settings::{ExemplarFilter, HistogramPreference, MetricSettings, TemporalityPreference};
pub use view::{Aggregation, AttributeKeys, Selector, StreamSettings, View};

use crate::clock::Clock;
use crate::fork::{PerProcess, ProcessCount};
use crate::per_thread::PerThread;
use crate::recorder::Scope;
use crate::resource::Resource;
use crate::settings::{BaggageKeys, Settings};
use encode::Writer;
use instrument::Known;
use problem::Problems;
use registry::{Registry, Wanted};
use state::{Brought, State};
use stream::Stream;
use table::{Table, Tables};

/// Most exemplars of a series that is no histogram.
const EXEMPLARS_MAX: usize = 16;

/// Makes instruments of one scope. Two that are asked for in the same way are one.
#[derive(Clone, Debug)]
pub struct Meter {
    meters: Arc<Meters>,
    scope: Scope,
}

impl Meter {
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Adds what is never negative: requests, bytes.
    pub fn counter<T: Numeric>(&self, description: &Description<'_>) -> Instrument<T> {
        self.instrument(Kind::Counter, description)
    }

    /// Adds what may be negative: requests that are being answered.
    pub fn up_down_counter<T: Numeric>(&self, description: &Description<'_>) -> Instrument<T> {
        self.instrument(Kind::UpDownCounter, description)
    }

    /// Records values whose distribution is asked for: durations, sizes.
    pub fn histogram<T: Numeric>(&self, description: &Description<'_>) -> Instrument<T> {
        self.instrument(Kind::Histogram, description)
    }

    /// Sets what is not added up: a temperature.
    pub fn gauge<T: Numeric>(&self, description: &Description<'_>) -> Instrument<T> {
        self.instrument(Kind::Gauge, description)
    }

    /// Observes what has been counted elsewhere altogether: CPU time.
    pub fn observable_counter<T: Numeric>(&self, description: &Description<'_>) -> Observable<T> {
        self.observable(Kind::ObservableCounter, description)
    }

    /// Observes what may fall and can be added up: the length of a queue.
    pub fn observable_up_down_counter<T: Numeric>(&self, description: &Description<'_>) -> Observable<T> {
        self.observable(Kind::ObservableUpDownCounter, description)
    }

    /// Observes what is not added up.
    pub fn observable_gauge<T: Numeric>(&self, description: &Description<'_>) -> Observable<T> {
        self.observable(Kind::ObservableGauge, description)
    }

    /// Has `callback` called at each collection, to observe any observables, until it is unregistered. It may take locks and make
    /// instruments; what it takes holds up exports alone, and its panics are caught. It should not hold on to synchronous
    /// instruments, which would keep the SDK for ever.
    pub fn register(&self, callback: impl Fn(&Observer<'_>) + Send + Sync + 'static) -> Registration {
        let registration = Registration::new(&self.meters, Box::new(callback));
        (self.meters.wake)();
        registration
    }

    fn instrument<T: Numeric>(&self, kind: Kind, description: &Description<'_>) -> Instrument<T> {
        Instrument::new(&self.meters, self.known::<T>(kind, description))
    }

    fn observable<T: Numeric>(&self, kind: Kind, description: &Description<'_>) -> Observable<T> {
        Observable::new(self.known::<T>(kind, description))
    }

    fn known<T: Numeric>(&self, kind: Kind, description: &Description<'_>) -> Option<Arc<Known>> {
        self.meters.instrument(Wanted {
            scope: self.scope,
            kind,
            is_int: T::IS_INT,
            description,
        })
    }
}

/// Told that there is something to collect: by the first measurement of each thread after its measurements were taken, and when a
/// callback is registered. Called by threads of the application, so it may not wait.
pub type Wake = dyn Fn() + Send + Sync;

/// All metrics of an SDK.
pub struct Meters {
    /// Tells them from those of another SDK.
    number: u64,
    settings: MetricSettings,
    clock: Clock,
    wake: Box<Wake>,
    /// Nothing is measured and nothing is collected.
    is_disabled: AtomicBool,
    baggage: ArcSwap<BaggageKeys>,
    hashing: SeedableRandomState,
    threads: PerThread<Tables>,
    registry: ArcSwap<Registry>,
    state: PerProcess<Mutex<State>>,
    dropped: ProcessCount,
    problems: Problems,
    /// Exemplars of a series that is no histogram.
    exemplars_fixed: usize,
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meters")
    }
}

static NUMBERS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// This thread is collecting: a callback that collects would wait for itself.
    static COLLECTS: Cell<bool> = const { Cell::new(false) };
}

impl Meters {
    pub fn new(settings: &Settings, clock: Clock, wake: Box<Wake>) -> Arc<Meters> {
        // As many as threads can measure at once, as the specification advises.
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        Arc::new(Meters {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            settings: settings.metrics.clone(),
            clock,
            wake,
            is_disabled: AtomicBool::new(settings.is_disabled),
            baggage: ArcSwap::from_pointee(settings.baggage.metrics.clone()),
            hashing: SeedableRandomState::random(),
            threads: PerThread::new(),
            registry: ArcSwap::default(),
            state: PerProcess::default(),
            dropped: ProcessCount::new(),
            problems: Problems::default(),
            exemplars_fixed: threads.min(EXEMPLARS_MAX),
        })
    }

    /// Changes what can be changed: whether anything is measured at all, and what the baggage brings.
    pub fn apply(&self, settings: &Settings) {
        self.is_disabled.store(settings.is_disabled, Ordering::Relaxed);
        self.baggage.store(Arc::new(settings.baggage.metrics.clone()));
    }

    pub fn meter(self: &Arc<Self>, scope: Scope) -> Meter {
        let meters = self.clone();
        Meter { meters, scope }
    }

    pub fn settings(&self) -> &MetricSettings {
        &self.settings
    }

    /// Measurements of this process that were dropped: infinite ones, negative ones of what only counts up.
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// What was found to be wrong so far, and how much more there was than is kept.
    pub fn problems(&self) -> (Vec<Problem>, u64) {
        (self.problems.known(), self.problems.further())
    }

    /// Collects what is to be told now, as batches of this resource: calls the callbacks, and takes what all threads have
    /// measured. For the exporting thread; another one waits until it is done.
    pub fn collect(&self, resource: &Resource, tenant: &TenantId) -> Vec<Batch> {
        if self.is_disabled() || COLLECTS.replace(true) {
            return Vec::new();
        }
        let batches = self.collect_locked(resource, tenant);
        COLLECTS.set(false);
        batches
    }

    fn collect_locked(&self, resource: &Resource, tenant: &TenantId) -> Vec<Batch> {
        let made = self.state.get_or_make(|| Ok::<_, Infallible>(Mutex::default()));
        let Ok(state) = made;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let callbacks = self.registry.load().callbacks.clone();
        let (mut observed, is_complete) = Observer::new(self).run(&callbacks, self.settings.timeout);
        let mut taken = vec![observed.take()];
        for mut tables in self.threads.values() {
            taken.push(tables.take());
        }
        // After what was measured, and after the streams that it was measured with were made.
        let unix_nano = self.clock.now();
        let registry = self.registry.load_full();
        let mut writer = Writer::new(resource, tenant, self.settings.batch_bytes);
        for streams in by_scope(&registry.streams) {
            for stream in &streams {
                let brought = Brought {
                    tables: tables_of(stream, &mut taken),
                    is_complete,
                    unix_nano,
                };
                state.collect(stream, brought, &mut writer, self);
                writer.end_metric(stream);
            }
            if let Some(stream) = streams.first() {
                writer.end_scope(stream.scope);
            }
        }
        writer.finish()
    }

    #[inline]
    fn is_disabled(&self) -> bool {
        self.is_disabled.load(Ordering::Relaxed)
    }

    /// After a measurement: whether it was the first of its thread since the last collection. It was dropped if there is no
    /// answer: made while another was being added, by an allocator that measures itself.
    #[inline]
    fn note(&self, is_first: Option<bool>) {
        match is_first {
            Some(false) => {}
            Some(true) => (self.wake)(),
            None => self.dropped.add(1),
        }
    }
}

fn tables_of(stream: &Stream, taken: &mut [Vec<Option<Box<Table>>>]) -> Vec<Table> {
    let of_stream = |tables: &mut Vec<Option<Box<Table>>>| tables.get_mut(stream.index)?.take();
    taken
        .iter_mut()
        .filter_map(of_stream)
        .map(|table| *table)
        .collect()
}

/// Streams by scope, in the order in which the scopes came first.
fn by_scope(streams: &[Arc<Stream>]) -> Vec<Vec<&Stream>> {
    let mut scopes: Vec<Vec<&Stream>> = Vec::new();
    for stream in streams {
        let known = scopes
            .iter_mut()
            .find(|of_scope| of_scope.first().is_some_and(|first| first.scope == stream.scope));
        match known {
            Some(of_scope) => of_scope.push(stream),
            None => scopes.push(vec![stream]),
        }
    }
    scopes
}
