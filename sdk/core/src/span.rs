//! A span while it runs, and how it is written when it ends. Owns the limits on what a span carries and the rules of its
//! status.
//!
//! <https://opentelemetry.io/docs/specs/otel/trace/api/#span>,
//! <https://opentelemetry.io/docs/specs/otel/trace/sdk/#span-limits>

mod parts;

use std::borrow::Cow;

use cupola_telemetry::SpanId;
use cupola_telemetry::wire;

use crate::attributes::{AttributeLimits, Attributes, Limits};
use crate::context::SpanContext;
use crate::room::{Room, field_length};
use crate::value::Value;
use parts::Parts;

/// `IS_REMOTE` of the parent is known, and is so.
const HAS_IS_REMOTE: u32 = 0x100;
pub(crate) const IS_REMOTE: u32 = 0x200;

/// Bounds of one span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanLimits {
    pub attributes: AttributeLimits,
    /// Of events: one more, and the oldest is dropped.
    pub events: usize,
    pub links: usize,
    pub event_attributes: AttributeLimits,
    pub link_attributes: AttributeLimits,
}

impl Default for SpanLimits {
    fn default() -> Self {
        SpanLimits {
            attributes: AttributeLimits::default(),
            events: 128,
            links: 128,
            event_attributes: AttributeLimits::default(),
            link_attributes: AttributeLimits::default(),
        }
    }
}

/// What a span is of the operation that it stands for. The numbers are OTLP's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum SpanKind {
    #[default]
    Internal = 1,
    Server = 2,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

impl SpanKind {
    /// As the specification writes it, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            SpanKind::Internal => "internal",
            SpanKind::Server => "server",
            SpanKind::Client => "client",
            SpanKind::Producer => "producer",
            SpanKind::Consumer => "consumer",
        }
    }
}

/// How the operation went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Status {
    #[default]
    Unset,
    /// Somebody who knows says that all was well; final.
    Ok,
    Error {
        description: String,
    },
}

/// A span that is recorded and has not ended.
#[derive(Debug)]
pub struct Span {
    context: SpanContext,
    parent: Option<SpanId>,
    parent_is_remote: bool,
    name: Cow<'static, str>,
    kind: SpanKind,
    start_unix_nano: u64,
    attributes: Attributes,
    /// Made with the first of them: most spans have neither, and all are moved around while they run.
    events: Option<Box<Parts>>,
    links: Option<Box<Parts>>,
    status: Status,
    limits: PartLimits,
}

/// What [`SpanLimits`] say of events and links, in the few bytes that each span has for it.
#[derive(Clone, Copy, Debug)]
struct PartLimits {
    events: u32,
    links: u32,
    event_attributes: Limits,
    link_attributes: Limits,
}

impl From<&SpanLimits> for PartLimits {
    #[inline]
    fn from(limits: &SpanLimits) -> PartLimits {
        let small = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
        PartLimits {
            events: small(limits.events),
            links: small(limits.links),
            event_attributes: limits.event_attributes.into(),
            link_attributes: limits.link_attributes.into(),
        }
    }
}

/// Field numbers of `Span`, `Event` and `Link`.
mod field {
    pub(super) const ATTRIBUTES: u32 = 9;
    pub(super) const EVENTS: u32 = 11;
    pub(super) const LINKS: u32 = 13;
    pub(super) const OF_EVENT: u32 = 3;
    pub(super) const OF_LINK: u32 = 4;
}

/// Bytes of a span beside its texts, attributes, events and links, at most.
const FIXED_BYTES: usize = 128;

impl Span {
    #[inline]
    pub fn new(
        context: SpanContext,
        parent: Option<&SpanContext>,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        start_unix_nano: u64,
        limits: &SpanLimits,
    ) -> Span {
        let parent = parent.filter(|parent| parent.is_valid());
        Span {
            context,
            parent: parent.map(|parent| parent.span_id),
            parent_is_remote: parent.is_some_and(|parent| parent.is_remote),
            name: name.into(),
            kind,
            start_unix_nano,
            attributes: Attributes::within(field::ATTRIBUTES, limits.attributes.into()),
            events: None,
            links: None,
            status: Status::Unset,
            limits: limits.into(),
        }
    }

    pub fn context(&self) -> &SpanContext {
        &self.context
    }

    pub fn parent(&self) -> Option<SpanId> {
        self.parent
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name for somebody else, copied only if it is no constant.
    pub(crate) fn shared_name(&self) -> Cow<'static, str> {
        self.name.clone()
    }

    pub fn kind(&self) -> SpanKind {
        self.kind
    }

    pub fn start_unix_nano(&self) -> u64 {
        self.start_unix_nano
    }

    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    pub fn attributes_mut(&mut self) -> &mut Attributes {
        &mut self.attributes
    }

    pub fn status(&self) -> &Status {
        &self.status
    }

    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        self.name = name.into();
    }

    /// Sets an attribute, in place of an earlier one of its key.
    #[inline]
    pub fn set<'v>(&mut self, key: &str, value: impl Into<Value<'v>>) {
        self.attributes.set(key, value);
    }

    /// What kind it is of, where that is learnt after its start: its sampler has seen another.
    pub fn set_kind(&mut self, kind: SpanKind) {
        self.kind = kind;
    }

    /// Adds what happened at a time.
    pub fn add_event(&mut self, name: &str, unix_nano: u64, attributes: &[(&str, Value<'_>)]) {
        let limits = self.limits.event_attributes;
        parts(&mut self.events, self.limits.events).add(|out| {
            let event = wire::open(out, field::EVENTS);
            let mut room = Room::open(out, name.len() + 32);
            room.fixed64(1, unix_nano);
            room.text(2, name);
            room.close();
            write_attributes(out, field::OF_EVENT, 4, attributes, limits);
            wire::close(out, event);
        });
    }

    /// Adds what happened at a time, with attributes that have been written already.
    pub fn add_written_event(&mut self, name: &str, unix_nano: u64, attributes: &Attributes) {
        let mut set = Attributes::within(field::OF_EVENT, self.limits.event_attributes);
        set.begin_with(attributes);
        parts(&mut self.events, self.limits.events).add(|out| {
            let event = wire::open(out, field::EVENTS);
            let mut room = Room::open(out, name.len() + set.as_bytes().len() + 32);
            room.fixed64(1, unix_nano);
            room.text(2, name);
            room.slice(set.as_bytes());
            room.number(4, set.dropped());
            room.close();
            wire::close(out, event);
        });
    }

    /// Adds an exception as an event, by the semantic conventions. Of attributes that it has itself, those given count.
    pub fn record_exception(
        &mut self,
        exception: &Exception<'_>,
        unix_nano: u64,
        attributes: &[(&str, Value<'_>)],
    ) {
        let mut all = Vec::with_capacity(3 + attributes.len());
        if !exception.kind.is_empty() {
            all.push(("exception.type", Value::String(exception.kind)));
        }
        all.push(("exception.message", Value::String(exception.message)));
        if let Some(stack_trace) = exception.stack_trace {
            all.push(("exception.stacktrace", Value::String(stack_trace)));
        }
        all.extend_from_slice(attributes);
        self.add_event("exception", unix_nano, &all);
    }

    /// Adds a link to another span. One without ids is kept if it says something.
    pub fn add_link(&mut self, to: &SpanContext, attributes: &[(&str, Value<'_>)]) {
        if !to.is_valid() && attributes.is_empty() && to.trace_state.is_empty() {
            return;
        }
        let limits = self.limits.link_attributes;
        parts(&mut self.links, self.limits.links).add(|out| {
            let link = wire::open(out, field::LINKS);
            let trace_state = to.trace_state.as_str();
            let mut room = Room::open(out, trace_state.len() + 48);
            room.bytes(1, to.trace_id.as_bytes());
            room.bytes(2, to.span_id.as_bytes());
            room.text(3, trace_state);
            room.close();
            write_attributes(out, field::OF_LINK, 5, attributes, limits);
            let mut room = Room::open(out, 8);
            room.fixed32(6, flags(to, to.is_remote));
            room.close();
            wire::close(out, link);
        });
    }

    /// Sets the status by the rules of the specification: `Ok` is final, and nothing goes back to `Unset`.
    pub fn set_status(&mut self, status: Status) {
        if self.status != Status::Ok && status != Status::Unset {
            self.status = status;
        }
    }

    /// Most bytes that [`write`](Self::write) writes.
    #[inline]
    pub(crate) fn bytes_max(&self) -> usize {
        let description = match &self.status {
            Status::Error { description } => description.len(),
            Status::Unset | Status::Ok => 0,
        };
        let texts = self.context.trace_state.as_str().len() + self.name.len() + description;
        let (events, _) = written(&self.events);
        let (links, _) = written(&self.links);
        FIXED_BYTES + texts + self.attributes.as_bytes().len() + events.len() + links.len()
    }

    /// Writes the span as a message of OTLP, ended at this time: not before its start, if the clock was set back.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, end_unix_nano: u64) {
        let mut room = Room::open(out, self.bytes_max());
        room.bytes(1, self.context.trace_id.as_bytes());
        room.bytes(2, self.context.span_id.as_bytes());
        room.text(3, self.context.trace_state.as_str());
        if let Some(parent) = &self.parent {
            room.bytes(4, parent.as_bytes());
        }
        room.text(5, &self.name);
        room.number(6, self.kind as u32);
        room.fixed64(7, self.start_unix_nano);
        room.fixed64(8, end_unix_nano.max(self.start_unix_nano));
        room.slice(self.attributes.as_bytes());
        room.number(10, self.attributes.dropped());
        let (events, dropped) = written(&self.events);
        room.slice(events);
        room.number(12, dropped);
        let (links, dropped) = written(&self.links);
        room.slice(links);
        room.number(14, dropped);
        match &self.status {
            Status::Unset => {}
            Status::Ok => {
                room.message(15, 2);
                room.number(3, 1);
            }
            Status::Error { description } => {
                let text = match description.len() {
                    0 => 0,
                    length => field_length(length),
                };
                room.message(15, text + 2);
                room.text(2, description);
                room.number(3, 2);
            }
        }
        room.fixed32(16, flags(&self.context, self.parent_is_remote));
        room.close();
    }
}

/// Those of a span, made now if it has none yet.
fn parts(kept: &mut Option<Box<Parts>>, most: u32) -> &mut Parts {
    kept.get_or_insert_with(|| Box::new(Parts::new(most as usize)))
}

/// What is sent of events or links, and how many were dropped.
#[inline(always)]
fn written(parts: &Option<Box<Parts>>) -> (&[u8], u32) {
    match parts {
        Some(parts) => (parts.as_bytes(), parts.dropped()),
        None => (&[], 0),
    }
}

/// No attributes yet, for a span.
pub fn empty_attributes(limits: AttributeLimits) -> Attributes {
    Attributes::new(field::ATTRIBUTES, limits)
}

/// An error as the semantic conventions describe it.
#[derive(Clone, Copy, Debug)]
pub struct Exception<'e> {
    /// Its type; empty if it is not known.
    pub kind: &'e str,
    pub message: &'e str,
    pub stack_trace: Option<&'e str>,
}

fn flags(context: &SpanContext, is_remote: bool) -> u32 {
    u32::from(context.flags.0) | HAS_IS_REMOTE | if is_remote { IS_REMOTE } else { 0 }
}

/// Attributes and how many were dropped. A key that stands twice has its last value.
fn write_attributes(
    out: &mut Vec<u8>,
    field: u32,
    dropped_field: u32,
    attributes: &[(&str, Value<'_>)],
    limits: Limits,
) {
    if attributes.is_empty() {
        return;
    }
    let mut set = Attributes::within(field, limits);
    for (key, value) in attributes {
        set.set(key, *value);
    }
    let mut room = Room::open(out, set.as_bytes().len() + 8);
    room.slice(set.as_bytes());
    room.number(dropped_field, set.dropped());
    room.close();
}

pub(crate) fn write_text(out: &mut Vec<u8>, number: u32, text: &str) {
    if !text.is_empty() {
        wire::write_bytes(out, number, text.as_bytes());
    }
}

pub(crate) fn write_number(out: &mut Vec<u8>, number: u32, value: u32) {
    if value != 0 {
        wire::write_key(out, number, wire::VARINT);
        wire::write_varint(out, u64::from(value));
    }
}

pub(crate) fn write_fixed64(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        wire::write_key(out, number, wire::FIXED64);
        out.extend_from_slice(&value.to_le_bytes());
    }
}
