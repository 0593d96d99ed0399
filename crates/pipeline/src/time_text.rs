//! Times as text: read and written as the Collector does, by layouts of `strptime` or of Go. Shared by operators and OTTL.
//!
//! `layout` is how a time is written, `reader` finds the parts of one in a text, [`resolve`] makes a time of them, in a `zone`.
//! Refuses to know of clocks: the time that it is now is given.

mod layout;
mod reader;
mod writer;
mod zone;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, Utc};

pub(crate) use layout::Layout;
pub(crate) use reader::Parts;
pub(crate) use zone::Zone;

/// A time that has no year is of this year, unless it would be more than this ahead of now: then of the last one.
const AHEAD_MAX: TimeDelta = TimeDelta::days(7);

/// The time that a text says, in `zone` where it says none.
pub(crate) fn resolve(parts: &Parts, zone: &Zone, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    let local = |year: i32| -> Result<NaiveDateTime, String> {
        let date = match parts.day_of_year {
            Some(day) => NaiveDate::from_yo_opt(year, day),
            None => NaiveDate::from_ymd_opt(year, parts.month, parts.day),
        };
        date.and_then(|date| date.and_hms_nano_opt(parts.hour()?, parts.minute, parts.second, parts.nanos))
            .ok_or_else(|| "there is no such time".to_owned())
    };
    let place = |time: NaiveDateTime| -> Result<DateTime<Utc>, String> {
        match (parts.offset_seconds, &parts.zone_name) {
            (Some(offset), _) => Ok(time.and_utc() - TimeDelta::seconds(i64::from(offset))),
            (None, Some(name)) => zone.abbreviated(name, time),
            (None, None) => Ok(zone.place(time)),
        }
    };
    match parts.year {
        Some(year) => place(local(year)?),
        None => without_year(now, |year| place(local(year)?)),
    }
}

/// A time of which the year is not known: of this year, or of the last one where that would be far in the future.
pub(crate) fn without_year(
    now: DateTime<Utc>,
    in_year: impl Fn(i32) -> Result<DateTime<Utc>, String>,
) -> Result<DateTime<Utc>, String> {
    match in_year(now.year()) {
        Ok(time) if time <= now + AHEAD_MAX => Ok(time),
        // The 29th of February is a day of the last year as well.
        _ => in_year(now.year() - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(text: &str) -> Layout {
        match text.contains('%') {
            true => Layout::strptime(text).unwrap(),
            false => Layout::go(text),
        }
    }

    /// In UTC; a year that is missing is that of the epoch.
    fn read(layout: &Layout, text: &str) -> Result<i64, String> {
        let time = resolve(&layout.read(text)?, &Zone::UTC, DateTime::UNIX_EPOCH)?;
        Ok(time.timestamp_nanos_opt().unwrap())
    }

    #[test]
    fn times_are_read_and_written() {
        let cases = [
            ("%m/%d/%Y", "02/04/2023", 1_675_468_800),
            ("%b %d, %Y", "Feb 15, 2023", 1_676_419_200),
            ("%Y-%m-%dT%H:%M:%S%j", "2023-05-26T12:34:56+00:00", 1_685_104_496),
            ("%A %h %e %Y", "Saturday Feb  4 2023", 1_675_468_800),
            ("%F %T", "2023-05-26 12:34:56", 1_685_104_496),
            ("%c", "Fri May 26 12:34:56 2023", 1_685_104_496),
            ("%D %r", "05/26/2023 12:34:56 pm", 1_685_104_496),
            ("2006-01-02T15:04:05Z07:00", "2023-05-26T12:34:56Z", 1_685_104_496),
        ];
        for (format, text, seconds) in cases {
            let layout = layout(format);
            assert_eq!(read(&layout, text), Ok(seconds * 1_000_000_000), "{format}");
            let time = DateTime::from_timestamp(seconds, 0).unwrap();
            assert_eq!(layout.write(&time), text, "{format}");
        }
    }

    #[test]
    fn zones_and_fractions_are_read() {
        let cases = [
            (
                "%Y-%m-%d %H:%M:%S %Z",
                "2023-05-26 12:34:56 HST",
                1_685_140_496_000_000_000,
            ),
            (
                "%Y-%m-%dT%H:%M:%S.%L%z",
                "2023-05-26T12:34:56.120+0200",
                1_685_097_296_120_000_000,
            ),
            ("%H:%M:%S.%f", "00:00:01.000002", 1_000_002_000),
            // Fewer digits, fractions and colons than the layout has, and either year.
            (
                "%Y-%m-%d %H:%M:%S",
                "2023-5-6 1:2:3.25",
                1_683_334_923_250_000_000,
            ),
            (
                "%Y-%m-%dT%H:%M:%S%z",
                "2023-05-26T12:34:56+01:00",
                1_685_100_896_000_000_000,
            ),
            ("%D", "05/26/2023", 1_685_059_200_000_000_000),
            ("%x", "5/26/23", 1_685_059_200_000_000_000),
            // What says how far from UTC wins over a name.
            (
                "%Y-%m-%dT%H:%M:%S%z %Z",
                "2023-05-26T12:34:56+0000 EST",
                1_685_104_496_000_000_000,
            ),
        ];
        for (format, text, nanos) in cases {
            assert_eq!(read(&layout(format), text), Ok(nanos), "{format}");
        }
        // A name that is another time elsewhere is none.
        assert!(read(&layout("%Y-%m-%d %Z"), "2023-05-26 EDT").is_err());
        for wrong in ["2023-02-30", "2023-02", "2023-02-03x", "é", ""] {
            assert!(read(&layout("%Y-%m-%d"), wrong).is_err(), "{wrong}");
        }
        assert!(Layout::strptime("%!").is_err());
        assert!(Layout::strptime("%").is_err());
    }
}
