//! For tests of an application: what it recorded, decoded; ids that count from one and a clock that stands until it is moved on,
//! so that it is the same in each run; and all of it as text, for snapshots.

mod decoded;
mod metrics;
mod render;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cupola_sdk_core::backend::{Backend, Custom, CustomBackend, CustomError, Destination};
use cupola_sdk_core::clock::Clock;
use cupola_sdk_core::ids::Ids;
use cupola_sdk_core::{Sdk, Settings, Surroundings};
use cupola_telemetry::Batch;
use tracing::Subscriber;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::registry::LookupSpan;

pub use decoded::{
    CapturedAttributes, CapturedEvent, CapturedLink, CapturedLog, CapturedSpan, CapturedValue,
};
pub use metrics::{
    CapturedBuckets, CapturedExemplar, CapturedKind, CapturedMeasure, CapturedMetric, CapturedPoint,
};

use crate::console::ConsoleHandle;
use crate::layer::{self, Directives, FilterHandle, Filters, Layer, LayerOptions};

/// When clocks of tests start: the first second of 2026, in nanoseconds since 1970.
pub const START_UNIX_NANO: u64 = 1_767_225_600_000_000_000;

/// Longest that is waited for what was recorded.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// An SDK whose records come here.
pub struct Capture {
    sdk: Sdk,
    kept: Arc<Kept>,
    time: Arc<AtomicU64>,
    filter: FilterHandle,
    options: LayerOptions,
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").finish_non_exhaustive()
    }
}

/// Batches in the order in which they came.
#[derive(Default)]
struct Kept(Mutex<Vec<Batch>>);

impl Kept {
    fn batches(&self) -> MutexGuard<'_, Vec<Batch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CustomBackend for Kept {
    fn export(&self, batch: &Batch) -> Result<(), CustomError> {
        self.batches().push(batch.clone());
        Ok(())
    }
}

impl Default for Capture {
    fn default() -> Capture {
        Capture::new()
    }
}

impl Capture {
    /// Of everything, with the settings' defaults.
    pub fn new() -> Capture {
        Capture::with(Settings::default(), LayerOptions::default())
    }

    /// With these settings, but for their backends.
    pub fn with(mut settings: Settings, options: LayerOptions) -> Capture {
        let kept = Arc::new(Kept::default());
        let destination = Destination::Custom(Custom(kept.clone()));
        settings.backends = vec![Backend::new("capture", destination)];
        // A test is about what the application measures.
        settings.self_metrics = false;
        let (clock, time) = Clock::at(START_UNIX_NANO);
        let surroundings = Surroundings {
            clock,
            ids: Ids::counting(),
        };
        let everything = || Directives::level(tracing::level_filters::LevelFilter::TRACE);
        Capture {
            sdk: Sdk::new(settings, surroundings),
            kept,
            time,
            filter: FilterHandle::new(Filters {
                spans: everything(),
                logs: everything(),
                console: None,
            }),
            options,
        }
    }

    pub fn sdk(&self) -> &Sdk {
        &self.sdk
    }

    pub fn filter(&self) -> &FilterHandle {
        &self.filter
    }

    /// The layer, to be put into a subscriber.
    pub fn layer<S>(&self) -> Layer<S>
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        layer::layer(
            self.sdk.clone(),
            self.options,
            ConsoleHandle::default(),
            self.filter.clone(),
        )
    }

    /// The subscriber that an application has whose layer is the only one.
    pub fn subscriber(&self) -> impl Subscriber + Send + Sync + 'static {
        layer::subscriber(self.sdk.clone(), self.options, None, self.filter.clone())
    }

    /// Records what this thread says, until the guard is dropped.
    #[must_use = "it ends with its guard"]
    pub fn set_default(&self) -> DefaultGuard {
        tracing::subscriber::set_default(self.subscriber())
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.time.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What was recorded until now, as it would have been sent.
    ///
    /// # Panics
    ///
    /// If it has not come after a minute.
    pub fn batches(&self) -> Vec<Batch> {
        assert!(
            self.sdk.flush(FLUSH_TIMEOUT),
            "what was recorded has not come after {FLUSH_TIMEOUT:?}"
        );
        self.kept.batches().clone()
    }

    /// The spans that have ended, in the order in which they were made.
    pub fn spans(&self) -> Vec<CapturedSpan> {
        let mut spans: Vec<CapturedSpan> = self.batches().iter().flat_map(decoded::spans).collect();
        spans.sort_by(|one, other| {
            (one.start_unix_nano, &one.span_id).cmp(&(other.start_unix_nano, &other.span_id))
        });
        spans
    }

    /// The span of this name.
    ///
    /// # Panics
    ///
    /// If there is none, or several.
    pub fn span(&self, name: &str) -> CapturedSpan {
        let mut found: Vec<CapturedSpan> = self.spans();
        found.retain(|span| span.name == name);
        assert_eq!(found.len(), 1, "spans of the name {name:?}");
        found.remove(0)
    }

    /// The log records; of one thread in the order in which they were made.
    pub fn logs(&self) -> Vec<CapturedLog> {
        self.batches().iter().flat_map(decoded::logs).collect()
    }

    /// What was measured, each metric as it was last collected, by scope and name. Every look at what was recorded collects: with
    /// delta temporality a metric has what was measured between two looks. Exemplars are those since the look before.
    ///
    /// ```
    /// # use cupola_sdk::core::metrics::Description;
    /// # use cupola_sdk::core::recorder::Scope;
    /// # use cupola_sdk::testing::{Capture, CapturedKind};
    /// # let capture = Capture::new();
    /// let meter = capture.sdk().meter(Scope::of("shop", "", "", &[]));
    /// let orders = meter.counter::<u64>(&Description::of("orders", "{order}", "Orders placed."));
    /// orders.record(2, &[("channel", "web".into())]);
    ///
    /// let orders = capture.metric("orders");
    /// assert_eq!((orders.kind, orders.unit.as_str()), (CapturedKind::Counter, "{order}"));
    /// assert_eq!(orders.points[0].value, 2);
    /// assert_eq!(orders.points[0].attributes["channel"], "web");
    /// // As text, for a snapshot.
    /// assert_eq!(capture.render_metrics(), "counter \"orders\" {order}\n  2 channel=\"web\"\n");
    /// ```
    pub fn metrics(&self) -> Vec<CapturedMetric> {
        metrics::latest(&self.batches())
    }

    /// The metric of this name.
    ///
    /// # Panics
    ///
    /// If there is none, or scopes have several.
    pub fn metric(&self, name: &str) -> CapturedMetric {
        let mut found = self.metrics();
        found.retain(|metric| metric.name == name);
        assert_eq!(found.len(), 1, "metrics of the name {name:?}");
        found.remove(0)
    }

    /// Metrics, each with its series and their exemplars: the same in each run, as far as what is measured is.
    pub fn render_metrics(&self) -> String {
        render::metrics(&self.metrics())
    }

    /// Forgets what was recorded until now.
    pub fn clear(&self) {
        drop(self.batches());
        self.kept.batches().clear();
    }

    /// Spans as a tree, each with its log records, then those outside of spans: one line each, the same in each run.
    /// Without the place in the code and the thread, which change with every edit.
    pub fn render(&self) -> String {
        render::render(&self.spans(), &self.logs())
    }
}
