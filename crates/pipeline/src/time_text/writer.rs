//! Writes a time, in UTC, as a layout says.

use chrono::{DateTime, Datelike, Timelike, Utc};

use super::layout::{Item, Layout, Pad, Piece};
use super::reader::{MONTHS, WEEKDAYS};

impl Layout {
    pub(crate) fn write(&self, time: &DateTime<Utc>) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Item(item) => out.push_str(&written(*item, time)),
            }
        }
        out
    }
}

fn written(item: Item, time: &DateTime<Utc>) -> String {
    let name = |name: &str, long| if long { name } else { name.get(..3).unwrap_or(name) }.to_owned();
    match item {
        Item::Year | Item::AnyYear => format!("{:04}", time.year()),
        Item::ShortYear => format!("{:02}", time.year().rem_euclid(100)),
        Item::Month(pad) => padded(time.month(), pad),
        Item::MonthName { long } => name(MONTHS[time.month0() as usize % 12], long),
        Item::Day(pad) => padded(time.day(), pad),
        Item::DayOfYear => format!("{:03}", time.ordinal()),
        Item::WeekdayName { long } => {
            name(WEEKDAYS[time.weekday().num_days_from_sunday() as usize % 7], long)
        }
        Item::Hour => padded(time.hour(), Pad::Zero),
        Item::Hour12(pad) => padded(time.hour12().1, pad),
        Item::Noon { upper } => match (time.hour12().0, upper) {
            (true, true) => "PM",
            (true, false) => "pm",
            (false, true) => "AM",
            (false, false) => "am",
        }
        .to_owned(),
        Item::Minute(pad) => padded(time.minute(), pad),
        Item::Second(pad) => padded(time.second(), pad),
        Item::Fraction { digits, separator } => format!("{separator}{}", fraction(time, digits)),
        Item::AnyFraction { digits, separator } => match fraction(time, digits).trim_end_matches('0') {
            "" => String::new(),
            fraction => format!("{separator}{fraction}"),
        },
        Item::Offset { z: true, .. } | Item::AnyOffset => "Z".to_owned(),
        Item::Offset {
            colon,
            minutes,
            seconds,
            ..
        } => {
            let piece = if colon { ":00" } else { "00" };
            format!("+00{}", piece.repeat(usize::from(minutes) + usize::from(seconds)))
        }
        Item::ZoneName => "UTC".to_owned(),
    }
}

fn padded(number: u32, pad: Pad) -> String {
    match pad {
        Pad::Zero => format!("{number:02}"),
        Pad::Space => format!("{number:2}"),
        Pad::None => number.to_string(),
    }
}

/// The first digits of what is left of a second; there are nine.
fn fraction(time: &DateTime<Utc>, digits: usize) -> String {
    let mut nanos = format!("{:09}", time.nanosecond() % 1_000_000_000);
    nanos.truncate(digits);
    nanos
}
