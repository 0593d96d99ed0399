//! URLs without what differs from request to request: segments of a path that are no words become an asterisk, and what
//! stands behind the path goes.
//!
//! A segment is no word if it has digits or marks, or if its letters hardly follow each other in English. The same
//! algorithm as the Collector's, with the same table of pairs of letters.

use std::sync::LazyLock;

use cupola_telemetry::edit::Message;
use serde::Deserialize;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UrlSanitizerConfig {
    pub enabled: bool,
    /// Attributes whose values are URLs. Bodies of logs are looked at in any case.
    pub attributes: Vec<String>,
    /// Names of spans that are requests; true if it is not given.
    pub sanitize_span_name: Option<bool>,
}

/// Segments that are looked at; the path ends there.
const SEGMENTS_MAX: usize = 10;

/// Letters and the space.
const LETTERS: usize = 27;

/// Less likely words are none.
const LIKELY_MIN: f64 = 0.015_099_318_064_947_853;

static PAIRS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let rows = include_str!("letter_pairs.txt")
        .lines()
        .filter(|line| !line.starts_with('#'));
    rows.flat_map(str::split_whitespace)
        .map(|number| number.parse().unwrap_or(f64::NEG_INFINITY))
        .collect()
});

/// Fields of a span.
const NAME: u32 = 5;
const KIND: u32 = 6;
const ATTRIBUTES: u32 = 9;

/// The path with an asterisk for each segment that is no word.
pub(super) fn sanitized(url: &str) -> String {
    let mut out = url.as_bytes().to_vec();
    // The segment stands in `out` from `start` up to `end`, if it is not skipped.
    let (mut start, mut end) = (0, 0);
    let (mut skip, mut grace) = (false, true);
    let mut segments = 0;
    let mut cut = None;
    for byte in url.bytes() {
        match byte {
            b'?' | b'&' | b'#' => {
                if skip {
                    put(&mut out, &mut start);
                } else {
                    start = start.max(end);
                }
                cut = Some(start);
                break;
            }
            b'/' => {
                segments += 1;
                if skip || (end > start && !is_word(out.get(start..end).unwrap_or_default())) {
                    put(&mut out, &mut start);
                } else {
                    start = start.max(end);
                }
                if segments >= SEGMENTS_MAX {
                    break;
                }
                if let Some(place) = out.get_mut(start) {
                    *place = byte;
                }
                start += 1;
                end = start;
                (skip, grace) = (false, true);
            }
            _ if skip => {}
            _ => {
                if let Some(place) = out.get_mut(end) {
                    *place = byte;
                }
                end += 1;
                if !is_plain(byte) {
                    // `v1` is a word.
                    match grace && end - start == 2 {
                        true => grace = false,
                        false => skip = true,
                    }
                }
            }
        }
    }
    if let Some(cut) = cut {
        out.truncate(cut);
    }
    if skip {
        put(&mut out, &mut start);
    } else if end > start {
        match is_word(out.get(start..end).unwrap_or_default()) {
            true => start = end,
            false => put(&mut out, &mut start),
        }
    }
    out.truncate(start);
    String::from_utf8_lossy(&out).into_owned()
}

fn put(out: &mut [u8], at: &mut usize) {
    if let Some(place) = out.get_mut(*at) {
        *place = b'*';
        *at += 1;
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_' | b'.' | b' ')
}

fn is_word(segment: &[u8]) -> bool {
    let letters: Vec<usize> = segment
        .iter()
        .filter_map(|byte| match byte.to_ascii_lowercase() {
            letter @ b'a'..=b'z' => Some(usize::from(letter - b'a')),
            b' ' => Some(LETTERS - 1),
            _ => None,
        })
        .collect();
    let pairs = letters
        .windows(2)
        .map(|pair| PAIRS.get(pair[0] * LETTERS + pair[1]).copied().unwrap_or(0.0));
    let (sum, count) = pairs.fold((0.0, 0usize), |(sum, count), pair| (sum + pair, count + 1));
    (sum / count.max(1) as f64).exp() > LIKELY_MIN
}

/// Another name for a span that is a request, if its name is a URL in part.
pub(super) fn span_name(span: &Message<'_>) -> Option<String> {
    const HTTP: [&str; 9] = [
        "http.route",
        "http.request.method",
        "http.request.method_original",
        "http.response.status_code",
        "url.full",
        "http.scheme",
        "http.target",
        "http.method",
        "http.url",
    ];
    const SERVER_AND_CLIENT: [u64; 2] = [2, 3];
    let name = span.text(NAME);
    let is_request = name.contains('/') || HTTP.iter().any(|key| span.attribute(ATTRIBUTES, key).is_some());
    if !SERVER_AND_CLIENT.contains(&span.number(KIND).unwrap_or(0)) || !is_request {
        return None;
    }
    let sanitized = sanitized(&name);
    let mut segments = sanitized
        .split('/')
        .filter(|segment| !segment.is_empty())
        .peekable();
    // A name of asterisks would say nothing.
    let says_nothing = segments.peek().is_some() && segments.all(|segment| segment == "*");
    (sanitized != name && !sanitized.is_empty() && sanitized != "..." && !says_nothing).then_some(sanitized)
}

#[cfg(test)]
mod tests {
    use super::sanitized;

    #[test]
    fn what_differs_becomes_an_asterisk() {
        let cases = [
            ("", ""),
            ("/users/fdklsd/j4elk/23993/job/2", "/users/*/j4elk/*/job/*"),
            ("123", "*"),
            ("/v1/products/22j", "/v1/products/*"),
            ("/products//org/3", "/products//org/*"),
            ("/api/hello.world", "/api/hello.world"),
            ("GET /api/cart?session=1", "GET /api/cart"),
            ("/attach#section-1", "/attach"),
            ("?", ""),
            ("1?", "*"),
            ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/i"),
            ("/größe/x", "/*/x"),
        ];
        for (url, expected) in cases {
            assert_eq!(sanitized(url), expected, "{url}");
        }
    }
}
