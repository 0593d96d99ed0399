//! `jaeger.thrift`'s `Batch` in Thrift's binary protocol. Owns the reader, which refuses what is deeper or longer than
//! its bytes.
//!
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-binary-protocol.md>

use cupola_telemetry::TenantId;
use cupola_telemetry::view::AnyValue;

use super::Outcome;
use super::convert::{JaegerSpan, PARTS_MAX, Process, Reference, Tag, finish};
use crate::receivers::http::intake::{Converted, Room};
use crate::receivers::http::refusal::Refusal;

/// Deepest structure that is skipped.
const DEPTH_MAX: u8 = 16;

const STOP: u8 = 0;
const BOOL: u8 = 2;
const BYTE: u8 = 3;
const DOUBLE: u8 = 4;
const I16: u8 = 6;
const I32: u8 = 8;
const I64: u8 = 10;
const TEXT: u8 = 11;
const STRUCT: u8 = 12;
const MAP: u8 = 13;
const SET: u8 = 14;
const LIST: u8 = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ThriftError {
    #[error("the batch breaks off")]
    Truncated,
    #[error("a field does not have the expected type")]
    Type,
    #[error("a text is not valid UTF-8")]
    Utf8,
    #[error("the batch is nested too deeply")]
    Depth,
    #[error("a span has more than {PARTS_MAX} tags, references, logs and fields")]
    TooMany,
    /// The refusal that it stands for is kept beside it.
    #[error("there is no room for the batch")]
    Room,
}

pub(super) fn convert(body: &[u8], tenant: TenantId, room: &mut Room<'_>) -> Converted<Outcome> {
    let mut reader = Reader {
        rest: body,
        parts: PARTS_MAX,
    };
    let (mut process, mut spans) = (Process::default(), Vec::new());
    let (mut held, mut refused) = (0, None);
    let read = reader.fields(|reader, id, kind| match (id, kind) {
        (1, STRUCT) => reader.process().map(|read| process = read),
        (2, LIST) => {
            for _ in 0..reader.list_length(STRUCT)? {
                reader.parts = PARTS_MAX;
                let span = JaegerSpan::thrift(reader)?;
                held += span.bytes();
                room.hold(held).map_err(|refusal| {
                    refused = Some(refusal);
                    ThriftError::Room
                })?;
                spans.push(span);
            }
            Ok(())
        }
        _ => reader.skip(kind, DEPTH_MAX),
    });
    if let Some(refusal) = refused {
        return Err(refusal);
    }
    read.map_err(|error| Refusal::invalid("body", format!("not a batch of jaeger.thrift: {error}")))?;
    finish(&process, spans, tenant, room)
}

struct Reader<'a> {
    rest: &'a [u8],
    /// How many parts a span may still have.
    parts: usize,
}

type Read<T> = Result<T, ThriftError>;

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ThriftError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| ThriftError::Truncated)
    }

    fn byte(&mut self) -> Read<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn i32(&mut self) -> Read<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Read<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn length(&mut self) -> Read<usize> {
        usize::try_from(self.i32()?).map_err(|_| ThriftError::Truncated)
    }

    fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    fn text(&mut self) -> Read<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| ThriftError::Utf8)
    }

    /// Gives each field of a structure to `read`, which must consume it.
    fn fields(&mut self, mut read: impl FnMut(&mut Reader<'a>, i16, u8) -> Read<()>) -> Read<()> {
        loop {
            let kind = self.byte()?;
            if kind == STOP {
                return Ok(());
            }
            let id = i16::from_be_bytes(self.array()?);
            read(self, id, kind)?;
        }
    }

    fn list_length(&mut self, wanted: u8) -> Read<usize> {
        let (kind, length) = (self.byte()?, self.length()?);
        match length == 0 || kind == wanted {
            true => Ok(length),
            false => Err(ThriftError::Type),
        }
    }

    /// The parts of a span.
    fn list<T>(&mut self, mut read: impl FnMut(&mut Reader<'a>) -> Read<T>) -> Read<Vec<T>> {
        let mut list = Vec::new();
        // What is claimed is not believed: each element takes a byte at the least, or the end is reached.
        for _ in 0..self.list_length(STRUCT)? {
            self.parts = self.parts.checked_sub(1).ok_or(ThriftError::TooMany)?;
            list.push(read(self)?);
        }
        Ok(list)
    }

    fn skip(&mut self, kind: u8, depth: u8) -> Read<()> {
        let deeper = depth.checked_sub(1).ok_or(ThriftError::Depth)?;
        match kind {
            BOOL | BYTE => drop(self.take(1)?),
            I16 => drop(self.take(2)?),
            I32 => drop(self.take(4)?),
            DOUBLE | I64 => drop(self.take(8)?),
            TEXT => drop(self.bytes()?),
            STRUCT => return self.fields(|reader, _, kind| reader.skip(kind, deeper)),
            SET | LIST => {
                let (kind, length) = (self.byte()?, self.length()?);
                for _ in 0..length {
                    self.skip(kind, deeper)?;
                }
            }
            MAP => {
                let (keys, values, length) = (self.byte()?, self.byte()?, self.length()?);
                for _ in 0..length {
                    self.skip(keys, deeper)?;
                    self.skip(values, deeper)?;
                }
            }
            _ => return Err(ThriftError::Type),
        }
        Ok(())
    }

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
                (4, DOUBLE) => double = f64::from_bits(reader.i64()? as u64),
                (5, BOOL) => flag = reader.byte()? != 0,
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
