//! What of a statement is told: its text without values, and what it does to what.
//!
//! <https://opentelemetry.io/docs/specs/semconv/db/database-spans/#sanitization-of-dbquerytext>
//!
//! A library that parses SQL would know more, and would refuse what it does not know, take long to compile, and have a stack to
//! overflow. Of a statement nobody needs more than this here; its length is bounded, and the time is proportional to it.

mod keywords;
mod lexer;
mod summary;

use lexer::{Lexer, Token};
use summary::Summary;

/// Longest text that is looked at and told, in bytes; the rest is `…`.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Postgres,
    MySql,
    Sqlite,
    Unknown,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Statement {
    /// With `?` for every literal; without comments.
    pub text: String,
    /// Such as `INSERT orders SELECT carts`; empty if nobody knows what it does.
    pub summary: String,
    /// If there is one.
    pub operation: Option<String>,
    /// If there is one.
    pub collection: Option<String>,
}

/// Reads a statement, or several behind one another.
pub(super) fn read(sql: &str, dialect: Dialect) -> Statement {
    let (looked_at, is_cut) = cut(sql);
    let mut text = Text::default();
    let mut summary = Summary::default();
    let mut lexer = Lexer::new(looked_at, dialect);
    let mut is_behind_point = false;
    while let Some(token) = lexer.next() {
        let is_name = is_behind_point || lexer.is_before_point() || summary.awaits_name();
        is_behind_point = token == Token::Punctuation('.');
        let token = match token {
            // Where there is no such column, SQLite takes it for a text.
            Token::Quoted(name) if dialect == Dialect::Sqlite && name.starts_with('"') && !is_name => {
                Token::Literal
            }
            token => token,
        };
        text.add(token);
        summary.add(token);
    }
    let mut text = text.out;
    text.truncate(text.trim_end().len());
    if is_cut {
        text.push('…');
    }
    summary.finish(text)
}

fn cut(sql: &str) -> (&str, bool) {
    if sql.len() <= TEXT_BYTES_MAX {
        return (sql, false);
    }
    let mut end = TEXT_BYTES_MAX;
    while !sql.is_char_boundary(end) {
        end -= 1;
    }
    (&sql[..end], true)
}

/// The text as it is told.
#[derive(Debug, Default)]
struct Text {
    out: String,
    /// Where the values of `IN (…)` begin: as many of them as there may be, they are told as one.
    list: Option<usize>,
    is_behind_in: bool,
}

impl Text {
    fn add(&mut self, token: Token<'_>) {
        if token == Token::Space {
            if !self.out.is_empty() && !self.out.ends_with(' ') {
                self.out.push(' ');
            }
            return;
        }
        if token == Token::Punctuation(')')
            && let Some(begin) = self.list.take()
            && self.out.len() > begin
        {
            self.out.truncate(begin);
            self.out.push('?');
        }
        match token {
            Token::Word(word) | Token::Quoted(word) | Token::Placeholder(word) => self.out.push_str(word),
            Token::Literal => self.out.push('?'),
            Token::Punctuation(sign) => self.out.push(sign),
            Token::Space => {}
        }
        let opens = token == Token::Punctuation('(') && self.is_behind_in;
        self.is_behind_in = matches!(token, Token::Word(word) if word.eq_ignore_ascii_case("in"));
        match token {
            _ if opens => self.list = Some(self.out.len()),
            Token::Literal | Token::Placeholder(_) | Token::Punctuation(',' | '-' | '+') => {}
            _ => self.list = None,
        }
    }
}

#[cfg(test)]
mod tests;
