//! Converters that ask for a type or convert to one.

use super::{Arguments, Converter, Kind, TARGET, converter, plain, required};
use crate::ottl::error::Fault;
use crate::ottl::value::Value;

pub(super) const TABLE: &[Converter] = &[
    converter("IsString", TARGET, |_| {
        plain(|a| Ok(is(a, |v| matches!(v, Value::String(_)))))
    }),
    converter("IsInt", TARGET, |_| {
        plain(|a| Ok(is(a, |v| matches!(v, Value::Int(_)))))
    }),
    converter("IsDouble", TARGET, |_| {
        plain(|a| Ok(is(a, |v| matches!(v, Value::Double(_)))))
    }),
    converter("IsBool", TARGET, |_| {
        plain(|a| Ok(is(a, |v| matches!(v, Value::Bool(_)))))
    }),
    converter("IsMap", TARGET, |_| {
        plain(|a| Ok(is(a, |v| matches!(v, Value::Map(_)))))
    }),
    converter("IsList", TARGET, |_| {
        plain(|a| Ok(is(a, |v| matches!(v, Value::List(_)))))
    }),
    converter("IsEmpty", TARGET, |_| plain(|a| Ok(is(a, is_empty)))),
    converter("Int", TARGET, |_| plain(int)),
    converter("Double", TARGET, |_| plain(double)),
    converter("Bool", TARGET, |_| plain(bool)),
    converter("String", TARGET, |_| {
        plain(|a| Ok(a.get(0).to_text().map_or(Value::Nil, Value::String)))
    }),
    converter("Len", TARGET, |_| plain(len)),
    converter("Coalesce", &[required("values", Kind::Value)], |_| {
        plain(coalesce)
    }),
    converter("Log", TARGET, |_| plain(log)),
];

fn is<'a>(arguments: &Arguments<'_, 'a>, test: impl Fn(&Value<'a>) -> bool) -> Value<'a> {
    Value::Bool(test(arguments.get(0)))
}

fn is_empty(value: &Value<'_>) -> bool {
    match value {
        Value::Nil => true,
        Value::Bool(value) => !value,
        Value::Int(value) => *value == 0,
        Value::Double(value) => *value == 0.0,
        Value::String(text) => text.is_empty(),
        // An id that is not set is all zeros.
        Value::Bytes(bytes) => bytes.iter().all(|byte| *byte == 0),
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.is_empty(),
        Value::Time(nanos) => *nanos == 0,
        Value::Duration(nanos) => *nanos == 0,
        Value::Other(_) => false,
    }
}

fn int<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    Ok(match arguments.get(0) {
        Value::Int(value) => Value::Int(*value),
        Value::Double(value) => Value::Int(*value as i64),
        Value::Bool(value) => Value::Int(i64::from(*value)),
        Value::String(text) => match text.parse() {
            Ok(value) => Value::Int(value),
            Err(_) => return Err(Fault::of(format_args!("{text:?} is no integer"))),
        },
        Value::Duration(nanos) => Value::Int(*nanos),
        Value::Nil => Value::Nil,
        other => return Err(Fault::of(format_args!("{} is no integer", other.kind()))),
    })
}

fn double<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    Ok(double_like(arguments.get(0))?.map_or(Value::Nil, Value::Double))
}

/// A value as a double if it can be one; `None` for nil.
pub(in crate::ottl) fn double_like(value: &Value<'_>) -> Result<Option<f64>, Fault> {
    Ok(Some(match value {
        Value::Nil => return Ok(None),
        Value::Double(value) => *value,
        Value::Int(value) => *value as f64,
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::String(text) => match parse_double(text) {
            Some(value) => value,
            None => return Err(Fault::of(format_args!("{text:?} is no number"))),
        },
        other => return Err(Fault::of(format_args!("{} is no number", other.kind()))),
    }))
}

fn bool<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    Ok(match arguments.get(0) {
        Value::Bool(value) => Value::Bool(*value),
        Value::Double(value) => Value::Bool(*value != 0.0),
        Value::Int(value) => Value::Bool(*value != 0),
        Value::String(text) => match parse_bool(text) {
            Some(value) => Value::Bool(value),
            None => return Err(Fault::of(format_args!("{text:?} is neither true nor false"))),
        },
        _ => Value::Nil,
    })
}

/// Like Go's `strconv.ParseBool`.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Like Go's `strconv.ParseFloat`, but for hexadecimal digits.
pub(super) fn parse_double(text: &str) -> Option<f64> {
    text.parse().ok()
}

fn len<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let length = match arguments.get(0) {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        other => return Err(Fault::of(format_args!("{} has no length", other.kind()))),
    };
    Ok(Value::Int(length as i64))
}

fn coalesce<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let list = arguments.take(0).into_list()?;
    let found = list.iter().map(Value::from).find(|value| !value.is_nil());
    Ok(found.unwrap_or_default())
}

fn log<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let kind = arguments.get(0).kind();
    match double(arguments)? {
        Value::Double(value) if value > 0.0 => Ok(Value::Double(value.ln())),
        Value::Double(_) => Err(Fault::new("the logarithm needs a number above zero")),
        _ => Err(Fault::of(format_args!("{kind} has no logarithm"))),
    }
}
