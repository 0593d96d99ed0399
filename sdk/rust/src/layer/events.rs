//! Events of `tracing` becoming log records.

use std::cell::Cell;
use std::sync::Arc;

use cupola_sdk_core::attributes::{AttributeLimits, Attributes};
use cupola_sdk_core::log::{self, LogRecord, Severity};
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::span::Status;
use cupola_sdk_core::value::Value;
use tracing::span::Id;
use tracing::{Event, Subscriber};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::layer::Context as LayerContext;

use super::callsites::{self, Callsite};
use super::visit::{Fields, Found, LogPlace};
use super::{CoreLayer, threads};
use crate::console::{Console, Line};
use crate::context::node::Node;
use crate::context::{Context, stack};
use crate::targets;

/// What an event is written into. Kept by the thread for the next one.
#[derive(Debug)]
struct Sheet {
    attributes: Attributes,
    body: String,
}

thread_local! {
    /// Taken while it is used: what writes a field may make events itself.
    static SHEET: Cell<Option<Sheet>> = const { Cell::new(None) };
}

/// Longer messages are not kept.
const BODY_KEPT_BYTES_MAX: usize = 16 * 1024;

impl Sheet {
    fn take(limits: AttributeLimits) -> Sheet {
        match SHEET.try_with(Cell::take).ok().flatten() {
            Some(mut sheet) => {
                sheet.attributes.clear(limits);
                sheet.body.clear();
                sheet
            }
            None => Sheet {
                attributes: log::empty_attributes(limits),
                body: String::new(),
            },
        }
    }

    fn give_back(mut self) {
        if self.body.capacity() > BODY_KEPT_BYTES_MAX {
            self.body = String::new();
        }
        let _ = SHEET.try_with(|kept| kept.set(Some(self)));
    }
}

/// Where and as what an event is recorded.
struct Place<'p> {
    callsite: &'static Callsite,
    severity: Severity,
    scope: Scope,
    target: &'p str,
    module: Option<&'p str>,
    line: Option<u32>,
    file: Option<&'p str>,
}

impl<'p> Place<'p> {
    fn of(callsite: &'static Callsite, log: Option<&'p LogPlace>) -> Place<'p> {
        let metadata = callsite.metadata();
        let severity = callsite.severity;
        match log {
            None => Place {
                callsite,
                severity,
                scope: callsite.scope,
                target: metadata.target(),
                module: metadata.module_path(),
                line: metadata.line(),
                file: metadata.file(),
            },
            Some(log) => Place {
                callsite,
                severity,
                scope: targets::scope(&log.target, Scope::nameless(), || {
                    Scope::of(&log.target, "", "", &[])
                }),
                target: &log.target,
                module: Some(log.module.as_str()).filter(|module| !module.is_empty()),
                line: log.line,
                file: Some(log.file.as_str()).filter(|file| !file.is_empty()),
            },
        }
    }
}

impl CoreLayer {
    /// Records an event, as far as somebody wants it; `find` knows spans by their ids.
    pub(super) fn record_event<S: Subscriber>(
        &self,
        event: &Event<'_>,
        context: &LayerContext<'_, S>,
        find: impl FnOnce(&Id) -> Option<Arc<Node>>,
    ) {
        let callsite = callsites::of(event.metadata());
        let (mut to_logs, to_console) = match callsite.is_log {
            false => self.filter.wanted(event.metadata(), context),
            true => match event.normalized_metadata() {
                Some(metadata) => self.filter.wanted(&metadata, context),
                None => self.filter.wanted(event.metadata(), context),
            },
        };
        let limits = self.sdk().log_limits_at(callsite.severity);
        to_logs &= limits.is_some();
        let console = self.console.get().filter(|_| to_console);
        let console = console.filter(|console| console.is_enabled(callsite.severity));
        if !to_logs && console.is_none() {
            return;
        }
        let mut sheet = Sheet::take(limits.unwrap_or_default());
        self.add_place(&mut sheet.attributes, callsite);
        let mut fields = Fields {
            callsite,
            attributes: &mut sheet.attributes,
            body: &mut sheet.body,
            found: Found::default(),
        };
        event.record(&mut fields);
        let mut found = fields.found;
        let log = found.log.take();
        let place = Place::of(callsite, log.as_deref());
        let mut write = |around: &Context, node: Option<&Arc<Node>>| {
            self.write(
                &mut sheet,
                &place,
                &found,
                (around, node),
                (to_logs, console.as_deref()),
            );
        };
        match event.parent() {
            Some(id) => match find(id) {
                Some(node) => write(&node.context, Some(&node)),
                None => write(&Context::root(), None),
            },
            None if event.is_root() => write(&Context::root(), None),
            None => stack::with_current(write),
        }
        sheet.give_back();
    }

    /// Adds where it is and who does it: first, while there is nothing that it could be in the way of.
    #[inline]
    fn add_place(&self, attributes: &mut Attributes, callsite: &Callsite) {
        if self.options.log_location {
            attributes.begin_with(&callsite.location);
        }
        if self.options.log_thread {
            threads::add_to_log(attributes);
        }
    }

    /// Puts the record together and gives it to those who want it.
    fn write(
        &self,
        sheet: &mut Sheet,
        place: &Place<'_>,
        found: &Found,
        (around, node): (&Context, Option<&Arc<Node>>),
        (to_logs, console): (bool, Option<&Console>),
    ) {
        let attributes = &mut sheet.attributes;
        self.add_failure(attributes, found, place, node);
        if place.callsite.is_log && self.options.log_location {
            attributes.begin_with(&callsites::location(place.file, place.line, false));
        }
        self.inherit(attributes, around, node);
        let mut record = LogRecord::with_attributes(
            place.severity,
            Value::String(&sheet.body),
            std::mem::replace(attributes, log::empty_attributes(AttributeLimits::default())),
        );
        let now = self.sdk().clock().now();
        record.unix_nano = now;
        record.observed_unix_nano = now;
        record.event_name = place.callsite.event_name;
        record.span = Some(around.span());
        if let Some(console) = console {
            console.log(&Line {
                sdk: self.sdk(),
                record: &record,
                scope: place.scope,
                body: &sheet.body,
                target: place.target,
                module: place.module,
                line: place.line,
                node: node.map(Arc::as_ref),
            });
        }
        if to_logs {
            self.logger.emit_in(place.scope, &record);
        }
        if self.options.events_on_spans {
            self.add_to_span(&record, &sheet.body, node);
        }
        sheet.attributes = record.into_attributes();
    }

    /// Adds what the spans, the context and the baggage around it bring, behind what it has itself.
    #[inline]
    fn inherit(&self, attributes: &mut Attributes, around: &Context, node: Option<&Arc<Node>>) {
        if let Some(node) = node {
            node.add_fields(attributes);
        }
        if let Some(inherited) = around.attributes() {
            attributes.inherit(inherited, |_| true);
        }
        self.sdk().inherit_baggage(attributes, around.baggage());
    }

    /// What becomes of an error: `exception.*` here and on the span.
    fn add_failure(
        &self,
        attributes: &mut Attributes,
        found: &Found,
        place: &Place<'_>,
        node: Option<&Arc<Node>>,
    ) {
        if let Some(failure) = &found.failure {
            if !failure.kind.is_empty() {
                attributes.set("exception.type", &failure.kind);
            }
            attributes.set("exception.message", &failure.message);
            if let Some(chain) = &failure.chain {
                attributes.set("exception.stacktrace", chain);
            }
        }
        let records_exception = self.options.record_exceptions && found.failure.is_some();
        let fails_span = self.options.errors_fail_spans && place.severity >= Severity::ERROR;
        if !records_exception && !fails_span {
            return;
        }
        let Some(mut state) = node.and_then(|node| node.state()) else {
            return;
        };
        let Some(span) = &mut state.recording else {
            return;
        };
        if records_exception && let Some(failure) = &found.failure {
            failure.add_to(span, self.sdk().clock().now());
        }
        if fails_span {
            let failure = found.failure.as_ref();
            span.set_status(Status::Error {
                description: failure.map_or_else(String::new, |failure| failure.message.clone()),
            });
        }
    }

    fn add_to_span(&self, record: &LogRecord<'_>, body: &str, node: Option<&Arc<Node>>) {
        if let Some(mut state) = node.and_then(|node| node.state())
            && let Some(span) = &mut state.recording
        {
            span.add_written_event(body, record.unix_nano, record.attributes());
        }
    }
}
