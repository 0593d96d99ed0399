//! Times of entries: `layout_type`, `layout` and `location` of `time_parser` and of `timestamp` in other parsers.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::entry::Entry;
use super::field::Field;
use super::value::Value;
use crate::time_text::{Layout, Zone, resolve};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LayoutType {
    #[default]
    Strptime,
    Gotime,
    Epoch,
    /// What another parser has read as a time already.
    Native,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TimeConfig {
    pub(crate) parse_from: Option<Field>,
    pub(crate) layout: String,
    pub(crate) layout_type: LayoutType,
    /// The name of a time zone, for times without one; otherwise that of the machine.
    pub(crate) location: String,
    /// Time zones of abbreviations in the text.
    pub(crate) time_zone_locations: BTreeMap<String, String>,
}

/// Finds the time of an entry.
#[derive(Debug)]
pub(crate) struct TimeParser {
    from: Field,
    reading: Reading,
}

#[derive(Debug)]
enum Reading {
    Native,
    Epoch {
        seconds: bool,
        nanos: i64,
    },
    Layout {
        layout: Layout,
        zone: Zone,
        by_abbreviation: Vec<(String, Zone)>,
    },
}

impl TimeParser {
    pub(crate) fn new(config: &TimeConfig) -> Result<TimeParser, (&'static str, String)> {
        let missing = || ("parse_from", "is missing: the field that has the time".to_owned());
        let from = config.parse_from.clone().ok_or_else(missing)?;
        let reading = match config.layout_type {
            LayoutType::Native => Reading::Native,
            LayoutType::Epoch => epoch(&config.layout)?,
            LayoutType::Strptime | LayoutType::Gotime => by_layout(config)?,
        };
        Ok(TimeParser { from, reading })
    }

    /// For times that stand in no field of an entry.
    pub(crate) fn of_layout(config: &TimeConfig) -> Result<TimeParser, (&'static str, String)> {
        TimeParser::new(&TimeConfig {
            parse_from: Some(Field::body()),
            ..config.clone()
        })
    }

    /// Nanoseconds since the epoch of what a text says.
    pub(crate) fn of_text(&self, text: &str, now: DateTime<Utc>) -> Result<i64, String> {
        self.read(&Value::from(text), now)
    }

    /// What syslog messages have: a time that is read already, in `attributes.timestamp`.
    pub(crate) fn native() -> TimeParser {
        TimeParser {
            from: Field::attribute("timestamp"),
            reading: Reading::Native,
        }
    }

    pub(crate) fn parse(&self, entry: &mut Entry, now: DateTime<Utc>) -> Result<(), String> {
        let value = self
            .from
            .get(entry)
            .ok_or_else(|| format!("the entry has no field `{}`", self.from))?;
        entry.time = Some(self.read(value, now)?);
        Ok(())
    }

    fn read(&self, value: &Value, now: DateTime<Utc>) -> Result<i64, String> {
        match &self.reading {
            Reading::Native => match value {
                Value::Time(nanos) => Ok(*nanos),
                other => Err(format!("expected a time, found {}", other.kind())),
            },
            Reading::Epoch { seconds, nanos } => read_epoch(value, *seconds, *nanos),
            Reading::Layout {
                layout,
                zone,
                by_abbreviation,
            } => {
                let text = match value {
                    Value::Bytes(bytes) => {
                        std::str::from_utf8(bytes).map_err(|_| "the time is no text".to_owned())?
                    }
                    other => other.as_text()?,
                };
                let named =
                    words(text).find_map(|word| by_abbreviation.iter().find(|(name, _)| name == word));
                let zone = named.map_or(zone, |(_, zone)| zone);
                let time = resolve(&layout.read(text)?, zone, now);
                let nanos = time.and_then(|time| {
                    time.timestamp_nanos_opt()
                        .ok_or_else(|| "the time does not fit 64 bits of nanoseconds".to_owned())
                });
                nanos.map_err(|problem| format!("{text:?}: {problem}"))
            }
        }
    }
}

/// Abbreviations of time zones, as far as letters tell.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| {
            (2..=5).contains(&word.len()) && word.bytes().all(|letter| letter.is_ascii_uppercase())
        })
}

fn epoch(layout: &str) -> Result<Reading, (&'static str, String)> {
    let (seconds, unit) = match layout.strip_prefix("s.") {
        Some(unit) => (true, unit),
        None => (false, layout),
    };
    let nanos = match unit {
        "s" if !seconds => NANOS_PER_SECOND,
        "ms" => 1_000_000,
        "us" => 1_000,
        "ns" => 1,
        _ => {
            let problem =
                format!("`{layout}` is no layout of `epoch`; there are s, ms, us, ns, s.ms, s.us and s.ns");
            return Err(("layout", problem));
        }
    };
    Ok(Reading::Epoch { seconds, nanos })
}

fn by_layout(config: &TimeConfig) -> Result<Reading, (&'static str, String)> {
    let zone = |name: &str| {
        Zone::named(name)
            .ok_or_else(|| format!("`{name}` is no time zone; one is named as in `Europe/Berlin`"))
    };
    if config.layout.is_empty() {
        return Err(("layout", "is missing: how the time is written".to_owned()));
    }
    let strptime = config.layout_type == LayoutType::Strptime;
    let layout = match strptime {
        true => Layout::strptime(&config.layout),
        false => Ok(Layout::go(&config.layout)),
    };
    let layout = layout.map_err(|problem| ("layout", problem))?;
    let by_default = match config.layout.ends_with('Z') && !(strptime && config.layout.ends_with("%Z")) {
        true => Zone::UTC,
        false => Zone::Local,
    };
    let location = match config.location.as_str() {
        "" => by_default,
        name => zone(name).map_err(|problem| ("location", problem))?,
    };
    let mut by_abbreviation = Vec::new();
    for (abbreviation, name) in &config.time_zone_locations {
        let zone = zone(name).map_err(|problem| ("time_zone_locations", problem))?;
        by_abbreviation.push((abbreviation.clone(), zone));
    }
    Ok(Reading::Layout {
        layout,
        zone: location,
        by_abbreviation,
    })
}

/// Numbers come as such or as text. `s.ms` is a count of seconds, a dot, and a count of milliseconds.
fn read_epoch(value: &Value, seconds: bool, nanos: i64) -> Result<i64, String> {
    let wrong = || format!("{value} is no time since the epoch in this layout");
    let text = match value {
        Value::Int(value) if seconds => format!("{value}.0"),
        Value::Int(value) => value.to_string(),
        Value::Float(value) if seconds => match nanos {
            1_000_000 => format!("{value:.3}"),
            1_000 => format!("{value:.6}"),
            _ => format!("{value:.9}"),
        },
        Value::Float(value) => (*value as i64).to_string(),
        Value::Text(text) => text.clone(),
        Value::Bytes(_) => value.to_string(),
        other => return Err(format!("expected a number, found {}", other.kind())),
    };
    let (whole, fraction) = match seconds {
        true => text.split_once('.').ok_or_else(wrong)?,
        false => ("0", text.as_str()),
    };
    let whole: i64 = whole.parse().map_err(|_| wrong())?;
    let fraction: i64 = fraction.parse().map_err(|_| wrong())?;
    let sum = whole.checked_mul(NANOS_PER_SECOND).and_then(|whole| {
        fraction
            .checked_mul(nanos)
            .and_then(|fraction| whole.checked_add(fraction))
    });
    sum.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn read(
        layout_type: LayoutType,
        layout: &str,
        location: &str,
        value: impl Into<Value>,
    ) -> Result<String, String> {
        let config = TimeConfig {
            parse_from: Some(Field::body()),
            layout: layout.to_owned(),
            layout_type,
            location: location.to_owned(),
            ..TimeConfig::default()
        };
        let parser = TimeParser::new(&config).map_err(|(key, problem)| format!("{key}: {problem}"))?;
        let mut entry = Entry {
            body: value.into(),
            ..Entry::default()
        };
        parser.parse(&mut entry, now("2024-01-02T00:00:00Z"))?;
        Ok(DateTime::from_timestamp_nanos(entry.time.unwrap())
            .to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
    }

    #[test]
    fn times_are_read_as_the_collector_reads_them() {
        use LayoutType::{Epoch, Gotime, Strptime};
        for (layout_type, layout, location, text, expected) in [
            (
                Strptime,
                "%Y-%m-%d %H:%M:%S",
                "UTC",
                "2024-03-04 05:06:07",
                "2024-03-04T05:06:07Z",
            ),
            // Fewer digits than two, and fractions of a second that the layout does not have.
            (
                Strptime,
                "%Y-%m-%d %H:%M:%S",
                "UTC",
                "2024-3-4 5:6:7.25",
                "2024-03-04T05:06:07.250Z",
            ),
            (
                Strptime,
                "%Y-%m-%dT%H:%M:%S.%f%z",
                "",
                "2024-03-04T05:06:07.123456+02:00",
                "2024-03-04T03:06:07.123456Z",
            ),
            (
                Strptime,
                "%Y-%m-%dT%H:%M:%S.%L%z",
                "",
                "2024-03-04T05:06:07.123Z",
                "2024-03-04T05:06:07.123Z",
            ),
            (
                Strptime,
                "%d/%b/%Y:%H:%M:%S %z",
                "",
                "10/Oct/2000:13:55:36 -0700",
                "2000-10-10T20:55:36Z",
            ),
            (
                Strptime,
                "%Y-%m-%d %H:%M",
                "Europe/Berlin",
                "2024-07-01 12:00",
                "2024-07-01T10:00:00Z",
            ),
            (
                Strptime,
                "%Y-%m-%d %H:%M %Z",
                "America/New_York",
                "2024-07-01 12:00 EDT",
                "2024-07-01T16:00:00Z",
            ),
            (
                Strptime,
                "%b %e %H:%M:%S",
                "UTC",
                "Dec 31 23:59:59",
                "2023-12-31T23:59:59Z",
            ),
            (
                Strptime,
                "%b %e %H:%M:%S",
                "UTC",
                "Jan  3 00:00:01",
                "2024-01-03T00:00:01Z",
            ),
            (
                Gotime,
                "2006-01-02T15:04:05.999999999Z07:00",
                "",
                "2024-03-04T05:06:07.5Z",
                "2024-03-04T05:06:07.500Z",
            ),
            (
                Gotime,
                "Jan _2 15:04:05",
                "UTC",
                "Jan  2 15:04:05",
                "2024-01-02T15:04:05Z",
            ),
            (
                Gotime,
                "2006/01/02 03:04:05 PM MST",
                "UTC",
                "2024/03/04 11:06:07 PM EST",
                "2024-03-05T04:06:07Z",
            ),
            (Epoch, "s", "", "1136214245", "2006-01-02T15:04:05Z"),
            (Epoch, "ms", "", "1136214245123", "2006-01-02T15:04:05.123Z"),
            (Epoch, "s.ms", "", "1136214245.123", "2006-01-02T15:04:05.123Z"),
        ] {
            assert_eq!(
                read(layout_type, layout, location, text).as_deref(),
                Ok(expected),
                "{layout} {text}"
            );
        }
        assert_eq!(
            read(Epoch, "s.ns", "", Value::Float(1.5)).as_deref(),
            Ok("1970-01-01T00:00:01.500Z")
        );
        assert_eq!(
            read(Epoch, "us", "", Value::Int(1_000_001)).as_deref(),
            Ok("1970-01-01T00:00:01.000001Z")
        );
    }

    #[test]
    fn what_is_no_time_is_an_error() {
        use LayoutType::{Epoch, Gotime, Strptime};
        for (layout_type, layout, location, text) in [
            (Strptime, "%Y-%m-%d", "UTC", "2024-02-30"),
            (Strptime, "%Y-%m-%d", "UTC", "2024-02-03 more"),
            (Strptime, "%!", "UTC", "x"),
            (Strptime, "%Y", "Mars/Olympus", "2024"),
            (Gotime, "2006", "UTC", "24"),
            (Epoch, "s", "", "soon"),
            (Epoch, "s", "", "9999999999999999"),
            (Epoch, "days", "", "1"),
        ] {
            assert!(
                read(layout_type, layout, location, text).is_err(),
                "{layout} {text}"
            );
        }
    }
}
