//! Spans of Jaeger to spans of OTLP. Owns the mapping that the receiver's documentation states.

use cupola_telemetry::TenantId;
use cupola_telemetry::encode::{ResourceSpans, ScopeSpans, Span, TracesEncoder};
use cupola_telemetry::view::AnyValue;

use super::Outcome;
use crate::receivers::http::intake::{Converted, Room};

/// Most tags, references, logs and their fields of one span, all together.
pub(super) const PARTS_MAX: usize = 64 * 1024;

/// A tag, a field of a log.
pub(super) type Tag<'a> = (&'a str, AnyValue<'a>);

#[derive(Clone, Debug, Default)]
pub(super) struct Process<'a> {
    pub(super) service: &'a str,
    pub(super) tags: Vec<Tag<'a>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Reference {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    pub(super) follows: bool,
}

/// A span of either format, times in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct JaegerSpan<'a> {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    /// Zeros for none.
    pub(super) parent_id: [u8; 8],
    pub(super) name: &'a str,
    pub(super) references: Vec<Reference>,
    pub(super) flags: u32,
    pub(super) start: u64,
    pub(super) duration: u64,
    pub(super) tags: Vec<Tag<'a>>,
    pub(super) logs: Vec<(u64, Vec<Tag<'a>>)>,
    pub(super) warnings: Vec<&'a str>,
    /// Where it is not that of the batch.
    pub(super) process: Option<Process<'a>>,
}

const INTERNAL: i32 = 1;
const STATUS_OK: i32 = 1;
const STATUS_ERROR: i32 = 2;
const SAMPLED: u32 = 1;

/// Writes a batch: its process once, and once more for each span that has its own.
pub(super) fn finish(
    process: &Process<'_>,
    mut spans: Vec<JaegerSpan<'_>>,
    tenant: TenantId,
    room: &mut Room<'_>,
) -> Converted<Outcome> {
    let mut outcome = Outcome::default();
    spans.retain(|span| {
        let identified = span.trace_id != [0; 16] && span.span_id != [0; 8];
        outcome.refused += u64::from(!identified);
        identified
    });
    room.hold(bytes(&process.tags) + spans.iter().map(JaegerSpan::bytes).sum::<usize>())?;
    spans.sort_by(|a, b| (a.process.is_some(), a.scope()).cmp(&(b.process.is_some(), b.scope())));
    let shared = spans.partition_point(|span| span.process.is_none());
    let (shared, own) = spans.split_at(shared);
    let mut traces = TracesEncoder::new();
    if !shared.is_empty() {
        let mut resource = traces.resource_spans();
        process.write(&mut resource);
        for of_scope in shared.chunk_by(|a, b| a.scope() == b.scope()) {
            write(of_scope, &mut resource);
        }
    }
    for span in own {
        let mut resource = traces.resource_spans();
        span.process.as_ref().unwrap_or(process).write(&mut resource);
        write(std::slice::from_ref(span), &mut resource);
    }
    Ok((vec![traces.finish(tenant)], outcome))
}

/// Spans of one scope.
fn write(spans: &[JaegerSpan<'_>], resource: &mut ResourceSpans<'_>) {
    let mut scope = resource.scope_spans();
    let (name, version) = spans[0].scope();
    if (name, version) != ("", "") {
        scope.scope().name(name).version(version);
    }
    spans.iter().for_each(|span| span.write(&mut scope));
}

/// What tags take, about.
fn bytes(tags: &[Tag<'_>]) -> usize {
    const TAG: usize = 48;
    let value = |value: &AnyValue<'_>| match value {
        AnyValue::String(text) => text.len(),
        AnyValue::Bytes(bytes) => bytes.len(),
        _ => 0,
    };
    tags.iter().map(|(key, one)| TAG + key.len() + value(one)).sum()
}

impl Process<'_> {
    fn write(&self, resource: &mut ResourceSpans<'_>) {
        let mut resource = resource.resource();
        if !self.service.is_empty() {
            resource.attribute("service.name", self.service);
        }
        let has = |wanted: &str| self.tags.iter().any(|(key, _)| *key == wanted);
        for (key, value) in &self.tags {
            let key = match *key {
                "service.name" if !self.service.is_empty() => continue,
                "hostname" if !has("host.name") => "host.name",
                key => key,
            };
            resource.attribute(key, *value);
        }
    }
}

impl JaegerSpan<'_> {
    /// What it takes in OTLP, and about as much again as it is read.
    pub(super) fn bytes(&self) -> usize {
        const SPAN: usize = 512;
        let logs: usize = self.logs.iter().map(|(_, fields)| 64 + bytes(fields)).sum();
        let warnings: usize = self.warnings.iter().map(|text| 1 + text.len()).sum();
        let process = self
            .process
            .as_ref()
            .map_or(0, |process| process.service.len() + bytes(&process.tags));
        SPAN + self.name.len() + 96 * self.references.len() + bytes(&self.tags) + logs + warnings + process
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.tags.iter().find(|(known, _)| *known == key)?.1.as_str()
    }

    fn scope(&self) -> (&str, &str) {
        let either = |name, older| self.text(name).or_else(|| self.text(older)).unwrap_or_default();
        let name = either("otel.scope.name", "otel.library.name");
        (name, either("otel.scope.version", "otel.library.version"))
    }

    /// The code and message of a status, if tags say one.
    fn status(&self) -> Option<(i32, &str)> {
        let message = self.text("otel.status_description").unwrap_or_default();
        match self.text("otel.status_code") {
            Some("OK") => return Some((STATUS_OK, "")),
            Some("ERROR") => return Some((STATUS_ERROR, message)),
            _ => {}
        }
        let (_, error) = self.tags.iter().find(|(key, _)| *key == "error")?;
        matches!(error, AnyValue::Bool(true) | AnyValue::String("true")).then_some((STATUS_ERROR, message))
    }

    fn write(&self, scope: &mut ScopeSpans<'_>) {
        let mut span = scope.span();
        span.trace_id(&self.trace_id)
            .span_id(&self.span_id)
            .name(self.name);
        let child = |reference: &&Reference| !reference.follows && reference.trace_id == self.trace_id;
        let parent = match self.parent_id {
            [0, 0, 0, 0, 0, 0, 0, 0] => self
                .references
                .iter()
                .find(child)
                .map(|reference| reference.span_id),
            parent => Some(parent),
        };
        if let Some(parent) = &parent {
            span.parent_span_id(parent);
        }
        if let Some(state) = self.text("w3c.tracestate") {
            span.trace_state(state);
        }
        let kind = self.text("span.kind").map_or(Some(INTERNAL), kind);
        span.kind(kind.unwrap_or(INTERNAL))
            .flags(self.flags & SAMPLED)
            .start_time_unix_nano(self.start)
            .end_time_unix_nano(self.start.saturating_add(self.duration));
        let status = self.status();
        for (key, value) in &self.tags {
            let said_otherwise = match *key {
                "span.kind" => value.as_str().is_some() && kind.is_some(),
                "otel.scope.name" | "otel.scope.version" | "otel.library.name" | "otel.library.version" => {
                    true
                }
                "w3c.tracestate" => value.as_str().is_some(),
                "otel.status_code" => matches!(value.as_str(), Some("OK" | "ERROR")),
                "otel.status_description" => matches!(status, Some((STATUS_ERROR, _))),
                "error" => matches!(status, Some((STATUS_ERROR, _))),
                _ => false,
            };
            if !said_otherwise {
                span.attribute(key, *value);
            }
        }
        if !self.warnings.is_empty() {
            span.attribute("jaeger.warnings", &*self.warnings.join("\n"));
        }
        self.logs
            .iter()
            .for_each(|(time, fields)| event(&mut span, *time, fields));
        let mut parent_seen = false;
        for reference in &self.references {
            let is_parent = child(&reference) && Some(reference.span_id) == parent;
            if is_parent && !parent_seen {
                parent_seen = true;
                continue;
            }
            let kind = if reference.follows {
                "follows_from"
            } else {
                "child_of"
            };
            let mut link = span.link();
            link.trace_id(&reference.trace_id).span_id(&reference.span_id);
            link.attribute("opentracing.ref_type", kind);
        }
        if let Some((code, message)) = status {
            span.status().code(code).message(message);
        }
    }
}

fn kind(word: &str) -> Option<i32> {
    match word {
        "internal" => Some(INTERNAL),
        "server" => Some(2),
        "client" => Some(3),
        "producer" => Some(4),
        "consumer" => Some(5),
        _ => None,
    }
}

fn event(span: &mut Span<'_>, time: u64, fields: &[Tag<'_>]) {
    let mut event = span.event();
    event.time_unix_nano(time);
    let named = ["event", "message"].iter().find_map(|key| {
        let at = fields
            .iter()
            .position(|(known, value)| known == key && value.as_str().is_some())?;
        Some((at, fields[at].1.as_str()?))
    });
    if let Some((_, name)) = named {
        event.name(name);
    }
    for (index, (key, value)) in fields.iter().enumerate() {
        if named.is_none_or(|(at, _)| at != index) {
            event.attribute(key, *value);
        }
    }
}
