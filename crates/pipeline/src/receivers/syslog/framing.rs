//! Where a message ends in a stream: at a line end or a pattern, at a trailer, or after a count of octets (RFC 6587).
//!
//! What does not follow the framing is no reason to lose it: it becomes records of its own, which the parser then refuses
//! and hands on as they are.

use crate::receivers::text::split::{After, Split, Token};

#[derive(Debug)]
pub(super) enum Framing {
    Split(Split),
    Octets {
        /// What stands where a count should be.
        lines: Split,
        bytes_max: usize,
        /// Of a message that is longer than a record may be.
        left: usize,
    },
}

/// Digits of a count.
const COUNT_DIGITS_MAX: usize = 10;

impl Framing {
    pub(super) fn octets(lines: Split, bytes_max: usize) -> Framing {
        Framing::Octets {
            lines,
            bytes_max,
            left: 0,
        }
    }

    /// The first message of `data`, its count included, or an empty one where line ends are all there is; `None` if more
    /// bytes must come. `ended`: none will.
    pub(super) fn next(&mut self, data: &[u8], ended: bool) -> Option<Token> {
        let (lines, bytes_max, left) = match self {
            Framing::Split(split) => return split.next(data, after(ended)),
            Framing::Octets {
                lines,
                bytes_max,
                left,
            } => (lines, *bytes_max, left),
        };
        // Some put a line end behind each message.
        let start = data
            .iter()
            .take_while(|byte| matches!(byte, b'\n' | b'\r' | b'\0'))
            .count();
        let start = if *left > 0 { 0 } else { start };
        let rest = &data[start..];
        let whole = |end: usize, cut| {
            Some(Token {
                start,
                end: start + end,
                advance: start + end,
                cut,
            })
        };
        if rest.is_empty() {
            // Line ends alone are let go of: a peer that sends nothing else would have them held for ever.
            return (start > 0).then_some(Token {
                start,
                end: start,
                advance: start,
                cut: false,
            });
        }
        if *left > 0 {
            let bytes = (*left).min(bytes_max);
            if rest.len() < bytes && !ended {
                return None;
            }
            let bytes = bytes.min(rest.len());
            *left -= bytes;
            return whole(bytes, *left > 0);
        }
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let counted = (1..=COUNT_DIGITS_MAX).contains(&digits) && rest[0] != b'0';
        match rest.get(digits) {
            None if counted && !ended => None,
            Some(b' ') if counted => {
                let count: usize = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
                let length = digits + 1 + count;
                if length > bytes_max {
                    if rest.len() < bytes_max && !ended {
                        return None;
                    }
                    let bytes = bytes_max.min(rest.len());
                    *left = length - bytes;
                    return whole(bytes, true);
                }
                match rest.len() >= length || ended {
                    true => whole(length.min(rest.len()), false),
                    false => None,
                }
            }
            _ => lines.next(rest, after(ended)).map(|token| Token {
                start: token.start + start,
                end: token.end + start,
                advance: token.advance + start,
                ..token
            }),
        }
    }
}

fn after(ended: bool) -> After {
    if ended { After::Nothing } else { After::Pause }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::receivers::text::encoding::Encoding;
    use crate::receivers::text::split::MultilineConfig;

    fn framing(bytes_max: usize) -> Framing {
        Framing::octets(
            Split::new(&MultilineConfig::default(), Encoding::Utf8, bytes_max).unwrap(),
            bytes_max,
        )
    }

    /// As the messages are found when the stream comes in pieces.
    fn messages(stream: &[u8], pieces: usize, bytes_max: usize) -> Vec<String> {
        let (mut framing, mut data, mut found) = (framing(bytes_max), Vec::new(), Vec::new());
        let mut take = |data: &mut Vec<u8>, ended| {
            while let Some(token) = framing.next(data, ended) {
                assert!(token.advance > 0, "a message that takes no bytes comes for ever");
                if token.start < token.end {
                    found.push(String::from_utf8_lossy(&data[token.start..token.end]).into_owned());
                }
                data.drain(..token.advance);
            }
        };
        for piece in stream.chunks(pieces) {
            data.extend_from_slice(piece);
            take(&mut data, false);
        }
        take(&mut data, true);
        found
    }

    #[test]
    fn line_ends_between_messages_are_not_held() {
        for line_ends in ["\n\n\n", "\r\n\r\n", "\0\0"] {
            let token = framing(100).next(line_ends.as_bytes(), false);
            assert_eq!(
                token.map(|token| (token.start, token.advance)),
                Some((line_ends.len(), line_ends.len()))
            );
        }
    }

    #[test]
    fn counts_of_octets_are_followed_and_what_has_none_is_kept() {
        for pieces in [1, 2, 7, 1000] {
            assert_eq!(
                messages(b"5 <1>a\n6 <1>b\nc\n3 abclost\n4 defg9 open", pieces, 100),
                ["5 <1>a\n", "6 <1>b\nc", "3 abc", "lost", "4 defg", "9 open"],
                "in pieces of {pieces}"
            );
            assert_eq!(
                messages(b"30 0123456789abcdefghijklmnopqrst2 xy", pieces, 20),
                ["30 0123456789abcdefg", "hijklmnopqrst", "2 xy"]
            );
        }
    }

    proptest! {
        #[test]
        fn hostile_streams_end(stream in proptest::collection::vec(prop_oneof![Just(b'1'), Just(b' '), Just(b'\n'), any::<u8>()], 0..200), pieces in 1_usize..20) {
            let once = messages(&stream, 1000, 16);
            prop_assert!(once.iter().all(|message| message.chars().count() <= 32));
            prop_assert!(messages(&stream, pieces, 16).len() <= stream.len() + 1);
        }
    }
}
