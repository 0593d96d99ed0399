//! `csv_parser`: one row whose columns have the names of a header.

use serde::Deserialize;

use super::{Frame, map};
use crate::operators::build::{Built, Making, Wrong, edit, wrong};
use crate::operators::value::Value;
use crate::text_parts::csv::{Quotes, split};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    header: String,
    header_delimiter: Option<char>,
    /// The attribute that has the header, which may differ from entry to entry.
    header_attribute: String,
    delimiter: char,
    lazy_quotes: bool,
    ignore_quotes: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            header: String::new(),
            header_delimiter: None,
            header_attribute: String::new(),
            delimiter: ',',
            lazy_quotes: false,
            ignore_quotes: false,
        }
    }
}

pub(super) fn make(making: &mut Making<'_>) -> Built {
    let frame = Frame::read(making)?;
    let config: Config = making.read()?;
    let quotes = match (config.lazy_quotes, config.ignore_quotes) {
        (false, false) => Quotes::Strict,
        (true, false) => Quotes::Lazy,
        (false, true) => Quotes::Ignored,
        (true, true) => {
            return Err(wrong(
                "ignore_quotes",
                "cannot be set together with `lazy_quotes`",
            ));
        }
    };
    let between = config.header_delimiter.unwrap_or(config.delimiter);
    check(&config, between)?;
    let names = |header: &str| header.split(between).map(str::to_owned).collect::<Vec<_>>();
    let fixed = names(&config.header);
    edit(move |entry, now| {
        let dynamic;
        let names = match config.header_attribute.as_str() {
            "" => &fixed,
            key => {
                let header = entry
                    .attributes
                    .get(key)
                    .ok_or_else(|| format!("there is no attribute `{key}`"))?;
                dynamic = header.as_text()?.split(between).map(str::to_owned).collect();
                &dynamic
            }
        };
        frame.apply(entry, now, |value| {
            parse(&text(value)?, config.delimiter, quotes, names)
        })
    })
}

fn check(config: &Config, between: char) -> Result<(), Wrong> {
    match (config.header.is_empty(), config.header_attribute.is_empty()) {
        (true, true) => {
            return Err(wrong(
                "header",
                "is missing: the names of the columns, or `header_attribute`",
            ));
        }
        (false, false) => return Err(wrong("header_attribute", "cannot be set together with `header`")),
        _ => {}
    }
    if !config.header.is_empty() && !config.header.contains(between) {
        return Err(wrong("header", format!("has no {between:?} in it")));
    }
    Ok(())
}

fn text(value: &Value) -> Result<std::borrow::Cow<'_, str>, String> {
    match value {
        Value::Bytes(bytes) => Ok(String::from_utf8_lossy(bytes)),
        other => other.as_text().map(Into::into),
    }
}

fn parse(row: &str, delimiter: char, quotes: Quotes, names: &[String]) -> Result<Value, String> {
    let fields = split(row, delimiter, quotes)?;
    if fields.len() != names.len() {
        return Err(format!(
            "there are {} fields for {} columns",
            fields.len(),
            names.len()
        ));
    }
    Ok(map(names
        .iter()
        .cloned()
        .zip(fields.into_iter().map(Value::from))))
}
