//! Levels as people and logging libraries write them.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};

use crate::log::Severity;

/// `info`, `INFO2`, `WARNING`, or a number of OpenTelemetry from 1 to 24.
pub(super) fn parse(text: &str) -> Option<Severity> {
    if let Ok(number) = text.parse::<u8>() {
        return Severity::new(number);
    }
    let upper = text.trim().to_ascii_uppercase();
    let name = match upper.as_str() {
        "NOTSET" | "ALL" | "VERBOSE" => "TRACE",
        "WARNING" => "WARN",
        "CRITICAL" => "FATAL",
        other => other,
    };
    (1..=24)
        .filter_map(Severity::new)
        .find(|severity| severity.name() == name)
}

/// A level in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level(pub(super) Severity);

impl<'de> serde::Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Level, D::Error> {
        deserializer.deserialize_str(LevelVisitor)
    }
}

struct LevelVisitor;

impl Visitor<'_> for LevelVisitor {
    type Value = Level;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a level such as DEBUG, INFO, WARN or ERROR")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Level, E> {
        parse(text).map(Level).ok_or_else(|| {
            E::custom(format!(
                "`{text}` is no level; write TRACE, DEBUG, INFO, WARN, ERROR or FATAL"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_several_libraries_are_understood() {
        for (text, level) in [
            ("debug", Some(Severity::DEBUG)),
            ("WARNING", Some(Severity::WARN)),
            ("Critical", Some(Severity::FATAL)),
            ("INFO3", Severity::new(11)),
            ("17", Some(Severity::ERROR)),
            ("NOTSET", Some(Severity::TRACE)),
            ("0", None),
            ("25", None),
            ("loud", None),
        ] {
            assert_eq!(parse(text), level, "{text}");
        }
    }
}
