//! One SDK: the recorders of an application, what it was told, and those who export for it.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use cupola_telemetry::Signal;

use crate::attributes::{AttributeLimits, Attributes};
use crate::baggage::Baggage;
use crate::clock::Clock;
use crate::ids::Ids;
use crate::log::Severity;
use crate::logger::Logger;
use crate::recorder::{Recorder, Scope};
use crate::sampling::Sampler;
use crate::settings::{BaggageSettings, Settings};
use crate::span::SpanLimits;
use crate::suppress;
use crate::tracer::Tracer;

/// An SDK, to be shared. The last one that is dropped does not end it: see `shutdown`.
#[derive(Clone, Debug)]
pub struct Sdk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spans: Arc<Recorder>,
    logs: Arc<Recorder>,
    clock: Clock,
    ids: Ids,
    live: ArcSwap<Live>,
}

/// What of the settings every record is looked at with. Replaced as a whole; read without a lock.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) is_disabled: bool,
    pub(crate) sampler: Arc<dyn Sampler>,
    pub(crate) span_limits: SpanLimits,
    pub(crate) log_limits: AttributeLimits,
    pub(crate) level: Severity,
    pub(crate) baggage: BaggageSettings,
}

impl Live {
    fn of(settings: &Settings) -> Live {
        Live {
            is_disabled: settings.is_disabled,
            sampler: settings.traces.sampler.clone(),
            span_limits: settings.traces.limits,
            log_limits: settings.logs.limits,
            level: settings.logs.level,
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
        let recorder = |signal, queue: crate::settings::QueueSettings| {
            Recorder::new(signal, queue.limits, Box::new(|| {}))
        };
        Sdk(Arc::new(Inner {
            spans: recorder(Signal::Traces, settings.traces.queue),
            logs: recorder(Signal::Logs, settings.logs.queue),
            clock: surroundings.clock,
            ids: surroundings.ids,
            live: ArcSwap::from_pointee(Live::of(&settings)),
        }))
    }

    pub fn tracer(&self, scope: Scope) -> Tracer {
        Tracer::new(self.clone(), scope)
    }

    pub fn logger(&self, scope: Scope) -> Logger {
        Logger::new(self.clone(), scope)
    }

    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub fn ids(&self) -> &Ids {
        &self.0.ids
    }

    /// The spans that wait.
    pub fn spans(&self) -> &Recorder {
        &self.0.spans
    }

    /// The log records that wait.
    pub fn logs(&self) -> &Recorder {
        &self.0.logs
    }

    /// Bounds of what a span has as attributes, for those who write them before it starts.
    pub fn span_limits(&self) -> AttributeLimits {
        self.live().span_limits.attributes
    }

    /// Bounds of what a log record has as attributes.
    pub fn log_limits(&self) -> AttributeLimits {
        self.live().log_limits
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
        let live = self.live();
        !live.is_disabled && severity >= live.level && !suppress::is_suppressed()
    }

    #[inline]
    pub(crate) fn live(&self) -> Guard<Arc<Live>> {
        self.0.live.load()
    }
}
