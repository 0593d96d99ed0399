//! One SDK: the recorders of an application, what it was told, and those who export for it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use cupola_telemetry::Signal;

use crate::attributes::{AttributeLimits, Attributes};
use crate::backend::BackendHealth;
use crate::baggage::Baggage;
use crate::clock::Clock;
use crate::configuration::watch::Watched;
use crate::exporting::Exporting;
use crate::ids::Ids;
use crate::log::Severity;
use crate::logger::Logger;
use crate::metrics::{Meter, Meters};
use crate::pending::{Pending, PendingSettings};
use crate::propagation::{Carried, Extractor, Propagators};
use crate::rate_limit::{Limited, Limiter};
use crate::recorder::{Recorder, Scope, Wanted};
use crate::resource::Resource;
use crate::sampling::Sampler;
use crate::say;
use crate::settings::{BaggageSettings, Settings};
use crate::span::SpanLimits;
use crate::suppress;
use crate::tracer::Tracer;

/// Longest that is waited for the thread that exports to say how the backends are.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// An SDK, to be shared. To be ended by [`shutdown`](Self::shutdown): with the last one that is dropped it ends too, in the
/// background, for which a process that ends leaves no time.
#[derive(Clone, Debug)]
pub struct Sdk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    exporting: Arc<Exporting>,
    ids: Ids,
    live: ArcSwap<Live>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.exporting.abandon();
    }
}

/// What of the settings every record is looked at with. Replaced as a whole; read without a lock.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) is_disabled: bool,
    pub(crate) sampler: Arc<dyn Sampler>,
    pub(crate) span_limits: SpanLimits,
    pub(crate) pending: Option<PendingSettings>,
    pub(crate) log_limits: AttributeLimits,
    pub(crate) level: Severity,
    pub(crate) propagators: Propagators,
    /// Whether callers can force a trace.
    believes_forced: bool,
    /// Of log records; none if there are no rules.
    pub(crate) limiter: Option<Arc<Limiter>>,
    pub(crate) baggage: BaggageSettings,
}

impl Live {
    /// What `before` counts goes on being counted, where its rules are the same.
    fn of(settings: &Settings, before: Option<&Live>) -> Live {
        let limiter = before.and_then(|before| before.limiter.as_ref());
        Live {
            is_disabled: settings.is_disabled,
            sampler: settings.traces.sampler.clone(),
            span_limits: settings.traces.limits,
            pending: settings.traces.pending,
            log_limits: settings.logs.limits,
            level: settings.logs.level,
            propagators: settings.propagators.clone(),
            believes_forced: settings.traces.force.from_callers,
            limiter: Limiter::renewed(limiter, &settings.logs.rate_limits),
            baggage: settings.baggage.clone(),
        }
    }
}

/// What an SDK is given beside its settings: other than by default in tests.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    pub clock: Clock,
    pub ids: Ids,
}

impl Sdk {
    /// Starts no thread and opens nothing: that is done when something has been recorded.
    pub fn new(settings: Settings, surroundings: Surroundings) -> Sdk {
        let settings = Arc::new(settings);
        Sdk(Arc::new(Inner {
            live: ArcSwap::from_pointee(Live::of(&settings, None)),
            exporting: Exporting::new(settings, surroundings.clock),
            ids: surroundings.ids,
        }))
    }

    /// Changes the settings while it runs, as far as [`Settings`] says that they can be. No record is lost by it. Says what could
    /// not be changed, of which everything is as it was before.
    pub fn apply(&self, settings: Settings, timeout: Duration) -> Vec<String> {
        let settings = Arc::new(settings);
        let live = Live::of(&settings, Some(&self.live()));
        self.0.live.store(Arc::new(live));
        self.meters().apply(&settings);
        self.0.exporting.apply(settings, timeout)
    }

    /// Has files of configuration looked at every few seconds, from the first record on, and what has changed in them applied.
    /// `adapt` is given the settings first, and may change them; of a file that cannot be read, everything stays as it is, which
    /// is said.
    pub fn watch(&self, mut watched: Watched, mut adapt: impl FnMut(&mut Settings) + Send + 'static) {
        let sdk = Arc::downgrade(&self.0);
        self.0.exporting.watch(Box::new(move || {
            let sdk = sdk.upgrade()?;
            let mut loaded = match watched.changed()? {
                Ok(loaded) => loaded,
                Err(error) => {
                    say::warning(&error);
                    return None;
                }
            };
            for warning in &loaded.warnings {
                say::problem(warning);
            }
            adapt(&mut loaded.settings);
            let settings = Arc::new(loaded.settings);
            let live = Live::of(&settings, Some(&sdk.live.load()));
            sdk.live.store(Arc::new(live));
            sdk.exporting.meters.apply(&settings);
            Some(settings)
        }));
    }

    /// Exports what has been recorded until now and waits until it has been delivered, so long at most. Whether it was.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.0.exporting.flush(timeout)
    }

    /// Ends: exports what has been recorded, waits until it has been delivered, so long at most, and ends the thread. Whether it
    /// was; what was not is in the spool for the next start, or lost without one. What is recorded after it is not exported.
    pub fn shutdown(&self, timeout: Duration) -> bool {
        self.0.exporting.shutdown(timeout)
    }

    /// The state of each backend; none before the first record.
    pub fn health(&self) -> Vec<BackendHealth> {
        self.0.exporting.health(HEALTH_TIMEOUT)
    }

    /// How contexts are carried to other processes.
    pub fn propagators(&self) -> Propagators {
        self.live().propagators.clone()
    }

    /// What came with a request or a message, in the formats of the settings. That its trace is forced counts as far as they say
    /// that callers are believed.
    pub fn extract(&self, from: &dyn Extractor) -> Carried {
        let live = self.live();
        let mut carried = live.propagators.extract(from);
        carried.is_forced &= live.believes_forced;
        carried
    }

    /// The settings that are in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.0.exporting.settings()
    }

    /// What all that this process records has in common.
    pub fn resource(&self) -> Arc<Resource> {
        self.0.exporting.resource()
    }

    pub fn tracer(&self, scope: Scope) -> Tracer {
        Tracer::new(self.clone(), scope)
    }

    pub fn logger(&self, scope: Scope) -> Logger {
        Logger::new(self.clone(), scope)
    }

    pub fn meter(&self, scope: Scope) -> Meter {
        self.meters().meter(scope)
    }

    pub fn clock(&self) -> &Clock {
        &self.0.exporting.clock
    }

    pub fn ids(&self) -> &Ids {
        &self.0.ids
    }

    /// The spans that wait.
    pub fn spans(&self) -> &Recorder {
        &self.0.exporting.spans
    }

    /// The log records that wait.
    pub fn logs(&self) -> &Recorder {
        &self.0.exporting.logs
    }

    /// What is measured.
    pub fn meters(&self) -> &Arc<Meters> {
        &self.0.exporting.meters
    }

    /// The spans that run, if settings want to know them.
    pub fn pending(&self) -> &Arc<Pending> {
        &self.0.exporting.pending
    }

    /// Has the exporting thread started, for spans that run.
    #[cold]
    pub(crate) fn begin_exporting(&self) {
        self.0.exporting.wake(Signal::Logs, Wanted::First);
    }

    /// What the rules for log records have dropped in this process.
    pub fn rate_limited(&self) -> Vec<Limited> {
        self.live()
            .limiter
            .as_ref()
            .map(|limiter| limiter.limited())
            .unwrap_or_default()
    }

    /// Bounds of what a span has as attributes, for those who write them before it starts.
    pub fn span_limits(&self) -> AttributeLimits {
        self.live().span_limits.attributes
    }

    /// Bounds of what a log record has as attributes.
    pub fn log_limits(&self) -> AttributeLimits {
        self.live().log_limits
    }

    /// The same for one of this severity, if one would be recorded by this thread now.
    #[inline]
    pub fn log_limits_at(&self, severity: Severity) -> Option<AttributeLimits> {
        let live = self.live();
        let is_enabled = !live.is_disabled && severity.is_at_least(live.level) && !suppress::is_suppressed();
        is_enabled.then_some(live.log_limits)
    }

    /// Adds what the baggage brings to those of a log record, behind what it has itself.
    pub fn inherit_baggage(&self, attributes: &mut Attributes, baggage: &Baggage) {
        if baggage.is_empty() {
            return;
        }
        self.live().baggage.logs.each(baggage, |key, value| {
            attributes.set_if_absent(key, value);
        });
    }

    /// Whether a log record of this severity would be recorded by this thread now.
    #[inline]
    pub fn is_log_enabled(&self, severity: Severity) -> bool {
        self.log_limits_at(severity).is_some()
    }

    #[inline]
    pub(crate) fn live(&self) -> Guard<Arc<Live>> {
        self.0.live.load()
    }
}
