//! Setting an element inside maps and lists, and the entries of a trace state.

use std::borrow::Cow;

use cupola_telemetry::edit::{Array, Map, VALUE_NESTING_MAX, Value as Telemetry};

use crate::ottl::error::Fault;
use crate::ottl::value::Value;

/// Messages that a map or a list puts around an element, at most.
const LEVELS_PER_KEY: usize = 3;

/// Elements that are made because a list begins with a later one.
const NEW_ELEMENTS_MAX: usize = 1024;

/// A key that has been evaluated.
#[derive(Clone, Debug)]
pub(super) enum Key<'a> {
    Text(Cow<'a, str>),
    Index(usize),
}

impl<'a> Key<'a> {
    pub(super) fn of(value: Value<'a>) -> Result<Self, Fault> {
        match value {
            Value::String(text) => Ok(Self::Text(text)),
            Value::Int(index) => usize::try_from(index)
                .map(Self::Index)
                .map_err(|_| Fault::of(format_args!("{index} is no index"))),
            other => Err(Fault::of(format_args!("{} is no key", other.kind()))),
        }
    }
}

/// A value that is as deep as a payload may have it, once it stands below so many keys.
pub(super) fn check_nesting(value: &Telemetry<'_>, keys: usize) -> Result<(), Fault> {
    let inner = match value {
        Telemetry::Map(_) | Telemetry::Array(_) => value.nesting(),
        _ => 0,
    };
    if inner + keys * LEVELS_PER_KEY > VALUE_NESTING_MAX {
        return Err(Fault::new("the value would be nested too deeply"));
    }
    Ok(())
}

/// `existing` with `value` where `keys` lead. Maps that are missing on the way are made.
pub(super) fn set_in<'a>(
    existing: Option<Telemetry<'a>>,
    keys: &[Key<'a>],
    value: Telemetry<'a>,
) -> Result<Telemetry<'a>, Fault> {
    let Some((first, rest)) = keys.split_first() else {
        return Ok(value);
    };
    match (existing, first) {
        (None | Some(Telemetry::Empty), Key::Text(key)) => {
            let mut map = Map::new();
            map.push(key.clone(), set_in(None, rest, value)?);
            Ok(Telemetry::Map(map))
        }
        (None | Some(Telemetry::Empty), Key::Index(index)) => {
            if *index > NEW_ELEMENTS_MAX {
                return Err(Fault::of(format_args!(
                    "a new list has at most {NEW_ELEMENTS_MAX} elements before the one that is set"
                )));
            }
            let mut list: Array<'a> = (0..*index).map(|_| Telemetry::Empty).collect();
            list.push(set_in(None, rest, value)?);
            Ok(Telemetry::Array(list))
        }
        (Some(Telemetry::Map(mut map)), Key::Text(key)) => {
            let inner = if rest.is_empty() { None } else { map.get(key) };
            map.set(key.clone(), set_in(inner, rest, value)?);
            Ok(Telemetry::Map(map))
        }
        (Some(Telemetry::Array(mut list)), Key::Index(index)) => {
            let inner = set_in(list.get(*index), rest, value)?;
            if !list.set(*index, inner) {
                return Err(Fault::of(format_args!(
                    "there is no element {index} in a list of {}",
                    list.len()
                )));
            }
            Ok(Telemetry::Array(list))
        }
        (existing, _) => Err(Fault::of(format_args!(
            "{} cannot be indexed so",
            existing.map_or("nil", |value| Value::from(value).kind())
        ))),
    }
}

/// The entry of a W3C trace state; an empty text if there is none.
pub(super) fn trace_state_entry<'a>(state: &Cow<'a, str>, key: &str) -> Value<'a> {
    let entry = entries(state).find(|(name, _)| *name == key);
    Value::text(entry.map_or(String::new(), |(_, value)| value.to_owned()))
}

/// A trace state with an entry set, which goes to the front as the specification has it.
pub(super) fn set_trace_state_entry(state: &str, key: &str, value: &str) -> String {
    let mut changed = format!("{key}={value}");
    for (name, value) in entries(state).filter(|(name, _)| *name != key) {
        changed.push_str(&format!(",{name}={value}"));
    }
    changed
}

fn entries(state: &str) -> impl Iterator<Item = (&str, &str)> {
    state.split(',').filter_map(|entry| entry.trim().split_once('='))
}
