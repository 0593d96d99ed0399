//! Log records of appenders: attributes are written as they are given, the rest when the record is emitted.
//!
//! <https://opentelemetry.io/docs/specs/otel/logs/api/>

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;
use std::time::SystemTime;

use ::opentelemetry::logs::{self as api, AnyValue};
use ::opentelemetry::{InstrumentationScope, Key, SpanId, TraceFlags, TraceId};
use bumpalo::Bump;
use cupola_sdk_core::attributes::Attributes;
use cupola_sdk_core::log::{self, LogRecord as CoreRecord, Severity};
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::{Sdk, SpanContext, Value, context};

use super::convert;
use crate::context::node::Node;
use crate::context::{Context, bridge, stack};
use crate::targets;

/// Makes [`Logger`]s. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LoggerProvider {
    sdk: Sdk,
}

impl LoggerProvider {
    pub fn new(sdk: Sdk) -> LoggerProvider {
        LoggerProvider { sdk }
    }
}

impl api::LoggerProvider for LoggerProvider {
    type Logger = Logger;

    fn logger_with_scope(&self, scope: InstrumentationScope) -> Logger {
        Logger {
            sdk: self.sdk.clone(),
            scope: convert::scope(&scope),
            given: Arc::new(scope),
        }
    }
}

/// Emits log records of one scope.
#[derive(Clone, Debug)]
pub struct Logger {
    sdk: Sdk,
    scope: Scope,
    /// What it is made of, for those of other names.
    given: Arc<InstrumentationScope>,
}

/// A log record that has not been emitted.
#[derive(Debug)]
pub struct LogRecord {
    attributes: Attributes,
    body: Option<AnyValue>,
    event_name: &'static str,
    severity: Severity,
    severity_text: &'static str,
    target: Option<Cow<'static, str>>,
    unix_nano: Option<u64>,
    observed_unix_nano: Option<u64>,
    span: Option<SpanContext>,
}

thread_local! {
    /// Memory for attributes, which the next record of the thread uses again. Taken while it is used.
    static SPARE: Cell<Option<Attributes>> = const { Cell::new(None) };
}

impl api::Logger for Logger {
    type LogRecord = LogRecord;

    fn create_log_record(&self) -> LogRecord {
        let limits = self.sdk.log_limits();
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        let attributes = match spare {
            Some(mut attributes) => {
                attributes.clear(limits);
                attributes
            }
            None => log::empty_attributes(limits),
        };
        LogRecord {
            attributes,
            body: None,
            event_name: "",
            severity: Severity::UNSPECIFIED,
            severity_text: "",
            target: None,
            unix_nano: None,
            observed_unix_nano: None,
            span: None,
        }
    }

    fn emit(&self, record: LogRecord) {
        if bridge::is_suppressed() || !self.sdk.is_log_enabled(record.severity) {
            return;
        }
        let scope = match &record.target {
            Some(target) => targets::scope(target, self.scope, || convert::scope_of(target, &self.given)),
            None => self.scope,
        };
        stack::with_current(|around, node| self.record(scope, record, around, node));
    }

    fn event_enabled(&self, level: api::Severity, _target: &str, _name: Option<&str>) -> bool {
        self.sdk.is_log_enabled(severity(level)) && !bridge::is_suppressed()
    }
}

impl Logger {
    /// Records it with what surrounds it, behind what it has itself: the fields of the spans of `tracing`, unless it says that it
    /// belongs to another span, the attributes of the context, and the baggage.
    #[inline]
    fn record(&self, scope: Scope, mut record: LogRecord, around: &Context, node: Option<&Arc<Node>>) {
        let attributes = &mut record.attributes;
        let is_here = record
            .span
            .as_ref()
            .is_none_or(|span| span.span_id == around.span().span_id);
        if let Some(node) = node.filter(|_| is_here) {
            node.add_fields(attributes);
        }
        if let Some(inherited) = around.attributes() {
            attributes.inherit(inherited, |_| true);
        }
        self.sdk.inherit_baggage(attributes, around.baggage());
        let arena = Bump::new();
        let body = record.body.as_ref();
        let body = body.map_or(Value::Empty, |body| convert::any(body, &arena));
        let mut core = CoreRecord::with_attributes(record.severity, body, record.attributes);
        core.unix_nano = record.unix_nano.unwrap_or(0);
        core.observed_unix_nano = record
            .observed_unix_nano
            .unwrap_or_else(|| self.sdk.clock().now());
        core.severity_text = record.severity_text;
        core.event_name = record.event_name;
        core.span = Some(record.span.as_ref().unwrap_or_else(|| around.span()));
        self.sdk.logs().record(scope, |out| core.write(out));
        let spare = core.into_attributes();
        let _ = SPARE.try_with(|kept| kept.set(Some(spare)));
    }
}

impl api::LogRecord for LogRecord {
    fn set_event_name(&mut self, name: &'static str) {
        self.event_name = name;
    }

    /// Where in the code it is from: the name of its scope, in place of the logger's.
    fn set_target<T>(&mut self, target: T)
    where
        T: Into<Cow<'static, str>>,
    {
        self.target = Some(target.into());
    }

    fn set_timestamp(&mut self, timestamp: SystemTime) {
        self.unix_nano = Some(convert::unix_nano(timestamp));
    }

    fn set_observed_timestamp(&mut self, timestamp: SystemTime) {
        self.observed_unix_nano = Some(convert::unix_nano(timestamp));
    }

    fn set_severity_text(&mut self, text: &'static str) {
        self.severity_text = text;
    }

    fn set_severity_number(&mut self, number: api::Severity) {
        self.severity = severity(number);
    }

    fn set_body(&mut self, body: AnyValue) {
        self.body = Some(body);
    }

    fn add_attributes<I, K, V>(&mut self, attributes: I)
    where
        I: IntoIterator<Item = (K, V)>,
        K: Into<Key>,
        V: Into<AnyValue>,
    {
        for (key, value) in attributes {
            self.add_attribute(key, value);
        }
    }

    fn add_attribute<K, V>(&mut self, key: K, value: V)
    where
        K: Into<Key>,
        V: Into<AnyValue>,
    {
        let (key, value) = (key.into(), value.into());
        convert::set_any(&mut self.attributes, key.as_str(), &value);
    }

    fn set_trace_context(&mut self, trace_id: TraceId, span_id: SpanId, flags: Option<TraceFlags>) {
        self.span = Some(SpanContext {
            trace_id: cupola_telemetry::TraceId(trace_id.to_bytes()),
            span_id: cupola_telemetry::SpanId(span_id.to_bytes()),
            flags: context::TraceFlags(flags.unwrap_or_default().to_u8()),
            ..SpanContext::none()
        });
    }
}

fn severity(severity: api::Severity) -> Severity {
    Severity::new(severity as u8).unwrap_or(Severity::UNSPECIFIED)
}
