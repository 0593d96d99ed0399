//! Query strings into typed parameters: times, counts, repeated filters. Refuses names it does not know (with the
//! nearest one it does), repeated single values and values out of range, always as a 400 that says which and why.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::DateTime;

use crate::error::ApiError;

/// Longest query string looked at, in bytes.
const QUERY_STRING_BYTES_MAX: usize = 16 * 1024;

/// The decoded pairs of one query string, all of them names the endpoint knows.
#[derive(Debug, Default)]
pub(crate) struct QueryString {
    pairs: Vec<(String, String)>,
}

impl QueryString {
    pub(crate) fn parse(raw: Option<&str>, known: &[&str]) -> Result<Self, ApiError> {
        let raw = raw.unwrap_or_default();
        if raw.len() > QUERY_STRING_BYTES_MAX {
            return Err(ApiError::bad_request(format!(
                "the query string has {} bytes, at most {QUERY_STRING_BYTES_MAX} are taken",
                raw.len()
            )));
        }
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(raw.as_bytes()).into_owned().collect();
        for (name, _) in &pairs {
            if !known.contains(&name.as_str()) {
                return Err(unknown(name, known));
            }
        }
        Ok(Self { pairs })
    }

    /// The single value of `name`; an empty one counts as absent.
    pub(crate) fn text<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, ApiError> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() {
            return Err(ApiError::bad_request(format!(
                "parameter `{name}` is given more than once"
            )));
        }
        Ok(first)
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs
            .iter()
            .filter(move |(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn number(&self, name: &str, default: u64, max: u64) -> Result<u64, ApiError> {
        let Some(text) = self.text(name)? else {
            return Ok(default);
        };
        match text.parse::<u64>() {
            Ok(number) if (1..=max).contains(&number) => Ok(number),
            _ => Err(ApiError::bad_request(format!(
                "parameter `{name}` is `{text}`; it must be a whole number from 1 to {max}"
            ))),
        }
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.text(name)? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(ApiError::bad_request(format!(
                "parameter `{name}` is `{other}`; it must be `true` or `false`"
            ))),
        }
    }

    /// `from` and `to`: `from` is within, `to` is not.
    pub(crate) fn range(&self) -> Result<TimeRange, ApiError> {
        let now = now_ns();
        let from = self
            .text("from")?
            .map(|text| instant("from", text, now))
            .transpose()?;
        let to = self
            .text("to")?
            .map(|text| instant("to", text, now))
            .transpose()?;
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            return Err(ApiError::bad_request("`from` must be before `to`"));
        }
        Ok(TimeRange { from, to })
    }
}

/// Nanoseconds since 1970, half open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TimeRange {
    pub(crate) from: Option<i64>,
    pub(crate) to: Option<i64>,
}

pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// The same forms outside a query string.
pub(crate) fn instant_or_age(name: &str, text: &str) -> Result<i64, ApiError> {
    instant(name, text, now_ns())
}

/// RFC 3339, nanoseconds since 1970, or an age such as `15m` (`s`, `m`, `h`, `d`).
fn instant(name: &str, text: &str, now: i64) -> Result<i64, ApiError> {
    let parsed = parse_rfc3339(text)
        .or_else(|| text.parse::<i64>().ok())
        .or_else(|| parse_age(text, now));
    parsed.ok_or_else(|| {
        ApiError::bad_request(format!("parameter `{name}` is `{text}`, which is not a time")).with_hint(
            "a time is RFC 3339 (2026-01-31T12:00:00Z), nanoseconds since 1970, or an age (30s, 15m, 6h, 7d)",
        )
    })
}

fn parse_rfc3339(text: &str) -> Option<i64> {
    // In a query string an unescaped `+` of the offset reads as a space.
    DateTime::parse_from_rfc3339(&text.replace(' ', "+"))
        .ok()?
        .timestamp_nanos_opt()
}

fn parse_age(text: &str, now: i64) -> Option<i64> {
    let unit = text.chars().last()?;
    let seconds: i64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let count: u32 = text[..text.len() - 1].parse().ok()?;
    let nanoseconds = i64::from(count)
        .checked_mul(seconds)?
        .checked_mul(1_000_000_000)?;
    now.checked_sub(nanoseconds)
}

fn unknown(name: &str, known: &[&str]) -> ApiError {
    let error = ApiError::bad_request(format!("unknown parameter `{name}`"));
    let nearest = known
        .iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .min();
    match nearest {
        Some((distance, candidate)) if distance <= 2 => {
            error.with_hint(format!("did you mean `{candidate}`?"))
        }
        _ => error.with_hint(format!("this endpoint takes {}", known.join(", "))),
    }
}

/// Levenshtein distance, for names of a few characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substitution = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_three_ways() {
        let check = |text: &str| instant("from", text, 10_000_000_000_000).ok();
        assert_eq!(check("1970-01-01T00:00:01.000000002Z"), Some(1_000_000_002));
        assert_eq!(check("1970-01-01T01:00:01 01:00"), Some(1_000_000_000));
        assert_eq!(check("42"), Some(42));
        assert_eq!(check("1h"), Some(6_400_000_000_000));
        assert_eq!(check("h"), None);
        assert_eq!(check("é"), None);
        assert_eq!(check("99999999999d"), None);
    }

    #[test]
    fn unknown_and_repeated_names_are_refused() {
        let error = QueryString::parse(Some("servce=a"), &["service", "level"]).unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("did you mean `service`?"));
        let query = QueryString::parse(Some("service=a&service=b&limit=0"), &["service", "limit"]).unwrap();
        assert!(query.text("service").is_err());
        assert!(query.number("limit", 10, 100).is_err());
    }

    #[test]
    fn a_range_must_run_forwards() {
        let parse = |raw| QueryString::parse(Some(raw), &["from", "to"]).unwrap().range();
        assert!(parse("from=2&to=1").is_err());
        assert_eq!(
            parse("from=1&to=2").unwrap(),
            TimeRange {
                from: Some(1),
                to: Some(2)
            }
        );
    }
}
