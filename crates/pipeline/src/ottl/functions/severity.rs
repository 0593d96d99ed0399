//! `ParseSeverity`: the level that a value stands for, by a mapping in the statement.

use cupola_telemetry::edit::{Map, Value as Telemetry};

use super::{Arguments, Converter, converter, plain, value};
use crate::ottl::error::Fault;
use crate::ottl::value::Value;

pub(super) const TABLE: &[Converter] = &[converter(
    "ParseSeverity",
    &[value("target"), value("mapping")],
    |_| plain(parse_severity),
)];

/// The first level, in the order of the mapping, one of whose criteria the value meets.
fn parse_severity<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let mapping = arguments.take(1).into_map()?;
    let target = arguments.take(0);
    if !matches!(target, Value::String(_) | Value::Int(_)) {
        return Err(Fault::of(format_args!(
            "expected a string or an int, found {}",
            target.kind()
        )));
    }
    let mut found = None;
    for (level, criteria) in mapping.iter() {
        let Telemetry::Array(criteria) = criteria else {
            return Err(Fault::of(format_args!("the criteria of {level:?} are no list")));
        };
        for criterion in criteria.iter() {
            let Telemetry::Map(criterion) = criterion else {
                return Err(Fault::of(format_args!("a criterion of {level:?} is no map")));
            };
            // All are looked at: a mapping that is wrong should not only fail for some values.
            if meets(&criterion, &target)? && found.is_none() {
                found = Some(level.clone());
            }
        }
    }
    match found {
        Some(level) => Ok(Value::String(level)),
        None => Err(Fault::of(format_args!(
            "no level of the mapping has {}",
            target.to_text().unwrap_or_default()
        ))),
    }
}

fn meets(criterion: &Map<'_>, target: &Value<'_>) -> Result<bool, Fault> {
    let mut met = false;
    if let Some(equals) = criterion.get("equals") {
        let Telemetry::Array(texts) = equals else {
            return Err(Fault::new("`equals` needs a list"));
        };
        for text in texts.iter() {
            let Telemetry::String(text) = text else {
                return Err(Fault::new("`equals` needs a list of strings"));
            };
            met |= matches!(target, Value::String(target) if *target == text);
        }
    }
    if let Some(range) = criterion.get("range") {
        let (least, most) = bounds(range)?;
        met |= matches!(target, Value::Int(target) if (least..=most).contains(target));
    }
    Ok(met)
}

fn bounds(range: Telemetry<'_>) -> Result<(i64, i64), Fault> {
    match range {
        Telemetry::Map(range) => match (range.get("min"), range.get("max")) {
            (Some(Telemetry::Int(least)), Some(Telemetry::Int(most))) => Ok((least, most)),
            _ => Err(Fault::new("a range needs the ints `min` and `max`")),
        },
        Telemetry::String(name) => match &*name {
            "2xx" => Ok((200, 299)),
            "3xx" => Ok((300, 399)),
            "4xx" => Ok((400, 499)),
            "5xx" => Ok((500, 599)),
            _ => Err(Fault::of(format_args!(
                "{name:?} is no range; there are 2xx, 3xx, 4xx and 5xx"
            ))),
        },
        _ => Err(Fault::new("a range is a map, or the name of one")),
    }
}
