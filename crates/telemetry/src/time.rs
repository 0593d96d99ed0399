//! Instants as nanoseconds since the epoch, and their RFC 3339 text. Knows no clock.

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// `2026-11-20T14:01:46.123456789Z`; as many fraction digits as needed in steps of three, none for whole seconds.
pub fn to_rfc3339(unix_nano: u64) -> String {
    let (seconds, nanos) = (unix_nano / NANOS_PER_SECOND, unix_nano % NANOS_PER_SECOND);
    let (year, month, day) = date_of_day((seconds / SECONDS_PER_DAY) as i64);
    let second_of_day = seconds % SECONDS_PER_DAY;
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    let head = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    match nanos {
        0 => format!("{head}Z"),
        n if n % 1_000_000 == 0 => format!("{head}.{:03}Z", n / 1_000_000),
        n if n % 1_000 == 0 => format!("{head}.{:06}Z", n / 1_000),
        n => format!("{head}.{n:09}Z"),
    }
}

/// Reads RFC 3339 with `Z` or an offset, up to nine fraction digits (more are cut), `T` or a space between
/// date and time. `None` for anything else, for instants before 1970 and after 2554.
pub fn from_rfc3339(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let separators = [(4, b"-"), (7, b"-"), (10, b"Tt "), (13, b":"), (16, b":")] as [(usize, &[u8]); 5];
    if separators
        .iter()
        .any(|(at, allowed)| !bytes.get(*at).is_some_and(|byte| allowed.contains(byte)))
    {
        return None;
    }
    let number = |from: usize, to: usize| digits(bytes.get(from..to)?);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let in_range = (1..=12).contains(&month) && hour < 24 && minute < 60 && second < 60;
    if !in_range || day == 0 || day > days_of_month(year, month) {
        return None;
    }
    let (nanos, zone) = fraction(bytes.get(19..)?)?;
    let seconds = day_of_date(year, month, day) * SECONDS_PER_DAY as i64 + hour * 3600 + minute * 60 + second;
    let seconds = u64::try_from(seconds - offset_seconds(zone)?).ok()?;
    seconds.checked_mul(NANOS_PER_SECOND)?.checked_add(nanos)
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0i64, |value, byte| {
        byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0'))
    })
}

/// Nanoseconds of `.123…`, if it stands there, and what follows.
fn fraction(text: &[u8]) -> Option<(u64, &[u8])> {
    let [b'.', rest @ ..] = text else {
        return Some((0, text));
    };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, zone) = rest
        .split_at_checked(count)
        .filter(|(fraction, _)| !fraction.is_empty())?;
    let padded = (0..9).map(|index| fraction.get(index).map_or(0, |byte| u64::from(byte - b'0')));
    Some((padded.fold(0, |value, digit| value * 10 + digit), zone))
}

fn offset_seconds(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn days_of_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01. Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
fn day_of_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Inverse of [`day_of_date`]: `civil_from_days`.
fn date_of_day(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let day_of_era = day.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (
        year_of_era + era * 400 + i64::from(month <= 2),
        month,
        day_of_month,
    )
}
