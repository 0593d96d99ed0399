//! `json_array_parser`: a row of JSON, as a list, or as a map whose keys are the names of a header.
//!
//! As in the Collector, objects in it are kept as their text, and lists in it are refused. Unlike there, a number that is not
//! whole stays what it is, and what is no row is refused instead of becoming an empty one.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Frame, map};
use crate::operators::build::{Built, Making, edit, wrong};
use crate::operators::value::Value;

/// Between names of a header.
const BETWEEN: char = ',';

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    header: String,
}

pub(super) fn make(making: &mut Making<'_>) -> Built {
    let config: Config = making.read_keys(&["header"])?;
    let names = match config.header.as_str() {
        "" => None,
        header => Some(header.split(BETWEEN).map(str::to_owned).collect::<Vec<_>>()),
    };
    if names.is_none() {
        // Attributes, where other parsers put what they find, cannot be a list.
        let to_body = || "body".into();
        making.settings.entry("parse_to").or_insert_with(to_body);
    }
    let frame = Frame::read(making)?;
    making.read::<super::Nothing>()?;
    if names.is_none() && frame.to.is_root() && !frame.to.is_body() {
        return Err(wrong(
            "parse_to",
            format!("cannot be `{}` without a `header`: a list is not a map", frame.to),
        ));
    }
    edit(move |entry, now| frame.apply(entry, now, |value| parse(&text(value)?, names.as_deref())))
}

fn text(value: &Value) -> Result<Cow<'_, str>, String> {
    match value {
        Value::Bytes(bytes) => Ok(String::from_utf8_lossy(bytes)),
        other => other.as_text().map(Into::into),
    }
}

fn parse(row: &str, names: Option<&[String]>) -> Result<Value, String> {
    let items: Vec<&RawValue> =
        serde_json::from_str(row).map_err(|error| format!("no list of JSON: {error}"))?;
    if let Some(names) = names.filter(|names| names.len() != items.len()) {
        return Err(format!(
            "there are {} values for {} names",
            items.len(),
            names.len()
        ));
    }
    let values: Vec<Value> = items
        .iter()
        .map(|item| value(item.get()))
        .collect::<Result<_, _>>()?;
    Ok(match names {
        Some(names) => map(names.iter().cloned().zip(values)),
        None => Value::List(values),
    })
}

fn value(json: &str) -> Result<Value, String> {
    let text = |error: serde_json::Error| format!("no JSON: {error}");
    Ok(match json.as_bytes().first() {
        Some(b'{') => Value::Text(compact(json)),
        Some(b'[') => return Err("a list within a list is not read".to_owned()),
        Some(b'"') => Value::Text(serde_json::from_str(json).map_err(text)?),
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'n') => Value::Nil,
        _ => match json.parse() {
            Ok(number) => Value::Int(number),
            Err(_) => Value::Float(serde_json::from_str(json).map_err(text)?),
        },
    })
}

/// The same JSON without what stands between its parts.
fn compact(json: &str) -> String {
    let (mut out, mut quoted, mut escaped) = (String::with_capacity(json.len()), false, false);
    for letter in json.chars() {
        if !quoted && letter.is_ascii_whitespace() {
            continue;
        }
        if letter == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = letter == '\\' && !escaped;
        out.push(letter);
    }
    out
}
