//! Views of `opentelemetry.proto.trace.v1`.

use super::common::{Attributes, Resource, Scope};
use super::envelope::envelopes;
use super::repeated::{Extent, Message, Repeated};
use crate::wire::Reader;

envelopes!(TracesData, ResourceSpans, ScopeSpans, Span<'a>, spans);

/// Events of a span.
pub type Events<'a> = Repeated<'a, Event<'a>>;

/// Links of a span.
pub type Links<'a> = Repeated<'a, Link<'a>>;

/// One span.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    raw: &'a [u8],
    /// Sixteen bytes or none.
    pub trace_id: &'a [u8],
    /// Eight bytes or none.
    pub span_id: &'a [u8],
    pub trace_state: &'a str,
    /// Eight bytes or none.
    pub parent_span_id: &'a [u8],
    pub flags: u32,
    pub name: &'a str,
    pub kind: i32,
    /// Nanoseconds since the epoch.
    pub start_time_unix_nano: u64,
    /// Nanoseconds since the epoch.
    pub end_time_unix_nano: u64,
    pub attributes: Attributes<'a>,
    pub dropped_attributes_count: u32,
    pub events: Events<'a>,
    pub dropped_events_count: u32,
    pub links: Links<'a>,
    pub dropped_links_count: u32,
    pub status: Option<Status<'a>>,
}

impl<'a> Message<'a> for Span<'a> {
    fn parse(raw: &'a [u8]) -> Self {
        let mut reader = Reader::new(raw);
        let (mut attributes, mut events, mut links) =
            (Extent::default(), Extent::default(), Extent::default());
        let mut span = Span {
            raw,
            trace_id: &[],
            span_id: &[],
            trace_state: "",
            parent_span_id: &[],
            flags: 0,
            name: "",
            kind: 0,
            start_time_unix_nano: 0,
            end_time_unix_nano: 0,
            attributes: Attributes::EMPTY,
            dropped_attributes_count: 0,
            events: Repeated::NONE,
            dropped_events_count: 0,
            links: Repeated::NONE,
            dropped_links_count: 0,
            status: None,
        };
        let mut before = reader.rest();
        while let Some(key) = reader.key() {
            match key >> 3 {
                1 => span.trace_id = reader.bytes(),
                2 => span.span_id = reader.bytes(),
                3 => span.trace_state = reader.string(),
                4 => span.parent_span_id = reader.bytes(),
                5 => span.name = reader.string(),
                6 => span.kind = reader.varint() as i32,
                7 => span.start_time_unix_nano = reader.fixed64(),
                8 => span.end_time_unix_nano = reader.fixed64(),
                9 => attributes.include(before, &mut reader),
                10 => span.dropped_attributes_count = reader.varint() as u32,
                11 => events.include(before, &mut reader),
                12 => span.dropped_events_count = reader.varint() as u32,
                13 => links.include(before, &mut reader),
                14 => span.dropped_links_count = reader.varint() as u32,
                15 => span.status = Some(Message::parse(reader.bytes())),
                16 => span.flags = reader.fixed32(),
                _ => reader.skip(key),
            }
            before = reader.rest();
        }
        span.attributes = Repeated::new(attributes.fields(), 9);
        span.events = Repeated::new(events.fields(), 11);
        span.links = Repeated::new(links.fields(), 13);
        span
    }
}

impl<'a> Span<'a> {
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}

/// Something that happened during a span.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    raw: &'a [u8],
    /// Nanoseconds since the epoch.
    pub time_unix_nano: u64,
    pub name: &'a str,
    pub attributes: Attributes<'a>,
    pub dropped_attributes_count: u32,
}

impl<'a> Message<'a> for Event<'a> {
    fn parse(raw: &'a [u8]) -> Self {
        let mut reader = Reader::new(raw);
        let mut attributes = Extent::default();
        let (mut time_unix_nano, mut name, mut dropped_attributes_count) = (0, "", 0);
        let mut before = reader.rest();
        while let Some(key) = reader.key() {
            match key >> 3 {
                1 => time_unix_nano = reader.fixed64(),
                2 => name = reader.string(),
                3 => attributes.include(before, &mut reader),
                4 => dropped_attributes_count = reader.varint() as u32,
                _ => reader.skip(key),
            }
            before = reader.rest();
        }
        let attributes = Repeated::new(attributes.fields(), 3);
        Event {
            raw,
            time_unix_nano,
            name,
            attributes,
            dropped_attributes_count,
        }
    }
}

impl<'a> Event<'a> {
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}

/// A pointer from a span to another one.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    raw: &'a [u8],
    /// Sixteen bytes or none.
    pub trace_id: &'a [u8],
    /// Eight bytes or none.
    pub span_id: &'a [u8],
    pub trace_state: &'a str,
    pub attributes: Attributes<'a>,
    pub dropped_attributes_count: u32,
    pub flags: u32,
}

impl<'a> Message<'a> for Link<'a> {
    fn parse(raw: &'a [u8]) -> Self {
        let mut reader = Reader::new(raw);
        let mut attributes = Extent::default();
        let mut link = Link {
            raw,
            trace_id: &[],
            span_id: &[],
            trace_state: "",
            attributes: Attributes::EMPTY,
            dropped_attributes_count: 0,
            flags: 0,
        };
        let mut before = reader.rest();
        while let Some(key) = reader.key() {
            match key >> 3 {
                1 => link.trace_id = reader.bytes(),
                2 => link.span_id = reader.bytes(),
                3 => link.trace_state = reader.string(),
                4 => attributes.include(before, &mut reader),
                5 => link.dropped_attributes_count = reader.varint() as u32,
                6 => link.flags = reader.fixed32(),
                _ => reader.skip(key),
            }
            before = reader.rest();
        }
        link.attributes = Repeated::new(attributes.fields(), 4);
        link
    }
}

impl<'a> Link<'a> {
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}

/// Outcome of a span.
#[derive(Clone, Copy, Debug)]
pub struct Status<'a> {
    raw: &'a [u8],
    pub message: &'a str,
    pub code: i32,
}

impl<'a> Message<'a> for Status<'a> {
    fn parse(raw: &'a [u8]) -> Self {
        let mut reader = Reader::new(raw);
        let (mut message, mut code) = ("", 0);
        while let Some(key) = reader.key() {
            match key >> 3 {
                2 => message = reader.string(),
                3 => code = reader.varint() as i32,
                _ => reader.skip(key),
            }
        }
        Status { raw, message, code }
    }
}

impl<'a> Status<'a> {
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}
