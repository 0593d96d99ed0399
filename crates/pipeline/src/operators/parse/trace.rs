//! Ids of traces and spans from hex digits: `trace_parser`, and `trace` in other parsers.

use serde::Deserialize;

use crate::operators::entry::Entry;
use crate::operators::field::Field;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TraceConfig {
    trace_id: From,
    span_id: From,
    trace_flags: From,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct From {
    parse_from: Option<Field>,
}

#[derive(Debug)]
pub(super) struct TraceParser {
    trace_id: Field,
    span_id: Field,
    trace_flags: Field,
}

impl TraceParser {
    pub(super) fn new(config: TraceConfig) -> TraceParser {
        let or = |from: From, key| from.parse_from.unwrap_or_else(|| Field::body_member(key));
        TraceParser {
            trace_id: or(config.trace_id, "trace_id"),
            span_id: or(config.span_id, "span_id"),
            trace_flags: or(config.trace_flags, "trace_flags"),
        }
    }

    /// A field that is not there is no mistake.
    pub(super) fn parse(&self, entry: &mut Entry) -> Result<(), String> {
        let hex = |field: &Field| match field.get(entry) {
            None => Ok(Vec::new()),
            Some(value) => hex::decode(value.to_string()).map_err(|error| format!("`{field}`: {error}")),
        };
        let (trace_id, span_id, flags) = (hex(&self.trace_id), hex(&self.span_id), hex(&self.trace_flags));
        entry.trace_id = trace_id.clone().unwrap_or_default();
        entry.span_id = span_id.clone().unwrap_or_default();
        entry.flags = flags.clone().unwrap_or_default().first().copied();
        trace_id.and(span_id).and(flags).map(drop)
    }
}
