//! The protobuf form: `zipkin.proto3.ListOfSpans`.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use cupola_telemetry::{SpanId, TenantId, TraceId};

use super::convert::{Endpoint, Rules, TAGS_MAX, ZipkinSpan, finish, kind};
use crate::receivers::http::intake::{Converted, Room};
use crate::receivers::http::posts::LeftOut;
use crate::receivers::http::refusal::Refusal;
use crate::receivers::protobuf::{Fields, ProtobufError};

/// What a span takes beside its parts while it is read.
const SPAN_BYTES: usize = 512;
const NO_IDS: &str = "a span has no ids, or ids of another length than 8 and 16 bytes\n";

pub(super) fn convert(
    body: &[u8],
    tenant: TenantId,
    room: &mut Room<'_>,
    rules: Rules,
) -> Converted<LeftOut> {
    let invalid =
        |error: ProtobufError| Refusal::invalid("body", format!("not a zipkin.proto3.ListOfSpans: {error}"));
    let mut left_out = LeftOut::default();
    let mut spans = Vec::new();
    let mut held = 0;
    for field in Fields::new(body) {
        let field = field.map_err(invalid)?;
        if field.number != 1 {
            continue;
        }
        let message = field.bytes().map_err(invalid)?;
        held += SPAN_BYTES + message.len().saturating_mul(4);
        room.hold(held)?;
        match read_span(message).map_err(invalid)? {
            Some(span) => spans.push(span),
            None => left_out.add(1, || NO_IDS.to_owned()),
        }
    }
    finish(spans, tenant, room, (rules, left_out))
}

/// `None` for a span without ids.
fn read_span(message: &[u8]) -> Result<Option<ZipkinSpan<'_>>, ProtobufError> {
    let (mut trace, mut id, mut parent) = (&[][..], &[][..], &[][..]);
    let mut span = ZipkinSpan {
        trace_id: TraceId::from_bytes(&[0; 16]).ok_or(ProtobufError::Truncated)?,
        id: SpanId::from_bytes(&[0; 8]).ok_or(ProtobufError::Truncated)?,
        parent_id: None,
        kind: kind(""),
        name: Cow::Borrowed(""),
        timestamp: 0,
        duration: 0,
        local: Endpoint::default(),
        remote: Endpoint::default(),
        annotations: Vec::new(),
        tags: Vec::new(),
        debug: false,
        shared: false,
    };
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => trace = field.bytes()?,
            2 => parent = field.bytes()?,
            3 => id = field.bytes()?,
            4 => {
                span.kind = kind(match field.uint()? {
                    1 => "CLIENT",
                    2 => "SERVER",
                    3 => "PRODUCER",
                    4 => "CONSUMER",
                    _ => "",
                });
            }
            5 => span.name = Cow::Borrowed(field.text()?),
            6 => span.timestamp = field.fixed64()?,
            7 => span.duration = field.uint()?,
            8 => span.local = read_endpoint(field.bytes()?)?,
            9 => span.remote = read_endpoint(field.bytes()?)?,
            10 => span.annotations.push(read_annotation(field.bytes()?)?),
            11 if span.tags.len() == TAGS_MAX => return Err(ProtobufError::TooMany(11)),
            11 => span.tags.push(read_tag(field.bytes()?)?),
            12 => span.debug = field.uint()? != 0,
            13 => span.shared = field.uint()? != 0,
            _ => {}
        }
    }
    let mut whole = [0; 16];
    match trace.len() {
        8 => whole[8..].copy_from_slice(trace),
        16 => whole.copy_from_slice(trace),
        _ => return Ok(None),
    }
    let (Some(trace_id), Some(id)) = (TraceId::from_bytes(&whole), SpanId::from_bytes(id)) else {
        return Ok(None);
    };
    if trace_id.is_zero() || id.is_zero() {
        return Ok(None);
    }
    (span.trace_id, span.id) = (trace_id, id);
    span.parent_id = SpanId::from_bytes(parent).filter(|parent| !parent.is_zero());
    span.sort_tags();
    Ok(Some(span))
}

fn read_endpoint(message: &[u8]) -> Result<Endpoint<'_>, ProtobufError> {
    let mut endpoint = Endpoint::default();
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => endpoint.service = Cow::Borrowed(field.text()?),
            2 => {
                if let Ok(address) = <[u8; 4]>::try_from(field.bytes()?) {
                    endpoint.address = Cow::Owned(Ipv4Addr::from(address).to_string());
                }
            }
            3 => {
                if let Ok(address) = <[u8; 16]>::try_from(field.bytes()?)
                    && endpoint.address.is_empty()
                {
                    endpoint.address = Cow::Owned(Ipv6Addr::from(address).to_string());
                }
            }
            4 => endpoint.port = u32::try_from(field.uint()?).unwrap_or(0),
            _ => {}
        }
    }
    Ok(endpoint)
}

fn read_annotation(message: &[u8]) -> Result<(u64, Cow<'_, str>), ProtobufError> {
    let (mut time, mut value) = (0, "");
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => time = field.fixed64()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((time, Cow::Borrowed(value)))
}

fn read_tag(message: &[u8]) -> Result<(Cow<'_, str>, Cow<'_, str>), ProtobufError> {
    let (mut name, mut value) = ("", "");
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((Cow::Borrowed(name), Cow::Borrowed(value)))
}
