//! Conditions of the typed endpoints as SQL text. Everything that comes from a request enters a statement here and only
//! here, as a literal; names of columns never come from a request.

use cupola_query::level_floor;
use cupola_telemetry::TraceId;

use crate::error::ApiError;
use crate::query_string::{QueryString, TimeRange};

/// Conditions that must all hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Predicate {
    conditions: Vec<String>,
}

/// Attribute conditions of one request.
const ATTRIBUTE_CONDITIONS_MAX: usize = 16;

impl Predicate {
    pub(crate) fn add(&mut self, condition: impl Into<String>) -> &mut Self {
        self.conditions.push(condition.into());
        self
    }

    pub(crate) fn range(&mut self, range: TimeRange) -> &mut Self {
        if let Some(from) = range.from {
            self.add(format!("timestamp >= {}", timestamp(from)));
        }
        if let Some(to) = range.to {
            self.add(format!("timestamp < {}", timestamp(to)));
        }
        self
    }

    pub(crate) fn equals(&mut self, column: &'static str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.add(format!("{column} = {}", text(value)));
        }
        self
    }

    /// `attribute=key=value` and `resource_attribute=key=value`, as often as wanted.
    pub(crate) fn attributes(&mut self, query: &QueryString) -> Result<&mut Self, ApiError> {
        for (parameter, column) in [
            ("attribute", "attributes"),
            ("resource_attribute", "resource_attributes"),
        ] {
            for (index, pair) in query.all(parameter).enumerate() {
                if index >= ATTRIBUTE_CONDITIONS_MAX {
                    return Err(ApiError::bad_request(format!(
                        "`{parameter}` is given more than {ATTRIBUTE_CONDITIONS_MAX} times"
                    )));
                }
                let (key, value) = key_value(parameter, pair)?;
                self.add(format!("{column}->>{} = {}", text(key), text(value)));
            }
        }
        Ok(self)
    }

    /// ` WHERE …`, or nothing.
    pub(crate) fn clause(&self) -> String {
        if self.conditions.is_empty() {
            return String::new();
        }
        format!(" WHERE {}", self.conditions.join(" AND "))
    }
}

/// Splits `key=value` at the first equals sign.
pub(crate) fn key_value<'a>(parameter: &str, pair: &'a str) -> Result<(&'a str, &'a str), ApiError> {
    match pair.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key, value)),
        _ => Err(ApiError::bad_request(format!(
            "parameter `{parameter}` is `{pair}`; it must be `key=value`"
        ))),
    }
}

/// A text literal; quotes are doubled and nothing else is special.
pub(crate) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// A point in time, in nanoseconds since 1970.
pub(crate) fn timestamp(nanoseconds: i64) -> String {
    format!("arrow_cast({nanoseconds}, 'Timestamp(ns, \"UTC\")')")
}

/// The literal a `trace_id` column is compared with.
pub(crate) fn trace_id(id: &TraceId) -> String {
    format!("'{id}'")
}

pub(crate) fn parse_trace_id(hex: &str) -> Result<TraceId, ApiError> {
    TraceId::parse(hex).map_err(|error| {
        ApiError::bad_request(format!("`{hex}` is not a trace id: {error}"))
            .with_hint("a trace id is 32 hex digits")
    })
}

/// The lowest severity number of the level of parameter `level`.
pub(crate) fn parse_level(query: &QueryString) -> Result<Option<i32>, ApiError> {
    let Some(level) = query.text("level")? else {
        return Ok(None);
    };
    let floor = level_floor(level);
    floor.map(Some).ok_or_else(|| {
        ApiError::bad_request(format!("`{level}` is not a level"))
            .with_hint("levels are trace, debug, info, warn, error and fatal")
    })
}
