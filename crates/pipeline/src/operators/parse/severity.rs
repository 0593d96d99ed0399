//! Severities from words and numbers: `severity_parser`, and `severity` in other parsers.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::operators::entry::{Entry, severity_name};
use crate::operators::field::Field;
use crate::operators::value::Value;

/// Numbers that a range may stand for.
const RANGE_MAX: i64 = 100_000;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SeverityConfig {
    parse_from: Option<Field>,
    /// `none`: no words but those of `mapping`. `otel`: the names of OpenTelemetry alone.
    preset: String,
    /// By severity: a value, a list of values, `2xx` to `5xx`, or a range `{min: …, max: …}`.
    mapping: BTreeMap<String, serde_json::Value>,
    /// The name of the severity takes the place of the text.
    overwrite_text: bool,
}

#[derive(Debug)]
pub(super) struct SeverityParser {
    from: Field,
    /// In small letters.
    known: BTreeMap<String, i32>,
    overwrite_text: bool,
}

impl SeverityParser {
    pub(super) fn new(config: &SeverityConfig) -> Result<SeverityParser, (&'static str, String)> {
        let missing = || {
            (
                "parse_from",
                "is missing: the field that has the severity".to_owned(),
            )
        };
        let from = config.parse_from.clone().ok_or_else(missing)?;
        let mut known = match config.preset.as_str() {
            "none" => BTreeMap::new(),
            "otel" => names(),
            // The Collector takes any other word for the default.
            _ => with_aliases(),
        };
        for (severity, values) in &config.mapping {
            let number = names().get(&severity.to_lowercase()).copied().ok_or_else(|| {
                ("mapping", format!("`{severity}` is no severity; there are trace, debug, info, warn, error, fatal, each also with 2 to 4 behind it, and 1 to 24"))
            })?;
            let values = match values {
                serde_json::Value::Array(values) => values.as_slice(),
                one => std::slice::from_ref(one),
            };
            for value in values {
                for text in texts(value).map_err(|problem| ("mapping", problem))? {
                    known.insert(text, number);
                }
            }
        }
        Ok(SeverityParser {
            from,
            known,
            overwrite_text: config.overwrite_text,
        })
    }

    /// A word that is not known is kept as the text, without a number.
    pub(super) fn parse(&self, entry: &mut Entry) -> Result<(), String> {
        let value = self
            .from
            .get(entry)
            .ok_or_else(|| format!("the entry has no field `{}`", self.from))?;
        let text = match value {
            Value::Float(number) if number.fract() != 0.0 => return Err(format!("{number} is no severity")),
            Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::Bytes(_) => value.to_string(),
            other => return Err(format!("{} is no severity", other.kind())),
        };
        let number = self.known.get(&text.to_lowercase()).copied().unwrap_or_default();
        entry.severity = number;
        entry.severity_text = match self.overwrite_text && number != 0 {
            true => severity_name(number).to_owned(),
            false => text,
        };
        Ok(())
    }
}

/// `info`, `info2` and so on, and the numbers.
fn names() -> BTreeMap<String, i32> {
    let numbers = (1..=24).map(|number| (number.to_string(), number));
    let words = (1..=24).map(|number| (severity_name(number).to_lowercase(), number));
    numbers.chain(words).collect()
}

fn with_aliases() -> BTreeMap<String, i32> {
    let mut known = names();
    for (alias, first) in [("warning", 13), ("err", 17)] {
        known.insert(alias.to_owned(), first);
        for step in 1..4 {
            known.insert(format!("{alias}{}", step + 1), first + step);
        }
    }
    known
}

fn texts(value: &serde_json::Value) -> Result<Vec<String>, String> {
    let range = |first: i64, last: i64| -> Result<Vec<String>, String> {
        let (first, last) = (first.min(last), first.max(last));
        match last.saturating_sub(first) < RANGE_MAX {
            true => Ok((first..=last).map(|number| number.to_string()).collect()),
            false => Err(format!(
                "the range {first} to {last} has more than {RANGE_MAX} numbers"
            )),
        }
    };
    match value {
        serde_json::Value::Number(number) => Ok(vec![number.to_string()]),
        serde_json::Value::String(text) => match text.as_str() {
            "2xx" => range(200, 299),
            "3xx" => range(300, 399),
            "4xx" => range(400, 499),
            "5xx" => range(500, 599),
            text => Ok(vec![text.to_lowercase()]),
        },
        serde_json::Value::Object(members) => {
            let number = |key| members.get(key).and_then(serde_json::Value::as_i64);
            match (number("min"), number("max")) {
                (Some(min), Some(max)) => range(min, max),
                _ => Err("a range has `min` and `max`".to_owned()),
            }
        }
        other => Err(format!("{other} cannot stand for a severity")),
    }
}
