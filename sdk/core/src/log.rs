//! A log record as an application gives it, and how it is written. Severities are those of OpenTelemetry.
//!
//! <https://opentelemetry.io/docs/specs/otel/logs/data-model/>

use cupola_telemetry::wire;

use crate::attributes::{AttributeLimits, Attributes};
use crate::context::SpanContext;
use crate::span::{write_fixed32, write_fixed64, write_number, write_text};
use crate::value::Value;

const BODY: u32 = 5;
const ATTRIBUTES: u32 = 6;

/// `severity_number`: 1 to 24, of which each name has four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Severity(u8);

const NAMES: [&str; 24] = [
    "TRACE", "TRACE2", "TRACE3", "TRACE4", "DEBUG", "DEBUG2", "DEBUG3", "DEBUG4", "INFO", "INFO2", "INFO3",
    "INFO4", "WARN", "WARN2", "WARN3", "WARN4", "ERROR", "ERROR2", "ERROR3", "ERROR4", "FATAL", "FATAL2",
    "FATAL3", "FATAL4",
];

impl Severity {
    pub const TRACE: Severity = Severity(1);
    pub const DEBUG: Severity = Severity(5);
    pub const INFO: Severity = Severity(9);
    pub const WARN: Severity = Severity(13);
    pub const ERROR: Severity = Severity(17);
    pub const FATAL: Severity = Severity(21);
    /// There is none above it.
    pub const LAST: Severity = Severity(24);

    /// `None` for a number that is no severity.
    pub fn new(number: u8) -> Option<Severity> {
        (1..=24).contains(&number).then_some(Severity(number))
    }

    pub fn number(self) -> u8 {
        self.0
    }

    /// The short name that the specification has for it.
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0) - 1]
    }
}

/// A log record under construction.
#[derive(Debug)]
pub struct LogRecord<'r> {
    /// When it happened; zero if nobody knows.
    pub unix_nano: u64,
    pub observed_unix_nano: u64,
    pub severity: Severity,
    /// As the logging library calls it; the name of the severity if it is empty.
    pub severity_text: &'r str,
    pub body: Value<'r>,
    pub event_name: &'r str,
    /// The span in which it happened.
    pub span: Option<&'r SpanContext>,
    attributes: Attributes,
}

impl<'r> LogRecord<'r> {
    pub fn new(severity: Severity, body: impl Into<Value<'r>>, limits: AttributeLimits) -> LogRecord<'r> {
        LogRecord {
            unix_nano: 0,
            observed_unix_nano: 0,
            severity,
            severity_text: "",
            body: body.into(),
            event_name: "",
            span: None,
            attributes: Attributes::new(ATTRIBUTES, limits),
        }
    }

    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    #[inline]
    pub fn set<'v>(&mut self, key: &str, value: impl Into<Value<'v>>) {
        self.attributes.set(key, value);
    }

    /// Writes the record as a message of OTLP. The body is never cut: limits are of attributes.
    pub fn write(&self, out: &mut Vec<u8>) {
        let name = match self.severity_text {
            "" => self.severity.name(),
            text => text,
        };
        write_fixed64(out, 1, self.unix_nano);
        write_number(out, 2, u32::from(self.severity.0));
        write_text(out, 3, name);
        if self.body != Value::Empty {
            self.body.write(out, BODY, None);
        }
        out.extend_from_slice(self.attributes.as_bytes());
        write_number(out, 7, self.attributes.dropped());
        if let Some(span) = self.span.filter(|span| span.is_valid()) {
            write_fixed32(out, 8, u32::from(span.flags.0));
            wire::write_bytes(out, 9, span.trace_id.as_bytes());
            wire::write_bytes(out, 10, span.span_id.as_bytes());
        }
        write_fixed64(out, 11, self.observed_unix_nano);
        write_text(out, 12, self.event_name);
    }
}
