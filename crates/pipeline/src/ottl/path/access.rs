//! Reading and writing the fields that paths name.

use std::borrow::Cow;

use cupola_telemetry::edit::{Array, Map, Message, MetricKind, Value as Telemetry};
use cupola_telemetry::wire::{write_varint, zigzag32};

use super::keys::{Key, check_nesting, set_in, set_trace_state_entry};
use super::table::{At, Field, Integer};
use crate::ottl::enums::{SPAN_KINDS, metric_type};
use crate::ottl::error::Fault;
use crate::ottl::eval::Run;
use crate::ottl::value::Value;

/// Fields of a log's body, of a summary's quantile, of a status, of a span's kind.
const BODY: u32 = 5;
const SPAN_KIND: u32 = 6;
const STATUS: u32 = 15;

impl<'a> Run<'_, 'a> {
    /// The field as the metric at hand has it; `None` if it has not.
    #[inline]
    pub(super) fn resolve(&self, field: Field) -> Option<Field> {
        match field {
            Field::Point(point) => point.field(self.place.metric_kind()?),
            Field::Integer(At::Data, ..) => {
                let with_temporality = matches!(
                    self.place.metric_kind()?,
                    MetricKind::Sum | MetricKind::Histogram | MetricKind::ExponentialHistogram
                );
                with_temporality.then_some(field)
            }
            Field::Bool(At::Data, _) => (self.place.metric_kind()? == MetricKind::Sum).then_some(field),
            _ => Some(field),
        }
    }

    #[inline]
    pub(in crate::ottl) fn read<R>(&self, at: At, read: impl FnOnce(&Message<'a>) -> R) -> R {
        let place = &self.place;
        match at {
            At::ResourceEnvelope => read(&place.resource),
            At::Resource => place.resource.with_message(1, read),
            At::ScopeEnvelope => read(&place.scope),
            At::Scope => place.scope.with_message(1, read),
            At::Item => read(&place.item),
            At::Status => place.item.with_message(STATUS, read),
            At::Data => read(&place.data),
            At::Part => read(&place.part),
            At::Positive => place.part.with_message(8, read),
            At::Negative => place.part.with_message(9, read),
        }
    }

    pub(in crate::ottl) fn message_mut(&mut self, at: At) -> &mut Message<'a> {
        let place = &mut *self.place;
        match at {
            At::ResourceEnvelope => &mut place.resource,
            At::Resource => place.resource.message_mut(1),
            At::ScopeEnvelope => &mut place.scope,
            At::Scope => place.scope.message_mut(1),
            At::Item => &mut place.item,
            At::Status => place.item.message_mut(STATUS),
            At::Data => &mut place.data,
            At::Part => &mut place.part,
            At::Positive => place.part.message_mut(8),
            At::Negative => place.part.message_mut(9),
        }
    }

    pub(super) fn get(&self, field: Field) -> Value<'a> {
        match field {
            Field::Cache => Value::Map(self.cache.clone()),
            Field::EventIndex => Value::Int(self.part_index as i64),
            Field::Text(at, number) | Field::TraceState(at, number) => {
                Value::String(self.read(at, |message| message.text(number)))
            }
            Field::Integer(at, number, integer) => {
                let bits = self.read(at, |message| message.number(number));
                match (integer, bits) {
                    (Integer::Optional64, None) => Value::Int(0),
                    (_, bits) => Value::Int(integer_of_bits(integer, bits.unwrap_or(0))),
                }
            }
            Field::Bool(at, number) => Value::Bool(
                self.read(at, |message| message.number(number))
                    .is_some_and(|bits| bits != 0),
            ),
            Field::Double(at, number) | Field::OptionalDouble(at, number) => {
                let bits = self.read(at, |message| message.number(number));
                Value::Double(f64::from_bits(bits.unwrap_or(0)))
            }
            Field::Time(at, number) => {
                let nanos = self.read(at, |message| message.number(number));
                Value::Time(i128::from(nanos.unwrap_or(0)))
            }
            Field::Id(at, number, length) => {
                let id = self.read(at, |message| message.bytes(number));
                let id = id.filter(|id| id.len() == length);
                Value::Bytes(id.unwrap_or_else(|| Cow::Borrowed(&[0; 16][..length])))
            }
            Field::IdText(at, number, length) => {
                let id = self.read(at, |message| message.bytes(number));
                let id = id.filter(|id| id.len() == length);
                Value::text(hex::encode(id.as_deref().unwrap_or(&[0; 16][..length])))
            }
            Field::Attributes(at, number) => Value::Map(self.read(at, |message| message.map(number))),
            Field::Body => self.place.item.value(BODY).map_or(Value::Nil, Value::from),
            Field::BodyText => {
                let body = self.place.item.value(BODY).map_or(Value::Nil, Value::from);
                Value::String(body.to_text().unwrap_or_default())
            }
            Field::SpanKindText => {
                let kind = self.place.item.number(SPAN_KIND).unwrap_or(0);
                let name = usize::try_from(kind).ok().and_then(|kind| SPAN_KINDS.get(kind));
                Value::text(*name.unwrap_or(&""))
            }
            Field::MetricType => Value::Int(metric_type(self.place.metric_kind())),
            Field::Doubles(at, number) => self.list(at, number, |chunk| {
                let doubles = chunk.chunks_exact(8).map(eight_bytes);
                doubles
                    .map(|bits| Telemetry::Double(f64::from_bits(bits)))
                    .collect()
            }),
            Field::Fixed64s(at, number) => self.list(at, number, |chunk| {
                let numbers = chunk.chunks_exact(8).map(eight_bytes);
                numbers.map(|number| Telemetry::Int(number as i64)).collect()
            }),
            Field::Varints(at, number) => self.list(at, number, varints),
            Field::Messages(at, number) => {
                let count = self.read(at, |message| message.repeated(number).count());
                Value::List((0..count).map(|_| Telemetry::Map(Map::new())).collect())
            }
            Field::MetricPoints => {
                let points = self.place.points_now();
                Value::List(points.map(|_| Telemetry::Map(Map::new())).collect())
            }
            Field::Quantiles(at, number) => {
                Value::List(self.read(at, |message| message.repeated(number).map(quantile).collect()))
            }
            // Resolved before; a path to a whole is refused when it is compiled.
            Field::Point(_) | Field::Whole => Value::Nil,
        }
    }

    fn list(&self, at: At, number: u32, read: impl FnOnce(&[u8]) -> Array<'a>) -> Value<'a> {
        let chunk = self.read(at, |message| message.bytes(number)).unwrap_or_default();
        Value::List(read(&chunk))
    }

    pub(super) fn set(&mut self, field: Field, value: Value<'a>) -> Result<(), Fault> {
        match field {
            Field::Cache => *self.cache = value.or_empty_map().into_map()?,
            Field::Text(at, number) | Field::TraceState(at, number) => {
                self.message_mut(at).set_text(number, value.into_text()?);
            }
            Field::Integer(at, number, integer) => {
                let value = value.as_int()?;
                if integer == Integer::Optional64 {
                    // The other member of the oneof.
                    self.message_mut(at).remove(4);
                }
                set_integer(self.message_mut(at), number, integer, value);
            }
            Field::Bool(at, number) => match value.as_bool()? {
                true => self.message_mut(at).set_varint(number, 1),
                false => self.message_mut(at).remove(number),
            },
            Field::Double(at, number) => match value.as_double()?.to_bits() {
                0 => self.message_mut(at).remove(number),
                bits => self.message_mut(at).set_fixed64(number, bits),
            },
            Field::OptionalDouble(at, number) => {
                let bits = value.as_double()?.to_bits();
                let message = self.message_mut(at);
                let number_point = number == 4;
                if number_point {
                    message.remove(6);
                }
                message.set_fixed64(number, bits);
            }
            Field::Time(at, number) => {
                let nanos = u64::try_from(value.as_time()?).unwrap_or(0);
                set_integer(self.message_mut(at), number, Integer::Fixed64, nanos as i64);
            }
            Field::Id(at, number, length) => match value {
                Value::Bytes(id) => self.set_id(at, number, length, id)?,
                other => {
                    return Err(Fault::of(format_args!(
                        "expected the bytes of an id, found {}",
                        other.kind()
                    )));
                }
            },
            Field::IdText(at, number, length) => {
                let id = hex::decode(value.as_str()?).map_err(|_| Fault::new("an id needs hex digits"))?;
                self.set_id(at, number, length, Cow::Owned(id))?;
            }
            Field::Attributes(at, number) => {
                let map = Telemetry::Map(value.or_empty_map().into_map()?);
                check_nesting(&map, 0)?;
                if let Telemetry::Map(map) = map {
                    self.message_mut(at).set_map(number, map);
                }
            }
            Field::Body => {
                let body = value.into_telemetry()?;
                check_nesting(&body, 0)?;
                self.place.item.set_value(BODY, body);
            }
            Field::BodyText => {
                let text = value.into_text()?;
                self.place.item.set_value(BODY, Telemetry::String(text));
            }
            Field::SpanKindText => {
                let name = value.as_str()?;
                let kind = SPAN_KINDS.iter().position(|known| *known == name);
                let kind = kind.ok_or_else(|| Fault::of(format_args!("{name:?} is no kind of span")))?;
                set_integer(&mut self.place.item, SPAN_KIND, Integer::Int32, kind as i64);
            }
            Field::Doubles(at, number) => {
                let packed = pack(value, |out, value| {
                    out.extend_from_slice(&value.as_double()?.to_le_bytes());
                    Ok(())
                })?;
                self.set_packed(at, number, packed);
            }
            Field::Fixed64s(at, number) => {
                let packed = pack(value, |out, value| {
                    out.extend_from_slice(&value.as_int()?.to_le_bytes());
                    Ok(())
                })?;
                self.set_packed(at, number, packed);
            }
            Field::Varints(at, number) => {
                let packed = pack(value, |out, value| {
                    write_varint(out, value.as_int()? as u64);
                    Ok(())
                })?;
                self.set_packed(at, number, packed);
            }
            Field::EventIndex
            | Field::MetricType
            | Field::Messages(..)
            | Field::MetricPoints
            | Field::Quantiles(..)
            | Field::Point(_)
            | Field::Whole => return Err(Fault::new("this cannot be changed")),
        }
        Ok(())
    }

    /// Sets what keys lead to.
    pub(super) fn set_key(
        &mut self,
        field: Field,
        first: Key<'a>,
        rest: &[Key<'a>],
        value: Value<'a>,
    ) -> Result<(), Fault> {
        if let (Field::TraceState(at, number), Key::Text(key)) = (field, &first) {
            let state = self.read(at, |message| message.text(number));
            let changed = set_trace_state_entry(&state, key, value.as_str()?);
            self.message_mut(at).set_text(number, Cow::Owned(changed));
            return Ok(());
        }
        let value = value.into_telemetry()?;
        check_nesting(&value, rest.len() + 1)?;
        let map = match (field, &first) {
            (Field::Body, _) => {
                let keys: Vec<Key<'a>> = std::iter::once(first).chain(rest.iter().cloned()).collect();
                let body = set_in(self.place.item.value(BODY), &keys, value)?;
                self.place.item.set_value(BODY, body);
                return Ok(());
            }
            (Field::Cache, _) => &mut *self.cache,
            (Field::Attributes(at, number), _) => self.message_mut(at).map_mut(number),
            _ => return Err(Fault::new("this cannot be changed by a key")),
        };
        let Key::Text(key) = first else {
            return Err(Fault::new("a map needs a string as its key"));
        };
        if rest.is_empty() {
            map.set(key, value);
            return Ok(());
        }
        let inner = set_in(map.get(&key), rest, value)?;
        map.set(key, inner);
        Ok(())
    }

    fn set_id(&mut self, at: At, number: u32, length: usize, id: Cow<'a, [u8]>) -> Result<(), Fault> {
        if id.len() != length {
            return Err(Fault::of(format_args!(
                "expected {length} bytes, found {}",
                id.len()
            )));
        }
        match id.iter().all(|byte| *byte == 0) {
            true => self.message_mut(at).remove(number),
            false => self.message_mut(at).set_bytes(number, id),
        }
        Ok(())
    }

    fn set_packed(&mut self, at: At, number: u32, packed: Vec<u8>) {
        match packed.is_empty() {
            true => self.message_mut(at).remove(number),
            false => self.message_mut(at).set_bytes(number, Cow::Owned(packed)),
        }
    }
}

fn integer_of_bits(integer: Integer, bits: u64) -> i64 {
    match integer {
        Integer::Int32 => i64::from(bits as i32),
        Integer::Uint32 | Integer::Fixed32 => i64::from(bits as u32),
        Integer::Fixed64 | Integer::Optional64 => bits as i64,
        Integer::Sint32 => {
            let bits = bits as u32;
            i64::from((bits >> 1) as i32 ^ -((bits & 1) as i32))
        }
    }
}

fn set_integer(message: &mut Message<'_>, number: u32, integer: Integer, value: i64) {
    let default = match integer {
        Integer::Optional64 => false,
        Integer::Fixed64 => value == 0,
        _ => value as u32 == 0,
    };
    if default {
        message.remove(number);
        return;
    }
    match integer {
        Integer::Int32 => message.set_varint(number, i64::from(value as i32) as u64),
        Integer::Uint32 => message.set_varint(number, u64::from(value as u32)),
        Integer::Fixed32 => message.set_fixed32(number, value as u32),
        Integer::Fixed64 | Integer::Optional64 => message.set_fixed64(number, value as u64),
        Integer::Sint32 => message.set_varint(number, u64::from(zigzag32(value as i32))),
    }
}

fn eight_bytes(chunk: &[u8]) -> u64 {
    chunk.try_into().map(u64::from_le_bytes).unwrap_or_default()
}

fn varints<'a>(chunk: &[u8]) -> Array<'a> {
    let mut numbers = Array::new();
    let (mut value, mut shift) = (0u64, 0);
    for byte in chunk {
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        shift += 7;
        if *byte < 0x80 {
            numbers.push(Telemetry::Int(value as i64));
            (value, shift) = (0, 0);
        }
    }
    numbers
}

/// A value at a quantile as a map.
fn quantile<'a>(raw: &'a [u8]) -> Telemetry<'a> {
    let message = Message::new(raw);
    let double = |number| Telemetry::Double(f64::from_bits(message.number(number).unwrap_or(0)));
    let mut map = Map::new();
    map.push(Cow::Borrowed("quantile"), double(1));
    map.push(Cow::Borrowed("value"), double(2));
    Telemetry::Map(map)
}

fn pack(
    value: Value<'_>,
    write: impl Fn(&mut Vec<u8>, Value<'_>) -> Result<(), Fault>,
) -> Result<Vec<u8>, Fault> {
    let mut packed = Vec::new();
    if value.is_nil() {
        return Ok(packed);
    }
    for element in value.into_list()?.iter() {
        write(&mut packed, element.into())?;
    }
    Ok(packed)
}
