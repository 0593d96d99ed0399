//! How a time is written: `strftime` directives in the Collector's meaning, or Go's reference time.

use chrono::{
    DateTime, Datelike, LocalResult, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike, Utc,
};
use chrono_tz::Tz;

use super::time::NANOS_PER_SECOND;
use crate::ottl::error::Fault;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// Abbreviations that mean one offset everywhere, in hours.
const ZONES: [(&str, i32); 17] = [
    ("UTC", 0),
    ("GMT", 0),
    ("Z", 0),
    ("EST", -5),
    ("EDT", -4),
    ("CST", -6),
    ("CDT", -5),
    ("MST", -7),
    ("MDT", -6),
    ("PST", -8),
    ("PDT", -7),
    ("HST", -10),
    ("AKST", -9),
    ("CET", 1),
    ("CEST", 2),
    ("EET", 2),
    ("EEST", 3),
];

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Literal(String),
    Year,
    ShortYear,
    Month(Pad),
    MonthName,
    MonthAbbreviation,
    Day(Pad),
    WeekdayName,
    WeekdayAbbreviation,
    Hour(Pad),
    Hour12(Pad),
    Noon {
        upper: bool,
    },
    Minute,
    Second,
    /// So many digits of a second.
    /// So many digits of a second.
    Fraction(usize),
    /// So many at most, and nothing of zeros at the end; the dot before them goes as well if all are.
    ShortFraction(usize),
    Zone {
        colon: bool,
        minutes: bool,
        seconds: bool,
        z: bool,
    },
    ZoneName,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Pad {
    Zero,
    Space,
    None,
}

#[derive(Clone, Debug)]
pub(super) struct Layout(Vec<Item>);

impl Layout {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the format is empty".to_owned());
        }
        let mut items = Vec::new();
        if text.contains('%') {
            push_directives(&mut items, text)?;
        } else {
            push_go_layout(&mut items, text);
        }
        Ok(Self(items))
    }

    pub(super) fn write(&self, time: &DateTime<Utc>) -> String {
        let mut out = String::new();
        let padded = |number: u32, pad: Pad| match pad {
            Pad::Zero => format!("{number:02}"),
            Pad::Space => format!("{number:2}"),
            Pad::None => number.to_string(),
        };
        let abbreviation = |name: &str| name.get(..3).unwrap_or(name).to_owned();
        let month = MONTHS[time.month0() as usize % 12];
        let weekday = WEEKDAYS[time.weekday().num_days_from_sunday() as usize % 7];
        for item in &self.0 {
            let text = match item {
                Item::Literal(text) => text.clone(),
                Item::Year => format!("{:04}", time.year()),
                Item::ShortYear => format!("{:02}", time.year().rem_euclid(100)),
                Item::Month(pad) => padded(time.month(), *pad),
                Item::MonthName => month.to_owned(),
                Item::MonthAbbreviation => abbreviation(month),
                Item::Day(pad) => padded(time.day(), *pad),
                Item::WeekdayName => weekday.to_owned(),
                Item::WeekdayAbbreviation => abbreviation(weekday),
                Item::Hour(pad) => padded(time.hour(), *pad),
                Item::Hour12(pad) => padded(time.hour12().1, *pad),
                Item::Noon { upper } => match (time.hour12().0, upper) {
                    (true, true) => "PM",
                    (true, false) => "pm",
                    (false, true) => "AM",
                    (false, false) => "am",
                }
                .to_owned(),
                Item::Minute => padded(time.minute(), Pad::Zero),
                Item::Second => padded(time.second(), Pad::Zero),
                Item::Fraction(digits) => {
                    let nanos = format!("{:09}", time.nanosecond() % 1_000_000_000);
                    nanos.get(..*digits).unwrap_or(&nanos).to_owned()
                }
                Item::ShortFraction(digits) => {
                    let nanos = format!("{:09}", time.nanosecond() % 1_000_000_000);
                    let fraction = nanos.get(..*digits).unwrap_or(&nanos).trim_end_matches('0');
                    if fraction.is_empty() && out.ends_with('.') {
                        out.pop();
                    }
                    fraction.to_owned()
                }
                Item::Zone { z: true, .. } => "Z".to_owned(),
                Item::Zone {
                    colon,
                    minutes,
                    seconds,
                    ..
                } => {
                    let separator = if *colon { ":00" } else { "00" };
                    let pieces = usize::from(*minutes) + usize::from(*seconds);
                    format!("+00{}", separator.repeat(pieces))
                }
                Item::ZoneName => "UTC".to_owned(),
            };
            out.push_str(&text);
        }
        out
    }

    /// Reads a time in nanoseconds since the epoch; in `zone` if the text does not say where.
    pub(super) fn read(&self, text: &str, zone: Tz) -> Result<i128, Fault> {
        let mut reader = Reader {
            rest: text,
            year: 1970,
            month: 1,
            day: 1,
            ..Reader::default()
        };
        for item in &self.0 {
            if reader.item(item).is_none() {
                return Err(Fault::of(format_args!(
                    "{text:?} does not follow the format at {:?}",
                    reader.rest
                )));
            }
        }
        if !reader.rest.is_empty() {
            return Err(Fault::of(format_args!(
                "{:?} of {text:?} is not in the format",
                reader.rest
            )));
        }
        reader
            .nanos(zone)
            .ok_or_else(|| Fault::of(format_args!("{text:?} is no time that exists")))
    }
}

#[derive(Default)]
struct Reader<'t> {
    rest: &'t str,
    year: i32,
    month: u32,
    day: u32,
    hour: u32,
    afternoon: Option<bool>,
    minute: u32,
    second: u32,
    nanos: u32,
    /// Of the zone that the text names.
    offset_seconds: Option<i32>,
}

impl Reader<'_> {
    fn item(&mut self, item: &Item) -> Option<()> {
        match item {
            Item::Literal(text) => self.rest = self.rest.strip_prefix(text.as_str())?,
            Item::Year => self.year = self.digits(4, 4)? as i32,
            Item::ShortYear => {
                let year = self.digits(2, 2)? as i32;
                self.year = if year >= 69 { 1900 + year } else { 2000 + year };
            }
            Item::Month(pad) => self.month = self.padded(*pad)?,
            Item::MonthName => self.month = self.name(&MONTHS, usize::MAX)? + 1,
            Item::MonthAbbreviation => self.month = self.name(&MONTHS, 3)? + 1,
            Item::Day(pad) => self.day = self.padded(*pad)?,
            Item::WeekdayName => drop(self.name(&WEEKDAYS, usize::MAX)?),
            Item::WeekdayAbbreviation => drop(self.name(&WEEKDAYS, 3)?),
            Item::Hour(pad) => self.hour = self.padded(*pad)?,
            Item::Hour12(pad) => {
                self.hour = self.padded(*pad)?;
                self.afternoon = self.afternoon.or(Some(false));
            }
            Item::Noon { .. } => {
                let half = self.rest.get(..2)?.to_ascii_lowercase();
                self.afternoon = Some(match half.as_str() {
                    "am" => false,
                    "pm" => true,
                    _ => return None,
                });
                self.rest = self.rest.get(2..)?;
            }
            Item::Minute => self.minute = self.digits(2, 2)?,
            Item::Second => self.second = self.digits(2, 2)?,
            Item::Fraction(digits) | Item::ShortFraction(digits) => {
                let before = self.rest.len();
                let value = self.digits(1, (*digits).max(1))?;
                let read = (before - self.rest.len()) as u32;
                self.nanos = value * 10u32.checked_pow(9 - read)?;
            }
            Item::Zone {
                colon,
                minutes,
                seconds,
                z,
            } => {
                if *z && let Some(rest) = self.rest.strip_prefix('Z') {
                    self.offset_seconds = Some(0);
                    self.rest = rest;
                    return Some(());
                }
                self.zone(*colon, *minutes, *seconds)?;
            }
            Item::ZoneName => {
                let length = self
                    .rest
                    .find(|c: char| !c.is_ascii_uppercase())
                    .unwrap_or(self.rest.len());
                let (name, rest) = self.rest.split_at(length);
                let (_, hours) = ZONES.iter().find(|(known, _)| *known == name)?;
                self.offset_seconds = Some(hours * 3600);
                self.rest = rest;
            }
        }
        Some(())
    }

    /// A number of `least` to `most` digits, nine at most.
    fn digits(&mut self, least: usize, most: usize) -> Option<u32> {
        let count = self
            .rest
            .bytes()
            .take(most.min(9))
            .take_while(u8::is_ascii_digit)
            .count();
        if count < least {
            return None;
        }
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        digits.parse().ok()
    }

    fn padded(&mut self, pad: Pad) -> Option<u32> {
        match pad {
            Pad::Zero => self.digits(2, 2),
            Pad::None => self.digits(1, 2),
            Pad::Space => {
                self.rest = self.rest.trim_start_matches(' ');
                self.digits(1, 2)
            }
        }
    }

    /// The place of a name of which the first letters stand here.
    fn name(&mut self, names: &[&str], letters: usize) -> Option<u32> {
        for (index, name) in names.iter().enumerate() {
            let name = name.get(..letters).unwrap_or(name);
            if let Some(head) = self.rest.get(..name.len())
                && head.eq_ignore_ascii_case(name)
            {
                self.rest = self.rest.get(name.len()..)?;
                return Some(index as u32);
            }
        }
        None
    }

    fn zone(&mut self, colon: bool, minutes: bool, seconds: bool) -> Option<()> {
        let negative = match self.rest.chars().next()? {
            '+' => false,
            '-' => true,
            _ => return None,
        };
        self.rest = self.rest.get(1..)?;
        let mut offset = self.digits(2, 2)? * 3600;
        for (wanted, unit) in [(minutes, 60), (seconds, 1)] {
            if !wanted {
                continue;
            }
            if colon {
                self.rest = self.rest.strip_prefix(':')?;
            }
            offset += self.digits(2, 2)? * unit;
        }
        self.offset_seconds = Some(if negative { -(offset as i32) } else { offset as i32 });
        Some(())
    }

    fn nanos(&self, zone: Tz) -> Option<i128> {
        let hour = match self.afternoon {
            None => self.hour,
            Some(_) if self.hour == 0 || self.hour > 12 => return None,
            Some(afternoon) => self.hour % 12 + 12 * u32::from(afternoon),
        };
        let date = NaiveDate::from_ymd_opt(self.year, self.month, self.day)?;
        let time = date.and_hms_opt(hour, self.minute, self.second)?;
        let offset_seconds = self.offset_seconds.unwrap_or_else(|| offset_seconds(zone, time));
        let seconds = i128::from(time.and_utc().timestamp()) - i128::from(offset_seconds);
        Some(seconds * NANOS_PER_SECOND + i128::from(self.nanos))
    }
}

/// What the clocks of a zone are ahead. Of two the earlier time counts; what the clocks pass over is that of before.
fn offset_seconds(zone: Tz, time: NaiveDateTime) -> i32 {
    match zone.offset_from_local_datetime(&time) {
        LocalResult::Single(offset) | LocalResult::Ambiguous(offset, _) => offset.fix().local_minus_utc(),
        LocalResult::None => zone
            .offset_from_utc_datetime(&(time - TimeDelta::days(1)))
            .fix()
            .local_minus_utc(),
    }
}

fn push_directives(items: &mut Vec<Item>, text: &str) -> Result<(), String> {
    let zone = |colon, minutes, seconds| Item::Zone {
        colon,
        minutes,
        seconds,
        z: !colon,
    };
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            push_literal(items, letter.encode_utf8(&mut [0; 4]));
            continue;
        }
        let directive = letters.next().ok_or("the format ends after a `%`")?;
        items.push(match directive {
            'Y' => Item::Year,
            'y' => Item::ShortYear,
            'm' => Item::Month(Pad::Zero),
            'o' => Item::Month(Pad::Space),
            'q' => Item::Month(Pad::None),
            'b' | 'h' => Item::MonthAbbreviation,
            'B' => Item::MonthName,
            'd' => Item::Day(Pad::Zero),
            'e' => Item::Day(Pad::Space),
            'g' => Item::Day(Pad::None),
            'a' => Item::WeekdayAbbreviation,
            'A' => Item::WeekdayName,
            'H' => Item::Hour(Pad::Zero),
            'I' => Item::Hour12(Pad::Zero),
            'l' => Item::Hour12(Pad::None),
            'p' => Item::Noon { upper: true },
            'P' => Item::Noon { upper: false },
            'M' => Item::Minute,
            'S' => Item::Second,
            'L' => Item::ShortFraction(3),
            'f' => Item::ShortFraction(6),
            's' => Item::ShortFraction(9),
            'z' => zone(false, true, false),
            'Z' => Item::ZoneName,
            'i' => zone(false, false, false),
            'j' => zone(true, true, false),
            'k' => zone(true, true, true),
            'w' => zone(false, true, true),
            'n' => Item::Literal("\n".to_owned()),
            't' => Item::Literal("\t".to_owned()),
            '%' => Item::Literal("%".to_owned()),
            other => {
                let longer = match other {
                    'D' | 'x' => "%m/%d/%y",
                    'F' => "%Y-%m-%d",
                    'T' | 'X' => "%H:%M:%S",
                    'r' => "%I:%M:%S %P",
                    'R' => "%H:%M",
                    'c' => "%a %b %d %H:%M:%S %Y",
                    _ => return Err(format!("`%{other}` is no directive")),
                };
                push_directives(items, longer)?;
                continue;
            }
        });
    }
    Ok(())
}

/// Go's reference time: Mon Jan 2 15:04:05 MST 2006.
fn push_go_layout(items: &mut Vec<Item>, text: &str) {
    let zone = |colon, minutes, z| Item::Zone {
        colon,
        minutes,
        seconds: false,
        z,
    };
    // Longer ones first.
    let chunks: [(&str, Item); 28] = [
        ("January", Item::MonthName),
        ("Monday", Item::WeekdayName),
        ("Z07:00", zone(true, true, true)),
        ("-07:00", zone(true, true, false)),
        ("-0700", zone(false, true, false)),
        ("Z0700", zone(false, true, true)),
        ("2006", Item::Year),
        ("Jan", Item::MonthAbbreviation),
        ("Mon", Item::WeekdayAbbreviation),
        ("MST", Item::ZoneName),
        ("-07", zone(false, false, false)),
        ("_2", Item::Day(Pad::Space)),
        ("06", Item::ShortYear),
        ("01", Item::Month(Pad::Zero)),
        ("02", Item::Day(Pad::Zero)),
        ("03", Item::Hour12(Pad::Zero)),
        ("04", Item::Minute),
        ("05", Item::Second),
        ("15", Item::Hour(Pad::Zero)),
        ("PM", Item::Noon { upper: true }),
        ("pm", Item::Noon { upper: false }),
        ("000000000", Item::Fraction(9)),
        ("999999999", Item::ShortFraction(9)),
        ("000000", Item::Fraction(6)),
        ("000", Item::Fraction(3)),
        ("1", Item::Month(Pad::None)),
        ("2", Item::Day(Pad::None)),
        ("3", Item::Hour12(Pad::None)),
    ];
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        match chunks.iter().find(|(chunk, _)| rest.starts_with(chunk)) {
            Some((chunk, item)) => {
                items.push(item.clone());
                rest = &rest[chunk.len()..];
            }
            None => {
                push_literal(items, &rest[..letter.len_utf8()]);
                rest = &rest[letter.len_utf8()..];
            }
        }
    }
}

fn push_literal(items: &mut Vec<Item>, text: &str) {
    match items.last_mut() {
        Some(Item::Literal(literal)) => literal.push_str(text),
        _ => items.push(Item::Literal(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        let cases = [
            ("%m/%d/%Y", "02/04/2023", 1_675_468_800),
            ("%b %d, %Y", "Feb 15, 2023", 1_676_419_200),
            ("%Y-%m-%dT%H:%M:%S%j", "2023-05-26T12:34:56+00:00", 1_685_104_496),
            ("%A %h %e %Y", "Saturday Feb  4 2023", 1_675_468_800),
            ("%F %T", "2023-05-26 12:34:56", 1_685_104_496),
            ("%c", "Fri May 26 12:34:56 2023", 1_685_104_496),
            ("%D %r", "05/26/23 12:34:56 pm", 1_685_104_496),
            ("2006-01-02T15:04:05Z07:00", "2023-05-26T12:34:56Z", 1_685_104_496),
        ];
        for (format, text, seconds) in cases {
            let layout = Layout::parse(format).unwrap();
            assert_eq!(
                layout.read(text, Tz::UTC).unwrap(),
                seconds * NANOS_PER_SECOND,
                "{format}"
            );
            let time = DateTime::from_timestamp(seconds as i64, 0).unwrap();
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
        ];
        for (format, text, nanos) in cases {
            assert_eq!(
                Layout::parse(format).unwrap().read(text, Tz::UTC).unwrap(),
                nanos,
                "{format}"
            );
        }
        let layout = Layout::parse("%Y-%m-%d").unwrap();
        for wrong in ["2023-02-30", "2023-02", "2023-02-03x", "é", ""] {
            assert!(layout.read(wrong, Tz::UTC).is_err(), "{wrong}");
        }
        assert!(Layout::parse("%!").is_err());
        assert!(Layout::parse("%").is_err());
    }
}
