//! Editors that replace text: what a regular expression finds, or the whole of what matches a glob.

use std::fmt;

use cupola_telemetry::edit::Value as Telemetry;
use regex::Regex;

use super::{Definition, Editor, TARGET, editor};
use crate::ottl::compile::Bound;
use crate::ottl::env::Env;
use crate::ottl::error::Fault;
use crate::ottl::eval::{Evaluator, Run};
use crate::ottl::functions::{Arguments, Kind, Parameter, Pure, optional, required};
use crate::ottl::lexer::Failure;
use crate::ottl::path::Path;
use crate::ottl::pattern::{self, Source};
use crate::ottl::value::Value;

/// How much longer replacements may make the texts of one item: they may come from the telemetry, and stand for each
/// letter of a text.
const GROWTH_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(in crate::ottl) struct Replace {
    what: What,
    /// Whether the whole is replaced if it matches, and not each part that does.
    whole: bool,
    pattern: (Source<Regex>, Evaluator),
    replacement: Evaluator,
    /// Applied to the replacement.
    function: Option<Pure>,
    /// What stands before and behind the replacement.
    around: (String, String),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Text,
    Values,
    Keys,
}

impl fmt::Debug for Replace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Replace");
        fields.field("what", &self.what).field("pattern", &self.pattern.1);
        fields
            .field("replacement", &self.replacement)
            .finish_non_exhaustive()
    }
}

const REPLACEMENT: Parameter = required("replacement", Kind::Value);
const FUNCTION: Parameter = optional("function", Kind::Function);
const FORMAT: Parameter = optional("replacement_format", Kind::Text);

pub(super) const TABLE: &[Definition] = &[
    editor(
        "replace_pattern",
        &[
            TARGET,
            required("regex_pattern", Kind::Pattern),
            REPLACEMENT,
            FUNCTION,
            FORMAT,
        ],
        |bound| make(bound, What::Text, bound.pattern(1, pattern::compile)?, 2),
    ),
    editor(
        "replace_match",
        &[
            TARGET,
            required("pattern", Kind::Pattern),
            REPLACEMENT,
            FUNCTION,
            FORMAT,
        ],
        |bound| make_whole(bound, What::Text),
    ),
    editor(
        "replace_all_patterns",
        &[
            TARGET,
            required("mode", Kind::Text),
            required("regex_pattern", Kind::Pattern),
            REPLACEMENT,
            FUNCTION,
            FORMAT,
        ],
        |bound| {
            let what = match bound.text(1).unwrap_or_default() {
                "key" => What::Keys,
                "value" => What::Values,
                other => {
                    return Err(bound.refuse(1, format!("{other:?} is no mode; there are key and value")));
                }
            };
            make(bound, what, bound.pattern(2, pattern::compile)?, 3)
        },
    ),
    editor(
        "replace_all_matches",
        &[
            TARGET,
            required("pattern", Kind::Pattern),
            REPLACEMENT,
            FUNCTION,
            FORMAT,
        ],
        |bound| make_whole(bound, What::Values),
    ),
];

fn make_whole(bound: &Bound<'_>, what: What) -> Result<Editor, Failure> {
    let mut editor = make(bound, what, bound.pattern(1, glob)?, 2)?;
    if let Editor::Replace { replace, .. } = &mut editor {
        replace.whole = true;
    }
    Ok(editor)
}

fn make(
    bound: &Bound<'_>,
    what: What,
    pattern: (Source<Regex>, Evaluator),
    replacement: usize,
) -> Result<Editor, Failure> {
    let format = bound.text(replacement + 2).unwrap_or("%s");
    let Some((before, after)) = format.split_once("%s").filter(|(_, after)| !after.contains("%s")) else {
        return Err(bound.refuse(replacement + 2, "it needs exactly one `%s`".to_owned()));
    };
    Ok(Editor::Replace {
        target: bound.target(0)?,
        replace: Replace {
            what,
            whole: false,
            pattern,
            replacement: bound.value(replacement)?,
            function: bound.function(replacement + 1)?,
            around: (before.to_owned(), after.to_owned()),
        },
    })
}

impl Replace {
    pub(super) fn run<'a>(&'a self, target: &'a Path, run: &mut Run<'_, 'a>) -> Result<(), Fault> {
        let replacement = self.replacement.value(run)?;
        let replacement = replacement.as_str()?;
        let (source, pattern) = &self.pattern;
        let pattern = pattern.value(run)?;
        source.with(&pattern, |pattern| {
            self.run_with(target, run, pattern, replacement)
        })?
    }

    fn run_with<'a>(
        &'a self,
        target: &'a Path,
        run: &mut Run<'_, 'a>,
        pattern: &Regex,
        replacement: &str,
    ) -> Result<(), Fault> {
        let mut replacer = Replacer {
            replace: self,
            pattern,
            replacement,
            references: replacement.matches('$').count(),
            env: run.env,
            room: GROWTH_BYTES_MAX,
        };
        match self.what {
            What::Text => {
                let Value::String(text) = target.get(run)? else {
                    return Ok(());
                };
                match replacer.replaced(&text)? {
                    Some(text) => target.set(run, Value::text(text)),
                    None => Ok(()),
                }
            }
            What::Values => target.change_map(run, |map| {
                map.edit_values(|_, value| match value {
                    Telemetry::String(text) => Ok(replacer.replaced(&text)?.map(Telemetry::from)),
                    _ => Ok(None),
                })
            }),
            What::Keys => target.change_map(run, |map| map.rename_keys(|key| replacer.replaced(key))),
        }
    }
}

/// Replaces in the texts of one item.
struct Replacer<'r> {
    replace: &'r Replace,
    pattern: &'r Regex,
    replacement: &'r str,
    /// How often the replacement can refer to a group of the pattern.
    references: usize,
    env: &'r dyn Env,
    /// How much longer the texts may still become.
    room: usize,
}

impl Replacer<'_> {
    /// `text` with what matched replaced; `None` if nothing did.
    fn replaced(&mut self, text: &str) -> Result<Option<String>, Fault> {
        if self.replace.whole {
            return match self.pattern.is_match(text) {
                true => Ok(Some(self.finished(text.len(), self.replacement)?)),
                false => Ok(None),
            };
        }
        let mut matches = self.pattern.captures_iter(text).peekable();
        if matches.peek().is_none() {
            return Ok(None);
        }
        let mut out = String::with_capacity(text.len());
        let mut copied = 0;
        let mut expanded = String::new();
        for captures in matches {
            let found = captures.get_match();
            out.push_str(text.get(copied..found.start()).unwrap_or_default());
            copied = found.end();
            expanded.clear();
            // A group is never longer than the match that it is in.
            let longest = self.replacement.len() + self.references.saturating_mul(found.len());
            self.check(found.len(), longest)?;
            captures.expand(self.replacement, &mut expanded);
            out.push_str(&self.finished(found.len(), &expanded)?);
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        Ok(Some(out))
    }

    /// What takes the place of `before` bytes: the replacement after the function and in its format.
    fn finished(&mut self, before: usize, replacement: &str) -> Result<String, Fault> {
        self.check(before, replacement.len())?;
        let replaced = self.replace.finish(replacement, self.env)?;
        self.room -= self.check(before, replaced.len())?;
        Ok(replaced)
    }

    /// By how much a text grows if `after` bytes take the place of `before`, if it may.
    fn check(&self, before: usize, after: usize) -> Result<usize, Fault> {
        let growth = after.saturating_sub(before);
        match growth <= self.room {
            true => Ok(growth),
            false => Err(Fault::of(format_args!(
                "the replacements would make it more than {GROWTH_BYTES_MAX} bytes longer"
            ))),
        }
    }
}

impl Replace {
    /// The replacement after the function and in its format.
    fn finish(&self, replacement: &str, env: &dyn Env) -> Result<String, Fault> {
        let (before, after) = &self.around;
        let Some(function) = &self.function else {
            return Ok(format!("{before}{replacement}{after}"));
        };
        let mut values = [Value::text(replacement)];
        let value = function(&mut Arguments::new(&mut values, env))?;
        let Some(text) = value.to_text() else {
            return Err(Fault::new("the function gave nil for the replacement"));
        };
        Ok(format!("{before}{text}{after}"))
    }
}

/// A glob as an expression for the whole text: `*` is any text, `?` any letter, `[…]` one of them, `{a,b}` either.
fn glob(glob: &str) -> Result<Regex, String> {
    let mut pattern = String::from(r"(?s)\A");
    let mut letters = glob.chars().peekable();
    let (mut braces, mut in_class) = (0usize, false);
    while let Some(letter) = letters.next() {
        match letter {
            ']' if in_class => {
                in_class = false;
                pattern.push(']');
            }
            '\\' => match letters.next() {
                Some(next) => pattern.push_str(&regex::escape(next.encode_utf8(&mut [0; 4]))),
                None => return Err("it ends with a backslash".to_owned()),
            },
            '-' if in_class => pattern.push('-'),
            _ if in_class => pattern.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4]))),
            '*' => {
                while letters.next_if_eq(&'*').is_some() {}
                pattern.push_str(".*");
            }
            '?' => pattern.push('.'),
            '[' => {
                in_class = true;
                pattern.push('[');
                if letters.next_if(|c| matches!(c, '!' | '^')).is_some() {
                    pattern.push('^');
                }
            }
            '{' => {
                braces += 1;
                pattern.push_str("(?:");
            }
            '}' if braces > 0 => {
                braces -= 1;
                pattern.push(')');
            }
            ',' if braces > 0 => pattern.push('|'),
            _ => pattern.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4]))),
        }
    }
    pattern.push_str(r"\z");
    pattern::build(&pattern).map_err(|problem| format!("it is no glob, {problem}"))
}
