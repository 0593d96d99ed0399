//! `key_value_parser`: pairs such as `level=info msg="a b"`.

use serde::Deserialize;

use super::{Frame, map};
use crate::operators::build::{Built, Making, edit, wrong};
use crate::operators::value::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    delimiter: String,
    pair_delimiter: String,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            delimiter: "=".to_owned(),
            pair_delimiter: " ".to_owned(),
        }
    }
}

pub(super) fn make(making: &mut Making<'_>) -> Built {
    let frame = Frame::read(making)?;
    let config: Config = making.read()?;
    if config.delimiter.is_empty() || config.pair_delimiter.is_empty() {
        return Err(wrong("delimiter", "a delimiter cannot be empty"));
    }
    if config.delimiter == config.pair_delimiter {
        return Err(wrong("pair_delimiter", "cannot be the same as `delimiter`"));
    }
    edit(move |entry, now| {
        frame.apply(entry, now, |value| {
            parse(value.as_text()?, &config.delimiter, &config.pair_delimiter)
        })
    })
}

pub(super) fn parse(text: &str, delimiter: &str, pair_delimiter: &str) -> Result<Value, String> {
    if text.is_empty() {
        return Err("there is nothing to parse".to_owned());
    }
    let mut pairs = Vec::new();
    for pair in split(text, pair_delimiter)? {
        let (key, value) = pair
            .split_once(delimiter)
            .ok_or_else(|| format!("{pair:?} has no {delimiter:?}"))?;
        pairs.push((key.trim().to_owned(), Value::from(value.trim())));
    }
    Ok(map(pairs))
}

/// Pieces between delimiters that stand in no quotes; the quotes are left out, unless there is a backslash before them.
fn split(text: &str, delimiter: &str) -> Result<Vec<String>, String> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let (mut quote, mut escaped) = (None, false);
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if quote.is_none()
            && let Some(after) = rest.strip_prefix(delimiter)
        {
            if !piece.is_empty() {
                pieces.push(std::mem::take(&mut piece));
            }
            rest = after;
            continue;
        }
        rest = &rest[letter.len_utf8()..];
        match (escaped, quote) {
            (true, _) => escaped = false,
            (false, None) if matches!(letter, '"' | '\'') => {
                quote = Some(letter);
                continue;
            }
            (false, Some(open)) if letter == open => {
                quote = None;
                continue;
            }
            _ => escaped = letter == '\\',
        }
        piece.push(letter);
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    Ok(pieces)
}
