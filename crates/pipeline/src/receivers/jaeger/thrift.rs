//! `jaeger.thrift`'s `Batch`, in either protocol of Thrift: by itself, as it comes over HTTP, and as the argument of
//! `agent.emitBatch`, as it comes over UDP. Owns what the fields mean; the bytes are read in `wire`.

mod wire;

use cupola_telemetry::TenantId;
use cupola_telemetry::view::AnyValue;

use super::Outcome;
use super::convert::{JaegerSpan, PARTS_MAX, Process, Reference, Tag, finish};
use crate::receivers::http::intake::{Converted, Room};
use crate::receivers::http::refusal::Refusal;
pub(super) use wire::Protocol;
use wire::{BOOL, DEPTH_MAX, DOUBLE, I32, I64, LIST, Read, Reader, STRUCT, TEXT, ThriftError};

/// The one method of `agent.thrift` that is taken. The other, `emitZipkinBatch`, the Collector does not have either.
const METHOD: &str = "emitBatch";

/// A batch by itself, in the binary protocol.
pub(super) fn convert(body: &[u8], tenant: TenantId, room: &mut Room<'_>) -> Converted<Outcome> {
    let mut reader = Reader::new(body, Protocol::Binary);
    let mut batch = Incoming::default();
    let read = batch.read(&mut reader, room);
    batch.finish(read, "a batch of jaeger.thrift", tenant, room)
}

/// A packet that calls the agent.
pub(super) fn convert_call(
    packet: &[u8],
    protocol: Protocol,
    tenant: TenantId,
    room: &mut Room<'_>,
) -> Converted<Outcome> {
    let mut reader = Reader::new(packet, protocol);
    let called = reader.call(METHOD);
    arguments(reader, called, tenant, room)
}

/// The same behind the name of the method, which no fuzzer finds soon.
#[cfg(any(test, fuzzing))]
pub(super) fn convert_arguments(
    packet: &[u8],
    protocol: Protocol,
    tenant: TenantId,
    room: &mut Room<'_>,
) -> Converted<Outcome> {
    arguments(Reader::new(packet, protocol), Ok(()), tenant, room)
}

fn arguments(
    mut reader: Reader<'_>,
    called: Read<()>,
    tenant: TenantId,
    room: &mut Room<'_>,
) -> Converted<Outcome> {
    let mut batch = Incoming::default();
    let read = called.and_then(|()| {
        reader.fields(|reader, id, kind| match (id, kind) {
            (1, STRUCT) => batch.read(reader, room),
            _ => reader.skip(kind, DEPTH_MAX),
        })
    });
    batch.finish(read, "a call of agent.emitBatch", tenant, room)
}

/// What has been read of a batch.
#[derive(Default)]
struct Incoming<'a> {
    process: Process<'a>,
    spans: Vec<JaegerSpan<'a>>,
    /// Bytes of the spans.
    held: usize,
    /// What [`ThriftError::Room`] stands for.
    refused: Option<Refusal>,
}

impl<'a> Incoming<'a> {
    fn read(&mut self, reader: &mut Reader<'a>, room: &mut Room<'_>) -> Read<()> {
        reader.fields(|reader, id, kind| match (id, kind) {
            (1, STRUCT) => {
                reader.parts = PARTS_MAX;
                reader.process().map(|read| self.process = read)
            }
            (2, LIST) => {
                for _ in 0..reader.list_length(STRUCT)? {
                    reader.parts = PARTS_MAX;
                    let span = JaegerSpan::thrift(reader)?;
                    self.held += span.bytes();
                    room.hold(self.held).map_err(|refusal| {
                        self.refused = Some(refusal);
                        ThriftError::Room
                    })?;
                    self.spans.push(span);
                }
                Ok(())
            }
            _ => reader.skip(kind, DEPTH_MAX),
        })
    }

    fn finish(self, read: Read<()>, what: &str, tenant: TenantId, room: &mut Room<'_>) -> Converted<Outcome> {
        if let Some(refusal) = self.refused {
            return Err(refusal);
        }
        read.map_err(|error| Refusal::invalid("body", format!("not {what}: {error}")))?;
        finish(&self.process, self.spans, tenant, room)
    }
}

impl<'a> Reader<'a> {
    fn process(&mut self) -> Read<Process<'a>> {
        let mut process = Process::default();
        self.fields(|reader, id, kind| match (id, kind) {
            (1, TEXT) => reader.text().map(|read| process.service = read),
            (2, LIST) => reader.list(Reader::tag).map(|read| process.tags = read),
            _ => reader.skip(kind, DEPTH_MAX),
        })?;
        Ok(process)
    }

    fn tag(&mut self) -> Read<Tag<'a>> {
        let (mut key, mut form) = ("", 0);
        let (mut text, mut double, mut flag, mut integer, mut bytes) = ("", 0.0, false, 0, &[][..]);
        self.fields(|reader, id, kind| {
            match (id, kind) {
                (1, TEXT) => key = reader.text()?,
                (2, I32) => form = reader.i32()?,
                (3, TEXT) => text = reader.text()?,
                (4, DOUBLE) => double = reader.double()?,
                (5, BOOL) => flag = reader.flag()?,
                (6, I64) => integer = reader.i64()?,
                (7, TEXT) => bytes = reader.bytes()?,
                _ => reader.skip(kind, DEPTH_MAX)?,
            }
            Ok(())
        })?;
        let value = match form {
            0 => AnyValue::String(text),
            1 => AnyValue::Double(double),
            2 => AnyValue::Bool(flag),
            3 => AnyValue::Int(integer),
            4 => AnyValue::Bytes(bytes),
            _ => return Err(ThriftError::Type),
        };
        Ok((key, value))
    }

    fn log(&mut self) -> Read<(u64, Vec<Tag<'a>>)> {
        let mut log = (0, Vec::new());
        self.fields(|reader, id, kind| {
            match (id, kind) {
                (1, I64) => log.0 = nanos(reader.i64()?),
                (2, LIST) => log.1 = reader.list(Reader::tag)?,
                _ => reader.skip(kind, DEPTH_MAX)?,
            }
            Ok(())
        })?;
        Ok(log)
    }

    fn reference(&mut self) -> Read<Reference> {
        let (mut reference, mut low, mut high) = (Reference::default(), 0, 0);
        self.fields(|reader, id, kind| {
            match (id, kind) {
                (1, I32) => reference.follows = reader.i32()? == 1,
                (2, I64) => low = reader.i64()?,
                (3, I64) => high = reader.i64()?,
                (4, I64) => reference.span_id = reader.i64()?.to_be_bytes(),
                _ => reader.skip(kind, DEPTH_MAX)?,
            }
            Ok(())
        })?;
        reference.trace_id = trace_id(high, low);
        Ok(reference)
    }
}

fn trace_id(high: i64, low: i64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&high.to_be_bytes());
    id[8..].copy_from_slice(&low.to_be_bytes());
    id
}

fn nanos(micros: i64) -> u64 {
    u64::try_from(micros).unwrap_or(0).saturating_mul(1000)
}

impl<'a> JaegerSpan<'a> {
    fn thrift(reader: &mut Reader<'a>) -> Read<JaegerSpan<'a>> {
        let (mut span, mut low, mut high) = (JaegerSpan::default(), 0, 0);
        reader.fields(|reader, id, kind| {
            match (id, kind) {
                (1, I64) => low = reader.i64()?,
                (2, I64) => high = reader.i64()?,
                (3, I64) => span.span_id = reader.i64()?.to_be_bytes(),
                (4, I64) => span.parent_id = reader.i64()?.to_be_bytes(),
                (5, TEXT) => span.name = reader.text()?,
                (6, LIST) => span.references = reader.list(Reader::reference)?,
                (7, I32) => span.flags = reader.i32()? as u32,
                (8, I64) => span.start = nanos(reader.i64()?),
                (9, I64) => span.duration = nanos(reader.i64()?),
                (10, LIST) => span.tags = reader.list(Reader::tag)?,
                (11, LIST) => span.logs = reader.list(Reader::log)?,
                _ => reader.skip(kind, DEPTH_MAX)?,
            }
            Ok(())
        })?;
        span.trace_id = trace_id(high, low);
        Ok(span)
    }
}
