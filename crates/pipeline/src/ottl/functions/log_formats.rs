//! Converters of log lines in formats with a name: CEF and LEEF of security products, and those of web servers.

mod elf;

use std::borrow::Cow;
use std::sync::LazyLock;

use cupola_telemetry::edit::{Map, Value as Telemetry};
use regex::Regex;

use super::{
    Arguments, Body, Constants, Converter, Kind, Made, Parameter, TARGET, made, optional, plain, value,
};
use crate::ottl::context::Context;
use crate::ottl::error::Fault;
use crate::ottl::value::Value;

pub(super) const TABLE: &[Converter] = &[
    of_logs("ParseCEF", TARGET, |_| plain(parse_cef)),
    of_logs("ParseLEEF", TARGET, |_| plain(parse_leef)),
    of_logs(
        "ParseCLF",
        &[value("target"), optional("format", Kind::Text)],
        parse_clf,
    ),
    of_logs("ParseELF", TARGET, |_| plain(elf::parse_elf)),
];

const fn of_logs(
    name: &'static str,
    parameters: &'static [Parameter],
    make: fn(&Constants) -> Result<Body, (usize, String)>,
) -> Converter {
    Converter {
        name,
        parameters,
        context: Some(Context::Log),
        make,
    }
}

fn text<'a>(text: impl Into<String>) -> Telemetry<'a> {
    Telemetry::from(text.into())
}

/// Common Event Format: seven fields between pipes, then pairs.
fn parse_cef<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    const FIELDS: [&str; 6] = [
        "cef.device_vendor",
        "cef.device_product",
        "cef.device_version",
        "cef.device_event_class_id",
        "cef.name",
        "cef.severity",
    ];
    let message = arguments.get(0).as_str()?;
    let Some(start) = message.find("CEF:") else {
        return Err(Fault::new("no CEF: there is no `CEF:` in it"));
    };
    let (fields, extension) = cef_header(&message[start + 4..]);
    if fields.len() < FIELDS.len() + 1 {
        return Err(Fault::of(format_args!(
            "no CEF: it has {} of {} fields between pipes",
            fields.len(),
            FIELDS.len() + 1
        )));
    }
    if fields[0].is_empty() {
        return Err(Fault::new("no CEF: its version is missing"));
    }
    let mut map = Map::new();
    map.push("cef.version".into(), text(fields[0]));
    for (name, field) in FIELDS.into_iter().zip(&fields[1..]) {
        map.push(
            name.into(),
            text(unescaped(field, |letter| match letter {
                '|' | '\\' => Some(letter),
                _ => None,
            })),
        );
    }
    map.push("cef.extensions".into(), Telemetry::Map(cef_pairs(extension)));
    Ok(Value::Map(map))
}

/// The fields between pipes that no backslash escapes, seven at most, and what follows them.
fn cef_header(message: &str) -> (Vec<&str>, &str) {
    let (mut fields, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, letter) in message.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = message[at + 1..].starts_with(['|', '\\']),
            '|' => {
                fields.push(&message[start..at]);
                start = at + 1;
                if fields.len() == 7 {
                    return (fields, &message[start..]);
                }
            }
            _ => {}
        }
    }
    fields.push(&message[start..]);
    (fields, "")
}

/// Pairs whose values may have spaces: a value ends before the next word that is followed by `=`.
fn cef_pairs<'a>(extension: &str) -> Map<'a> {
    let bytes = extension.as_bytes();
    let mut starts = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if at == 0 || bytes[at - 1] == b' ' {
            let key = bytes[at..]
                .iter()
                .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_');
            let end = at + key.count();
            if end > at && bytes.get(end) == Some(&b'=') {
                starts.push((at, end));
                at = end + 1;
                continue;
            }
        }
        at += 1;
    }
    let pair = |(index, (start, end)): (usize, &(usize, usize))| {
        let next = starts.get(index + 1).map_or(extension.len(), |(start, _)| *start);
        let value = extension
            .get(end + 1..next)
            .unwrap_or_default()
            .trim_end_matches(' ');
        let value = unescaped(value, |letter| match letter {
            '\\' | '=' => Some(letter),
            'n' => Some('\n'),
            'r' => Some('\r'),
            _ => None,
        });
        let key = extension.get(*start..*end).unwrap_or_default();
        (Cow::Owned(key.to_owned()), text(value))
    };
    starts.iter().enumerate().map(pair).collect()
}

/// `text` with a backslash and a letter replaced by what `of` gives for the letter.
fn unescaped(text: &str, of: impl Fn(char) -> Option<char>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let escaped = match letter {
            '\\' => letters.peek().copied().and_then(&of),
            _ => None,
        };
        match escaped {
            Some(escaped) => {
                out.push(escaped);
                letters.next();
            }
            None => out.push(letter),
        }
    }
    out
}

/// Log Event Extended Format: four fields between pipes, in version 2.0 the delimiter of the pairs, then pairs.
fn parse_leef<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let message = arguments.get(0).as_str()?;
    let Some(start) = message.find("LEEF:") else {
        return Err(Fault::new("no LEEF: there is no `LEEF:` in it"));
    };
    let Some((version, rest)) = message[start + 5..].split_once('|') else {
        return Err(Fault::new("no LEEF: it has no fields between pipes"));
    };
    if !matches!(version, "1.0" | "2.0") {
        return Err(Fault::of(format_args!(
            "no LEEF: there are the versions 1.0 and 2.0, and this is {version:?}"
        )));
    }
    let fields: Vec<&str> = rest.splitn(5, '|').collect();
    let [vendor, product, product_version, event, ..] = fields[..] else {
        return Err(Fault::of(format_args!(
            "no LEEF: it has {} of 4 fields between pipes",
            fields.len()
        )));
    };
    let rest = fields.get(4).copied().unwrap_or_default();
    let (delimiter, pairs) = match version {
        "2.0" if fields.len() == 5 => leef_delimiter(rest)?,
        _ => ('\t', rest),
    };
    let mut map = Map::new();
    map.push("leef.version".into(), text(version));
    map.push("leef.vendor".into(), text(vendor));
    map.push("leef.product.name".into(), text(product));
    map.push("leef.product.version".into(), text(product_version));
    map.push("leef.event.id".into(), text(event));
    let pairs = pairs.split(delimiter).filter_map(|pair| pair.split_once('='));
    let pairs = pairs.filter(|(key, _)| !key.is_empty());
    let pairs = pairs.map(|(key, value)| (Cow::Owned(key.to_owned()), text(value)));
    map.push("leef.attributes".into(), Telemetry::Map(pairs.collect()));
    Ok(Value::Map(map))
}

/// The delimiter of the pairs, and the pairs. A field with an `=` is a pair already: the delimiter was left out.
fn leef_delimiter(rest: &str) -> Result<(char, &str), Fault> {
    let (written, pairs) = rest.split_once('|').unwrap_or((rest, ""));
    if written.contains('=') {
        return Ok(('\t', rest));
    }
    let digits = written.strip_prefix("0x").or(written.strip_prefix("0X"));
    let mut letters = written.chars();
    let delimiter = match (digits, letters.next(), letters.next()) {
        (Some(digits), ..) if digits.len() == 2 => u8::from_str_radix(digits, 16)
            .ok()
            .filter(u8::is_ascii)
            .map(char::from),
        (Some(_), ..) => None,
        (None, None, _) => Some('\t'),
        (None, Some(letter), None) if letter.is_ascii() => Some(letter),
        _ => None,
    };
    match delimiter {
        Some(delimiter) => Ok((delimiter, pairs)),
        None => Err(Fault::of(format_args!(
            "no LEEF: {written:?} is no delimiter, as `^` or `0x09`"
        ))),
    }
}

/// What stands in quotes, in which a backslash escapes.
const QUOTED: &str = r#""((?:[^"\\]|\\.)*)""#;

static COMMON: LazyLock<Regex> = LazyLock::new(|| line(""));
static COMBINED: LazyLock<Regex> = LazyLock::new(|| line(&format!(" {QUOTED} {QUOTED}")));

fn line(more: &str) -> Regex {
    let pattern = format!(r"^(\S+) (\S+) (\S+) \[([^\]]+)\] {QUOTED} (\S+) (\S+){more}$");
    Regex::new(&pattern).expect("the patterns are constants that tests compile")
}

/// Common Log Format of web servers, and the combined one.
fn parse_clf(constants: &Constants) -> Made {
    let pattern = match constants.text(1).unwrap_or("clf") {
        "clf" => &*COMMON,
        "combined" => &*COMBINED,
        other => return Err((1, format!("{other:?} is no format; there are clf and combined"))),
    };
    made(move |arguments| {
        let line = arguments.get(0).as_str()?.trim();
        let Some(captures) = pattern.captures(line) else {
            return Err(Fault::new("the line is not in the format"));
        };
        let part = |index| captures.get(index).map_or("", |part| part.as_str());
        let number = |index| {
            let digits: &str = part(index);
            let parsed = digits.parse().map(Telemetry::Int);
            parsed.map_err(|_| Fault::of(format_args!("{digits:?} is no number")))
        };
        let mut map = Map::new();
        map.push("clf.remote_host".into(), text(part(1)));
        map.push("clf.rfc931".into(), text(part(2)));
        map.push("clf.auth_user".into(), text(part(3)));
        map.push("clf.timestamp".into(), text(part(4)));
        let request = unescaped_clf(part(5));
        map.push("clf.request".into(), text(request.as_str()));
        if let [method, uri, protocol] = request.splitn(3, ' ').collect::<Vec<_>>()[..] {
            map.push("clf.method".into(), text(method));
            map.push("clf.request_uri".into(), text(uri));
            map.push("clf.protocol".into(), text(protocol));
        }
        map.push("clf.status".into(), number(6)?);
        if part(7) != "-" {
            map.push("clf.bytes".into(), number(7)?);
        }
        if captures.len() > 8 {
            map.push("clf.referer".into(), text(unescaped_clf(part(8))));
            map.push("clf.user_agent".into(), text(unescaped_clf(part(9))));
        }
        Ok(Value::Map(map))
    })
}

/// What Apache and nginx escape in quotes; an escape that is none stays, and bytes that are no text become `�`.
fn unescaped_clf(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend_from_slice(before.as_bytes());
        let mut letters = after.chars();
        let simple = match letters.next() {
            Some(letter @ ('\\' | '"')) => Some(letter as u8),
            Some('n') => Some(b'\n'),
            Some('t') => Some(b'\t'),
            Some('r') => Some(b'\r'),
            Some('b') => Some(8),
            Some('f') => Some(12),
            Some('v') => Some(11),
            _ => None,
        };
        let digits = after.strip_prefix('x').and_then(|digits| digits.get(..2));
        let coded = digits
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (simple, coded) {
            (Some(byte), _) => {
                out.push(byte);
                rest = letters.as_str();
            }
            (_, Some(byte)) => {
                out.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                out.push(b'\\');
                rest = after;
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}
