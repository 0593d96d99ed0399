//! Regular expressions as the Collector has them: RE2 in the dialect of Go, brought into that of the `regex` crate.
//!
//! Both know the same language; they part where Go means ASCII (`\w`, `\d`, `\s`, `\b`), where a letter stands for itself
//! (`{` that begins no repetition, `[` and `&&` in a class, `\<`), and where Go has a word of its own (`\Q…\E`, octal
//! escapes). Patterns are bounded: a program is at most [`PROGRAM_BYTES_MAX`], and nested at most [`NESTING_MAX`]; one out of
//! the telemetry is no longer than one in a statement can be.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

use parking_lot::Mutex;
use regex::{Regex, RegexBuilder};

use super::error::Fault;
use super::lexer::STATEMENT_BYTES_MAX;
use super::value::Value;

/// Largest compiled program. Go bounds repetitions instead, to about the same effect.
const PROGRAM_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Deepest nesting of groups and classes.
const NESTING_MAX: u32 = 200;

/// Patterns out of the telemetry that a statement keeps ready.
const KEPT_MAX: usize = 8;

const DIGIT: &str = "0-9";
const WORD: &str = "0-9A-Za-z_";
const SPACE: &str = r"\t\n\x0C\r ";

/// Compiles a pattern; the error says what is wrong with it.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    let mut translation = Translation::new(pattern);
    translation.run();
    build(&translation.out)
}

/// Compiles what is in the dialect of the `regex` crate already.
pub(super) fn build(translated: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(translated)
        .size_limit(PROGRAM_BYTES_MAX)
        .nest_limit(NESTING_MAX)
        .build();
    built.map_err(|error| match error {
        regex::Error::Syntax(text) => {
            // The last line says what is wrong; those before draw it.
            let reason = text.lines().last().unwrap_or_default();
            reason.trim_start_matches("error: ").to_owned()
        }
        regex::Error::CompiledTooBig(_) => "it is too large once its repetitions are written out".to_owned(),
        other => other.to_string(),
    })
}

/// A pattern whose groups may have the same name twice, and names that are none to the `regex` crate.
pub(super) struct Named {
    pub(super) regex: Regex,
    /// By group, from the first one that is written.
    pub(super) names: Vec<Option<String>>,
}

/// Compiles a pattern and keeps the names of its groups beside it.
pub(super) fn compile_named(pattern: &str) -> Result<Named, String> {
    let mut translation = Translation::new(pattern);
    translation.names = Some(Vec::new());
    translation.run();
    Ok(Named {
        regex: build(&translation.out)?,
        names: translation.names.unwrap_or_default(),
    })
}

/// What a pattern in a statement is made into: once, or for what the telemetry says.
pub(super) enum Source<T> {
    Ready(T),
    Dynamic { make: Make<T>, kept: Mutex<Kept<T>> },
}

type Make<T> = Box<dyn Fn(&str) -> Result<T, String> + Send + Sync>;

/// What patterns were made into, or why they were not, the one that was used last in front: telemetry mostly has the same
/// few again.
type Kept<T> = Vec<(String, Result<Arc<T>, Fault>)>;

impl<T> Source<T> {
    /// Of a literal, if it is one.
    pub(super) fn new(
        literal: Option<&str>,
        make: impl Fn(&str) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        Ok(match literal {
            Some(pattern) => Self::Ready(make(pattern)?),
            None => Self::Dynamic {
                make: Box::new(make),
                kept: Mutex::default(),
            },
        })
    }

    /// Does something with what `value`, which is looked at if there is no literal, is made into.
    pub(super) fn with<R>(&self, value: &Value<'_>, with: impl FnOnce(&T) -> R) -> Result<R, Fault> {
        let (make, kept) = match self {
            Self::Ready(ready) => return Ok(with(ready)),
            Self::Dynamic { make, kept } => (make, kept),
        };
        let pattern = value.as_str()?;
        let known = find(&mut kept.lock(), pattern);
        if let Some(made) = known {
            return Ok(with(&*made?));
        }
        if pattern.len() > STATEMENT_BYTES_MAX {
            return Err(Fault::of(format_args!(
                "the pattern is longer than {STATEMENT_BYTES_MAX} bytes"
            )));
        }
        let refused = |problem| Fault::of(format_args!("no pattern, {problem}: {pattern:?}"));
        let made = make(pattern).map(Arc::new).map_err(refused);
        let mut kept = kept.lock();
        kept.truncate(KEPT_MAX - 1);
        kept.insert(0, (pattern.to_owned(), made.clone()));
        drop(kept);
        Ok(with(&*made?))
    }
}

/// What is kept of a pattern, which goes to the front.
fn find<T>(kept: &mut Kept<T>, pattern: &str) -> Option<Result<Arc<T>, Fault>> {
    let index = kept.iter().position(|(known, _)| known == pattern)?;
    kept[..=index].rotate_right(1);
    kept.first().map(|(_, made)| made.clone())
}

impl<T> fmt::Debug for Source<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready(_) => "Ready",
            Self::Dynamic { .. } => "Dynamic",
        })
    }
}

struct Translation<'p> {
    letters: Peekable<Chars<'p>>,
    out: String,
    /// Of the groups so far, if they are to be taken out of the pattern.
    names: Option<Vec<Option<String>>>,
}

impl<'p> Translation<'p> {
    fn new(pattern: &'p str) -> Self {
        Self {
            letters: pattern.chars().peekable(),
            out: String::with_capacity(pattern.len() + 16),
            names: None,
        }
    }

    fn run(&mut self) {
        while let Some(letter) = self.letters.next() {
            match letter {
                '\\' => self.escape(),
                '[' => self.class(),
                '(' => self.group(),
                '{' if !self.begins_repetition() => self.out.push_str(r"\{"),
                _ => self.out.push(letter),
            }
        }
    }

    /// Whether what follows a brace is `3}`, `3,}` or `3,5}`.
    fn begins_repetition(&self) -> bool {
        let mut ahead = self.letters.clone();
        let mut digits = 0;
        while ahead.next_if(char::is_ascii_digit).is_some() {
            digits += 1;
        }
        if ahead.next_if_eq(&',').is_some() {
            while ahead.next_if(char::is_ascii_digit).is_some() {}
        }
        digits > 0 && ahead.next() == Some('}')
    }

    /// What follows the parenthesis of a group.
    fn group(&mut self) {
        self.out.push('(');
        let Some(names) = &mut self.names else {
            return;
        };
        let mut ahead = self.letters.clone();
        if ahead.next_if_eq(&'?').is_none() {
            names.push(None);
            return;
        }
        ahead.next_if_eq(&'P');
        if ahead.next_if_eq(&'<').is_none() {
            return;
        }
        let mut name = String::new();
        while let Some(letter) = ahead.next_if(|letter| letter.is_ascii_alphanumeric() || *letter == '_') {
            name.push(letter);
        }
        if !name.is_empty() && ahead.next_if_eq(&'>').is_some() {
            names.push(Some(name));
            self.letters = ahead;
        }
    }

    /// What follows a backslash outside of a class.
    fn escape(&mut self) {
        let Some(letter) = self.letters.next() else {
            self.out.push('\\');
            return;
        };
        match letter {
            'd' => self.push_class("", DIGIT),
            'D' => self.push_class("^", DIGIT),
            'w' => self.push_class("", WORD),
            'W' => self.push_class("^", WORD),
            's' => self.push_class("", SPACE),
            'S' => self.push_class("^", SPACE),
            'b' => self.out.push_str(r"(?-u:\b)"),
            // Of Unicode: the other one could stand within a letter, which the `regex` crate has no way to mean.
            'B' => self.out.push_str(r"\B"),
            'Q' => self.quoted(),
            // Ends nothing.
            'E' => {}
            _ => self.letter(letter),
        }
    }

    fn push_class(&mut self, negation: &str, ranges: &str) {
        self.out.push('[');
        self.out.push_str(negation);
        self.out.push_str(ranges);
        self.out.push(']');
    }

    /// Everything up to `\E` stands for itself.
    fn quoted(&mut self) {
        while let Some(letter) = self.letters.next() {
            if letter == '\\' && self.letters.next_if_eq(&'E').is_some() {
                return;
            }
            let mut buffer = [0; 4];
            self.out.push_str(&regex::escape(letter.encode_utf8(&mut buffer)));
        }
    }

    /// An escape that stands for one letter, inside of a class or outside.
    fn letter(&mut self, letter: char) {
        match letter {
            '0'..='7' => self.octal(letter),
            // Beginnings and ends of words to the `regex` crate.
            '<' | '>' => self.out.push(letter),
            _ => {
                self.out.push('\\');
                self.out.push(letter);
            }
        }
    }

    /// `\0`, `\12`, `\123`. A single digit but zero would refer back, which neither side has.
    fn octal(&mut self, first: char) {
        let mut value = first.to_digit(8).unwrap_or(0);
        let mut digits = 1;
        while digits < 3
            && let Some(digit) = self.letters.next_if(|letter| ('0'..='7').contains(letter))
        {
            value = value * 8 + digit.to_digit(8).unwrap_or(0);
            digits += 1;
        }
        if digits == 1 && first != '0' {
            self.out.push('\\');
            self.out.push(first);
            return;
        }
        self.out.push_str(&format!("\\x{{{value:X}}}"));
    }

    /// A class whose bracket has been taken.
    fn class(&mut self) {
        self.out.push('[');
        if self.letters.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        // The first one does not close it.
        if self.letters.next_if_eq(&']').is_some() {
            self.out.push_str(r"\]");
        }
        while let Some(letter) = self.letters.next() {
            match letter {
                ']' => {
                    self.out.push(']');
                    return;
                }
                '[' if self.letters.peek() == Some(&':') => self.named_class(),
                '\\' => self.escape_in_class(),
                // An operator to the `regex` crate where two of them meet; `-` may be a range.
                '[' | '&' | '~' => {
                    self.out.push('\\');
                    self.out.push(letter);
                }
                '-' if self.letters.peek() == Some(&'-') => self.out.push_str(r"\-"),
                _ => self.out.push(letter),
            }
        }
    }

    /// `[:alpha:]`, or a bracket that stands for itself.
    fn named_class(&mut self) {
        let mut ahead = self.letters.clone();
        let mut name = String::new();
        while let Some(letter) =
            ahead.next_if(|letter| letter.is_ascii_lowercase() || matches!(letter, ':' | '^'))
        {
            name.push(letter);
        }
        if name.len() > 2 && name.ends_with(':') && ahead.next() == Some(']') {
            self.out.push('[');
            self.out.push_str(&name);
            self.out.push(']');
            for _ in 0..=name.len() {
                self.letters.next();
            }
        } else {
            self.out.push_str(r"\[");
        }
    }

    fn escape_in_class(&mut self) {
        let Some(letter) = self.letters.next() else {
            self.out.push('\\');
            return;
        };
        match letter {
            'd' => self.out.push_str(DIGIT),
            'w' => self.out.push_str(WORD),
            's' => self.out.push_str(SPACE),
            'D' => self.push_class("^", DIGIT),
            'W' => self.push_class("^", WORD),
            'S' => self.push_class("^", SPACE),
            _ => self.letter(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn patterns_of_the_telemetry_are_made_once() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let source = Source::new(None, move |pattern| {
            count.fetch_add(1, Ordering::Relaxed);
            compile(pattern)
        });
        let source = source.unwrap();
        let matches =
            |pattern: &str| source.with(&Value::text(pattern.to_owned()), |regex| regex.is_match("a"));
        for _ in 0..10 {
            assert_eq!(matches("^a$"), Ok(true));
            assert_eq!(matches("^b$"), Ok(false));
            assert!(matches("(").is_err());
        }
        assert_eq!(made.load(Ordering::Relaxed), 3);
        // The one that is used stays; of the others the oldest go.
        for index in 0..KEPT_MAX {
            assert_eq!(matches(&format!("x{index}")), Ok(false));
            assert_eq!(matches("^a$"), Ok(true));
        }
        assert_eq!(made.load(Ordering::Relaxed), 3 + KEPT_MAX);
        assert_eq!(matches("^b$"), Ok(false));
        assert_eq!(made.load(Ordering::Relaxed), 4 + KEPT_MAX);
    }

    #[test]
    fn patterns_mean_what_go_means() {
        let cases = [
            (r"^\w+$", "abc_1", true),
            (r"^\w+$", "é", false),
            (r"^\W$", "é", true),
            (r"^\d$", "٣", false),
            (r"^\s$", "\u{a0}", false),
            (r"^\S$", "\u{a0}", true),
            (r"\bé", "é", false),
            (r"^{a}$", "{a}", true),
            (r"^a{2}$", "aa", true),
            (r"^a{2,}$", "aaa", true),
            (r"^a{,2}$", "a{,2}", true),
            (r"^[[]$", "[", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]a]$", "]", false),
            (r"^[[:alpha:]\d-]+$", "a1-", true),
            (r"^[\w.-]+$", "a.b-c", true),
            (r"^[^\w]$", "é", true),
            (r"^[\W]$", "é", true),
            (r"^\<a\>$", "<a>", true),
            (r"^\Qa.b\E.$", "a.bc", true),
            (r"^\Qa.b\E.$", "axbc", false),
            (r"^\101$", "A", true),
            (r"^[\0-\x20]$", "\u{1}", true),
            (r"a$", "a\n", false),
            (r"(?i)^straße$", "STRAßE", true),
            (r"^\pL+$", "éa", true),
            (r"^\/\_\-$", "/_-", true),
            (r"^.$", "\n", false),
        ];
        for (pattern, text, expected) in cases {
            let compiled = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(compiled.is_match(text), expected, "{pattern} over {text:?}");
        }
    }

    #[test]
    fn patterns_that_are_none_or_too_large_are_refused() {
        for pattern in [
            "(",
            "[a",
            "a{3,2}",
            r"\1",
            r"\8",
            "(?<a",
            "((((a{100}){100}){100}){100})",
        ] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
        let deep = format!("{}a{}", "(".repeat(1000), ")".repeat(1000));
        assert!(compile(&deep).is_err());
    }
}
