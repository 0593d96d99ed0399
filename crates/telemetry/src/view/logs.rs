//! Views of `opentelemetry.proto.logs.v1`.

use super::common::{AnyValue, Attributes, Resource, Scope};
use super::envelope::envelopes;
use super::repeated::{Extent, Message, Repeated};
use crate::wire::Reader;

envelopes!(LogsData, ResourceLogs, ScopeLogs, LogRecord<'a>, records);

/// One log record or event.
#[derive(Clone, Copy, Debug)]
pub struct LogRecord<'a> {
    raw: &'a [u8],
    /// Nanoseconds since the epoch; 0 is unknown.
    pub time_unix_nano: u64,
    /// Nanoseconds since the epoch; 0 is unknown.
    pub observed_time_unix_nano: u64,
    pub severity_number: i32,
    pub severity_text: &'a str,
    pub body: Option<AnyValue<'a>>,
    pub attributes: Attributes<'a>,
    pub dropped_attributes_count: u32,
    pub flags: u32,
    /// Sixteen bytes or none.
    pub trace_id: &'a [u8],
    /// Eight bytes or none.
    pub span_id: &'a [u8],
    pub event_name: &'a str,
}

impl<'a> Message<'a> for LogRecord<'a> {
    fn parse(raw: &'a [u8]) -> Self {
        let mut reader = Reader::new(raw);
        let mut attributes = Extent::default();
        let mut record = LogRecord {
            raw,
            time_unix_nano: 0,
            observed_time_unix_nano: 0,
            severity_number: 0,
            severity_text: "",
            body: None,
            attributes: Attributes::EMPTY,
            dropped_attributes_count: 0,
            flags: 0,
            trace_id: &[],
            span_id: &[],
            event_name: "",
        };
        let mut before = reader.rest();
        while let Some(key) = reader.key() {
            match key >> 3 {
                1 => record.time_unix_nano = reader.fixed64(),
                2 => record.severity_number = reader.varint() as i32,
                3 => record.severity_text = reader.string(),
                5 => record.body = Some(Message::parse(reader.bytes())),
                6 => attributes.include(before, &mut reader),
                7 => record.dropped_attributes_count = reader.varint() as u32,
                8 => record.flags = reader.fixed32(),
                9 => record.trace_id = reader.bytes(),
                10 => record.span_id = reader.bytes(),
                11 => record.observed_time_unix_nano = reader.fixed64(),
                12 => record.event_name = reader.string(),
                _ => reader.skip(key),
            }
            before = reader.rest();
        }
        record.attributes = Repeated::new(attributes.fields(), 6);
        record
    }
}

impl<'a> LogRecord<'a> {
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}
