//! `jaeger.api_v2.PostSpansRequest`.

use cupola_telemetry::TenantId;
use cupola_telemetry::view::AnyValue;

use super::Outcome;
use super::convert::{JaegerSpan, PARTS_MAX, Process, Reference, Tag, finish};
use crate::receivers::http::intake::{Converted, Room};
use crate::receivers::http::refusal::Refusal;
use crate::receivers::protobuf::{Fields, ProtobufError};

/// How many parts a span may still have.
struct Parts(usize);

impl Parts {
    fn one(&mut self, number: u32) -> Result<(), ProtobufError> {
        self.0 = self.0.checked_sub(1).ok_or(ProtobufError::TooMany(number))?;
        Ok(())
    }
}

pub(super) fn convert(message: &[u8], tenant: TenantId, room: &mut Room<'_>) -> Converted<Outcome> {
    let invalid = |error: ProtobufError| Refusal::invalid("body", format!("not a PostSpansRequest: {error}"));
    let (mut process, mut spans, mut held) = (Process::default(), Vec::new(), 0);
    for field in Fields::new(message) {
        let field = field.map_err(invalid)?;
        if field.number != 1 {
            continue;
        }
        for field in Fields::new(field.bytes().map_err(invalid)?) {
            let field = field.map_err(invalid)?;
            match field.number {
                1 => {
                    let span = field.bytes().and_then(span).map_err(invalid)?;
                    held += span.bytes();
                    room.hold(held)?;
                    spans.push(span);
                }
                2 => {
                    let mut parts = Parts(PARTS_MAX);
                    process = self::process(field.bytes().map_err(invalid)?, &mut parts).map_err(invalid)?;
                }
                _ => {}
            }
        }
    }
    finish(&process, spans, tenant, room)
}

/// A span with its process, not in a request.
#[cfg(feature = "kafka")]
pub(super) fn convert_span(message: &[u8], tenant: TenantId, room: &mut Room<'_>) -> Converted<Outcome> {
    let invalid =
        |error: ProtobufError| Refusal::invalid("body", format!("not a jaeger.api_v2.Span: {error}"));
    let span = span(message).map_err(invalid)?;
    room.hold(span.bytes())?;
    finish(&Process::default(), vec![span], tenant, room)
}

fn process<'a>(message: &'a [u8], parts: &mut Parts) -> Result<Process<'a>, ProtobufError> {
    let mut process = Process::default();
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => process.service = field.text()?,
            2 => {
                parts.one(2)?;
                process.tags.push(tag(field.bytes()?)?);
            }
            _ => {}
        }
    }
    Ok(process)
}

fn span(message: &[u8]) -> Result<JaegerSpan<'_>, ProtobufError> {
    let (mut span, mut parts) = (JaegerSpan::default(), Parts(PARTS_MAX));
    for field in Fields::new(message) {
        let field = field?;
        if matches!(field.number, 4 | 8 | 9 | 12) {
            parts.one(field.number)?;
        }
        match field.number {
            1 => span.trace_id = id(field.bytes()?),
            2 => span.span_id = id(field.bytes()?),
            3 => span.name = field.text()?,
            4 => span.references.push(reference(field.bytes()?)?),
            5 => span.flags = field.uint()? as u32,
            6 => span.start = time(field.bytes()?)?,
            7 => span.duration = time(field.bytes()?)?,
            8 => span.tags.push(tag(field.bytes()?)?),
            9 => span.logs.push(log(field.bytes()?, &mut parts)?),
            10 => span.process = Some(process(field.bytes()?, &mut parts)?),
            12 => span.warnings.push(field.text()?),
            _ => {}
        }
    }
    // An empty message says as much as none.
    span.process = span
        .process
        .filter(|process| !process.service.is_empty() || !process.tags.is_empty());
    Ok(span)
}

/// An id with zeros in front of what is short; of no length that there is, none.
fn id<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut id = [0; N];
    if bytes.len() == N || bytes.len() == 8 {
        id[N - bytes.len()..].copy_from_slice(bytes);
    }
    id
}

fn reference(message: &[u8]) -> Result<Reference, ProtobufError> {
    let mut reference = Reference::default();
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => reference.trace_id = id(field.bytes()?),
            2 => reference.span_id = id(field.bytes()?),
            3 => reference.follows = field.uint()? == 1,
            _ => {}
        }
    }
    Ok(reference)
}

/// Nanoseconds of a timestamp or a duration; 0 for negative ones.
fn time(message: &[u8]) -> Result<u64, ProtobufError> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => seconds = field.int()?,
            2 => nanos = field.int()?,
            _ => {}
        }
    }
    let time = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Ok(u64::try_from(time).unwrap_or(0))
}

fn tag(message: &[u8]) -> Result<Tag<'_>, ProtobufError> {
    let (mut key, mut kind) = ("", 0);
    let (mut text, mut flag, mut integer, mut double, mut bytes) = ("", false, 0, 0.0, &[][..]);
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => key = field.text()?,
            2 => kind = field.uint()?,
            3 => text = field.text()?,
            4 => flag = field.uint()? != 0,
            5 => integer = field.int()?,
            6 => double = field.double()?,
            7 => bytes = field.bytes()?,
            _ => {}
        }
    }
    let value = match kind {
        0 => AnyValue::String(text),
        1 => AnyValue::Bool(flag),
        2 => AnyValue::Int(integer),
        3 => AnyValue::Double(double),
        4 => AnyValue::Bytes(bytes),
        _ => return Err(ProtobufError::Type(2)),
    };
    Ok((key, value))
}

fn log<'a>(message: &'a [u8], parts: &mut Parts) -> Result<(u64, Vec<Tag<'a>>), ProtobufError> {
    let (mut at, mut fields) = (0, Vec::new());
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => at = time(field.bytes()?)?,
            2 => {
                parts.one(2)?;
                fields.push(tag(field.bytes()?)?);
            }
            _ => {}
        }
    }
    Ok((at, fields))
}
