//! From the types of the API to those of the core, which borrow from them. What has no place in those is written into an arena,
//! which is empty for all but lists and maps.

use std::time::{SystemTime, UNIX_EPOCH};

use ::opentelemetry::logs::AnyValue;
use ::opentelemetry::trace::{SpanKind as ApiSpanKind, Status as ApiStatus};
use ::opentelemetry::{Array, InstrumentationScope, KeyValue, Value as ApiValue};
use bumpalo::Bump;
use cupola_sdk_core::Value;
use cupola_sdk_core::attributes::Attributes;
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::span::{SpanKind, Status};

/// Attributes as the core takes them.
pub(super) type Pair<'v> = (&'v str, Value<'v>);

/// So many pairs have no memory of their own.
const FEW: usize = 8;

/// Deepest nesting of a value that is looked at; the core writes no deeper either.
const DEPTH_MAX: usize = 16;

/// Calls `with` with attributes as the core takes them.
#[inline]
pub(super) fn with_pairs<'v, T>(
    attributes: &'v [KeyValue],
    arena: &'v Bump,
    with: impl FnOnce(&[Pair<'v>]) -> T,
) -> T {
    let mut few = [("", Value::Empty); FEW];
    let many;
    let pairs = match few.get_mut(..attributes.len()) {
        Some(few) => {
            put_all(few, attributes, arena);
            few
        }
        None => {
            many = pairs(attributes, arena);
            &many[..]
        }
    };
    with(pairs)
}

pub(super) fn pairs<'v>(attributes: &'v [KeyValue], arena: &'v Bump) -> Vec<Pair<'v>> {
    let mut pairs = vec![("", Value::Empty); attributes.len()];
    put_all(&mut pairs, attributes, arena);
    pairs
}

#[inline]
fn put_all<'v>(places: &mut [Pair<'v>], attributes: &'v [KeyValue], arena: &'v Bump) {
    for ((key, value), attribute) in places.iter_mut().zip(attributes) {
        *key = attribute.key.as_str();
        // Each where it belongs, part by part. A value that is made elsewhere and then moved costs as much as all the rest: the
        // processor waits for its parts to be stored before it loads them as a whole.
        match &attribute.value {
            ApiValue::String(text) => *value = Value::String(text.as_str()),
            ApiValue::I64(number) => *value = Value::Int(*number),
            ApiValue::F64(number) => *value = Value::Double(*number),
            ApiValue::Bool(is) => *value = Value::Bool(*is),
            other => *value = other_value(other, arena),
        }
    }
}

/// Sets an attribute.
#[inline]
pub(super) fn set(attributes: &mut Attributes, attribute: &KeyValue) {
    let key = attribute.key.as_str();
    match &attribute.value {
        ApiValue::String(text) => attributes.set(key, text.as_str()),
        ApiValue::I64(number) => attributes.set(key, *number),
        ApiValue::F64(number) => attributes.set(key, *number),
        ApiValue::Bool(is) => attributes.set(key, *is),
        other => attributes.set(key, other_value(other, &Bump::new())),
    }
}

/// Arrays, and what the API gets later, as the text that it has for it.
#[cold]
fn other_value<'v>(value: &'v ApiValue, arena: &'v Bump) -> Value<'v> {
    let values: &[Value<'v>] = match value {
        ApiValue::Array(Array::Bool(values)) => {
            arena.alloc_slice_fill_iter(values.iter().map(|value| Value::Bool(*value)))
        }
        ApiValue::Array(Array::I64(values)) => {
            arena.alloc_slice_fill_iter(values.iter().map(|value| Value::Int(*value)))
        }
        ApiValue::Array(Array::F64(values)) => {
            arena.alloc_slice_fill_iter(values.iter().map(|value| Value::Double(*value)))
        }
        ApiValue::Array(Array::String(values)) => {
            arena.alloc_slice_fill_iter(values.iter().map(|value| Value::String(value.as_str())))
        }
        other => return Value::String(arena.alloc_str(&other.to_string())),
    };
    Value::Array(values)
}

/// Sets an attribute of a log record.
#[inline]
pub(super) fn set_any(attributes: &mut Attributes, key: &str, value: &AnyValue) {
    match value {
        AnyValue::String(text) => attributes.set(key, text.as_str()),
        AnyValue::Int(number) => attributes.set(key, *number),
        AnyValue::Double(number) => attributes.set(key, *number),
        AnyValue::Boolean(is) => attributes.set(key, *is),
        other => attributes.set(key, any(other, &Bump::new())),
    }
}

/// Of a log record. What is nested too deeply, or of a type that the API gets later, is empty.
#[inline]
pub(super) fn any<'v>(value: &'v AnyValue, arena: &'v Bump) -> Value<'v> {
    any_within(value, arena, DEPTH_MAX)
}

fn any_within<'v>(value: &'v AnyValue, arena: &'v Bump, depth: usize) -> Value<'v> {
    match value {
        AnyValue::String(text) => Value::String(text.as_str()),
        AnyValue::Int(value) => Value::Int(*value),
        AnyValue::Double(value) => Value::Double(*value),
        AnyValue::Boolean(value) => Value::Bool(*value),
        AnyValue::Bytes(bytes) => Value::Bytes(bytes),
        AnyValue::ListAny(_) | AnyValue::Map(_) if depth == 0 => Value::Empty,
        AnyValue::ListAny(values) => {
            let values = values.iter().map(|value| any_within(value, arena, depth - 1));
            Value::Array(arena.alloc_slice_fill_iter(values))
        }
        AnyValue::Map(map) => {
            let pairs = map
                .iter()
                .map(|(key, value)| (key.as_str(), any_within(value, arena, depth - 1)));
            let pairs = arena.alloc_slice_fill_iter(pairs);
            // A map has no order: the same one is to be written in the same way.
            pairs.sort_unstable_by_key(|(key, _)| *key);
            Value::Map(pairs)
        }
        _ => Value::Empty,
    }
}

pub(super) fn scope(scope: &InstrumentationScope) -> Scope {
    scope_of(scope.name(), scope)
}

/// The scope of another name.
pub(super) fn scope_of(name: &str, scope: &InstrumentationScope) -> Scope {
    let arena = Bump::new();
    let attributes: Vec<KeyValue> = scope.attributes().cloned().collect();
    let attributes = pairs(&attributes, &arena);
    Scope::of(
        name,
        scope.version().unwrap_or_default(),
        scope.schema_url().unwrap_or_default(),
        &attributes,
    )
}

/// Nanoseconds since 1970; 0 before it.
#[inline]
pub(super) fn unix_nano(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

pub(super) fn kind(kind: &ApiSpanKind) -> SpanKind {
    match kind {
        ApiSpanKind::Internal => SpanKind::Internal,
        ApiSpanKind::Server => SpanKind::Server,
        ApiSpanKind::Client => SpanKind::Client,
        ApiSpanKind::Producer => SpanKind::Producer,
        ApiSpanKind::Consumer => SpanKind::Consumer,
    }
}

pub(super) fn status(status: ApiStatus) -> Status {
    match status {
        ApiStatus::Unset => Status::Unset,
        ApiStatus::Ok => Status::Ok,
        ApiStatus::Error { description } => Status::Error {
            description: description.into_owned(),
        },
    }
}
