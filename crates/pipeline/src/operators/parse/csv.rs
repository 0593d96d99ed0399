//! `csv_parser`: one row whose columns have the names of a header.

use serde::Deserialize;

use super::{Frame, map};
use crate::operators::build::{Built, Making, Wrong, edit, wrong};
use crate::operators::value::Value;

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

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Quotes {
    Strict,
    Lazy,
    Ignored,
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

pub(super) fn parse(row: &str, delimiter: char, quotes: Quotes, names: &[String]) -> Result<Value, String> {
    let fields = match quotes {
        Quotes::Ignored => row.split(delimiter).map(str::to_owned).collect(),
        quotes => split(row, delimiter, quotes == Quotes::Lazy)?,
    };
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

/// A quoted field may have delimiters, line ends and doubled quotes in it.
fn split(row: &str, delimiter: char, lazy: bool) -> Result<Vec<String>, String> {
    if row.is_empty() {
        return Err("there is no row".to_owned());
    }
    let mut fields = Vec::new();
    let mut letters = row.chars().peekable();
    loop {
        let mut field = String::new();
        if letters.next_if_eq(&'"').is_some() {
            loop {
                match letters.next() {
                    None if lazy => break,
                    None => return Err("a quote is not closed".to_owned()),
                    Some('"') if letters.next_if_eq(&'"').is_some() => field.push('"'),
                    Some('"') if letters.peek().is_none_or(|next| *next == delimiter) => break,
                    Some('"') if !lazy => return Err("something follows a closing quote".to_owned()),
                    Some(letter) => field.push(letter),
                }
            }
        } else {
            while let Some(letter) = letters.next_if(|letter| *letter != delimiter) {
                if letter == '"' && !lazy {
                    return Err("a quote stands within a field".to_owned());
                }
                field.push(letter);
            }
        }
        fields.push(field);
        if letters.next().is_none() {
            return Ok(fields);
        }
    }
}
