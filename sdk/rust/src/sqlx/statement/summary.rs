//! What statements do to what, found by their keywords: `SELECT orders`, `INSERT totals SELECT orders`, `CREATE TABLE orders`.
//!
//! <https://opentelemetry.io/docs/specs/semconv/db/database-spans/#generating-a-summary-of-the-query>

use super::Statement;
use super::keywords::{SIMPLE, keyword};
use super::lexer::Token;

/// Longest summary, in bytes: what comes after is left out as a whole.
const SUMMARY_BYTES_MAX: usize = 255;
/// Most names of a `WITH` that are known as such: each name of a table is compared with all of them.
const OWN_NAMES_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Summary {
    out: String,
    is_full: bool,
    /// Of the first statement, until a later one does something else.
    operation: Operation,
    collection: Collection,
    /// Names that a `WITH` gives to queries.
    own_names: Vec<String>,
    /// How deep the `WITH` is whose queries are named now.
    with_depth: Option<usize>,
    /// One at least.
    levels: Vec<Level>,
    state: State,
    /// The name that is read, and what is done with it.
    name: String,
    last: Last,
    /// What comes up to the next `;` is nobody's business.
    is_done: bool,
    has_statement: bool,
}

#[derive(Debug, Default)]
enum Operation {
    #[default]
    None,
    One(String),
    Several,
}

#[derive(Debug, Default)]
enum Collection {
    #[default]
    None,
    One(String),
    Several,
}

/// What is between two brackets.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    /// Where `FROM` is followed by tables; in others, it is a part of a function.
    is_query: bool,
    /// Where a comma is followed by another table.
    is_in_from: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A statement begins.
    Start,
    Nothing,
    /// `CREATE`, `ALTER` or `DROP` of what?
    Kind(&'static str),
    /// A name is to come.
    Target(Target),
    /// In a name, in front of a possible point.
    Name(Target),
    /// Behind the point of a name.
    Point(Target),
    /// The name of a query of a `WITH`.
    OwnName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// Of a query: with a bracket behind its name, it is a function.
    From,
    /// Of a change: with a bracket behind its name, that is a list of columns.
    Into,
    /// Not where rows are.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Start,
    Word(&'static str),
    Bracket,
    Other,
}

impl Default for Summary {
    fn default() -> Summary {
        Summary {
            out: String::new(),
            is_full: false,
            operation: Operation::None,
            collection: Collection::None,
            own_names: Vec::new(),
            with_depth: None,
            levels: vec![Level::default()],
            state: State::Start,
            name: String::new(),
            last: Last::Start,
            is_done: false,
            has_statement: false,
        }
    }
}

impl Summary {
    pub(super) fn add(&mut self, token: Token<'_>) {
        if token == Token::Space {
            return;
        }
        if token == Token::Punctuation(';') {
            return self.end_statement();
        }
        if self.is_done || self.continue_name(token) {
            return;
        }
        match token {
            Token::Word(word) => {
                let keyword = keyword(word);
                self.word(word, keyword);
                self.last = Last::Word(keyword);
                return;
            }
            Token::Quoted(name) => self.quoted(name),
            Token::Punctuation(sign) => self.sign(sign),
            _ => self.state = State::Nothing,
        }
        self.last = match token {
            Token::Punctuation('(' | ')') => Last::Bracket,
            _ => Last::Other,
        };
    }

    /// Whether the grammar has a name next.
    pub(super) fn awaits_name(&self) -> bool {
        matches!(self.state, State::Target(_) | State::Point(_) | State::OwnName)
    }

    pub(super) fn finish(mut self, text: String) -> Statement {
        self.end_statement();
        Statement {
            text,
            summary: self.out,
            operation: match self.operation {
                Operation::One(operation) => Some(operation),
                _ => None,
            },
            collection: match self.collection {
                Collection::One(collection) => Some(collection),
                _ => None,
            },
        }
    }

    fn end_statement(&mut self) {
        self.end_name(None);
        self.own_names.clear();
        self.with_depth = None;
        self.levels.clear();
        self.levels.push(Level::default());
        self.state = State::Start;
        self.last = Last::Start;
        self.is_done = false;
        self.has_statement = false;
    }

    /// Whether the token is one of the name that is read. If not, the name has ended.
    fn continue_name(&mut self, token: Token<'_>) -> bool {
        match (self.state, token) {
            (State::Name(target), Token::Punctuation('.')) => {
                self.name.push('.');
                self.state = State::Point(target);
                true
            }
            (State::Point(target), Token::Word(part) | Token::Quoted(part)) => {
                self.name.push_str(plain(part));
                self.state = State::Name(target);
                true
            }
            (State::Name(_) | State::Point(_), _) => {
                self.end_name(Some(token));
                false
            }
            _ => false,
        }
    }

    fn end_name(&mut self, next: Option<Token<'_>>) {
        let (State::Name(target) | State::Point(target)) = self.state else {
            return;
        };
        self.state = State::Nothing;
        let name = std::mem::take(&mut self.name);
        let is_call = target == Target::From && next == Some(Token::Punctuation('('));
        if is_call || self.own_names.iter().any(|own| own.eq_ignore_ascii_case(&name)) {
            return;
        }
        self.push(&name);
        if target == Target::Other {
            return;
        }
        self.collection = match std::mem::take(&mut self.collection) {
            Collection::None if name.len() <= SUMMARY_BYTES_MAX => Collection::One(name),
            Collection::One(known) if known == name => Collection::One(known),
            _ => Collection::Several,
        };
    }

    fn level(&mut self) -> &mut Level {
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    fn push(&mut self, part: &str) {
        let separator = if self.out.is_empty() { "" } else { " " };
        self.is_full |= self.out.len() + separator.len() + part.len() > SUMMARY_BYTES_MAX;
        if !self.is_full {
            self.out.push_str(separator);
            self.out.push_str(part);
        }
    }

    fn operation(&mut self, name: &str) {
        let is_first = !self.has_statement;
        if is_first && !self.out.is_empty() && !self.is_full {
            self.out.push(';');
        }
        self.push(name);
        // Within brackets, it is a part of what is outside of them.
        if is_first || (self.with_depth.is_some() && self.levels.len() == 1) {
            self.operation = match std::mem::take(&mut self.operation) {
                Operation::None => Operation::One(name.to_owned()),
                Operation::One(known) if known == name || !is_first => Operation::One(name.to_owned()),
                _ => Operation::Several,
            };
        }
        self.has_statement = true;
        if self.with_depth == Some(self.levels.len()) {
            self.with_depth = None;
        }
    }

    /// Whether what changes rows may begin here, rather than be a part of something else, as in `ON DELETE`.
    fn may_begin(&self) -> bool {
        matches!(
            self.last,
            Last::Start | Last::Bracket | Last::Word("EXPLAIN" | "ANALYZE" | "VERBOSE")
        )
    }

    fn word(&mut self, word: &str, keyword: &'static str) {
        match self.state {
            State::Start => return self.begin(keyword),
            State::Kind(verb) => return self.kind(verb, keyword),
            State::OwnName if keyword == "RECURSIVE" => return,
            State::OwnName => {
                self.own_name(word);
                return;
            }
            State::Target(_) if is_before_name(keyword) => return,
            State::Target(target) if keyword != "SELECT" && keyword != "VALUES" && keyword != "SET" => {
                self.name.push_str(word);
                self.state = State::Name(target);
                return;
            }
            _ => {}
        }
        self.state = State::Nothing;
        self.inside(keyword);
    }

    /// A word that is neither the first of a statement nor a part of a name.
    fn inside(&mut self, keyword: &'static str) {
        match keyword {
            "SELECT" => {
                self.operation("SELECT");
                *self.level() = Level {
                    is_query: true,
                    is_in_from: false,
                };
            }
            "INSERT" | "UPDATE" | "DELETE" | "MERGE" if self.may_begin() => self.change(keyword),
            "FROM" if self.level().is_query && self.last != Last::Word("DISTINCT") => {
                self.level().is_in_from = true;
                self.state = State::Target(Target::From);
            }
            "JOIN" | "STRAIGHT_JOIN" | "USING" if self.level().is_query => {
                self.state = State::Target(Target::From);
            }
            "INTO" if self.has_statement => self.state = State::Target(Target::Into),
            "EXCEPT" | "FETCH" | "FOR" | "GROUP" | "HAVING" | "INTERSECT" | "LIMIT" | "OFFSET" | "ON"
            | "ORDER" | "RETURNING" | "SET" | "UNION" | "VALUES" | "WHERE" | "WINDOW" => {
                self.level().is_in_from = false;
            }
            _ => {}
        }
    }

    fn change(&mut self, keyword: &'static str) {
        self.operation(keyword);
        self.level().is_query = keyword != "INSERT";
        if keyword != "DELETE" {
            self.state = State::Target(Target::Into);
        }
    }

    /// The first word of a statement. Of what is not known, nothing is told: names of spans are not made by strangers.
    fn begin(&mut self, keyword: &'static str) {
        self.state = State::Nothing;
        match keyword {
            "SELECT" | "INSERT" | "UPDATE" | "DELETE" | "MERGE" => self.inside(keyword),
            "REPLACE" => self.change(keyword),
            "WITH" => {
                self.with_depth = Some(self.levels.len());
                self.state = State::OwnName;
            }
            "CREATE" | "ALTER" | "DROP" => self.state = State::Kind(keyword),
            "TRUNCATE" => {
                self.operation(keyword);
                self.state = State::Target(Target::Into);
            }
            "CALL" => {
                self.operation(keyword);
                self.state = State::Target(Target::Other);
            }
            "COPY" => {
                self.operation(keyword);
                self.state = State::Target(Target::Into);
            }
            "EXPLAIN" | "VALUES" | "TABLE" => self.operation(keyword),
            keyword if SIMPLE.contains(&keyword) => {
                self.operation(keyword);
                self.is_done = true;
            }
            _ => self.is_done = true,
        }
    }

    /// What is created, altered or dropped.
    fn kind(&mut self, verb: &'static str, keyword: &'static str) {
        match keyword {
            "GLOBAL" | "LOCAL" | "MATERIALIZED" | "OR" | "REPLACE" | "TEMP" | "TEMPORARY" | "UNIQUE"
            | "UNLOGGED" | "VIRTUAL" => {}
            "TABLE" | "VIEW" => {
                self.operation(&format!("{verb} {keyword}"));
                self.state = State::Target(Target::Into);
            }
            "DATABASE" | "INDEX" | "SCHEMA" | "SEQUENCE" => {
                self.operation(&format!("{verb} {keyword}"));
                self.state = State::Target(Target::Other);
            }
            "EXTENSION" | "FUNCTION" | "PROCEDURE" | "ROLE" | "TRIGGER" | "TYPE" | "USER" => {
                self.operation(&format!("{verb} {keyword}"));
                self.is_done = true;
            }
            _ => {
                self.operation(verb);
                self.is_done = true;
            }
        }
    }

    /// The name of a query, which is no table.
    fn own_name(&mut self, name: &str) {
        if self.own_names.len() < OWN_NAMES_MAX {
            self.own_names.push(name.to_owned());
        }
        self.state = State::Nothing;
    }

    fn quoted(&mut self, name: &str) {
        match self.state {
            State::OwnName => self.own_name(plain(name)),
            State::Target(target) => {
                self.name.push_str(plain(name));
                self.state = State::Name(target);
            }
            _ => self.state = State::Nothing,
        }
    }

    fn sign(&mut self, sign: char) {
        match sign {
            '(' => {
                if self.state != State::Start {
                    self.state = State::Nothing;
                }
                self.levels.push(Level::default());
            }
            ')' => {
                // The outermost is no pair of brackets.
                if self.levels.len() > 1 {
                    self.levels.pop();
                }
                self.state = State::Nothing;
            }
            ',' if self.with_depth == Some(self.levels.len()) => self.state = State::OwnName,
            ',' if self.level().is_in_from => self.state = State::Target(Target::From),
            _ => self.state = State::Nothing,
        }
    }
}

/// What may be between a verb and the name.
fn is_before_name(keyword: &str) -> bool {
    matches!(
        keyword,
        "ABORT"
            | "CONCURRENTLY"
            | "DELAYED"
            | "EXISTS"
            | "FAIL"
            | "HIGH_PRIORITY"
            | "IF"
            | "IGNORE"
            | "INTO"
            | "LATERAL"
            | "LOW_PRIORITY"
            | "NOT"
            | "ONLY"
            | "OR"
            | "REPLACE"
            | "ROLLBACK"
            | "TABLE"
    )
}

/// A part of a name without quotes, where it needs none.
fn plain(part: &str) -> &str {
    let Some(inner) = part
        .get(1..part.len().saturating_sub(1))
        .filter(|_| part.starts_with(['"', '`', '[']))
    else {
        return part;
    };
    let is_plain = !inner.is_empty() && inner.chars().all(|char| char.is_alphanumeric() || char == '_');
    if is_plain { inner } else { part }
}
