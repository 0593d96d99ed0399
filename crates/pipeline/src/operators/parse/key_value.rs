//! `key_value_parser`: pairs such as `level=info msg="a b"`.

use serde::Deserialize;

use super::{Frame, map};
use crate::operators::build::{Built, Making, edit, wrong};
use crate::operators::value::Value;
use crate::text_parts::key_value;

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
            let pairs = key_value::pairs(value.as_text()?, &config.delimiter, &config.pair_delimiter)?;
            Ok(map(pairs
                .into_iter()
                .map(|(key, value)| (key, Value::Text(value)))))
        })
    })
}
