//! From the types of the API to those of the core, which borrow from them. What has no place in those is written into an arena,
//! which is empty for all but lists and maps.

use std::time::{SystemTime, UNIX_EPOCH};

use ::opentelemetry::logs::AnyValue;
use ::opentelemetry::trace::{SpanKind as ApiSpanKind, Status as ApiStatus};
use ::opentelemetry::{Array, InstrumentationScope, KeyValue, Value as ApiValue};
use bumpalo::Bump;
use cupola_sdk_core::Value;
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::span::{SpanKind, Status};
use smallvec::SmallVec;

/// Attributes as the core takes them, without memory of their own while there are few.
pub(super) type Pairs<'v> = SmallVec<[(&'v str, Value<'v>); 12]>;

/// Deepest nesting of a value that is looked at; the core writes no deeper either.
const DEPTH_MAX: usize = 16;

#[inline]
pub(super) fn pairs<'v>(attributes: &'v [KeyValue], arena: &'v Bump) -> Pairs<'v> {
    let mut pairs = Pairs::new();
    pairs.extend(attributes.iter().map(|attribute| pair(attribute, arena)));
    pairs
}

#[inline]
pub(super) fn pair<'v>(attribute: &'v KeyValue, arena: &'v Bump) -> (&'v str, Value<'v>) {
    (attribute.key.as_str(), value(&attribute.value, arena))
}

#[inline]
fn value<'v>(value: &'v ApiValue, arena: &'v Bump) -> Value<'v> {
    match value {
        ApiValue::String(text) => Value::String(text.as_str()),
        ApiValue::I64(value) => Value::Int(*value),
        ApiValue::F64(value) => Value::Double(*value),
        ApiValue::Bool(value) => Value::Bool(*value),
        ApiValue::Array(values) => array(values, arena),
        // A type that the API gets later, as the text that it has for it.
        other => Value::String(arena.alloc_str(&other.to_string())),
    }
}

#[cold]
fn array<'v>(values: &'v Array, arena: &'v Bump) -> Value<'v> {
    let values: &[Value<'v>] = match values {
        Array::Bool(values) => arena.alloc_slice_fill_iter(values.iter().map(|value| Value::Bool(*value))),
        Array::I64(values) => arena.alloc_slice_fill_iter(values.iter().map(|value| Value::Int(*value))),
        Array::F64(values) => arena.alloc_slice_fill_iter(values.iter().map(|value| Value::Double(*value))),
        Array::String(values) => {
            arena.alloc_slice_fill_iter(values.iter().map(|value| Value::String(value.as_str())))
        }
        other => return Value::String(arena.alloc_str(&other.to_string())),
    };
    Value::Array(values)
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
    let attributes: Pairs<'_> = scope
        .attributes()
        .map(|attribute| pair(attribute, &arena))
        .collect();
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
