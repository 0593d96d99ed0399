//! A log record as an application gives it, and how it is written. Severities are those of OpenTelemetry.
//!
//! <https://opentelemetry.io/docs/specs/otel/logs/data-model/>

use cupola_export::json_lines::write_log;
use cupola_telemetry::view::{self, Message as _};

use crate::attributes::{AttributeLimits, Attributes};
use crate::context::SpanContext;
use crate::recorder::Scope;
use crate::room::Room;
use crate::value::{Scalar, Value};

const BODY: u32 = 5;
const ATTRIBUTES: u32 = 6;
/// Bytes of a record beside its body, texts and attributes, at most.
const FIXED_BYTES: usize = 128;

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
    /// Nobody says how severe it is: no level leaves it out.
    pub const UNSPECIFIED: Severity = Severity(0);
    /// There is none above it.
    pub const LAST: Severity = Severity(24);

    /// `None` for a number that is no severity.
    pub fn new(number: u8) -> Option<Severity> {
        (1..=24).contains(&number).then_some(Severity(number))
    }

    pub fn number(self) -> u8 {
        self.0
    }

    /// The short name that the specification has for it; empty if it is unspecified.
    pub fn name(self) -> &'static str {
        match self {
            Severity::UNSPECIFIED => "",
            Severity(number) => NAMES[usize::from(number) - 1],
        }
    }

    /// Whether a level lets it through.
    #[inline]
    pub fn is_at_least(self, level: Severity) -> bool {
        self >= level || self == Severity::UNSPECIFIED
    }
}

/// No attributes yet, for a log record.
pub fn empty_attributes(limits: AttributeLimits) -> Attributes {
    Attributes::new(ATTRIBUTES, limits)
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
    /// Belongs to a trace that somebody wants to see as a whole: limits on the number of records are not for it.
    pub is_forced: bool,
    attributes: Attributes,
}

impl<'r> LogRecord<'r> {
    pub fn new(severity: Severity, body: impl Into<Value<'r>>, limits: AttributeLimits) -> LogRecord<'r> {
        LogRecord::with_attributes(severity, body, empty_attributes(limits))
    }

    /// One that has these attributes already, and their limits. They are [`empty_attributes`], or were.
    pub fn with_attributes(
        severity: Severity,
        body: impl Into<Value<'r>>,
        attributes: Attributes,
    ) -> LogRecord<'r> {
        LogRecord {
            unix_nano: 0,
            observed_unix_nano: 0,
            severity,
            severity_text: "",
            body: body.into(),
            event_name: "",
            span: None,
            is_forced: false,
            attributes,
        }
    }

    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    pub fn attributes_mut(&mut self) -> &mut Attributes {
        &mut self.attributes
    }

    /// Gives them back for the next record: to have memory for them takes longer than to write them.
    pub fn into_attributes(self) -> Attributes {
        self.attributes
    }

    #[inline]
    pub fn set<'v>(&mut self, key: &str, value: impl Into<Value<'v>>) {
        self.attributes.set(key, value);
    }

    /// About as many bytes as it takes when it is written.
    pub(crate) fn bytes(&self) -> usize {
        /// Times, ids, the severity, and what stands before fields.
        const OTHERS: usize = 64;
        OTHERS + self.body.bytes() + self.attributes.as_bytes().len() + self.event_name.len()
    }

    /// Writes the record as a message of OTLP. The body is never cut: limits are of attributes.
    pub fn write(&self, out: &mut Vec<u8>) {
        let name = match self.severity_text {
            "" => self.severity.name(),
            text => text,
        };
        let mut room = Room::open(out, self.bytes_max().unwrap_or(FIXED_BYTES));
        room.fixed64(1, self.unix_nano);
        room.number(2, u32::from(self.severity.0));
        room.text(3, name);
        match self.body.scalar(None) {
            Some(Scalar::Empty) => {}
            Some(body) => {
                room.message(BODY, body.length());
                body.write(&mut room);
            }
            None => {
                room.close();
                self.body.write(out, BODY, None);
                room = Room::open(out, self.bytes_beside_body());
            }
        }
        room.slice(self.attributes.as_bytes());
        room.number(7, self.attributes.dropped());
        if let Some(span) = self.span.filter(|span| span.is_valid()) {
            room.fixed32(8, u32::from(span.flags.0));
            room.bytes(9, span.trace_id.as_bytes());
            room.bytes(10, span.span_id.as_bytes());
        }
        room.fixed64(11, self.observed_unix_nano);
        room.text(12, self.event_name);
        room.close();
    }

    /// Appends the record as the line of JSON that files have, without the line end. `resource` is what
    /// [`Resource::to_json`](crate::resource::Resource::to_json) gives.
    pub fn write_line(&self, out: &mut String, scope: Scope, resource: &str) {
        let mut message = Vec::with_capacity(self.bytes());
        self.write(&mut message);
        let scope = view::Scope::parse(scope.message());
        write_log(out, &view::LogRecord::parse(&message), Some(&scope), resource);
    }

    /// Most bytes that it takes, if the body is of a kind whose length is known before it is written.
    pub(crate) fn bytes_max(&self) -> Option<usize> {
        let body = self.body.scalar(None)?.length();
        Some(self.bytes_beside_body() + body)
    }

    fn bytes_beside_body(&self) -> usize {
        let texts = self.severity_text.len() + self.event_name.len();
        FIXED_BYTES + texts + self.attributes.as_bytes().len()
    }
}
