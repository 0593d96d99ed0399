//! Converters that read a structure out of text.

use std::borrow::Cow;
use std::fmt;

use cupola_telemetry::edit::{VALUE_NESTING_MAX, Value as Telemetry};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::parse_csv::parse_csv;
use super::parse_url::parse_url;
use super::{Arguments, Constants, Converter, Kind, Made, TARGET, converter, made, optional, plain, value};
use crate::ottl::error::Fault;
use crate::ottl::value::Value;
use crate::text_parts::key_value;

pub(super) const TABLE: &[Converter] = &[
    converter("ParseJSON", TARGET, |_| plain(parse_json)),
    converter(
        "ParseKeyValue",
        &[
            value("target"),
            optional("delimiter", Kind::Text),
            optional("pair_delimiter", Kind::Text),
        ],
        parse_key_value,
    ),
    converter(
        "ParseCSV",
        &[
            value("target"),
            value("header"),
            optional("delimiter", Kind::Text),
            optional("header_delimiter", Kind::Text),
            optional("mode", Kind::Text),
        ],
        parse_csv,
    ),
    converter("ParseInt", &[value("target"), value("base")], |_| {
        plain(parse_int)
    }),
    converter("URL", &[value("uri")], |_| plain(parse_url)),
    converter("IsValidLuhn", TARGET, |_| plain(is_valid_luhn)),
];

/// JSON as telemetry, in the order of the text. Numbers become doubles, as the Collector has them.
struct Json(Telemetry<'static>);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor).map(Json)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Telemetry<'static>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Telemetry::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Telemetry::Double(value as f64))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Telemetry::Double(value as f64))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Telemetry::Double(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Telemetry::from(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Self::Value, E> {
        Ok(Telemetry::from(value))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Telemetry::Empty)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Json(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Telemetry::Array(items.into_iter().collect()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
        let mut all: Vec<(Cow<'static, str>, Telemetry<'static>)> = Vec::new();
        while let Some((key, Json(value))) = pairs.next_entry::<String, Json>()? {
            all.push((Cow::Owned(key), value));
        }
        Ok(Telemetry::Map(all.into_iter().collect()))
    }
}

fn parse_json<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let text = arguments.get(0).as_str()?;
    let Json(value) =
        serde_json::from_str(text).map_err(|error| Fault::of(format_args!("no JSON: {error}")))?;
    match value {
        Telemetry::Map(_) | Telemetry::Array(_) if value.nesting() > VALUE_NESTING_MAX => {
            Err(Fault::new("the JSON is nested too deeply"))
        }
        Telemetry::Map(_) | Telemetry::Array(_) => Ok(value.into()),
        _ => Err(Fault::new("the JSON is neither an object nor an array")),
    }
}

fn parse_key_value(constants: &Constants) -> Made {
    let delimiter = constants.text(1).unwrap_or("=").to_owned();
    let pair_delimiter = constants.text(2).unwrap_or(" ").to_owned();
    if delimiter.is_empty() || pair_delimiter.is_empty() {
        return Err((1, "a delimiter cannot be empty".to_owned()));
    }
    if delimiter == pair_delimiter {
        return Err((2, "the two delimiters are the same".to_owned()));
    }
    made(move |arguments| {
        let text = arguments.get(0).as_str()?;
        let pairs = key_value::pairs(text, &delimiter, &pair_delimiter)
            .map_err(|problem| Fault::of(format_args!("{problem}")))?;
        let pairs = pairs
            .into_iter()
            .map(|(key, value)| (Cow::Owned(key), Telemetry::from(value)));
        Ok(Value::Map(pairs.collect()))
    })
}

fn parse_int<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let base = arguments.get(1).as_int()?;
    let text = arguments.get(0).as_str()?;
    let refused = || Fault::of(format_args!("{text:?} is no integer of base {base}"));
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match base {
        0 => radix_of_prefix(digits),
        2..=36 => (base as u32, Cow::Borrowed(digits)),
        _ => {
            return Err(Fault::of(format_args!(
                "{base} is no base; there are 0 and 2 to 36"
            )));
        }
    };
    if digits.starts_with(['+', '-']) {
        return Err(refused());
    }
    let value = i128::from_str_radix(&digits, radix).map_err(|_| refused())?;
    let value = if negative { -value } else { value };
    i64::try_from(value).map(Value::Int).map_err(|_| refused())
}

fn radix_of_prefix(digits: &str) -> (u32, Cow<'_, str>) {
    let prefixes = [("0b", 2), ("0B", 2), ("0o", 8), ("0O", 8), ("0x", 16), ("0X", 16)];
    let found = prefixes
        .iter()
        .find_map(|(prefix, radix)| Some((*radix, digits.strip_prefix(prefix)?)));
    let (radix, rest) = match found {
        Some(found) => found,
        None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        None => (10, digits),
    };
    (radix, Cow::Owned(rest.replace('_', "")))
}

fn is_valid_luhn<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let digits = match arguments.get(0) {
        Value::Int(value) => Cow::Owned(value.to_string()),
        value => Cow::Borrowed(value.as_str()?),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::new("the number must be made of digits"));
    }
    let sum: u64 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(index, digit)| {
            let digit = u64::from(digit - b'0');
            match (index % 2, digit) {
                (0, digit) => digit,
                (_, digit) if digit > 4 => 2 * digit - 9,
                (_, digit) => 2 * digit,
            }
        })
        .sum();
    Ok(Value::Bool(sum.is_multiple_of(10)))
}
