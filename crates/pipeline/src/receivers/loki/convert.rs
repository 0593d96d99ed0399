//! Streams to log records. Owns the mapping that the receiver's documentation states.

use std::borrow::Cow;

use cupola_telemetry::encode::{LogsEncoder, ScopeLogs};
use cupola_telemetry::{SpanId, TraceId};

use super::labels::{Labels, parse};
use crate::receivers::http::intake::Room;
use crate::receivers::http::posts::LeftOut;
use crate::receivers::http::refusal::{Refusal, quote};

const LEVEL_KEYS: [&str; 3] = ["level", "severity", "detected_level"];

/// How times are chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Converter {
    pub(super) arrived_unix_nano: u64,
    pub(super) use_incoming_timestamp: bool,
}

/// One line of a stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry<'a> {
    /// 0 if the entry does not say.
    pub(super) time_unix_nano: u64,
    pub(super) line: Cow<'a, str>,
    pub(super) metadata: Labels<'a>,
}

/// A stream's labels as they came.
pub(super) enum StreamLabels<'a> {
    /// `{app="cart", level="info"}`.
    Text(&'a str),
    Parsed(Labels<'a>),
}

impl Converter {
    /// Adds the records of one stream, or counts them as refused.
    pub(super) fn stream<'a>(
        self,
        labels: StreamLabels<'a>,
        entries: impl Iterator<Item = Result<Entry<'a>, Refusal>>,
        (logs, room, left_out): (&mut LogsEncoder, &mut Room<'_>, &mut LeftOut),
    ) -> Result<(), Refusal> {
        let labels = match labels {
            StreamLabels::Parsed(labels) => labels,
            StreamLabels::Text(text) => match parse(text) {
                Ok(labels) => labels,
                Err(error) => {
                    let mut refused = 0;
                    for entry in entries {
                        entry?;
                        refused += 1;
                    }
                    left_out.add(refused, || {
                        format!("cannot read the labels {:?}: {error}\n", quote(text))
                    });
                    return Ok(());
                }
            },
        };
        let labels: Labels<'a> = labels
            .into_iter()
            .filter(|(key, _)| !key.starts_with("__"))
            .collect();
        let mut entries = entries.peekable();
        // An empty envelope says nothing.
        if entries.peek().is_none() {
            return Ok(());
        }
        let mut held = logs.bytes();
        let mut resource = logs.resource_logs();
        if let Some(service) = find(&labels, "service_name") {
            resource.resource().attribute("service.name", service);
        }
        let mut scope = resource.scope_logs();
        for entry in entries {
            let entry = entry?;
            held += record_bytes(&labels, &entry);
            room.hold(held)?;
            self.record(&labels, &entry, &mut scope);
        }
        Ok(())
    }

    fn record(self, labels: &Labels<'_>, entry: &Entry<'_>, scope: &mut ScopeLogs<'_>) {
        let mut record = scope.record();
        let time = match self.use_incoming_timestamp {
            true => entry.time_unix_nano,
            false => self.arrived_unix_nano,
        };
        record
            .time_unix_nano(time)
            .observed_time_unix_nano(self.arrived_unix_nano);
        let level = LEVEL_KEYS
            .iter()
            .find_map(|key| find(&entry.metadata, key).or_else(|| find(labels, key)));
        if let Some(level) = level {
            record.severity_number(severity(level)).severity_text(level);
        }
        record.body(&*entry.line);
        for (key, value) in labels {
            record.attribute(key, &**value);
        }
        let (mut has_trace, mut has_span) = (false, false);
        for (key, value) in &entry.metadata {
            match &**key {
                "trace_id" if !has_trace && is_lower_hex(value) => {
                    if let Ok(id) = value.parse::<TraceId>() {
                        record.trace_id(id.as_bytes());
                        has_trace = true;
                        continue;
                    }
                }
                "span_id" if !has_span && is_lower_hex(value) => {
                    if let Ok(id) = value.parse::<SpanId>() {
                        record.span_id(id.as_bytes());
                        has_span = true;
                        continue;
                    }
                }
                _ => {}
            }
            match find(labels, key) {
                None => record.attribute(key, &**value),
                Some(_) => record.attribute(&format!("{key}_extracted"), &**value),
            };
        }
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn find<'l>(labels: &'l Labels<'_>, key: &str) -> Option<&'l str> {
    labels
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, value)| &**value)
}

/// An upper bound of what a record takes.
fn record_bytes(labels: &Labels<'_>, entry: &Entry<'_>) -> usize {
    const FIELDS: usize = 96;
    const ATTRIBUTE: usize = 32;
    let pairs = labels.iter().chain(&entry.metadata);
    let attributes: usize = pairs
        .map(|(key, value)| ATTRIBUTE + key.len() + value.len())
        .sum();
    FIELDS + entry.line.len() + attributes
}

/// The severity that a word stands for; 0 if it is none.
fn severity(word: &str) -> i32 {
    const WORDS: [(&str, i32); 18] = [
        ("trace", 1),
        ("verbose", 1),
        ("debug", 5),
        ("dbug", 5),
        ("info", 9),
        ("information", 9),
        ("informational", 9),
        ("notice", 10),
        ("warn", 13),
        ("warning", 13),
        ("error", 17),
        ("err", 17),
        ("eror", 17),
        ("critical", 21),
        ("crit", 21),
        ("alert", 22),
        ("fatal", 21),
        ("emerg", 23),
    ];
    let found = WORDS.iter().find(|(known, _)| word.eq_ignore_ascii_case(known));
    found.map_or(0, |(_, number)| *number)
}
