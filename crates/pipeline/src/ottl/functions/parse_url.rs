//! `URL`: the parts of a URL, or of a reference to one, by the attributes that have them.
//!
//! The text is taken apart by RFC 3986 and no further: nothing is added or made lower case, unlike in a browser.

use std::borrow::Cow;

use cupola_telemetry::edit::{Map, Value as Telemetry};

use super::Arguments;
use crate::ottl::error::Fault;
use crate::ottl::value::Value;

pub(super) fn parse_url<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let text = arguments.get(0).as_str()?;
    let refused = |what: &str| Fault::of(format_args!("{text:?} is no URL: {what}"));
    if text.is_empty() {
        return Err(refused("it is empty"));
    }
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err(refused("it has control characters"));
    }
    let (rest, fragment) = split(text, '#');
    let (scheme, rest) = scheme(rest).map_err(refused)?;
    let (rest, query) = split(rest, '?');
    let (authority, path) = match rest.strip_prefix("//") {
        None if scheme.is_empty() && rest.split('/').next().unwrap_or_default().contains(':') => {
            return Err(refused("a colon stands before the first slash"));
        }
        None => (None, rest),
        Some(rest) => {
            let end = rest.find('/').unwrap_or(rest.len());
            (Some(&rest[..end]), &rest[end..])
        }
    };
    let (user, host) = authority.unwrap_or_default().rsplit_once('@').map_or_else(
        || (None, authority.unwrap_or_default()),
        |(user, host)| (Some(user), host),
    );
    let (host, port) = host_and_port(host).ok_or_else(|| refused("its port is no number"))?;
    let decoded = |text: &str| unescaped(text).ok_or_else(|| refused("a percent sign escapes nothing"));
    let path = decoded(path)?;
    let mut map = Map::new();
    let mut push = |key: &'static str, text: String| map.push(Cow::Borrowed(key), Telemetry::from(text));
    push("url.original", text.to_owned());
    push("url.domain", decoded(host)?);
    push("url.scheme", scheme.to_ascii_lowercase());
    push("url.path", path.clone());
    if let Some(fragment) = fragment.filter(|fragment| !fragment.is_empty()) {
        push("url.fragment", decoded(fragment)?);
    }
    if let Some((_, extension)) = path
        .rsplit_once('.')
        .filter(|(_, extension)| !extension.is_empty())
    {
        push("url.extension", extension.to_owned());
    }
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        push("url.query", query.to_owned());
    }
    if let Some(user) = user {
        let (name, password) = match user.split_once(':') {
            Some((name, password)) => (name, Some(password)),
            None => (user, None),
        };
        push("url.user_info", user.to_owned());
        if !name.is_empty() {
            push("url.username", decoded(name)?);
        }
        if let Some(password) = password {
            push("url.password", decoded(password)?);
        }
    }
    if let Some(port) = port {
        map.push(Cow::Borrowed("url.port"), Telemetry::Int(port));
    }
    Ok(Value::Map(map))
}

fn split(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// The scheme without its colon, empty if there is none, and what follows it.
fn scheme(text: &str) -> Result<(&str, &str), &'static str> {
    let end =
        text.find(|letter: char| !(letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.')));
    match end {
        Some(0) if text.starts_with(':') => Err("it has no scheme before the colon"),
        Some(end) if text[end..].starts_with(':') && text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            Ok((&text[..end], &text[end + 1..]))
        }
        _ => Ok(("", text)),
    }
}

/// `[::1]` without its brackets; a port is made of digits.
fn host_and_port(text: &str) -> Option<(&str, Option<i64>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            let port = if after.is_empty() {
                None
            } else {
                Some(after.strip_prefix(':')?)
            };
            (host, port)
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    match port {
        None | Some("") => Some((host, None)),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((host, Some(port.parse().ok()?)))
        }
        Some(_) => None,
    }
}

/// With `%41` as `A`; bytes that are no text become `�`.
fn unescaped(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut pieces = text.split('%');
    out.extend_from_slice(pieces.next()?.as_bytes());
    for piece in pieces {
        let digits = piece.get(..2)?;
        out.push(
            u8::from_str_radix(digits, 16)
                .ok()
                .filter(|_| !digits.starts_with('+'))?,
        );
        out.extend_from_slice(piece.get(2..)?.as_bytes());
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}
