//! Where one record ends and the next begins: at line ends or at patterns, and after `max_log_size` bytes at the latest.
//!
//! Works on the bytes from the end of the last record on, and holds no state, so that a reader may stop anywhere and come
//! back. Refuses to lose what does not fit: it becomes further records, unless it is told to cut.

use memchr::memmem;
use regex::Regex;
use regex::bytes::Regex as BytesRegex;
use serde::Deserialize;

use super::encoding::Encoding;

/// Bytes of the longest character: a cut is never within one.
const CHARACTER_BYTES_MAX: usize = 4;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MultilineConfig {
    pub line_start_pattern: String,
    pub line_end_pattern: String,
    /// What matched is left out.
    pub omit_pattern: bool,
}

/// A record: its bytes, and where the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) advance: usize,
    /// It was cut for its size: the rest of it follows.
    pub(crate) cut: bool,
}

/// What comes after the bytes that a record is looked for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Bytes that are there already.
    More,
    /// Nothing now.
    Pause,
    /// Nothing any more.
    Nothing,
}

#[derive(Debug)]
pub(crate) struct Split {
    by: By,
    encoding: Encoding,
    bytes_max: usize,
}

#[derive(Debug)]
enum By {
    Lines,
    /// Bytes that end a record and belong to none.
    Trailer(u8),
    Start {
        pattern: Pattern,
        omit: bool,
    },
    End {
        pattern: Pattern,
        omit: bool,
    },
    Nothing,
}

impl Split {
    /// The error is the key that is wrong and the problem.
    pub(crate) fn new(
        config: &MultilineConfig,
        encoding: Encoding,
        bytes_max: usize,
    ) -> Result<Split, (&'static str, String)> {
        let (start, end) = (
            config.line_start_pattern.as_str(),
            config.line_end_pattern.as_str(),
        );
        let by = match (start, end) {
            ("", "") if encoding == Encoding::Nop => By::Nothing,
            ("", "") => By::Lines,
            (_, "") | ("", _) if encoding == Encoding::Nop => {
                return Err((
                    "multiline",
                    "cannot be set with `encoding: nop`, which knows no lines".to_owned(),
                ));
            }
            (start, "") => {
                let pattern = Pattern::new(start, encoding)
                    .map_err(|problem| ("multiline.line_start_pattern", problem))?;
                By::Start {
                    pattern,
                    omit: config.omit_pattern,
                }
            }
            ("", end) => {
                let pattern =
                    Pattern::new(end, encoding).map_err(|problem| ("multiline.line_end_pattern", problem))?;
                By::End {
                    pattern,
                    omit: config.omit_pattern,
                }
            }
            _ => {
                return Err((
                    "multiline",
                    "has both a start and an end pattern; one of them says enough".to_owned(),
                ));
            }
        };
        Ok(Split {
            by,
            encoding,
            bytes_max,
        })
    }

    /// Everything that there is as one record.
    pub(crate) fn whole(encoding: Encoding, bytes_max: usize) -> Split {
        Split {
            by: By::Nothing,
            encoding,
            bytes_max,
        }
    }

    pub(crate) fn trailer(trailer: u8, bytes_max: usize) -> Split {
        Split {
            by: By::Trailer(trailer),
            encoding: Encoding::Utf8,
            bytes_max,
        }
    }

    /// The first record of `data`; `None` if more bytes must come before it is known.
    pub(crate) fn next(&self, data: &[u8], after: After) -> Option<Token> {
        if data.is_empty() {
            return None;
        }
        let found = self.find(data, after);
        let length = found.map_or(data.len(), |token| token.end - token.start);
        match found {
            Some(token) if length <= self.bytes_max => Some(token),
            None if length < self.bytes_max => None,
            _ => {
                let start = found.map_or(0, |token| token.start);
                let end = start + self.cut(&data[start..]);
                Some(Token {
                    start,
                    end,
                    advance: end,
                    cut: true,
                })
            }
        }
    }

    /// At most `bytes_max` bytes that end with a whole character.
    fn cut(&self, data: &[u8]) -> usize {
        let unit = self.encoding.unit();
        let most = self.bytes_max.min(data.len());
        let most = (most - most % unit).max(unit.min(data.len()));
        if !self.encoding.is_utf8() {
            return most;
        }
        let character = |end: usize| data.get(end).is_none_or(|byte| byte & 0xc0 != 0x80);
        (most.saturating_sub(CHARACTER_BYTES_MAX)..=most)
            .rev()
            .find(|end| *end > 0 && character(*end))
            .unwrap_or(most)
    }

    fn find(&self, data: &[u8], after: After) -> Option<Token> {
        let ended = after == After::Nothing;
        let whole = |start| {
            Some(Token {
                start,
                end: data.len(),
                advance: data.len(),
                cut: false,
            })
        };
        let token = |start, end, advance| {
            Some(Token {
                start,
                end,
                advance,
                cut: false,
            })
        };
        let found = match &self.by {
            By::Nothing => return if ended { whole(0) } else { None },
            By::Lines => self.line(data),
            By::Trailer(trailer) => memchr::memchr(*trailer, data).and_then(|at| token(0, at, at + 1)),
            By::End { pattern, omit } => {
                // A match of nothing at the very beginning would end a record of nothing, for ever.
                let found = pattern
                    .find(data, 0)
                    .filter(|(_, end)| *end > 0)
                    .or_else(|| pattern.find(data, 1));
                // It may become longer with the next bytes.
                let found = found.filter(|(_, end)| after != After::More || *end != data.len());
                found.and_then(|(start, end)| token(0, if *omit { start } else { end }, end))
            }
            By::Start { pattern, omit } => match pattern.find(data, 0) {
                Some((start, _)) if start > 0 => return token(0, start, start),
                Some((_, end)) => {
                    let from = if *omit { end } else { 0 };
                    match pattern.find_behind(data, end) {
                        Some(next) => return token(from, next, next),
                        None if ended => return whole(from),
                        None => return None,
                    }
                }
                None => None,
            },
        };
        match found {
            None if ended => whole(0),
            found => found,
        }
    }

    fn line(&self, data: &[u8]) -> Option<Token> {
        let (newline, carriage_return): (&[u8], &[u8]) = match self.encoding {
            Encoding::Utf16 { big_endian: false } => (b"\n\0", b"\r\0"),
            Encoding::Utf16 { big_endian: true } => (b"\0\n", b"\0\r"),
            _ => (b"\n", b"\r"),
        };
        let unit = newline.len();
        // Of UTF-16 only at a whole unit: the halves of two others may look like a line end.
        let at = memmem::find_iter(data, newline)
            .find(|at| at % unit == 0)
            .or_else(|| match unit {
                1 => None,
                _ => data
                    .chunks_exact(unit)
                    .position(|pair| pair == newline)
                    .map(|index| index * unit),
            })?;
        let end = if data[..at].ends_with(carriage_return) {
            at - unit
        } else {
            at
        };
        Some(Token {
            start: 0,
            end,
            advance: at + unit,
            cut: false,
        })
    }
}

/// A pattern over the bytes of a file; over text where characters have two bytes.
#[derive(Debug)]
enum Pattern {
    Bytes(BytesRegex),
    Text { pattern: Regex, encoding: Encoding },
}

impl Pattern {
    fn new(pattern: &str, encoding: Encoding) -> Result<Pattern, String> {
        // As the Collector: `^` and `$` stand for line ends.
        let pattern = format!("(?m){pattern}");
        let failed = |error: regex::Error| format!("cannot be used: {error}");
        Ok(match encoding {
            Encoding::Utf16 { .. } => Pattern::Text {
                pattern: Regex::new(&pattern).map_err(failed)?,
                encoding,
            },
            _ => Pattern::Bytes(BytesRegex::new(&pattern).map_err(failed)?),
        })
    }

    /// The first match at or after `from`.
    fn find(&self, data: &[u8], from: usize) -> Option<(usize, usize)> {
        match self {
            Pattern::Bytes(pattern) => pattern
                .find_at(data, from)
                .map(|found| (found.start(), found.end())),
            Pattern::Text { pattern, encoding } => {
                let text = encoding.text(data);
                let skipped = text.char_indices().scan(0, |units, (at, letter)| {
                    let before = *units;
                    *units += 2 * letter.len_utf16();
                    Some((before, at))
                });
                let at = skipped
                    .clone()
                    .find(|(before, _)| *before >= from)
                    .map_or(text.len(), |(_, at)| at);
                let found = pattern.find_at(&text, at)?;
                let back = |at: usize| {
                    text[..at]
                        .chars()
                        .map(|letter| 2 * letter.len_utf16())
                        .sum::<usize>()
                };
                Some((
                    back(found.start()).min(data.len()),
                    back(found.end()).min(data.len()),
                ))
            }
        }
    }

    /// Where the next match begins that does not begin at `end`, where another one ends.
    fn find_behind(&self, data: &[u8], end: usize) -> Option<usize> {
        let mut from = end;
        loop {
            let (start, stop) = self.find(data, from)?;
            if start > end {
                return Some(start);
            }
            from = stop.max(from + 1);
            if from > data.len() {
                return None;
            }
        }
    }
}

/// Without white space at its ends, unless that is to be kept.
pub(crate) fn trim(
    data: &[u8],
    (mut start, mut end): (usize, usize),
    keep_leading: bool,
    keep_trailing: bool,
) -> (usize, usize) {
    let space = |at: usize| matches!(data[at], b' ' | b'\t' | b'\r' | b'\n');
    while !keep_trailing && start < end && space(end - 1) {
        end -= 1;
    }
    while !keep_leading && start < end && space(start) {
        start += 1;
    }
    (start, end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(split: &Split, mut data: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(token) = split.next(data, After::Nothing) {
            found.push(split.encoding.text(&data[token.start..token.end]).into_owned());
            assert!(token.advance > 0, "it goes on");
            data = &data[token.advance..];
        }
        assert!(data.is_empty());
        found
    }

    fn multiline(start: &str, end: &str, omit: bool) -> MultilineConfig {
        MultilineConfig {
            line_start_pattern: start.to_owned(),
            line_end_pattern: end.to_owned(),
            omit_pattern: omit,
        }
    }

    fn split(config: MultilineConfig, encoding: Encoding) -> Split {
        Split::new(&config, encoding, 1 << 20).unwrap()
    }

    #[test]
    fn lines_and_patterns_end_records() {
        let lines = split(MultilineConfig::default(), Encoding::Utf8);
        assert_eq!(records(&lines, b"a\r\n\nb\nc"), ["a", "", "b", "c"]);
        assert_eq!(lines.next(b"open", After::Pause), None);
        let start = split(multiline("^\\d", "", false), Encoding::Utf8);
        assert_eq!(
            records(&start, b"x\n1 a\n b\n2 c\n"),
            ["x\n", "1 a\n b\n", "2 c\n"]
        );
        assert_eq!(
            start.next(b"1 a\n b\n", After::Pause),
            None,
            "the next record has not begun"
        );
        let end = split(multiline("", ";", true), Encoding::Utf8);
        assert_eq!(records(&end, b"a;b\nc;d"), ["a", "b\nc", "d"]);
        assert_eq!(end.next(b"a;", After::Pause).unwrap().advance, 2);
        assert_eq!(end.next(b"a;", After::More), None, "the match may become longer");
        let nop = split(MultilineConfig::default(), Encoding::Nop);
        assert_eq!(nop.next(b"a\nb", After::Nothing).unwrap().advance, 3);
    }

    #[test]
    fn utf16_is_split_at_whole_units() {
        let encode = |text: &str| {
            text.encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect::<Vec<u8>>()
        };
        let lines = split(MultilineConfig::default(), Encoding::Utf16 { big_endian: false });
        // U+0A00 has the byte of a line end in its upper half.
        assert_eq!(
            records(&lines, &encode("a\u{a00}b\r\n\u{1f600}\nc")),
            ["a\u{a00}b", "\u{1f600}", "c"]
        );
        let start = split(
            multiline("^LOG", "", false),
            Encoding::Utf16 { big_endian: false },
        );
        assert_eq!(
            records(&start, &encode("LOG \u{1f600}\nx\nLOG 2\n")),
            ["LOG \u{1f600}\nx\n", "LOG 2\n"]
        );
        let big: Vec<u8> = "x\ny".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(
            records(
                &split(MultilineConfig::default(), Encoding::Utf16 { big_endian: true }),
                &big
            ),
            ["x", "y"]
        );
    }

    #[test]
    fn a_record_that_is_too_long_becomes_several_and_no_character_is_cut() {
        let split = Split::new(&MultilineConfig::default(), Encoding::Utf8, 5).unwrap();
        assert_eq!(
            records(&split, "ab\u{e9}\u{1f600}cd\nefghijk\n".as_bytes()),
            ["ab\u{e9}", "\u{1f600}c", "d", "efghi", "jk"]
        );
        assert!(
            split.next(b"abcdef", After::Pause).unwrap().cut,
            "before the line ends"
        );
    }

    #[test]
    fn patterns_that_cannot_work_are_refused() {
        for (config, encoding) in [
            (multiline("(", "", false), Encoding::Utf8),
            (multiline("a", "b", false), Encoding::Utf8),
            (multiline("a", "", false), Encoding::Nop),
        ] {
            assert!(Split::new(&config, encoding, 100).is_err());
        }
    }

    proptest! {
        /// Whatever arrives in whatever pieces, every byte is in a record or in what ended one.
        #[test]
        fn no_byte_is_lost(data in proptest::collection::vec(any::<u8>(), 0..200), most in 4_usize..50, which in 0..5_usize) {
            let (config, encoding) = match which {
                0 => (MultilineConfig::default(), Encoding::Utf8),
                1 => (MultilineConfig::default(), Encoding::Utf16 { big_endian: false }),
                2 => (multiline("[a-f]", "", false), Encoding::Utf8),
                3 => (multiline("", "[a-f]+", false), Encoding::Utf8),
                _ => (MultilineConfig::default(), Encoding::Nop),
            };
            let split = Split::new(&config, encoding, most).unwrap();
            let (mut rest, mut kept) = (&data[..], 0);
            while let Some(token) = split.next(rest, After::Nothing) {
                prop_assert!(token.advance > 0 && token.advance <= rest.len());
                prop_assert!(token.start <= token.end && token.end <= token.advance);
                prop_assert!(token.end - token.start <= most.max(2));
                if which > 1 {
                    prop_assert_eq!((token.start, token.end), (0, token.advance));
                }
                kept += token.advance;
                rest = &rest[token.advance..];
            }
            prop_assert_eq!(kept, data.len());
        }
    }
}
