//! Secrets that are known by the name before them in a text: `password=…`, `"api_key": "…"`, `Authorization: …`,
//! `?token=…&`.

use std::ops::Range;

use super::{REDACTED, keys::Keys};

/// Longest name that is looked for, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// Most quotes, brackets and spaces between a name and what follows it.
const BETWEEN_BYTES_MAX: usize = 6;
/// Longest word before a quote or a bracket that belongs to the value.
const WORD_BYTES_MAX: usize = 32;

/// Parameters of URLs that sign them, which the semantic conventions want redacted. Not names of secrets elsewhere.
const SIGNATURES: [&str; 5] = [
    "sig",
    "signature",
    "awsaccesskeyid",
    "x-amz-signature",
    "x-goog-signature",
];

/// Headers whose value goes on to the end of the line.
const WHOLE_LINES: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];

/// Values that are none.
const NONE: [&str; 10] = [
    "null",
    "none",
    "nil",
    "undefined",
    "true",
    "false",
    "***",
    "{}",
    "[]",
    "()",
];

/// Adds where the values of secrets are.
pub(super) fn find(keys: &Keys, text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut done = 0;
    for at in memchr::memchr2_iter(b'=', b':', bytes) {
        if at < done || !is_separator(bytes, at) {
            continue;
        }
        let Some(name) = name_before(text, at) else {
            continue;
        };
        if !is_secret(keys, text, &name, at) {
            continue;
        }
        let is_line = bytes[at] == b':'
            && WHOLE_LINES
                .iter()
                .any(|line| text[name.clone()].eq_ignore_ascii_case(line));
        if let Some(value) = value_behind(text, at + 1, is_line) {
            done = value.end;
            found.push(value);
        }
    }
}

/// Of `:=` and `==` the last one counts; none of `://`, nor of `::`, which is in paths of code.
fn is_separator(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| bytes[before]);
    match (bytes[at], bytes.get(at + 1)) {
        (b':', Some(b'/')) => bytes.get(at + 2) != Some(&b'/'),
        (b':', Some(b':' | b'=')) | (b'=', Some(b'=')) => false,
        (b':', _) => before != Some(b':'),
        _ => true,
    }
}

/// The name that ends before a separator, with nothing but quotes, brackets and spaces between.
fn name_before(text: &str, separator: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let least = separator.saturating_sub(BETWEEN_BYTES_MAX);
    let is_between = |byte: u8| matches!(byte, b' ' | b'"' | b'\'' | b']' | b'\\' | b'=' | b':' | b'`');
    let end = (least..separator).rev().find(|at| !is_between(bytes[*at]))? + 1;
    let least = end.saturating_sub(NAME_BYTES_MAX);
    let is_name =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') || byte >= 0x80;
    let length = bytes[least..end]
        .iter()
        .rev()
        .take_while(|byte| is_name(**byte))
        .count();
    let start = (end - length..end).find(|at| text.is_char_boundary(*at))?;
    let has_letter = bytes[start..end].iter().any(u8::is_ascii_alphabetic);
    has_letter.then_some(start..end)
}

fn is_secret(keys: &Keys, text: &str, name: &Range<usize>, separator: usize) -> bool {
    let bytes = text.as_bytes();
    if keys.is_secret(&text[name.clone()]) {
        return true;
    }
    let before = name.start.checked_sub(1).map(|before| bytes[before]);
    match before {
        None | Some(b'?' | b'&') if bytes[separator] == b'=' => {
            let name = &text[name.clone()];
            SIGNATURES
                .iter()
                .any(|signature| name.eq_ignore_ascii_case(signature))
        }
        // `API key: …`
        Some(b' ') => name_before(text, name.start).is_some_and(|first| {
            let is_one = bytes[first.end..name.start] == *b" ";
            is_one && keys.is_secret(&text[first.start..name.end])
        }),
        _ => false,
    }
}

/// The value from `at` on, without its quotes.
fn value_behind(text: &str, at: usize, is_line: bool) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let is_before = |byte: u8| matches!(byte, b' ' | b'\t' | b'>');
    let before = length_until(&bytes[at..], |byte| !is_before(byte));
    let at = at + before.min(BETWEEN_BYTES_MAX);
    // `b'…'`, `Some("…")`.
    let word = length_until(&bytes[at..], |byte| !byte.is_ascii_alphanumeric() && byte != b'_');
    let word = Some(word)
        .filter(|word| *word <= WORD_BYTES_MAX)
        .unwrap_or_default();
    let escape = usize::from(bytes.get(at + word) == Some(&b'\\'));
    let (start, length) = match bytes.get(at + word + escape) {
        Some(quote @ (b'"' | b'\'' | b'`')) => {
            let start = at + word + escape + 1;
            (start, quoted_bytes(&bytes[start..], *quote, escape == 1))
        }
        _ if is_line => (
            at,
            length_until(&bytes[at..], |byte| matches!(byte, b'\n' | b'\r' | b'"' | b'\'')),
        ),
        Some(b'(' | b'[' | b'{') => (at, word + escape + bracketed_bytes(&bytes[at + word + escape..])),
        _ => (at, length_until(&bytes[at..], ends_value)),
    };
    let value = text.get(start..start + length)?;
    let is_none = NONE.iter().any(|none| value.eq_ignore_ascii_case(none));
    (!value.is_empty() && !is_none && !value.starts_with(REDACTED)).then(|| start..start + length)
}

fn ends_value(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b",;&\"'<>)]}".contains(&byte)
}

fn length_until(bytes: &[u8], is_end: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|byte| is_end(*byte)).unwrap_or(bytes.len())
}

/// Bytes up to the closing quote; all if there is none. In a text that is itself quoted, the closing quote is escaped.
fn quoted_bytes(bytes: &[u8], quote: u8, is_escaped: bool) -> usize {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if is_escaped && bytes.get(at + 1) == Some(&quote) => return at,
            b'\\' => at += 2,
            byte if *byte == quote => return at,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Bytes up to the bracket that closes the first one; all if there is none.
fn bracketed_bytes(bytes: &[u8]) -> usize {
    let mut depth = 0usize;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    bytes.len()
}
