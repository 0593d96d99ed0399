//! Which spans and events are looked at: directives as in `RUST_LOG`, for spans, log records and the console each, and others
//! while the application runs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tracing::metadata::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::layer::{Context, Filter};

/// Directives that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the filter {directives:?}: {reason}; write it like `info,my_crate::module=debug`")]
pub struct FilterError {
    pub directives: String,
    pub reason: String,
}

/// Directives as in `RUST_LOG`: `info,my_crate::module=debug`, or with spans and fields `[span{field=value}]=trace`.
///
/// A clone is the same filter, which knows of the same spans.
#[derive(Clone)]
pub struct Directives(Arc<Kind>);

#[expect(clippy::large_enum_variant, reason = "there are three of them in a process")]
enum Kind {
    /// Decided once for each place in the code.
    Targets(Targets),
    /// Also by spans and their fields.
    Spans(Box<EnvFilter>),
}

impl fmt::Debug for Directives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Directives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Targets(targets) => targets.fmt(f),
            Kind::Spans(filter) => filter.fmt(f),
        }
    }
}

impl FromStr for Directives {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Directives, FilterError> {
        let refused = |reason: String| FilterError {
            directives: text.to_owned(),
            reason,
        };
        if text.contains('[') {
            let filter = EnvFilter::try_new(text).map_err(|error| refused(error.to_string()))?;
            return Ok(Directives(Arc::new(Kind::Spans(Box::new(filter)))));
        }
        let targets: Targets = text.parse().map_err(|error| refused(format!("{error}")))?;
        Ok(Directives(Arc::new(Kind::Targets(targets))))
    }
}

impl Directives {
    /// Everything down to a level.
    pub fn level(level: impl Into<LevelFilter>) -> Directives {
        Directives(Arc::new(Kind::Targets(Targets::new().with_default(level))))
    }

    fn interest<S: Subscriber>(&self, metadata: &'static Metadata<'static>) -> Interest {
        match &*self.0 {
            Kind::Targets(targets) => match targets.would_enable(metadata.target(), metadata.level()) {
                true => Interest::always(),
                false => Interest::never(),
            },
            Kind::Spans(filter) => Filter::<S>::callsite_enabled(&**filter, metadata),
        }
    }

    fn is_enabled<S: Subscriber>(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        match &*self.0 {
            Kind::Targets(targets) => targets.would_enable(metadata.target(), metadata.level()),
            Kind::Spans(filter) => Filter::<S>::enabled(&**filter, metadata, context),
        }
    }

    fn most_verbose<S: Subscriber>(&self) -> LevelFilter {
        let hint = match &*self.0 {
            Kind::Targets(targets) => Filter::<S>::max_level_hint(targets),
            Kind::Spans(filter) => Filter::<S>::max_level_hint(&**filter),
        };
        hint.unwrap_or(LevelFilter::TRACE)
    }

    fn spans(&self) -> Option<&EnvFilter> {
        match &*self.0 {
            Kind::Targets(_) => None,
            Kind::Spans(filter) => Some(filter),
        }
    }
}

/// The directives of each sink.
#[derive(Debug)]
pub struct Filters {
    pub spans: Directives,
    pub logs: Directives,
    /// `None` if it is given what is recorded as a log.
    pub console: Option<Directives>,
}

impl Filters {
    /// The same for all.
    pub fn parse(directives: &str) -> Result<Filters, FilterError> {
        let directives: Directives = directives.parse()?;
        Ok(Filters {
            spans: directives.clone(),
            logs: directives,
            console: None,
        })
    }

    /// The most verbose level of events that somebody wants.
    pub(crate) fn most_verbose_log(&self) -> LevelFilter {
        let logs = self.logs.most_verbose::<tracing_subscriber::Registry>();
        let console = self.console.as_ref();
        let console = console.map(Directives::most_verbose::<tracing_subscriber::Registry>);
        console.map_or(logs, |console| console.max(logs))
    }

    fn all(&self) -> impl Iterator<Item = &Directives> {
        [&self.spans, &self.logs].into_iter().chain(&self.console)
    }

    /// Those that look at spans, each once.
    fn of_spans(&self) -> impl Iterator<Item = &EnvFilter> {
        let is_spans = Arc::ptr_eq(&self.spans.0, &self.logs.0);
        let logs = (!is_spans).then_some(&self.logs);
        let console = self.console.as_ref().filter(|console| {
            !Arc::ptr_eq(&console.0, &self.spans.0) && !Arc::ptr_eq(&console.0, &self.logs.0)
        });
        let each = [Some(&self.spans), logs, console].into_iter().flatten();
        each.filter_map(Directives::spans)
    }

    /// Those that decide upon this.
    fn of(&self, metadata: &Metadata<'_>) -> (&Directives, Option<&Directives>) {
        match metadata.is_span() {
            true => (&self.spans, None),
            false => (&self.logs, self.console.as_ref()),
        }
    }
}

/// The filters in force, to be changed while the application runs.
#[derive(Clone, Debug)]
pub struct FilterHandle(Arc<InForce>);

#[derive(Debug)]
struct InForce {
    filters: ArcSwap<Filters>,
    /// One of them looks at spans and has to hear of them.
    has_spans: AtomicBool,
    /// The console has others than log records.
    has_console: AtomicBool,
    /// The crate `log` is told what it need not send.
    leads_log: AtomicBool,
}

impl FilterHandle {
    pub fn new(filters: Filters) -> FilterHandle {
        let has_spans = filters.all().any(|directives| directives.spans().is_some());
        FilterHandle(Arc::new(InForce {
            has_spans: AtomicBool::new(has_spans),
            has_console: AtomicBool::new(filters.console.is_some()),
            leads_log: AtomicBool::new(false),
            filters: ArcSwap::from_pointee(filters),
        }))
    }

    /// One of those in force looks at spans.
    #[inline]
    pub(crate) fn looks_at_spans(&self) -> bool {
        self.0.has_spans.load(Ordering::Relaxed)
    }

    /// Those in force that look at spans.
    #[inline]
    fn each_of_spans(&self, with: impl Fn(&EnvFilter)) {
        if self.looks_at_spans() {
            self.0
                .filters
                .load()
                .all()
                .filter_map(Directives::spans)
                .for_each(with);
        }
    }

    /// Puts others in force, for everything that is recorded from now on.
    pub fn set(&self, filters: Filters) {
        let has_spans = filters.all().any(|directives| directives.spans().is_some());
        let has_console = filters.console.is_some();
        self.0.filters.store(Arc::new(filters));
        self.0.has_spans.store(has_spans, Ordering::Relaxed);
        self.0.has_console.store(has_console, Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
        if self.0.leads_log.load(Ordering::Relaxed) {
            log::set_max_level(self.log_level());
        }
    }

    /// From now on the level of the crate `log` is that of these filters.
    pub(crate) fn lead_log(&self) {
        self.0.leads_log.store(true, Ordering::Relaxed);
        log::set_max_level(self.log_level());
    }

    /// The most verbose level of records of the crate `log` that somebody wants.
    pub(crate) fn log_level(&self) -> log::LevelFilter {
        match self.0.filters.load().most_verbose_log() {
            LevelFilter::OFF => log::LevelFilter::Off,
            LevelFilter::ERROR => log::LevelFilter::Error,
            LevelFilter::WARN => log::LevelFilter::Warn,
            LevelFilter::INFO => log::LevelFilter::Info,
            LevelFilter::DEBUG => log::LevelFilter::Debug,
            LevelFilter::TRACE => log::LevelFilter::Trace,
        }
    }

    /// Puts these in force, the same for all.
    pub fn set_directives(&self, directives: &str) -> Result<(), FilterError> {
        self.set(Filters::parse(directives)?);
        Ok(())
    }

    /// Those in force.
    pub fn get(&self) -> Arc<Filters> {
        self.0.filters.load_full()
    }

    /// Whether an event, which one of the two wanted, is wanted as a log record and on the console.
    #[inline]
    pub(crate) fn wanted<S: Subscriber>(
        &self,
        metadata: &Metadata<'_>,
        context: &Context<'_, S>,
    ) -> (bool, bool) {
        if !self.0.has_console.load(Ordering::Relaxed) {
            return (true, true);
        }
        let filters = self.0.filters.load();
        match &filters.console {
            None => (true, true),
            Some(console) => (
                filters.logs.is_enabled(metadata, context),
                console.is_enabled(metadata, context),
            ),
        }
    }
}

impl<S: Subscriber> Filter<S> for FilterHandle {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        let filters = self.0.filters.load();
        let (first, second) = filters.of(metadata);
        first.is_enabled(metadata, context)
            || second.is_some_and(|second| second.is_enabled(metadata, context))
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        let filters = self.0.filters.load();
        if metadata.is_span() {
            // Each has to know of the span, whichever decides.
            filters.of_spans().for_each(|filter| {
                Filter::<S>::callsite_enabled(filter, metadata);
            });
        }
        let (first, second) = filters.of(metadata);
        let first = first.interest::<S>(metadata);
        let Some(second) = second else {
            return first;
        };
        let second = second.interest::<S>(metadata);
        match (
            first.is_always() || second.is_always(),
            first.is_never() && second.is_never(),
        ) {
            (true, _) => Interest::always(),
            (_, true) => Interest::never(),
            _ => Interest::sometimes(),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let filters = self.0.filters.load();
        filters.all().map(Directives::most_verbose::<S>).max()
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.each_of_spans(|filter| Filter::<S>::on_new_span(filter, attributes, id, context.clone()));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.each_of_spans(|filter| Filter::<S>::on_record(filter, id, values, context.clone()));
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.each_of_spans(|filter| Filter::<S>::on_enter(filter, id, context.clone()));
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.each_of_spans(|filter| Filter::<S>::on_exit(filter, id, context.clone()));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.each_of_spans(|filter| Filter::<S>::on_close(filter, id.clone(), context.clone()));
    }
}
