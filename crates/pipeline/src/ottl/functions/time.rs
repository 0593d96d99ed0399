//! Converters of times and durations. Times are nanoseconds since the epoch, and know no zone but UTC.

use chrono::{DateTime, Datelike, Timelike, Utc};

use super::{
    Arguments, Constants, Converter, Kind, Made, Parameter, converter, made, optional, plain, required, value,
};
use crate::ottl::error::Fault;
use crate::ottl::value::Value;
use crate::time_text::{Layout, Zone, resolve};

pub(super) const NANOS_PER_SECOND: i128 = 1_000_000_000;
/// From the first second of year 1, to which Go truncates, to the epoch.
const SECONDS_BEFORE_EPOCH: i128 = 62_135_596_800;

const TIME: &[Parameter] = &[value("time")];
const DURATION: &[Parameter] = &[value("duration")];

pub(super) const TABLE: &[Converter] = &[
    converter("Now", &[], |_| {
        plain(|a| Ok(Value::Time(i128::from(a.env.now_unix_nano()))))
    }),
    converter(
        "Time",
        &[
            value("time"),
            required("format", Kind::Text),
            optional("location", Kind::Text),
            optional("locale", Kind::Text),
        ],
        parse_time,
    ),
    converter(
        "FormatTime",
        &[value("time"), required("format", Kind::Text)],
        format_time,
    ),
    converter(
        "Unix",
        &[value("seconds"), optional("nanoseconds", Kind::Value)],
        |_| plain(unix),
    ),
    converter("UnixNano", TIME, |_| plain(|a| since_epoch(a, 1))),
    converter("UnixMicro", TIME, |_| plain(|a| since_epoch(a, 1_000))),
    converter("UnixMilli", TIME, |_| plain(|a| since_epoch(a, 1_000_000))),
    converter("UnixSeconds", TIME, |_| {
        plain(|a| since_epoch(a, NANOS_PER_SECOND))
    }),
    converter("Year", TIME, |_| {
        plain(|a| part(a, |time| i64::from(time.year())))
    }),
    converter("Month", TIME, |_| {
        plain(|a| part(a, |time| i64::from(time.month())))
    }),
    converter("Day", TIME, |_| plain(|a| part(a, |time| i64::from(time.day())))),
    converter("Hour", TIME, |_| {
        plain(|a| part(a, |time| i64::from(time.hour())))
    }),
    converter("Minute", TIME, |_| {
        plain(|a| part(a, |time| i64::from(time.minute())))
    }),
    converter("Second", TIME, |_| {
        plain(|a| part(a, |time| i64::from(time.second())))
    }),
    converter("Nanosecond", TIME, |_| {
        plain(|a| part(a, |time| i64::from(time.nanosecond())))
    }),
    converter("Weekday", TIME, |_| {
        plain(|a| part(a, |time| i64::from(time.weekday().num_days_from_sunday())))
    }),
    converter("TruncateTime", &[value("time"), value("duration")], |_| {
        plain(truncate)
    }),
    converter("Duration", &[value("duration")], |_| plain(duration)),
    converter("Nanoseconds", DURATION, |_| {
        plain(|a| Ok(Value::Int(a.get(0).as_duration()?)))
    }),
    converter("Microseconds", DURATION, |_| {
        plain(|a| Ok(Value::Int(a.get(0).as_duration()? / 1_000)))
    }),
    converter("Milliseconds", DURATION, |_| {
        plain(|a| Ok(Value::Int(a.get(0).as_duration()? / 1_000_000)))
    }),
    converter("Seconds", DURATION, |_| plain(|a| in_units(a, 1.0))),
    converter("Minutes", DURATION, |_| plain(|a| in_units(a, 60.0))),
    converter("Hours", DURATION, |_| plain(|a| in_units(a, 3600.0))),
];

/// A time with its calendar; an error outside of the years that have one.
fn calendar(nanos: i128) -> Result<DateTime<Utc>, Fault> {
    let seconds = i64::try_from(nanos.div_euclid(NANOS_PER_SECOND)).ok();
    let fraction = nanos.rem_euclid(NANOS_PER_SECOND) as u32;
    seconds
        .and_then(|seconds| DateTime::from_timestamp(seconds, fraction))
        .ok_or_else(|| Fault::new("the time is out of range"))
}

fn layout(constants: &Constants) -> Result<Layout, (usize, String)> {
    match constants.text(1).unwrap_or_default() {
        "" => Err((1, "the format is empty".to_owned())),
        text if text.contains('%') => Layout::strptime(text).map_err(|problem| (1, problem)),
        text => Ok(Layout::go(text)),
    }
}

fn parse_time(constants: &Constants) -> Made {
    let layout = layout(constants)?;
    let zone = match constants.text(2) {
        None | Some("") => Zone::UTC,
        Some(name) => {
            Zone::named(name).ok_or_else(|| (2, format!("{name:?} is no time zone, as `Europe/Berlin`")))?
        }
    };
    match constants.text(3) {
        None | Some("" | "en" | "en-US" | "en-GB") => {}
        Some(other) => return Err((3, format!("the locale {other:?} is not known here; there is en"))),
    }
    made(move |arguments| {
        let text = arguments.get(0).as_str()?;
        let now = DateTime::from_timestamp_nanos(arguments.env.now_unix_nano() as i64);
        let time = layout.read(text).and_then(|parts| resolve(&parts, &zone, now));
        let time = time.map_err(|problem| Fault::of(format_args!("{text:?}: {problem}")))?;
        let seconds = i128::from(time.timestamp()) * NANOS_PER_SECOND;
        Ok(Value::Time(seconds + i128::from(time.timestamp_subsec_nanos())))
    })
}

fn format_time(constants: &Constants) -> Made {
    let layout = layout(constants)?;
    made(move |arguments| Ok(Value::text(layout.write(&calendar(arguments.get(0).as_time()?)?))))
}

fn unix<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let seconds = i128::from(arguments.get(0).as_int()?);
    let nanos = match arguments.get(1) {
        Value::Nil => 0,
        nanos => i128::from(nanos.as_int()?),
    };
    Ok(Value::Time(seconds * NANOS_PER_SECOND + nanos))
}

fn since_epoch<'a>(arguments: &Arguments<'_, 'a>, unit: i128) -> Result<Value<'a>, Fault> {
    let units = arguments.get(0).as_time()?.div_euclid(unit);
    i64::try_from(units)
        .map(Value::Int)
        .map_err(|_| Fault::new("the time is out of range"))
}

fn part<'a>(arguments: &Arguments<'_, 'a>, part: fn(DateTime<Utc>) -> i64) -> Result<Value<'a>, Fault> {
    Ok(Value::Int(part(calendar(arguments.get(0).as_time()?)?)))
}

fn truncate<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let time = arguments.get(0).as_time()?;
    let step = i128::from(arguments.get(1).as_duration()?);
    if step <= 0 {
        return Ok(Value::Time(time));
    }
    let since_year_one = time.saturating_add(SECONDS_BEFORE_EPOCH * NANOS_PER_SECOND);
    Ok(Value::Time(time - since_year_one.rem_euclid(step)))
}

fn in_units<'a>(arguments: &Arguments<'_, 'a>, seconds: f64) -> Result<Value<'a>, Fault> {
    let nanos = arguments.get(0).as_duration()?;
    Ok(Value::Double(nanos as f64 / 1e9 / seconds))
}

fn duration<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let text = arguments.get(0).as_str()?;
    match parse_duration(text) {
        Some(nanos) => Ok(Value::Duration(nanos)),
        None => Err(Fault::of(format_args!("{text:?} is no duration, as in `1h30m`"))),
    }
}

/// Reads `1h2m3.5s` and the like, as Go does.
fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0i128;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit_length = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_length);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => NANOS_PER_SECOND,
            "m" => 60 * NANOS_PER_SECOND,
            "h" => 3600 * NANOS_PER_SECOND,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let mut nanos = whole.checked_mul(unit)?;
        let mut scale = unit;
        for digit in fraction.chars() {
            scale /= 10;
            nanos = nanos.checked_add(i128::from(digit.to_digit(10)?) * scale)?;
        }
        total = total.checked_add(nanos)?;
        rest = next;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// Writes a duration as Go does: `1h0m0s`, `1.5s`, `333ms`.
pub(in crate::ottl) fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let with_fraction = |nanos: u64, unit: u64| {
        let (whole, rest) = (nanos / unit, nanos % unit);
        let width = unit.ilog10() as usize;
        let fraction = format!("{rest:0width$}");
        match fraction.trim_end_matches('0') {
            "" => whole.to_string(),
            fraction => format!("{whole}.{fraction}"),
        }
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{nanos}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", with_fraction(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", with_fraction(nanos, 1_000_000)),
        _ => {
            let minutes = nanos / 60_000_000_000;
            let seconds = with_fraction(nanos % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// RFC 3339 with as many digits as there are.
pub(in crate::ottl) fn rfc3339(nanos: i128) -> String {
    match calendar(nanos) {
        Ok(time) => time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        Err(_) => nanos.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_in_go() {
        let cases = [
            ("3s", 3_000_000_000, "3s"),
            ("333ms", 333_000_000, "333ms"),
            ("1.5h", 5_400_000_000_000, "1h30m0s"),
            ("-1m0.5s", -60_500_000_000, "-1m0.5s"),
            ("2us3ns", 2_003, "2.003µs"),
            ("0", 0, "0s"),
            (".5s", 500_000_000, "500ms"),
        ];
        for (text, nanos, written) in cases {
            assert_eq!(parse_duration(text), Some(nanos), "{text}");
            assert_eq!(duration_text(nanos), written);
        }
        for wrong in ["", "-", "1", "s", "1d", ".s", "1h-2m", "99999999999h"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}
