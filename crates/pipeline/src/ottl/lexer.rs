//! From the text of a statement to tokens. Knows where each stands; refuses to know what any means.

use super::error::{Problem, Span};

/// Longest statement; parsing is bounded by it.
pub(super) const STATEMENT_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A path segment, a function, an enum, or a word of the language.
    Name(String),
    Text(String),
    Int(u64),
    Float(f64),
    Bytes(Vec<u8>),
    /// An operator or a mark of punctuation.
    Mark(&'static str),
    End,
}

/// A token and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Spanned {
    pub(super) token: Token,
    pub(super) span: Span,
}

/// Longer ones first.
const MARKS: [&str; 20] = [
    "==", "!=", "<=", ">=", "=>", "<", ">", "=", "+", "-", "*", "/", "(", ")", "[", "]", "{", "}", ",", ":",
];

pub(super) type Failure = (Span, Problem);

/// Cuts `text` into tokens, the last of which is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Spanned>, Failure> {
    if text.len() > STATEMENT_BYTES_MAX {
        return Err((Span::new(0, 0), Problem::TooLong));
    }
    let mut lexer = Lexer { text, at: 0 };
    let mut found = Vec::new();
    loop {
        let next = lexer.next()?;
        let done = next.token == Token::End;
        found.push(next);
        if done {
            return Ok(found);
        }
    }
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn next(&mut self) -> Result<Spanned, Failure> {
        self.at += self.rest().len() - self.rest().trim_start().len();
        let start = self.at;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(self.finish(start, Token::End));
        };
        if first == '"' {
            return self.text(start);
        }
        if let Some(digits) = rest.strip_prefix("0x") {
            return self.bytes(start, run_length(digits, |c| c.is_ascii_alphanumeric()));
        }
        let fraction_first = first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit());
        if first.is_ascii_digit() || fraction_first {
            return self.number(start);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let length = run_length(rest, |c| c.is_ascii_alphanumeric() || c == '_');
            let name = rest[..length].to_owned();
            self.at += length;
            return Ok(self.finish(start, Token::Name(name)));
        }
        let mark = MARKS.iter().chain([&"."]).find(|mark| rest.starts_with(**mark));
        if let Some(mark) = mark {
            self.at += mark.len();
            return Ok(self.finish(start, Token::Mark(mark)));
        }
        let span = Span::new(start, start + first.len_utf8());
        Err((span, Problem::Character(first)))
    }

    fn finish(&self, start: usize, token: Token) -> Spanned {
        Spanned {
            token,
            span: Span::new(start, self.at),
        }
    }

    fn bytes(&mut self, start: usize, digits: usize) -> Result<Spanned, Failure> {
        self.at += 2 + digits;
        let text = &self.text[start + 2..self.at];
        match hex::decode(text) {
            Ok(bytes) if !bytes.is_empty() => Ok(self.finish(start, Token::Bytes(bytes))),
            _ => Err((Span::new(start, self.at), Problem::Hex)),
        }
    }

    fn number(&mut self, start: usize) -> Result<Spanned, Failure> {
        let is_digit = |c: char| c.is_ascii_digit();
        self.at += run_length(self.rest(), is_digit);
        let mut float = false;
        // A path does not begin with a digit, so that a dot belongs to the number.
        if self.rest().starts_with('.') {
            float = true;
            self.at += 1 + run_length(&self.rest()[1..], is_digit);
            let exponent = self.rest().strip_prefix(['e', 'E']).unwrap_or_default();
            let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if unsigned.starts_with(is_digit) {
                self.at += 1 + (exponent.len() - unsigned.len()) + run_length(unsigned, is_digit);
            }
        }
        let text = &self.text[start..self.at];
        let token = if float {
            text.parse().ok().map(Token::Float)
        } else {
            text.parse().ok().map(Token::Int)
        };
        match token {
            Some(token) => Ok(self.finish(start, token)),
            None => Err((Span::new(start, self.at), Problem::NumberRange)),
        }
    }

    fn text(&mut self, start: usize) -> Result<Spanned, Failure> {
        let mut value = Vec::new();
        self.at += 1;
        loop {
            let Some(next) = self.rest().chars().next() else {
                return Err((Span::new(start, self.at), Problem::OpenText));
            };
            self.at += next.len_utf8();
            match next {
                '"' => break,
                '\\' => self.escape(&mut value)?,
                _ => value.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        match String::from_utf8(value) {
            Ok(value) => Ok(self.finish(start, Token::Text(value))),
            Err(_) => Err((Span::new(start, self.at), Problem::TextNotUtf8)),
        }
    }

    /// What follows a backslash, by the rules of Go.
    fn escape(&mut self, value: &mut Vec<u8>) -> Result<(), Failure> {
        let start = self.at - 1;
        let kind = self.rest().chars().next().unwrap_or('\0');
        let failure = |lexer: &Self| {
            let end = (lexer.at + kind.len_utf8()).min(lexer.text.len());
            Err((Span::new(start, end), Problem::Escape(kind)))
        };
        let simple = match kind {
            '"' | '\\' | '\'' => Some(kind as u8),
            'n' => Some(b'\n'),
            't' => Some(b'\t'),
            'r' => Some(b'\r'),
            'a' => Some(7),
            'b' => Some(8),
            'f' => Some(12),
            'v' => Some(11),
            _ => None,
        };
        if let Some(byte) = simple {
            value.push(byte);
            self.at += 1;
            return Ok(());
        }
        let (skip, digits, radix) = match kind {
            'x' => (1, 2, 16),
            'u' => (1, 4, 16),
            'U' => (1, 8, 16),
            '0'..='7' => (0, 3, 8),
            _ => return failure(self),
        };
        let code = self.rest().get(skip..skip + digits);
        let code = code.filter(|code| code.chars().all(|c| c.is_digit(radix)));
        let Some(code) = code.and_then(|code| u32::from_str_radix(code, radix).ok()) else {
            return failure(self);
        };
        match (kind, u8::try_from(code), char::from_u32(code)) {
            ('u' | 'U', _, Some(letter)) => {
                value.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            }
            ('x' | '0'..='7', Ok(byte), _) => value.push(byte),
            _ => return failure(self),
        }
        self.at += skip + digits;
        Ok(())
    }
}

/// Length of the longest beginning made of such characters.
fn run_length(text: &str, wanted: impl Fn(char) -> bool) -> usize {
    text.find(|c| !wanted(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Token> {
        tokens(text)
            .unwrap()
            .into_iter()
            .map(|spanned| spanned.token)
            .collect()
    }

    #[test]
    fn every_kind_of_token_is_read() {
        let name = |name: &str| Token::Name(name.to_owned());
        let text = |text: &str| Token::Text(text.to_owned());
        assert_eq!(
            kinds(r#"set(attributes["a\n\x41é\u00e9\101"], -.5) != 0x0aFF 12 1.5e3"#),
            [
                name("set"),
                Token::Mark("("),
                name("attributes"),
                Token::Mark("["),
                text("a\nAééA"),
                Token::Mark("]"),
                Token::Mark(","),
                Token::Mark("-"),
                Token::Float(0.5),
                Token::Mark(")"),
                Token::Mark("!="),
                Token::Bytes(vec![0x0a, 0xff]),
                Token::Int(12),
                Token::Float(1500.0),
                Token::End,
            ]
        );
    }

    #[test]
    fn mistakes_point_at_themselves() {
        let cases = [
            (r#"set("\d")"#, 5, 7, Problem::Escape('d')),
            ("a ; b", 2, 3, Problem::Character(';')),
            ("a \"b", 2, 4, Problem::OpenText),
            ("0xabc", 0, 5, Problem::Hex),
            ("99999999999999999999", 0, 20, Problem::NumberRange),
            (r#""\xff""#, 0, 6, Problem::TextNotUtf8),
            (r#""\"#, 1, 2, Problem::Escape('\0')),
        ];
        for (statement, start, end, problem) in cases {
            assert_eq!(
                tokens(statement).unwrap_err(),
                (Span::new(start, end), problem),
                "{statement}"
            );
        }
    }
}
