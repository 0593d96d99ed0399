//! Sizes and durations as people write them: `512MiB`, `25%`, `1h30m`, `90d`.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteSize(pub(crate) u64);

/// A limit of memory or of a disk: bytes, or a share of what there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum MemoryLimit {
    Bytes(u64),
    /// Percent: of memory, of the machine or of its control group; of a disk, of what is free.
    Percent(f64),
}

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeSpan(pub(crate) Duration);

const BYTE_UNITS: &[(&str, u64)] = &[
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

const TIME_UNITS: &[(&str, f64)] = &[
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3_600.0),
    ("d", 86_400.0),
    ("w", 604_800.0),
];

impl std::str::FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (number, unit) = match BYTE_UNITS.iter().find(|(unit, _)| text.ends_with(unit)) {
            Some((unit, bytes)) => (&text[..text.len() - unit.len()], *bytes),
            None => (text, 1),
        };
        let number: f64 = number
            .trim()
            .parse()
            .map_err(|_| format!("`{text}` is not a size; write for example 512MiB, 2GiB or 1000000"))?;
        let bytes = number * unit as f64;
        if !(bytes >= 0.0 && bytes < u64::MAX as f64) {
            return Err(format!("`{text}` is out of range"));
        }
        Ok(ByteSize(bytes as u64))
    }
}

impl std::str::FromStr for MemoryLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(percent) = text.trim().strip_suffix('%') else {
            return text.parse::<ByteSize>().map(|size| MemoryLimit::Bytes(size.0));
        };
        match percent.trim().parse::<f64>() {
            Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(MemoryLimit::Percent(percent)),
            _ => Err(format!("`{text}` is not a share; write for example 25%")),
        }
    }
}

impl std::str::FromStr for TimeSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a duration; write for example 500ms, 10s, 1h30m or 90d");
        let mut rest = text.trim();
        let mut seconds = 0.0;
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.');
            let (number, tail) = rest.split_at(digits.ok_or_else(wrong)?);
            let letters = tail
                .find(|character: char| character.is_ascii_digit())
                .unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let (_, factor) = TIME_UNITS
                .iter()
                .find(|(known, _)| *known == unit.trim())
                .ok_or_else(wrong)?;
            seconds += number.parse::<f64>().map_err(|_| wrong())? * factor;
            rest = tail;
        }
        Duration::try_from_secs_f64(seconds)
            .map(TimeSpan)
            .map_err(|_| wrong())
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, bytes) in [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= bytes && self.0.is_multiple_of(bytes) {
                return write!(formatter, "{}{unit}", self.0 / bytes);
            }
        }
        write!(formatter, "{}", self.0)
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MemoryLimit::Bytes(bytes) => ByteSize(*bytes).fmt(formatter),
            MemoryLimit::Percent(percent) => write!(formatter, "{percent}%"),
        }
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u128); 7] = [
            ("d", 86_400_000_000_000),
            ("h", 3_600_000_000_000),
            ("m", 60_000_000_000),
            ("s", 1_000_000_000),
            ("ms", 1_000_000),
            ("us", 1_000),
            ("ns", 1),
        ];
        let nanos = self.0.as_nanos();
        for (unit, size) in UNITS {
            if nanos >= size && nanos.is_multiple_of(size) {
                return write!(formatter, "{}{unit}", nanos / size);
            }
        }
        formatter.write_str("0s")
    }
}

/// Reads a text or a whole number, then parses it.
struct Parsed<T>(&'static str, std::marker::PhantomData<T>);

impl<T: std::str::FromStr<Err = String>> Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }
}

macro_rules! deserialize_parsed {
    ($($type:ty: $expected:literal),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Parsed::<$type>($expected, std::marker::PhantomData))
            }
        }
    )*};
}
deserialize_parsed!(
    ByteSize: "a size such as 512MiB",
    MemoryLimit: "a size such as 512MiB or a share such as 25%",
    TimeSpan: "a duration such as 10s or 90d"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_durations_and_shares_are_read_and_nonsense_is_not() {
        let size = |text: &str| text.parse::<ByteSize>().map(|size| size.0);
        assert_eq!(size("512MiB"), Ok(512 << 20));
        assert_eq!(size("1.5 GB"), Ok(1_500_000_000));
        assert_eq!(size("42"), Ok(42));
        assert!(size("much").is_err() && size("-1").is_err() && size("1e300GiB").is_err());
        assert_eq!("25%".parse(), Ok(MemoryLimit::Percent(25.0)));
        assert_eq!("1GiB".parse(), Ok(MemoryLimit::Bytes(1 << 30)));
        assert!("0%".parse::<MemoryLimit>().is_err() && "101%".parse::<MemoryLimit>().is_err());
        let span = |text: &str| text.parse::<TimeSpan>().map(|span| span.0);
        assert_eq!(span("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(span("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(span("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert!(span("10").is_err() && span("").is_err() && span("10 parsecs").is_err());
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for text in ["512MiB", "3GiB", "1000"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        for text in ["10s", "2h", "90d", "1500ms", "90m", "1500us", "7ns", "0s"] {
            assert_eq!(text.parse::<TimeSpan>().unwrap().to_string(), text);
        }
    }
}
