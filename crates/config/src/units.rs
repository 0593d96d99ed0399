//! Sizes and durations as people write them: `512MiB`, `25%`, `1h30m`, `90d`.

use std::fmt;
use std::time::Duration;

use crate::leaf;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

/// A limit of memory or of a disk: bytes, or a share of what there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MemoryLimit {
    Bytes(u64),
    /// Percent: of memory, of the machine or of its control group; of a disk, of what is free.
    Percent(f64),
}

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSpan(pub Duration);

/// In small letters: the Collector's components differ in how they write them.
const BYTE_UNITS: &[(&str, u64)] = &[
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("pib", 1 << 50),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("pb", 1_000_000_000_000_000),
    ("b", 1),
];

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// The longest duration, in seconds: what 64 bits of nanoseconds hold, which is 292 years, as in the Collector.
const SECONDS_MAX: u64 = i64::MAX as u64 / 1_000_000_000;

const TIME_EXAMPLES: &str = "write for example 500ms, 10s, 1h30m or 90d";

/// In nanoseconds; the letter mu comes in two shapes.
const TIME_UNITS: &[(&str, u128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", NANOS_PER_SECOND),
    ("m", 60 * NANOS_PER_SECOND),
    ("h", 3_600 * NANOS_PER_SECOND),
    ("d", 86_400 * NANOS_PER_SECOND),
    ("w", 604_800 * NANOS_PER_SECOND),
];

impl std::str::FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let small = text.to_ascii_lowercase();
        let (number, unit) = match BYTE_UNITS.iter().find(|(unit, _)| small.ends_with(unit)) {
            Some((unit, bytes)) => (&text[..text.len() - unit.len()], *bytes),
            None => (text, 1),
        };
        let number = number.trim();
        let out_of_range = || format!("`{text}` is out of range");
        // Whole numbers are exact.
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(unit).map(ByteSize).ok_or_else(out_of_range);
        }
        let number: f64 = number
            .parse()
            .map_err(|_| format!("`{text}` is not a size; write for example 512MiB, 2GiB or 1000000"))?;
        let bytes = number * unit as f64;
        if !(bytes >= 0.0 && bytes < u64::MAX as f64) {
            return Err(out_of_range());
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

/// As `time.ParseDuration` of Go reads durations, with `d` and `w` besides, but exact to the nanosecond.
impl std::str::FromStr for TimeSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = || format!("`{text}` is not a duration; {TIME_EXAMPLES}");
        let mut rest = text.strip_prefix('+').unwrap_or(text);
        if rest == "0" {
            return Ok(TimeSpan(Duration::ZERO));
        }
        if rest.starts_with('-') {
            return Err(format!(
                "`{text}` is negative; a duration of 0 or more is needed, for example 10s"
            ));
        }
        if rest.parse::<f64>().is_ok() && rest.ends_with(|last: char| last.is_ascii_digit() || last == '.') {
            return Err(format!(
                "`{text}` has no unit; write for example {rest}s, or 500ms, 1h30m or 90d"
            ));
        }
        if rest.is_empty() {
            return Err(wrong());
        }
        let mut nanos = 0_u128;
        while !rest.is_empty() {
            let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.');
            let (number, tail) = rest.split_at(end.ok_or_else(wrong)?);
            let tail = tail.trim_start();
            let letters = tail
                .find(|character: char| !character.is_alphabetic() && character != 'µ')
                .unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let (_, scale) = TIME_UNITS
                .iter()
                .find(|(known, _)| *known == unit)
                .ok_or_else(wrong)?;
            let too_long = || format!("`{text}` is longer than any duration can be");
            nanos = nanos
                .checked_add(scaled(number, *scale).ok_or_else(wrong)?)
                .ok_or_else(too_long)?;
            rest = tail.trim_start();
        }
        let seconds = u64::try_from(nanos / NANOS_PER_SECOND)
            .ok()
            .filter(|seconds| *seconds <= SECONDS_MAX);
        match seconds {
            Some(seconds) => Ok(TimeSpan(Duration::new(
                seconds,
                (nanos % NANOS_PER_SECOND) as u32,
            ))),
            None => Err(format!("`{text}` is longer than any duration can be")),
        }
    }
}

/// `number`, which is digits with at most one point among them, times `scale`; parts of a nanosecond are left off.
fn scaled(number: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(fraction) {
        return None;
    }
    // The scale has at most 15 digits: those of the fraction after the 18th do not count.
    let fraction = &fraction[..fraction.len().min(18)];
    let part = match fraction.is_empty() {
        true => 0,
        false => fraction.parse::<u128>().ok()?.checked_mul(scale)? / 10_u128.pow(fraction.len() as u32),
    };
    let whole = match whole.is_empty() {
        true => 0,
        false => whole.parse::<u128>().ok()?,
    };
    whole.checked_mul(scale)?.checked_add(part)
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

leaf::deserialize_leaf!(
    ByteSize: leaf::BYTE_SIZE, typed: true;
    MemoryLimit: leaf::MEMORY_LIMIT, typed: true;
    TimeSpan: leaf::TIME_SPAN, typed: true;
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
        assert_eq!(size("1kb").and(size("16mib")), Ok(16 << 20));
        assert_eq!(size("18446744073709551615"), Ok(u64::MAX));
        assert!(
            size("20000PiB").is_err() && size("é").is_err() && size("nan").is_err() && size("MiB").is_err()
        );
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
    fn durations_are_read_as_in_go() {
        let nanos = |text: &str| text.parse::<TimeSpan>().map(|span| span.0.as_nanos());
        for (text, expected) in [
            ("0", 0),
            ("+5s", 5_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("1h15m30.918s", 4_530_918_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("5.6\u{b5}s", 5_600),
            ("5.6\u{3bc}s", 5_600),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("9007199254740993ns", 9_007_199_254_740_993),
            ("100000000000000000000ns", u128::MAX),
            ("2w", 1_209_600_000_000_000),
        ] {
            match expected {
                u128::MAX => assert!(nanos(text).is_err(), "{text}"),
                _ => assert_eq!(nanos(text), Ok(expected), "{text}"),
            }
        }
        for (text, said) in [
            ("-1s", "negative"),
            ("10", "10s"),
            ("1.5", "1.5s"),
            ("3000y", "not a duration"),
            ("1h2", "not a duration"),
            (".s", "not a duration"),
            ("1..5s", "not a duration"),
            ("s", "not a duration"),
            ("99999999999999999999h", "longer"),
            ("1e3s", "not a duration"),
        ] {
            let problem = nanos(text).unwrap_err();
            assert!(problem.contains(said), "{text}: {problem}");
        }
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
