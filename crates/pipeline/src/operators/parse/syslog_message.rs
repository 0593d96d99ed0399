//! Messages of RFC 3164 and RFC 5424, read as the Collector's library reads them. Refuses to guess: what does not follow
//! the protocol is an error that names the part.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime};

/// The largest priority: facility 23, severity 7.
pub(super) const PRIORITY_MAX: u8 = 191;

/// Elements of structured data, and parameters of each: each is compared with those before it.
const ELEMENTS_MAX: usize = 256;
const PARAMETERS_MAX: usize = 256;

/// The time of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stamp {
    Missing,
    Exact(DateTime<FixedOffset>),
    /// In the leap year 2000: RFC 3164 has no year and no time zone.
    WithoutYear(NaiveDateTime),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message<'m> {
    pub(super) priority: u8,
    pub(super) version: Option<u16>,
    pub(super) stamp: Stamp,
    pub(super) hostname: Option<&'m str>,
    pub(super) appname: Option<&'m str>,
    pub(super) proc_id: Option<&'m str>,
    pub(super) msg_id: Option<&'m str>,
    /// `None`: there is none. Elements by their id, each with parameters.
    pub(super) structured_data: Option<Vec<Element<'m>>>,
    pub(super) message: Option<&'m str>,
}

/// An element of structured data: an id, and parameters with their values, in which escapes are resolved.
pub(super) type Element<'m> = (&'m str, Vec<(&'m str, String)>);

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// `<34>`, and what follows it.
pub(super) fn priority(text: &str) -> Result<(u8, &str), String> {
    let wrong = || "expected a priority from 0 to 191 in angle brackets".to_owned();
    let (digits, rest) = text
        .strip_prefix('<')
        .and_then(|text| text.split_once('>'))
        .ok_or_else(wrong)?;
    let plain = matches!(digits.len(), 1..=3) && digits.bytes().all(|digit| digit.is_ascii_digit());
    let zero_first = digits.len() > 1 && digits.starts_with('0');
    let value = digits
        .parse()
        .ok()
        .filter(|value| *value <= PRIORITY_MAX && plain && !zero_first);
    value.map(|value| (value, rest)).ok_or_else(wrong)
}

fn graphic(word: &str, letters_max: usize) -> bool {
    (1..=letters_max).contains(&word.len()) && word.bytes().all(|letter| letter.is_ascii_graphic())
}

/// RFC 3164, of one line.
pub(super) fn rfc3164(text: &str) -> Result<Message<'_>, String> {
    const HOSTNAME_MAX: usize = 255;
    let (priority, rest) = priority(text)?;
    let rest = rest.trim_start_matches(' ');
    let (stamp, rest) = stamp3164(rest).ok_or("expected a time such as `Jan  2 15:04:05`")?;
    let rest = rest
        .strip_prefix(' ')
        .ok_or("expected a space after the time")?
        .trim_start_matches(' ');
    let mut message = Message {
        priority,
        version: None,
        stamp: Stamp::WithoutYear(stamp),
        hostname: None,
        appname: None,
        proc_id: None,
        msg_id: None,
        structured_data: None,
        message: None,
    };
    // A first word with a colon in it is a tag already: some leave the host name out.
    let mut body = rest;
    if let Some((word, after)) = rest.split_once(' ')
        && graphic(word, HOSTNAME_MAX)
        && !word.contains(':')
    {
        message.hostname = Some(word).filter(|word| *word != "-");
        body = after.trim_start_matches(' ');
    }
    if let Some((tag, content, after)) = tag(body) {
        message.appname = Some(tag).filter(|tag| *tag != "-");
        message.proc_id = content.filter(|content| !matches!(*content, "" | "-"));
        body = after;
    }
    let body = body.strip_suffix('\n').unwrap_or(body);
    if body.is_empty() || body.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err("expected a message of printable characters".to_owned());
    }
    message.message = Some(body);
    Ok(message)
}

/// `tag: ` or `tag[content]: ` before a message. Without a space behind the colon, or without a colon behind the bracket, the
/// tag is part of the message as well.
fn tag(text: &str) -> Option<(&str, Option<&str>, &str)> {
    const TAG_MAX: usize = 48;
    let end = text.find([' ', ':', '['])?;
    let (tag, rest) = text.split_at(end);
    if !graphic(tag, TAG_MAX) {
        return None;
    }
    let (content, rest) = match rest.strip_prefix('[') {
        Some(inner) => {
            let is_content = |content: &str| {
                let is_odd = |byte: u8| byte == b'[' || (byte.is_ascii_control() && byte != b'\t');
                !content.bytes().any(is_odd)
            };
            match inner.split_once(']').filter(|(content, _)| is_content(content)) {
                Some((content, rest)) => (Some(content), rest),
                None => return Some((tag, None, text)),
            }
        }
        None => (None, rest),
    };
    match rest.strip_prefix(": ") {
        Some(message) if !message.is_empty() => Some((tag, content, message)),
        _ if content.is_some() || rest.starts_with(':') => Some((tag, content, text)),
        _ => None,
    }
}

fn stamp3164(text: &str) -> Option<(NaiveDateTime, &str)> {
    const BYTES: usize = "Jan  2 15:04:05".len();
    let (stamp, rest) = text.split_at_checked(BYTES)?;
    if !stamp.is_ascii() {
        return None;
    }
    let month = MONTHS.iter().position(|month| *month == &stamp[..3])? as u32 + 1;
    let number = |from: usize| {
        let digits = stamp.get(from..from + 2)?;
        let padded = from == 4 && digits.starts_with(' ');
        let digits = if padded { &digits[1..] } else { digits };
        digits
            .bytes()
            .all(|digit| digit.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let bytes = stamp.as_bytes();
    if bytes[3] != b' ' || bytes[6] != b' ' || bytes[9] != b':' || bytes[12] != b':' {
        return None;
    }
    // A leap year, for the 29th of February.
    let date = NaiveDate::from_ymd_opt(2000, month, number(4)?)?;
    Some((date.and_hms_opt(number(7)?, number(10)?, number(13)?)?, rest))
}

/// RFC 5424.
pub(super) fn rfc5424(text: &str) -> Result<Message<'_>, String> {
    let (priority, rest) = priority(text)?;
    let (version, rest) = word(rest, "a version")?;
    let plain = !version.starts_with('0')
        && version.len() <= 3
        && version.bytes().all(|digit| digit.is_ascii_digit());
    let version = version
        .parse()
        .ok()
        .filter(|_| plain)
        .ok_or("expected a version from 1 to 999")?;
    let (stamp, rest) = word(rest, "a time")?;
    let stamp = match stamp {
        "-" => Stamp::Missing,
        stamp => Stamp::Exact(
            stamp5424(stamp).ok_or("expected a time such as `2006-01-02T15:04:05.999999Z`, or `-`")?,
        ),
    };
    let mut rest = rest;
    let mut field = |letters_max, what: &'static str| {
        let (found, after) = word(rest, what)?;
        rest = after;
        match graphic(found, letters_max) {
            true => Ok(Some(found).filter(|found| *found != "-")),
            false => Err(format!(
                "expected {what} of 1 to {letters_max} ASCII characters, or `-`"
            )),
        }
    };
    let hostname = field(255, "a host name")?;
    let appname = field(48, "the name of an application")?;
    let proc_id = field(128, "a process id")?;
    let msg_id = field(32, "a message id")?;
    let (structured_data, rest) = structured_data(rest)?;
    let message = match rest.strip_prefix(' ') {
        Some("") | None if rest.len() <= 1 && rest.trim_start_matches(' ').is_empty() => None,
        Some(message) => Some(message),
        None => return Err("expected a space after the structured data".to_owned()),
    };
    Ok(Message {
        priority,
        version: Some(version),
        stamp,
        hostname,
        appname,
        proc_id,
        msg_id,
        structured_data,
        message,
    })
}

/// Up to the next space, and what follows it.
fn word<'m>(text: &'m str, what: &str) -> Result<(&'m str, &'m str), String> {
    text.split_once(' ')
        .ok_or_else(|| format!("the message ends where {what} should be"))
}

fn stamp5424(text: &str) -> Option<DateTime<FixedOffset>> {
    // Stricter than RFC 3339: at most six digits of a second, letters in capitals.
    if let Some((_, fraction)) = text.split_once('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=6).contains(&digits) {
            return None;
        }
    }
    let shape = text.len() >= "2006-01-02T15:04:05Z".len()
        && text.as_bytes()[10] == b'T'
        && !text.contains(['z', ',']);
    // A leap second is none here, as for the Collector.
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    (shape && time.timestamp_subsec_nanos() < 1_000_000_000).then_some(time)
}

/// `-`, or elements such as `[id key="value"]`; and what follows.
fn structured_data(text: &str) -> Result<(Option<Vec<Element<'_>>>, &str), String> {
    if let Some(rest) = text.strip_prefix('-') {
        return Ok((None, rest));
    }
    let mut elements: Vec<Element<'_>> = Vec::new();
    let mut rest = text;
    while let Some(inner) = rest.strip_prefix('[') {
        if elements.len() == ELEMENTS_MAX {
            return Err(format!(
                "there are more than {ELEMENTS_MAX} elements of structured data"
            ));
        }
        let (id, after) = name(inner, "the id of an element")?;
        if elements.iter().any(|(known, _)| *known == id) {
            return Err(format!("the element {id:?} is there twice"));
        }
        let (parameters, after) = parameters(after)?;
        elements.push((id, parameters));
        rest = after;
    }
    match elements.is_empty() {
        true => Err("expected structured data such as `[id key=\"value\"]`, or `-`".to_owned()),
        false => Ok((Some(elements), rest)),
    }
}

fn name<'m>(text: &'m str, what: &str) -> Result<(&'m str, &'m str), String> {
    const NAME_MAX: usize = 32;
    let end = text.find(['=', ' ', ']', '"']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match graphic(name, NAME_MAX) {
        true => Ok((name, rest)),
        false => Err(format!("expected {what} of 1 to {NAME_MAX} ASCII characters")),
    }
}

type Parameters<'m> = Vec<(&'m str, String)>;

fn parameters(text: &str) -> Result<(Parameters<'_>, &str), String> {
    let mut found = Parameters::new();
    let mut rest = text;
    loop {
        if let Some(rest) = rest.strip_prefix(']') {
            return Ok((found, rest));
        }
        let after = rest
            .strip_prefix(' ')
            .ok_or("expected a parameter such as `key=\"value\"`, or `]`")?;
        let (key, after) = name(after, "the name of a parameter")?;
        let mut letters = after
            .strip_prefix("=\"")
            .ok_or("expected `=\"` after the name of a parameter")?
            .chars();
        let mut value = String::new();
        loop {
            match letters.next() {
                Some('"') => break,
                Some('\\') => match letters.next() {
                    Some(escaped @ ('"' | '\\' | ']')) => value.push(escaped),
                    _ => return Err("`\\` must be followed by `\"`, `\\` or `]`".to_owned()),
                },
                Some(']') => return Err("`]` in the value of a parameter must be written `\\]`".to_owned()),
                Some(letter) => value.push(letter),
                None => return Err("the value of a parameter is not closed".to_owned()),
            }
        }
        match found.iter().position(|(known, _)| *known == key) {
            Some(place) => found[place].1 = value,
            None if found.len() == PARAMETERS_MAX => {
                return Err(format!("an element has more than {PARAMETERS_MAX} parameters"));
            }
            None => found.push((key, value)),
        }
        rest = letters.as_str();
    }
}
