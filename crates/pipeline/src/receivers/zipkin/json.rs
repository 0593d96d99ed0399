//! The JSON form: an array of spans.

use std::borrow::Cow;
use std::fmt;

use cupola_telemetry::{SpanId, TenantId, TraceId};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::convert::{Endpoint, Rules, TAGS_MAX, ZipkinSpan, finish, kind};
use crate::receivers::http::intake::{Converted, Room};
use crate::receivers::http::posts::LeftOut;
use crate::receivers::http::refusal::{Refusal, quote};

/// What parsed spans take over their text.
const PARSED_GROWTH: usize = 6;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonSpan<'a> {
    #[serde(borrow, default)]
    trace_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    parent_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(default)]
    timestamp: Option<u64>,
    #[serde(default)]
    duration: Option<u64>,
    #[serde(borrow, default)]
    local_endpoint: Option<JsonEndpoint<'a>>,
    #[serde(borrow, default)]
    remote_endpoint: Option<JsonEndpoint<'a>>,
    #[serde(borrow, default)]
    annotations: Option<Vec<JsonAnnotation<'a>>>,
    #[serde(borrow, default)]
    tags: Option<Tags<'a>>,
    #[serde(default)]
    debug: Option<bool>,
    #[serde(default)]
    shared: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonEndpoint<'a> {
    #[serde(borrow, default)]
    service_name: Option<Text<'a>>,
    #[serde(borrow, default)]
    ipv4: Option<Text<'a>>,
    #[serde(borrow, default)]
    ipv6: Option<Text<'a>>,
    #[serde(default)]
    port: Option<u32>,
}

#[derive(Deserialize)]
struct JsonAnnotation<'a> {
    #[serde(default)]
    timestamp: Option<u64>,
    #[serde(borrow)]
    value: Text<'a>,
}

/// A text, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct Tags<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Tags<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Tags<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut tags = Vec::new();
                while let Some((Text(name), Text(value))) = map.next_entry()? {
                    if tags.len() == TAGS_MAX {
                        return Err(A::Error::custom(format!("more than {TAGS_MAX} tags")));
                    }
                    tags.push((name, value));
                }
                Ok(Tags(tags))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

pub(super) fn convert(
    body: &[u8],
    tenant: TenantId,
    room: &mut Room<'_>,
    rules: Rules,
) -> Converted<LeftOut> {
    room.hold(body.len().saturating_mul(PARSED_GROWTH) / 2)?;
    let read: Vec<JsonSpan<'_>> = serde_json::from_slice(body)
        .map_err(|error| Refusal::invalid("body", format!("not an array of spans of version 2: {error}")))?;
    let mut left_out = LeftOut::default();
    let mut spans = Vec::with_capacity(read.len());
    for span in read {
        match span.check() {
            Ok(span) => spans.push(span),
            Err(problem) => left_out.add(1, || problem),
        }
    }
    finish(spans, tenant, room, (rules, left_out))
}

fn text(text: Option<Text<'_>>) -> Cow<'_, str> {
    text.map_or(Cow::Borrowed(""), |Text(text)| text)
}

/// An id of up to `length` hex digits, zeros in front if there are fewer.
fn padded(what: &str, text: &str, length: usize) -> Result<String, String> {
    let hex = !text.is_empty() && text.len() <= length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hex || text.bytes().all(|byte| byte == b'0') {
        return Err(format!(
            "{what} {:?} is not an id of up to {length} hex digits\n",
            quote(text)
        ));
    }
    Ok(format!("{text:0>length$}").to_ascii_lowercase())
}

fn span_id(what: &str, text: &str) -> Result<SpanId, String> {
    padded(what, text, 16)?
        .parse()
        .map_err(|error| format!("{what}: {error}\n"))
}

impl<'a> JsonSpan<'a> {
    fn check(self) -> Result<ZipkinSpan<'a>, String> {
        let trace_id: TraceId = padded("traceId", &text(self.trace_id), 32)?
            .parse()
            .map_err(|error| format!("traceId: {error}\n"))?;
        let id = span_id("id", &text(self.id))?;
        let parent = text(self.parent_id);
        // Some clients write the parent of a root as zeros.
        let parent_id = match parent.bytes().all(|byte| byte == b'0') {
            true => None,
            false => Some(span_id("parentId", &parent)?),
        };
        let annotations = self.annotations.unwrap_or_default().into_iter();
        let mut span = ZipkinSpan {
            trace_id,
            id,
            parent_id,
            kind: kind(&text(self.kind)),
            name: text(self.name),
            timestamp: self.timestamp.unwrap_or(0),
            duration: self.duration.unwrap_or(0),
            local: endpoint(self.local_endpoint),
            remote: endpoint(self.remote_endpoint),
            annotations: annotations
                .map(|one| (one.timestamp.unwrap_or(0), one.value.0))
                .collect(),
            tags: self.tags.map(|tags| tags.0).unwrap_or_default(),
            debug: self.debug.unwrap_or(false),
            shared: self.shared.unwrap_or(false),
        };
        span.sort_tags();
        Ok(span)
    }
}

fn endpoint(endpoint: Option<JsonEndpoint<'_>>) -> Endpoint<'_> {
    let Some(endpoint) = endpoint else {
        return Endpoint::default();
    };
    let ipv4 = text(endpoint.ipv4);
    Endpoint {
        service: text(endpoint.service_name),
        address: if ipv4.is_empty() {
            text(endpoint.ipv6)
        } else {
            ipv4
        },
        port: endpoint.port.unwrap_or(0),
    }
}
