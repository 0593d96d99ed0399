//! `ParseCSV`: one row, with the names of its fields.

use std::borrow::Cow;

use cupola_telemetry::edit::Value as Telemetry;

use super::{Constants, Made, made};
use crate::ottl::error::Fault;
use crate::ottl::value::Value;
use crate::text_parts::csv::{Quotes, split};

pub(super) fn parse_csv(constants: &Constants) -> Made {
    let delimiter = one_letter(constants, 2, ',')?;
    let header_delimiter = one_letter(constants, 3, delimiter)?;
    let quotes = match constants.text(4).unwrap_or("strict") {
        "strict" => Quotes::Strict,
        "lazyQuotes" => Quotes::Lazy,
        "ignoreQuotes" => Quotes::Ignored,
        other => {
            let problem = format!("{other:?} is no mode; there are strict, lazyQuotes and ignoreQuotes");
            return Err((4, problem));
        }
    };
    made(move |arguments| {
        let headers = arguments.get(1).as_str()?;
        if headers.is_empty() {
            return Err(Fault::new("there are no headers"));
        }
        let row = arguments.get(0).as_str()?.trim_matches(['\n', '\r']);
        let fields = split(row, delimiter, quotes).map_err(Fault::new)?;
        let headers: Vec<&str> = headers.split(header_delimiter).collect();
        if fields.len() != headers.len() {
            return Err(Fault::of(format_args!(
                "there are {} fields for {} headers",
                fields.len(),
                headers.len()
            )));
        }
        let pairs = headers.into_iter().zip(fields);
        let pairs = pairs.map(|(header, field)| (Cow::Owned(header.to_owned()), Telemetry::from(field)));
        Ok(Value::Map(pairs.collect()))
    })
}

fn one_letter(constants: &Constants, index: usize, default: char) -> Result<char, (usize, String)> {
    let Some(text) = constants.text(index) else {
        return Ok(default);
    };
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) => Ok(letter),
        _ => Err((index, "a delimiter is one letter".to_owned())),
    }
}
