//! Expressions as tokens.

use super::Wrong;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(String),
    Text(String),
    Int(i64),
    Float(f64),
    /// An operator or a bracket.
    Sign(&'static str),
}

#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Longer ones first.
const SIGNS: [&str; 30] = [
    "==", "!=", "<=", ">=", "&&", "||", "**", "??", "?.", "..", "<", ">", "+", "-", "*", "/", "%", "!", "?",
    ":", "(", ")", "[", "]", ",", ".", "|", "{", "}", "#",
];

pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, Wrong> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(letter) = text[at..].chars().next() {
        let start = at;
        if letter.is_whitespace() {
            at += letter.len_utf8();
            continue;
        }
        let token = match letter {
            '"' | '\'' | '`' => quoted(text, &mut at)?,
            '0'..='9' => number(text, &mut at)?,
            'a'..='z' | 'A'..='Z' | '_' | '$' => {
                let word = |letter: char| !(letter.is_alphanumeric() || matches!(letter, '_' | '$'));
                at += text[at..].find(word).unwrap_or(text.len() - at);
                Token::Name(text[start..at].to_owned())
            }
            _ => {
                let sign = SIGNS.iter().find(|sign| text[at..].starts_with(**sign));
                let Some(sign) = sign else {
                    return Err(Wrong::new(
                        at,
                        at + letter.len_utf8(),
                        format_args!("{letter:?} is no part of the language"),
                    ));
                };
                at += sign.len();
                Token::Sign(sign)
            }
        };
        found.push(Placed {
            token,
            start,
            end: at,
        });
    }
    Ok(found)
}

fn quoted(text: &str, at: &mut usize) -> Result<Token, Wrong> {
    let start = *at;
    let open = || Wrong::new(start, text.len(), "the text is not closed");
    let mut letters = text[start..].char_indices();
    let quote = letters.next().map(|(_, quote)| quote).ok_or_else(open)?;
    let mut out = String::new();
    while let Some((offset, letter)) = letters.next() {
        if letter == quote {
            *at = start + offset + letter.len_utf8();
            return Ok(Token::Text(out));
        }
        if letter != '\\' || quote == '`' {
            out.push(letter);
            continue;
        }
        let (_, escape) = letters.next().ok_or_else(open)?;
        out.push(match escape {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            '0' => '\0',
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            '\\' | '"' | '\'' | '`' => escape,
            'x' | 'u' => {
                let digits = if escape == 'x' { 2 } else { 4 };
                let code: String = letters.by_ref().take(digits).map(|(_, digit)| digit).collect();
                let code = u32::from_str_radix(&code, 16)
                    .ok()
                    .filter(|_| code.len() == digits);
                code.and_then(char::from_u32).ok_or_else(|| {
                    Wrong::new(
                        start + offset,
                        start + offset + 2,
                        format_args!("`\\{escape}` needs {digits} hex digits"),
                    )
                })?
            }
            other => {
                let end = start + offset + 1 + other.len_utf8();
                return Err(Wrong::new(
                    start + offset,
                    end,
                    format_args!("`\\{other}` is no escape; a backslash is `\\\\`"),
                ));
            }
        });
    }
    Err(open())
}

fn number(text: &str, at: &mut usize) -> Result<Token, Wrong> {
    let start = *at;
    let rest = &text[start..];
    let digits = rest
        .find(|letter: char| !letter.is_ascii_digit() && letter != '_')
        .unwrap_or(rest.len());
    let mut end = digits;
    let fraction = |from: usize| {
        let after = rest[from..].strip_prefix('.')?;
        let digits = after
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(after.len());
        (digits > 0).then_some(from + 1 + digits)
    };
    if let Some(after) = fraction(end) {
        end = after;
    }
    if let Some(exponent) = rest[end..].strip_prefix(['e', 'E']) {
        let unsigned = exponent.trim_start_matches(['+', '-']);
        let digits = unsigned
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(unsigned.len());
        if digits > 0 && exponent.len() - unsigned.len() <= 1 {
            end += 1 + exponent.len() - unsigned.len() + digits;
        }
    }
    *at = start + end;
    let written = rest[..end].replace('_', "");
    let wrong = || Wrong::new(start, start + end, "the number does not fit 64 bits");
    match end == digits {
        true => written.parse().map(Token::Int).map_err(|_| wrong()),
        false => written.parse().map(Token::Float).map_err(|_| wrong()),
    }
}
