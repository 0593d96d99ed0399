//! How a time is written: Go's reference time, or directives of `strptime`, which are read leniently as the Collector
//! does. Refuses to know what a text means: zones and missing years are for `resolve`.

use super::reader::{Parts, Reader};

/// How a number below ten is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pad {
    Zero,
    Space,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Item {
    Year,
    ShortYear,
    /// Written with four digits; read with two where there are no four.
    AnyYear,
    Month(Pad),
    MonthName {
        long: bool,
    },
    Day(Pad),
    DayOfYear,
    WeekdayName {
        long: bool,
    },
    Hour,
    Hour12(Pad),
    Noon {
        upper: bool,
    },
    Minute(Pad),
    Second(Pad),
    /// Exactly so many digits of a second, after a dot or a comma.
    Fraction {
        digits: usize,
        separator: char,
    },
    /// As many digits of a second as there are, none included; at most so many are written, without zeros at the end.
    AnyFraction {
        digits: usize,
        separator: char,
    },
    Offset {
        colon: bool,
        minutes: bool,
        seconds: bool,
        z: bool,
    },
    /// `+0200`, `+02:00`, `+02` or `Z`.
    AnyOffset,
    ZoneName,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Literal(String),
    Item(Item),
}

/// A layout that has been read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    pub(super) pieces: Vec<Piece>,
    /// Spaces before numbers are passed over.
    lenient: bool,
}

const fn offset(colon: bool, minutes: bool, seconds: bool, z: bool) -> Item {
    Item::Offset {
        colon,
        minutes,
        seconds,
        z,
    }
}

/// Longer ones first where one begins with another.
const GO: [(&str, Item); 32] = [
    ("January", Item::MonthName { long: true }),
    ("Monday", Item::WeekdayName { long: true }),
    ("Jan", Item::MonthName { long: false }),
    ("Mon", Item::WeekdayName { long: false }),
    ("MST", Item::ZoneName),
    ("Z070000", offset(false, true, true, true)),
    ("Z07:00:00", offset(true, true, true, true)),
    ("Z0700", offset(false, true, false, true)),
    ("Z07:00", offset(true, true, false, true)),
    ("Z07", offset(false, false, false, true)),
    ("-070000", offset(false, true, true, false)),
    ("-07:00:00", offset(true, true, true, false)),
    ("-0700", offset(false, true, false, false)),
    ("-07:00", offset(true, true, false, false)),
    ("-07", offset(false, false, false, false)),
    ("2006", Item::Year),
    ("002", Item::DayOfYear),
    ("_2", Item::Day(Pad::Space)),
    ("01", Item::Month(Pad::Zero)),
    ("02", Item::Day(Pad::Zero)),
    ("03", Item::Hour12(Pad::Zero)),
    ("04", Item::Minute(Pad::Zero)),
    ("05", Item::Second(Pad::Zero)),
    ("06", Item::ShortYear),
    ("15", Item::Hour),
    ("1", Item::Month(Pad::None)),
    ("2", Item::Day(Pad::None)),
    ("3", Item::Hour12(Pad::None)),
    ("4", Item::Minute(Pad::None)),
    ("5", Item::Second(Pad::None)),
    ("PM", Item::Noon { upper: true }),
    ("pm", Item::Noon { upper: false }),
];

impl Layout {
    /// Go's reference time: Mon Jan 2 15:04:05 MST 2006.
    pub(crate) fn go(text: &str) -> Layout {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            if let Some((item, length)) = fraction(rest) {
                pieces.push(Piece::Item(item));
                rest = &rest[length..];
            } else if let Some((chunk, item)) = GO.iter().find(|(chunk, _)| starts_with(rest, chunk)) {
                pieces.push(Piece::Item(*item));
                rest = &rest[chunk.len()..];
            } else {
                push_letter(&mut pieces, letter);
                rest = &rest[letter.len_utf8()..];
            }
        }
        Layout {
            pieces,
            lenient: false,
        }
    }

    pub(crate) fn strptime(text: &str) -> Result<Layout, String> {
        let mut pieces = Vec::new();
        push_directives(&mut pieces, text)?;
        Ok(Layout {
            pieces,
            lenient: true,
        })
    }

    pub(crate) fn read(&self, text: &str) -> Result<Parts, String> {
        let mut reader = Reader::new(text, self.lenient);
        for (index, piece) in self.pieces.iter().enumerate() {
            let read = match piece {
                Piece::Literal(literal) => reader.literal(literal),
                Piece::Item(item) => reader.item(*item),
            };
            read.ok_or_else(|| format!("{text:?} does not follow the layout at {:?}", reader.rest))?;
            let next = self.pieces.get(index + 1);
            let announced = matches!(
                next,
                Some(Piece::Item(Item::Fraction { .. } | Item::AnyFraction { .. }))
            );
            if matches!(piece, Piece::Item(Item::Second(_))) && !announced {
                reader.unannounced_fraction();
            }
        }
        match reader.rest {
            "" => Ok(reader.parts),
            rest => Err(format!("{rest:?} of {text:?} is not in the layout")),
        }
    }
}

/// Three letters are no name of a month or a day where more letters follow in small, as in Go.
fn starts_with(rest: &str, chunk: &str) -> bool {
    let Some(after) = rest.strip_prefix(chunk) else {
        return false;
    };
    !(matches!(chunk, "Jan" | "Mon") && after.starts_with(|letter: char| letter.is_ascii_lowercase()))
}

/// `.000`, `,000`, `.999` or `,999`, not followed by another digit.
fn fraction(rest: &str) -> Option<(Item, usize)> {
    let separator = rest.chars().next()?;
    let digits = rest.strip_prefix(['.', ','])?;
    let first = digits.chars().next().filter(|digit| matches!(digit, '0' | '9'))?;
    let count = digits.len() - digits.trim_start_matches(first).len();
    if digits[count..].starts_with(|letter: char| letter.is_ascii_digit()) {
        return None;
    }
    let item = match first {
        '0' => Item::Fraction {
            digits: count,
            separator,
        },
        _ => Item::AnyFraction {
            digits: count,
            separator,
        },
    };
    Some((item, 1 + count))
}

fn push_letter(pieces: &mut Vec<Piece>, letter: char) {
    match pieces.last_mut() {
        Some(Piece::Literal(text)) => text.push(letter),
        _ => pieces.push(Piece::Literal(letter.to_string())),
    }
}

fn push_directives(pieces: &mut Vec<Piece>, text: &str) -> Result<(), String> {
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            push_letter(pieces, letter);
            continue;
        }
        let directive = letters.next().ok_or("the layout ends after a `%`")?;
        let item = match directive {
            'Y' => Item::Year,
            'y' => Item::ShortYear,
            'm' => Item::Month(Pad::Zero),
            'o' => Item::Month(Pad::Space),
            'q' => Item::Month(Pad::None),
            'b' | 'h' => Item::MonthName { long: false },
            'B' => Item::MonthName { long: true },
            'd' => Item::Day(Pad::Zero),
            'e' => Item::Day(Pad::Space),
            'g' => Item::Day(Pad::None),
            'a' => Item::WeekdayName { long: false },
            'A' => Item::WeekdayName { long: true },
            'H' => Item::Hour,
            'I' => Item::Hour12(Pad::Zero),
            'l' => Item::Hour12(Pad::None),
            'p' => Item::Noon { upper: true },
            'P' => Item::Noon { upper: false },
            'M' => Item::Minute(Pad::Zero),
            'S' => Item::Second(Pad::Zero),
            'L' => announced_fraction(pieces, directive, 3)?,
            'f' => announced_fraction(pieces, directive, 6)?,
            's' => announced_fraction(pieces, directive, 9)?,
            'D' | 'x' => {
                push_directives(pieces, "%m/%d/")?;
                Item::AnyYear
            }
            'z' => Item::AnyOffset,
            'Z' => Item::ZoneName,
            'i' => offset(false, false, false, false),
            'j' => offset(true, true, false, false),
            'k' => offset(true, true, true, false),
            'w' => offset(false, true, true, false),
            'n' | 't' | '%' => {
                push_letter(
                    pieces,
                    match directive {
                        'n' => '\n',
                        't' => '\t',
                        _ => '%',
                    },
                );
                continue;
            }
            other => {
                push_directives(pieces, longer(other)?)?;
                continue;
            }
        };
        pieces.push(Piece::Item(item));
    }
    Ok(())
}

/// The dot before a fraction belongs to it.
fn announced_fraction(pieces: &mut [Piece], directive: char, digits: usize) -> Result<Item, String> {
    let separator = match pieces.last_mut() {
        Some(Piece::Literal(text)) if text.ends_with(['.', ',']) => text.pop(),
        _ => None,
    };
    match separator {
        Some(separator) => Ok(Item::AnyFraction { digits, separator }),
        None => Err(format!("`%{directive}` must follow a `.` or a `,`")),
    }
}

/// What a directive stands for that is made of others.
fn longer(directive: char) -> Result<&'static str, String> {
    Ok(match directive {
        'F' => "%Y-%m-%d",
        'T' | 'X' => "%H:%M:%S",
        'r' => "%I:%M:%S %P",
        'R' => "%H:%M",
        'c' => "%a %b %d %H:%M:%S %Y",
        other => return Err(format!("`%{other}` is no directive")),
    })
}
