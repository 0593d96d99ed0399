//! Numbers of payment cards in texts: 12 to 19 digits of a known scheme with a check digit that is right, in one piece or in
//! groups.

use std::ops::Range;

use smallvec::SmallVec;

const DIGITS_MIN: usize = 12;
const DIGITS_MAX: usize = 19;

/// Digits that stand together.
type Groups = SmallVec<[Range<usize>; 8]>;

/// Adds where the numbers are.
pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    if !has_enough_digits(bytes) {
        return;
    }
    let mut at = 0;
    while at < bytes.len() {
        if !is_of_word(bytes[at]) {
            at += 1;
            continue;
        }
        let (digits, end) = run_length(bytes, at);
        if digits >= DIGITS_MIN {
            find_in(bytes, &groups(bytes, at, end), found);
        }
        at = end;
    }
}

/// Whether it is worth a closer look, which takes longer than everything else that is done with a text: there are enough digits,
/// with nothing but separators between them.
fn has_enough_digits(bytes: &[u8]) -> bool {
    // As bytes, sixteen of which are added at once.
    let parts = bytes.chunks(usize::from(u8::MAX));
    let counts = parts.map(|part| {
        part.iter()
            .map(|byte| u8::from(byte.is_ascii_digit()))
            .sum::<u8>()
    });
    if counts.map(usize::from).sum::<usize>() < DIGITS_MIN {
        return false;
    }
    // Without branches too: in an id, nobody can tell what comes next.
    let (mut run, mut longest) = (0, 0);
    for byte in bytes {
        let is_digit = byte.is_ascii_digit();
        let goes_on = is_digit | (*byte == b' ') | (*byte == b'-');
        run = (run + usize::from(is_digit)) * usize::from(goes_on);
        longest = longest.max(run);
    }
    longest >= DIGITS_MIN
}

/// A part of a name, an id or a number with a point is no number of a card.
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.') || byte >= 0x80
}

/// How many digits there are from `start`, where a word begins, up to where they end: in groups with one space or hyphen between,
/// the same everywhere. A word that has others too ends them, and has none.
fn run_length(bytes: &[u8], start: usize) -> (usize, usize) {
    let (mut at, mut digits) = (start, 0);
    // Up to the last separator.
    let mut whole = None;
    let mut separator = None;
    while let Some(byte) = bytes.get(at) {
        let goes_on = || bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        match byte {
            b'0'..=b'9' => digits += 1,
            b' ' | b'-' if digits > 0 && goes_on() && *separator.get_or_insert(*byte) == *byte => {
                whole = Some((digits, at));
            }
            // The end of a sentence.
            b'.' if digits > 0 && !bytes.get(at + 1).copied().is_some_and(is_of_word) => break,
            byte if is_of_word(*byte) => {
                let others = bytes[at..].iter().take_while(|byte| is_of_word(**byte)).count();
                return whole.unwrap_or((0, at + others));
            }
            _ => break,
        }
        at += 1;
    }
    (digits, at.max(start + 1))
}

/// Where the groups are between `start` and `end`.
fn groups(bytes: &[u8], start: usize, end: usize) -> Groups {
    let mut from = start;
    let groups = bytes[start..end].split(|byte| !byte.is_ascii_digit());
    let places = groups.map(|group| {
        let place = from..from + group.len();
        from = place.end + 1;
        place
    });
    places.collect()
}

/// Looks for a number that begins and ends with a group: other numbers may stand before and behind it.
fn find_in(bytes: &[u8], groups: &Groups, found: &mut Vec<Range<usize>>) {
    let mut first = 0;
    while first < groups.len() {
        let mut digits: SmallVec<[u8; DIGITS_MAX]> = SmallVec::new();
        let mut number = None;
        for (last, group) in groups.iter().enumerate().skip(first) {
            if digits.len() + group.len() > DIGITS_MAX {
                break;
            }
            digits.extend(bytes[group.clone()].iter().map(|byte| byte - b'0'));
            if is_of_card(&digits) {
                number = Some(last);
            }
        }
        match number {
            Some(last) => {
                found.push(groups[first].start..groups[last].end);
                first = last + 1;
            }
            None => first += 1,
        }
    }
}

/// <https://www.iso.org/standard/70484.html>: by the leading digits of the large schemes, and the check digit.
fn is_of_card(digits: &[u8]) -> bool {
    if digits.len() < DIGITS_MIN {
        return false;
    }
    let leading = digits[..4]
        .iter()
        .fold(0, |sum, digit| sum * 10 + u32::from(*digit));
    let lengths = match leading {
        4000..=4999 => 13..=19,
        5100..=5599 | 2221..=2720 => 16..=16,
        3400..=3499 | 3700..=3799 => 15..=15,
        3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => 14..=19,
        3528..=3589 | 6011 | 6440..=6599 | 6200..=6299 => 16..=19,
        5000..=5099 | 5600..=5899 | 6000..=6999 => 12..=19,
        _ => return false,
    };
    lengths.contains(&digits.len())
        && digits.iter().any(|digit| *digit != digits[0])
        && has_check_digit(digits)
}

/// The algorithm of Luhn.
fn has_check_digit(digits: &[u8]) -> bool {
    let weighted = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match place % 2 {
            0 => u32::from(*digit),
            _ if *digit > 4 => u32::from(*digit) * 2 - 9,
            _ => u32::from(*digit) * 2,
        });
    weighted.sum::<u32>() % 10 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        let mut ranges = Vec::new();
        find(text, &mut ranges);
        ranges.into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn numbers_of_cards_are_found_in_one_piece_and_in_groups() {
        for (text, card) in [
            ("4111111111111111", "4111111111111111"),
            ("paid with 4111 1111 1111 1111.", "4111 1111 1111 1111"),
            ("order 12 4111 1111 1111 1111 12/27", "4111 1111 1111 1111"),
            ("4111 1111 1111 1111 2nd", "4111 1111 1111 1111"),
            ("5555-5555-5555-4444,", "5555-5555-5555-4444"),
            ("amex=378282246310005", "378282246310005"),
            ("3056 930902 5904", "3056 930902 5904"),
            ("6011111111111117", "6011111111111117"),
            ("3530111333300000", "3530111333300000"),
            ("2223003122003222", "2223003122003222"),
        ] {
            assert_eq!(found(text), [card], "{text}");
        }
    }

    #[test]
    fn other_numbers_are_none() {
        for text in [
            "4111111111111112",
            "1700000000000000000",
            "1700000000000",
            "0af7651916cd43dd8448eb211c80319c",
            "41111111111111111111111",
            "0.4111111111111111",
            "v4111111111111111",
            "4111111111111111x",
            "192.168.100.200 10:20:30.123456789",
            "4444444444444444",
            "+49 30 1234567890",
            "",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
    }
}
