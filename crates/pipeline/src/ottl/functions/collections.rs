//! Converters of lists and maps.

use std::borrow::Cow;
use std::cmp::Ordering;

use cupola_telemetry::edit::Value as Telemetry;

use super::{
    Arguments, Constants, Converter, Kind, Made, TARGET, converter, made, optional, plain, required, value,
};
use crate::ottl::compare::{equal, order};
use crate::ottl::error::Fault;
use crate::ottl::value::Value;

pub(super) const TABLE: &[Converter] = &[
    converter("ContainsValue", &[value("target"), value("item")], |_| {
        plain(contains_value)
    }),
    converter("Index", &[value("target"), value("value")], |_| plain(index)),
    converter("Keys", TARGET, |_| {
        plain(|a| {
            let map = a.take(0).into_map()?;
            Ok(Value::List(
                map.iter().map(|(key, _)| Telemetry::String(key)).collect(),
            ))
        })
    }),
    converter("Values", TARGET, |_| {
        plain(|a| {
            let map = a.take(0).into_map()?;
            Ok(Value::List(map.iter().map(|(_, value)| value).collect()))
        })
    }),
    converter("Sort", &[value("target"), optional("order", Kind::Text)], sort),
    converter(
        "SliceToMap",
        &[
            value("target"),
            optional("key_path", Kind::Texts),
            optional("value_path", Kind::Texts),
        ],
        slice_to_map,
    ),
    converter(
        "ToKeyValueString",
        &[
            required("target", Kind::Value),
            optional("delimiter", Kind::Text),
            optional("pair_delimiter", Kind::Text),
            optional("sort_output", Kind::Bool),
        ],
        to_key_value_string,
    ),
];

fn contains_value<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let list = arguments.take(0).into_list()?;
    let item = arguments.get(1);
    Ok(Value::Bool(
        list.iter().any(|element| equal(&element.into(), item)),
    ))
}

fn index<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let item = arguments.take(1);
    let found = match arguments.get(0) {
        Value::String(text) => text.find(item.as_str()?),
        Value::List(list) => list.iter().position(|element| equal(&element.into(), &item)),
        other => {
            return Err(Fault::of(format_args!(
                "cannot look for a value in {}",
                other.kind()
            )));
        }
    };
    Ok(Value::Int(found.map_or(-1, |found| found as i64)))
}

fn sort(constants: &Constants) -> Made {
    let descending = match constants.text(1).unwrap_or("asc") {
        "asc" => false,
        "desc" => true,
        other => return Err((1, format!("{other:?} is no order; there are asc and desc"))),
    };
    made(move |arguments| {
        let list = arguments.take(0).into_list()?;
        let mut values: Vec<Value<'_>> = list.iter().map(Value::from).collect();
        let sortable = |value: &Value<'_>| {
            matches!(
                value,
                Value::Int(_) | Value::Double(_) | Value::String(_) | Value::Bool(_)
            )
        };
        if let Some(other) = values.iter().find(|value| !sortable(value)) {
            return Err(Fault::of(format_args!("cannot sort {}", other.kind())));
        }
        let numbers = values
            .iter()
            .all(|value| matches!(value, Value::Int(_) | Value::Double(_)));
        let texts = values.iter().all(|value| matches!(value, Value::String(_)));
        let ascending: Order = if numbers {
            number_order
        } else if texts {
            |a, b| order(a, b).unwrap_or(Ordering::Equal)
        } else {
            |a, b| a.to_text().cmp(&b.to_text())
        };
        values.sort_by(|a, b| match descending {
            true => ascending(b, a),
            false => ascending(a, b),
        });
        let mut sorted = Vec::with_capacity(values.len());
        for value in values {
            sorted.push(value.into_telemetry()?);
        }
        Ok(Value::List(sorted.into_iter().collect()))
    })
}

type Order = fn(&Value<'_>, &Value<'_>) -> Ordering;

/// A total order, NaN included.
fn number_order(a: &Value<'_>, b: &Value<'_>) -> Ordering {
    let double = |value: &Value<'_>| match value {
        Value::Int(value) => *value as f64,
        Value::Double(value) => *value,
        _ => 0.0,
    };
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        _ => double(a).total_cmp(&double(b)),
    }
}

fn slice_to_map(constants: &Constants) -> Made {
    let key_path = constants.texts(1).map(<[String]>::to_vec);
    let value_path = constants.texts(2).map(<[String]>::to_vec);
    made(move |arguments| {
        let list = arguments.take(0).into_list()?;
        let mut pairs = Vec::new();
        for (index, element) in list.iter().enumerate() {
            let key = match &key_path {
                None => Cow::Owned(index.to_string()),
                Some(path) => match follow(element.clone(), path) {
                    Some(Telemetry::String(key)) => key,
                    _ => {
                        return Err(Fault::of(format_args!(
                            "element {index} has no string as its key"
                        )));
                    }
                },
            };
            let value = match &value_path {
                None => Some(element),
                Some(path) => follow(element, path),
            };
            let Some(value) = value else {
                return Err(Fault::of(format_args!(
                    "element {index} has no value at the path"
                )));
            };
            pairs.push((key, value));
        }
        Ok(Value::Map(pairs.into_iter().collect()))
    })
}

fn follow<'a>(value: Telemetry<'a>, path: &[String]) -> Option<Telemetry<'a>> {
    path.iter().try_fold(value, |value, key| match value {
        Telemetry::Map(map) => map.get(key),
        _ => None,
    })
}

fn to_key_value_string(constants: &Constants) -> Made {
    let delimiter = constants.text(1).unwrap_or("=").to_owned();
    let pair_delimiter = constants.text(2).unwrap_or(" ").to_owned();
    let sorted = constants.bool(3).unwrap_or(false);
    if delimiter == pair_delimiter {
        return Err((2, "the two delimiters are the same".to_owned()));
    }
    made(move |arguments| {
        let map = arguments.take(0).into_map()?;
        let mut pairs: Vec<_> = map.iter().collect();
        if sorted {
            pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        let mut out = String::new();
        let push = |out: &mut String, text: &str| {
            let escaped = text.replace('"', "\\\"");
            match text.contains(&delimiter) || text.contains(&pair_delimiter) {
                true => out.push_str(&format!("\"{escaped}\"")),
                false => out.push_str(&escaped),
            }
        };
        for (index, (key, value)) in pairs.into_iter().enumerate() {
            if index > 0 {
                out.push_str(&pair_delimiter);
            }
            push(&mut out, &key);
            out.push_str(&delimiter);
            push(&mut out, &Value::from(value).to_text().unwrap_or_default());
        }
        Ok(Value::text(out))
    })
}
