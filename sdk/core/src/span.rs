//! A span while it runs, and how it is written when it ends. Owns the limits on what a span carries and the rules of its
//! status.
//!
//! <https://opentelemetry.io/docs/specs/otel/trace/api/#span>,
//! <https://opentelemetry.io/docs/specs/otel/trace/sdk/#span-limits>

mod parts;

use std::borrow::Cow;

use cupola_telemetry::SpanId;
use cupola_telemetry::wire::{self, FIXED32, FIXED64, VARINT};

use crate::attributes::{AttributeLimits, Attributes};
use crate::context::SpanContext;
use crate::value::Value;
use parts::Parts;

/// `IS_REMOTE` of the parent is known, and is so.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

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
    events: Parts,
    links: Parts,
    status: Status,
    limits: SpanLimits,
}

/// Field numbers of `Span`, `Event` and `Link`.
mod field {
    pub(super) const ATTRIBUTES: u32 = 9;
    pub(super) const EVENTS: u32 = 11;
    pub(super) const LINKS: u32 = 13;
    pub(super) const OF_EVENT: u32 = 3;
    pub(super) const OF_LINK: u32 = 4;
}

impl Span {
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
            attributes: Attributes::new(field::ATTRIBUTES, limits.attributes),
            events: Parts::new(limits.events),
            links: Parts::new(limits.links),
            status: Status::Unset,
            limits: *limits,
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
        self.events.add(|out| {
            let event = wire::open(out, field::EVENTS);
            write_fixed64(out, 1, unix_nano);
            write_text(out, 2, name);
            write_attributes(out, field::OF_EVENT, 4, attributes, limits);
            wire::close(out, event);
        });
    }

    /// Adds what happened at a time, with attributes that have been written already.
    pub fn add_written_event(&mut self, name: &str, unix_nano: u64, attributes: &Attributes) {
        let mut set = Attributes::new(field::OF_EVENT, self.limits.event_attributes);
        set.begin_with(attributes);
        self.events.add(|out| {
            let event = wire::open(out, field::EVENTS);
            write_fixed64(out, 1, unix_nano);
            write_text(out, 2, name);
            out.extend_from_slice(set.as_bytes());
            write_number(out, 4, set.dropped());
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
        self.links.add(|out| {
            let link = wire::open(out, field::LINKS);
            wire::write_bytes(out, 1, to.trace_id.as_bytes());
            wire::write_bytes(out, 2, to.span_id.as_bytes());
            write_text(out, 3, to.trace_state.as_str());
            write_attributes(out, field::OF_LINK, 5, attributes, limits);
            write_fixed32(out, 6, flags(to, to.is_remote));
            wire::close(out, link);
        });
    }

    /// Sets the status by the rules of the specification: `Ok` is final, and nothing goes back to `Unset`.
    pub fn set_status(&mut self, status: Status) {
        if self.status != Status::Ok && status != Status::Unset {
            self.status = status;
        }
    }

    /// Writes the span as a message of OTLP, ended at this time: not before its start, if the clock was set back.
    pub fn write(&self, out: &mut Vec<u8>, end_unix_nano: u64) {
        wire::write_bytes(out, 1, self.context.trace_id.as_bytes());
        wire::write_bytes(out, 2, self.context.span_id.as_bytes());
        write_text(out, 3, self.context.trace_state.as_str());
        if let Some(parent) = self.parent {
            wire::write_bytes(out, 4, parent.as_bytes());
        }
        write_text(out, 5, &self.name);
        write_number(out, 6, self.kind as u32);
        write_fixed64(out, 7, self.start_unix_nano);
        write_fixed64(out, 8, end_unix_nano.max(self.start_unix_nano));
        out.extend_from_slice(self.attributes.as_bytes());
        write_number(out, 10, self.attributes.dropped());
        out.extend_from_slice(self.events.as_bytes());
        write_number(out, 12, self.events.dropped());
        out.extend_from_slice(self.links.as_bytes());
        write_number(out, 14, self.links.dropped());
        match &self.status {
            Status::Unset => {}
            Status::Ok => {
                let status = wire::open(out, 15);
                write_number(out, 3, 1);
                wire::close(out, status);
            }
            Status::Error { description } => {
                let status = wire::open(out, 15);
                write_text(out, 2, description);
                write_number(out, 3, 2);
                wire::close(out, status);
            }
        }
        write_fixed32(out, 16, flags(&self.context, self.parent_is_remote));
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
    limits: AttributeLimits,
) {
    if attributes.is_empty() {
        return;
    }
    let mut set = Attributes::new(field, limits);
    for (key, value) in attributes {
        set.set(key, *value);
    }
    out.extend_from_slice(set.as_bytes());
    write_number(out, dropped_field, set.dropped());
}

pub(crate) fn write_text(out: &mut Vec<u8>, number: u32, text: &str) {
    if !text.is_empty() {
        wire::write_bytes(out, number, text.as_bytes());
    }
}

pub(crate) fn write_number(out: &mut Vec<u8>, number: u32, value: u32) {
    if value != 0 {
        wire::write_key(out, number, VARINT);
        wire::write_varint(out, u64::from(value));
    }
}

pub(crate) fn write_fixed64(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        wire::write_key(out, number, FIXED64);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

pub(crate) fn write_fixed32(out: &mut Vec<u8>, number: u32, value: u32) {
    if value != 0 {
        wire::write_key(out, number, FIXED32);
        out.extend_from_slice(&value.to_le_bytes());
    }
}
