//! A statement's tokens: just as much of SQL as is needed to tell values from what is not one. Where dialects differ and nobody
//! says which it is, what may be a value is one.

use super::Dialect;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'s> {
    /// A keyword or a name.
    Word(&'s str),
    /// A name in quotes, with them.
    Quoted(&'s str),
    /// A text or a number.
    Literal,
    /// What stands for a bound value, as it is written.
    Placeholder(&'s str),
    /// Spaces and comments.
    Space,
    Punctuation(char),
}

#[derive(Clone, Debug)]
pub(super) struct Lexer<'s> {
    rest: &'s str,
    dialect: Dialect,
    /// How much is left where the comment of MySQL ends that is read as the code in it.
    code_end: Option<usize>,
    /// The token before is one that a number does not follow with its point.
    is_behind_name: bool,
}

impl<'s> Lexer<'s> {
    pub(super) fn new(sql: &'s str, dialect: Dialect) -> Lexer<'s> {
        Lexer {
            rest: sql,
            dialect,
            code_end: None,
            is_behind_name: false,
        }
    }

    /// Whether a point is next, and not that of a number.
    pub(super) fn is_before_point(&self) -> bool {
        let behind = self.rest.strip_prefix('.');
        behind.is_some_and(|behind| !behind.starts_with(|next: char| next.is_ascii_digit()))
    }

    /// Takes so many bytes, which end between characters.
    fn take(&mut self, bytes: usize) -> &'s str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn next_token(&mut self) -> Option<Token<'s>> {
        let mut chars = self.rest.chars();
        let (first, second) = (chars.next()?, chars.next());
        Some(match (first, second) {
            (space, _) if space.is_whitespace() => self.space(),
            ('-', Some('-')) => self.dashes(),
            ('#', _) if self.dialect == Dialect::MySql => self.line_comment(&['\n']),
            ('#', _) if self.dialect == Dialect::Unknown => self.end(),
            ('/', Some('*')) => self.block_comment(),
            ('*', Some('/')) if self.code_end == Some(self.rest.len()) => {
                self.code_end = None;
                self.take(2);
                Token::Space
            }
            ('\'', _) => self.text('\'', self.has_escapes(false)),
            ('"', _) if self.dialect == Dialect::MySql => self.text('"', true),
            ('"', _) if self.dialect == Dialect::Unknown => self.text('"', self.has_escapes(false)),
            ('"', _) => self.quoted('"'),
            ('`', _) if self.dialect != Dialect::Postgres => self.quoted('`'),
            ('[', _) if self.dialect == Dialect::Sqlite => self.quoted(']'),
            ('$', _) => self.dollar(),
            ('?', _) => self.placeholder(1, |char| char.is_ascii_digit()),
            (':', Some(':')) => {
                self.take(1);
                // The second of both is no beginning of a name.
                self.is_behind_name = true;
                Token::Punctuation(':')
            }
            (':' | '@', Some(next)) if is_name_start(next) && !self.is_behind_colon(first) => {
                self.placeholder(1, is_name)
            }
            (digit, _) if digit.is_ascii_digit() => self.number(),
            ('.', Some(next)) if next.is_ascii_digit() && !self.is_behind_name => self.number(),
            (name, _) if is_name_start(name) => self.word(),
            _ => {
                self.take(first.len_utf8());
                Token::Punctuation(first)
            }
        })
    }

    fn is_behind_colon(&self, first: char) -> bool {
        first == ':' && self.is_behind_name
    }

    /// How a text of this dialect treats what is behind a backslash.
    fn has_escapes(&self, is_marked: bool) -> bool {
        is_marked || self.dialect == Dialect::MySql
    }

    fn space(&mut self) -> Token<'s> {
        let end = self.rest.find(|char: char| !char.is_whitespace());
        self.take(end.unwrap_or(self.rest.len()));
        Token::Space
    }

    /// Everything that is left, of which nobody can say what it is.
    fn end(&mut self) -> Token<'s> {
        self.rest = "";
        Token::Literal
    }

    /// Behind `--`: MySQL knows it as a comment with a space behind it alone, and PostgreSQL ends it at either end of a line.
    fn dashes(&mut self) -> Token<'s> {
        let is_spaced = self.rest[2..].starts_with(|next: char| next.is_whitespace() || next.is_control());
        match self.dialect {
            Dialect::MySql if !is_spaced && self.rest.len() > 2 => {
                self.take(1);
                Token::Punctuation('-')
            }
            Dialect::Unknown if !is_spaced => self.end(),
            Dialect::Postgres => self.line_comment(&['\n', '\r']),
            _ => self.line_comment(&['\n']),
        }
    }

    fn line_comment(&mut self, ends: &[char]) -> Token<'s> {
        let end = self.rest.find(ends).map_or(self.rest.len(), |end| end + 1);
        let comment = self.take(end);
        let is_doubtful = self.dialect == Dialect::Unknown && comment.trim_end_matches("\r\n").contains('\r');
        if is_doubtful { self.end() } else { Token::Space }
    }

    fn block_comment(&mut self) -> Token<'s> {
        let code = ["/*!", "/*M!"]
            .into_iter()
            .find(|code| self.rest.starts_with(code));
        match (code, self.dialect) {
            (Some(code), Dialect::MySql) => return self.code(code),
            (Some(_), Dialect::Unknown) => return self.end(),
            _ => {}
        }
        let bytes = self.rest.as_bytes();
        let (mut at, mut depth) = (2, 1);
        while depth > 0 && at < bytes.len() {
            match (bytes[at], bytes.get(at + 1), self.dialect) {
                (b'*', Some(b'/'), _) => {
                    depth -= 1;
                    at += 2;
                }
                (b'/', Some(b'*'), Dialect::Unknown) => return self.end(),
                (b'/', Some(b'*'), Dialect::Postgres) => {
                    depth += 1;
                    at += 2;
                }
                _ => at += 1,
            }
        }
        self.take(at);
        Token::Space
    }

    /// The beginning of a comment whose text a server executes, or does not: that depends on whose it is, and its version.
    fn code(&mut self, begin: &str) -> Token<'s> {
        let end = self.rest.find("*/").map(|end| self.rest.len() - end);
        if end.is_none() || self.code_end.is_some() {
            return self.end();
        }
        self.code_end = end;
        self.take(begin.len());
        // From which version on.
        let version = self.rest.find(|char: char| !char.is_ascii_digit());
        self.take(version.unwrap_or(self.rest.len()));
        Token::Space
    }

    /// A text up to the quote that ends it; one within is doubled, or behind a backslash.
    fn text(&mut self, quote: char, has_escapes: bool) -> Token<'s> {
        let is_doubtful = match self.dialect {
            Dialect::Sqlite => false,
            Dialect::Postgres => !has_escapes,
            Dialect::Unknown | Dialect::MySql => true,
        };
        let bytes = self.rest.as_bytes();
        let quote = quote as u8;
        let mut at = 1;
        while let Some(byte) = bytes.get(at) {
            match byte {
                // Whether that quote is the end, depends on the dialect or a setting: whatever comes may be of the text.
                b'\\' if is_doubtful && bytes.get(at + 1) == Some(&quote) => return self.end(),
                b'\\' if has_escapes => at += 2,
                byte if *byte == quote => match bytes.get(at + 1) == Some(&quote) {
                    true => at += 2,
                    false => {
                        at += 1;
                        break;
                    }
                },
                _ => at += 1,
            }
        }
        // Behind a backslash may be the middle of a character, and the end is where the text ends or at a quote.
        let mut end = at.min(bytes.len());
        while !self.rest.is_char_boundary(end) {
            end += 1;
        }
        self.take(end);
        Token::Literal
    }

    fn quoted(&mut self, quote: char) -> Token<'s> {
        let bytes = self.rest.as_bytes();
        let quote = quote as u8;
        let mut at = 1;
        while let Some(byte) = bytes.get(at) {
            let is_doubled = *byte == quote && bytes.get(at + 1) == Some(&quote);
            at += 1 + usize::from(is_doubled);
            if *byte == quote && !is_doubled {
                return Token::Quoted(self.take(at));
            }
        }
        // Without an end it is no name.
        self.take(bytes.len());
        Token::Literal
    }

    /// `$1`, `$name`, or a text between `$tag$` and `$tag$`.
    fn dollar(&mut self) -> Token<'s> {
        let name = self.rest[1..].find(|char: char| !is_name(char) || char == '$');
        let name = name.map_or(self.rest.len(), |end| end + 1);
        let is_tag =
            self.rest[name..].starts_with('$') && !self.rest[1..].starts_with(|c: char| c.is_ascii_digit());
        if is_tag && matches!(self.dialect, Dialect::Postgres | Dialect::Unknown) {
            let tag = self.take(name + 1);
            let end = self.rest.find(tag).map_or(self.rest.len(), |end| end + tag.len());
            self.take(end);
            return Token::Literal;
        }
        match name {
            1 => {
                self.take(1);
                Token::Punctuation('$')
            }
            _ => Token::Placeholder(self.take(name)),
        }
    }

    fn placeholder(&mut self, sign: usize, is_part: impl Fn(char) -> bool) -> Token<'s> {
        let end = self.rest[sign..].find(|char: char| !is_part(char));
        Token::Placeholder(self.take(end.map_or(self.rest.len(), |end| sign + end)))
    }

    /// With everything that hangs on to it: `1.5e-3`, `0xff`, `1_000`.
    fn number(&mut self) -> Token<'s> {
        let bytes = self.rest.as_bytes();
        let is_part = |at: usize| {
            let byte = bytes[at];
            let is_followed = bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
            let is_sign = matches!(byte, b'+' | b'-') && matches!(bytes[at - 1], b'e' | b'E') && is_followed;
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || is_sign
        };
        let end = (1..bytes.len()).find(|at| !is_part(*at));
        self.take(end.unwrap_or(bytes.len()));
        Token::Literal
    }

    /// A word; or, if it is what a kind of text begins with, the text.
    fn word(&mut self) -> Token<'s> {
        let end = self.rest.find(|char: char| !is_name(char));
        let end = end.unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let is_marked = word.eq_ignore_ascii_case("e");
        let is_kind = is_marked || ["b", "n", "x"].iter().any(|kind| word.eq_ignore_ascii_case(kind));
        if is_kind && rest.starts_with('\'') {
            self.rest = rest;
            return self.text('\'', self.has_escapes(is_marked));
        }
        self.rest = rest;
        Token::Word(word)
    }
}

impl<'s> Iterator for Lexer<'s> {
    type Item = Token<'s>;

    fn next(&mut self) -> Option<Token<'s>> {
        let mut token = self.next_token()?;
        // Of what ends elsewhere as code than as a comment, nobody knows which it is.
        if self.code_end.is_some_and(|end| self.rest.len() < end) {
            token = self.end();
        }
        self.is_behind_name = match token {
            Token::Word(_) | Token::Quoted(_) | Token::Literal | Token::Placeholder(_) => true,
            // The first of two colons has said so itself.
            Token::Punctuation(sign) => matches!(sign, ')' | ']' | ':'),
            Token::Space => false,
        };
        Some(token)
    }
}

fn is_name_start(char: char) -> bool {
    char.is_alphabetic() || char == '_' || !char.is_ascii()
}

fn is_name(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '_' | '$') || !char.is_ascii()
}
