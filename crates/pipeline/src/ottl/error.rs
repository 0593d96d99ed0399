//! What is wrong with a statement, pointing into it; and what went wrong while one ran.

use std::borrow::Cow;
use std::fmt;

/// Bytes of a statement, from `start` up to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    pub(super) fn to(self, end: Span) -> Self {
        Self::new(self.start, end.end)
    }
}

/// A statement or a condition that could not be compiled.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{problem}, at byte {} of `{statement}`", span.start)]
pub struct OttlError {
    pub statement: String,
    pub span: Span,
    pub problem: Problem,
}

impl OttlError {
    /// The offending part of the statement.
    pub fn token(&self) -> &str {
        self.statement
            .get(self.span.start..self.span.end)
            .unwrap_or_default()
    }

    /// What to do about it.
    fn hint(&self) -> Option<Cow<'static, str>> {
        let other_language = match (&self.problem, self.token()) {
            (Problem::Character('&'), _) => "conditions are joined by `and`",
            (Problem::Character('|'), _) => "conditions are joined by `or`",
            (Problem::Character('!'), _) => "`not` is the opposite of a condition, and `!=` compares",
            (Problem::Character('\''), _) => "texts stand between double quotes: \"…\"",
            (Problem::Expected { .. }, "=") => "`==` compares; values are set by `set(path, value)`",
            _ => return self.problem.hint(),
        };
        Some(other_language.into())
    }

    /// The problem over the statement with a line that points at the place, and what to do about it.
    pub fn render(&self) -> String {
        let before = self.statement.get(..self.span.start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = self.statement.get(line_start..).unwrap_or_default();
        let line = line.split('\n').next().unwrap_or_default();
        let indent = before.get(line_start..).unwrap_or_default().chars().count();
        let carets = self
            .token()
            .split('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count();
        let mut text = format!(
            "{}\n  {line}\n  {}{}",
            self.problem,
            " ".repeat(indent),
            "^".repeat(carets.max(1))
        );
        if let Some(hint) = self.hint() {
            text.push_str("\n  hint: ");
            text.push_str(&hint);
        }
        text
    }
}

/// What is wrong with a statement.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    #[error("the statement is longer than {} bytes", super::lexer::STATEMENT_BYTES_MAX)]
    TooLong,
    #[error("{0:?} is no part of the language")]
    Character(char),
    #[error("the text is not closed")]
    OpenText,
    #[error("`\\{0}` is no escape")]
    Escape(char),
    #[error("the escapes do not make UTF-8")]
    TextNotUtf8,
    #[error("bytes need pairs of hex digits after `0x`")]
    Hex,
    #[error("the number does not fit 64 bits")]
    NumberRange,
    #[error("expected {expected}")]
    Expected { expected: &'static str },
    #[error("nested deeper than {} levels", super::parser::DEPTH_MAX)]
    Nesting,
    #[error("`{name}` is no {kind}")]
    Unknown {
        kind: &'static str,
        name: String,
        nearest: Option<String>,
        /// All that there are, if they are few.
        known: &'static str,
    },
    #[error("`{path}` is no path of the context {context}")]
    UnknownPath {
        path: String,
        context: &'static str,
        nearest: Option<String>,
    },
    #[error("`{path}` cannot be indexed")]
    NotIndexable { path: String },
    #[error("`{path}` cannot be changed")]
    ReadOnly { path: String },
    #[error("`{path}` cannot be used as a whole")]
    Whole { path: String },
    #[error("`{function}` takes {expected}, and was given {actual} arguments")]
    ArgumentCount {
        function: &'static str,
        expected: String,
        actual: usize,
    },
    #[error("`{function}` has no argument `{name}`")]
    ArgumentName {
        function: &'static str,
        name: String,
        names: String,
    },
    #[error("the argument `{name}` is given twice")]
    ArgumentTwice { name: &'static str },
    #[error("`{function}` needs its argument `{name}`")]
    ArgumentMissing {
        function: &'static str,
        name: &'static str,
    },
    #[error("the argument `{name}` of `{function}` must be {expected}")]
    ArgumentKind {
        function: &'static str,
        name: &'static str,
        expected: &'static str,
    },
    #[error("the argument `{name}` of `{function}`: {problem}")]
    ArgumentValue {
        function: &'static str,
        name: &'static str,
        problem: String,
    },
    #[error("`{function}` works in the context {expected} only, this is {actual}")]
    FunctionContext {
        function: &'static str,
        expected: &'static str,
        actual: &'static str,
    },
    #[error("a comparison cannot be used as a value")]
    BooleanAsValue,
    #[error("this is neither true nor false")]
    ValueAsBoolean,
    #[error("editors cannot be indexed")]
    EditorIndexed,
    #[error("there is no `{name}` in {signal}")]
    NotOfSignal {
        name: &'static str,
        signal: &'static str,
        /// What there is instead.
        known: &'static str,
    },
    #[error("no context has all of the paths that are used together: {paths}")]
    NoContext { paths: String },
}

impl Problem {
    /// What to do about it.
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::OpenText => "texts stand between double quotes".into(),
            Self::Escape(c) if c.is_alphanumeric() || c.is_ascii_punctuation() => {
                format!("write `\\\\{c}` for a backslash and `{c}`, as regular expressions need it").into()
            }
            Self::Unknown {
                nearest: Some(nearest),
                ..
            } => format!("did you mean `{nearest}`?").into(),
            Self::Unknown { known, .. } if !known.is_empty() => format!("there are {known}").into(),
            Self::UnknownPath {
                nearest: Some(nearest),
                ..
            } => format!("did you mean `{nearest}`?").into(),
            Self::Whole { path } => format!("name a field of it, as in `{path}.…`").into(),
            Self::ArgumentName { names, .. } => format!("its arguments are {names}").into(),
            Self::ValueAsBoolean => "compare it, as in `… == true`".into(),
            Self::BooleanAsValue => "comparisons belong after `where`".into(),
            Self::EditorIndexed => "only paths and converters can be".into(),
            Self::NotOfSignal { known, .. } => {
                format!("there are {known}; statements of other signals stand in a list of theirs").into()
            }
            Self::NoContext { .. } => "put the statements into groups of their own".into(),
            _ => return None,
        })
    }
}

/// Why a statement failed on one item.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub(super) Cow<'static, str>);

impl Fault {
    pub(super) fn new(what: &'static str) -> Self {
        Self(Cow::Borrowed(what))
    }

    /// Of what may have pieces of the telemetry in it: not more of them than somebody who looks for the mistake needs.
    pub(super) fn of(what: fmt::Arguments<'_>) -> Self {
        let mut text = Short(String::new());
        if fmt::Write::write_fmt(&mut text, what).is_err() {
            text.0.push('…');
        }
        Self(Cow::Owned(text.0))
    }
}

/// Longest text of a fault: it is written into logs, and telemetry may be large, and a secret.
const FAULT_BYTES_MAX: usize = 256;

/// A text that takes no more than [`FAULT_BYTES_MAX`]; an error ends what is written into it.
struct Short(String);

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = FAULT_BYTES_MAX - self.0.len();
        let fits = text.get(..text.floor_char_boundary(room)).unwrap_or_default();
        self.0.push_str(fits);
        if fits.len() < text.len() {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

/// A statement or condition that failed while it ran.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot run `{statement}`")]
pub struct RunError {
    pub statement: String,
    pub source: Fault,
}

/// The one of `known` that `name` is most likely meant to be.
pub(super) fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<String> {
    cupola_config::nearest::nearest(name, known).map(str::to_owned)
}
