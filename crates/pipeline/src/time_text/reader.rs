//! Reads the text of a time, item by item.

use super::layout::{Item, Pad};

pub(super) const MONTHS: [&str; 12] = [
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
pub(super) const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const HOURS_OF_OFFSET_MAX: u32 = 24;

/// What a text says of a time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parts {
    pub(super) year: Option<i32>,
    pub(super) month: u32,
    pub(super) day: u32,
    pub(super) day_of_year: Option<u32>,
    hour: u32,
    afternoon: Option<bool>,
    pub(super) minute: u32,
    pub(super) second: u32,
    pub(super) nanos: u32,
    pub(super) offset_seconds: Option<i32>,
    pub(super) zone_name: Option<String>,
}

impl Parts {
    pub(super) fn hour(&self) -> Option<u32> {
        match self.afternoon {
            None => Some(self.hour),
            Some(_) if self.hour > 12 => None,
            Some(afternoon) => Some(self.hour % 12 + 12 * u32::from(afternoon)),
        }
    }
}

pub(super) struct Reader<'t> {
    pub(super) rest: &'t str,
    pub(super) parts: Parts,
    lenient: bool,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str, lenient: bool) -> Reader<'t> {
        let parts = Parts {
            year: None,
            month: 1,
            day: 1,
            day_of_year: None,
            hour: 0,
            afternoon: None,
            minute: 0,
            second: 0,
            nanos: 0,
            offset_seconds: None,
            zone_name: None,
        };
        Reader {
            rest: text,
            parts,
            lenient,
        }
    }

    /// A run of spaces stands for another run of spaces, as in Go.
    pub(super) fn literal(&mut self, literal: &str) -> Option<()> {
        let mut wanted = literal;
        while let Some(letter) = wanted.chars().next() {
            if letter == ' ' {
                if !self.rest.is_empty() && !self.rest.starts_with(' ') {
                    return None;
                }
                wanted = wanted.trim_start_matches(' ');
                self.rest = self.rest.trim_start_matches(' ');
                continue;
            }
            self.rest = self.rest.strip_prefix(letter)?;
            wanted = &wanted[letter.len_utf8()..];
        }
        Some(())
    }

    pub(super) fn item(&mut self, item: Item) -> Option<()> {
        if self.lenient
            && !matches!(
                item,
                Item::MonthName { .. } | Item::WeekdayName { .. } | Item::ZoneName
            )
        {
            self.rest = self.rest.trim_start_matches(' ');
        }
        match item {
            Item::Year => self.parts.year = Some(self.digits(4, 4)? as i32),
            Item::ShortYear => self.short_year()?,
            Item::AnyYear => match self.digits(4, 4) {
                Some(year) => self.parts.year = Some(year as i32),
                None => self.short_year()?,
            },
            Item::Month(pad) => self.parts.month = self.number(pad)?,
            Item::MonthName { long } => self.parts.month = self.name(&MONTHS, long)? + 1,
            Item::Day(pad) => {
                if pad == Pad::Space
                    && let Some(rest) = self.rest.strip_prefix(' ')
                {
                    self.rest = rest;
                }
                self.parts.day = self.number(pad)?;
            }
            Item::DayOfYear => self.parts.day_of_year = Some(self.digits(3, 3)?),
            Item::WeekdayName { long } => drop(self.name(&WEEKDAYS, long)?),
            Item::Hour => self.parts.hour = self.number(Pad::None)?,
            Item::Hour12(pad) => {
                self.parts.hour = self.number(pad)?;
                self.parts.afternoon = self.parts.afternoon.or(Some(false));
            }
            Item::Noon { .. } => self.noon()?,
            Item::Minute(pad) => self.parts.minute = self.number(pad)?,
            Item::Second(pad) => self.parts.second = self.number(pad)?,
            Item::Fraction { digits, .. } => {
                self.rest = self.rest.strip_prefix(['.', ','])?;
                self.fraction(digits, digits)?;
            }
            Item::AnyFraction { .. } => {
                if let Some(rest) = self.rest.strip_prefix(['.', ',']) {
                    self.rest = rest;
                    self.fraction(1, usize::MAX)?;
                }
            }
            Item::Offset {
                colon,
                minutes,
                seconds,
                z,
            } => self.offset(colon, minutes, seconds, z)?,
            Item::AnyOffset => self.any_offset()?,
            Item::ZoneName => self.zone_name()?,
        }
        Some(())
    }

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

    /// One digit is enough where the layout does not ask for a zero before it.
    fn number(&mut self, pad: Pad) -> Option<u32> {
        let least = if pad == Pad::Zero && !self.lenient { 2 } else { 1 };
        self.digits(least, 2)
    }

    fn short_year(&mut self) -> Option<()> {
        let year = self.digits(2, 2)? as i32;
        self.parts.year = Some(if year >= 69 { 1900 + year } else { 2000 + year });
        Some(())
    }

    /// The place of a name that stands here.
    fn name(&mut self, names: &[&str], long: bool) -> Option<u32> {
        for (index, name) in names.iter().enumerate() {
            let name = if long { name } else { name.get(..3)? };
            if let Some(head) = self.rest.get(..name.len())
                && head.eq_ignore_ascii_case(name)
            {
                self.rest = self.rest.get(name.len()..)?;
                return Some(index as u32);
            }
        }
        None
    }

    fn noon(&mut self) -> Option<()> {
        self.parts.afternoon = Some(match self.rest.get(..2)? {
            "AM" | "am" => false,
            "PM" | "pm" => true,
            _ => return None,
        });
        self.rest = self.rest.get(2..)?;
        Some(())
    }

    /// Digits of a second; what is finer than a nanosecond is left out.
    fn fraction(&mut self, least: usize, most: usize) -> Option<()> {
        let count = self
            .rest
            .bytes()
            .take(most)
            .take_while(u8::is_ascii_digit)
            .count();
        if count < least {
            return None;
        }
        let (digits, rest) = self.rest.split_at(count);
        let kept = &digits[..count.min(9)];
        let scale = 10u32.pow(9 - kept.len() as u32);
        self.parts.nanos = kept.parse::<u32>().ok()? * scale;
        self.rest = rest;
        Some(())
    }

    /// Go reads a fraction after seconds even where the layout has none.
    pub(super) fn unannounced_fraction(&mut self) {
        if let Some(after) = self.rest.strip_prefix(['.', ','])
            && after.starts_with(|letter: char| letter.is_ascii_digit())
        {
            self.rest = after;
            let _ = self.fraction(1, usize::MAX);
        }
    }

    fn offset(&mut self, colon: bool, minutes: bool, seconds: bool, z: bool) -> Option<()> {
        if z && let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            self.parts.offset_seconds = Some(0);
            return Some(());
        }
        let negative = match self.rest.chars().next()? {
            '+' => false,
            '-' => true,
            _ => return None,
        };
        self.rest = self.rest.get(1..)?;
        let mut offset = self.digits(2, 2).filter(|hours| *hours <= HOURS_OF_OFFSET_MAX)? * 3600;
        for (wanted, unit) in [(minutes, 60), (seconds, 1)] {
            if !wanted {
                continue;
            }
            if colon {
                self.rest = self.rest.strip_prefix(':')?;
            }
            offset += self.digits(2, 2)? * unit;
        }
        let offset = i32::try_from(offset).ok()?;
        self.parts.offset_seconds = Some(if negative { -offset } else { offset });
        Some(())
    }

    fn any_offset(&mut self) -> Option<()> {
        let at = self.rest;
        for (colon, minutes) in [(false, true), (true, true), (false, false)] {
            self.rest = at;
            let read = self.offset(colon, minutes, false, true);
            // `+02` is only all of it if no more of it follows.
            if read.is_some()
                && !self
                    .rest
                    .starts_with(|letter: char| letter == ':' || letter.is_ascii_digit())
            {
                return Some(());
            }
        }
        None
    }

    fn zone_name(&mut self) -> Option<()> {
        let end = self
            .rest
            .find(|letter: char| !letter.is_ascii_uppercase())
            .unwrap_or(self.rest.len());
        if !(3..=5).contains(&end) {
            return None;
        }
        let (name, rest) = self.rest.split_at(end);
        self.parts.zone_name = Some(name.to_owned());
        self.rest = rest;
        Some(())
    }
}
