//! What is wrong with a configuration, where, and what to do about it. Refuses to show values that may be secrets: the
//! source line of a problem is masked before it is rendered.

use std::fmt;
use std::sync::Arc;

use crate::excerpt::Excerpts;
use crate::mask;

/// Problems that one configuration may collect; further ones are counted only.
pub const PROBLEMS_MAX: usize = 1_000;

/// Where something was written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub file: Arc<str>,
    /// From 1; 0 means the file as a whole.
    pub line: usize,
    /// In characters, from 1; 0 means the line as a whole.
    pub column: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Error,
    Warning,
}

/// One problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub place: Place,
    /// The dotted path of the key, such as `exporters.otlp/2.tls.ca_file`; empty where no key is concerned.
    pub key: String,
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Whether the place holds what may not be shown, so that of its line only the key is.
    pub hidden: bool,
}

impl Place {
    pub fn new(file: impl Into<Arc<str>>, line: usize, column: usize) -> Self {
        Self {
            file: file.into(),
            line,
            column,
        }
    }

    /// A file as a whole.
    pub fn whole(file: impl Into<Arc<str>>) -> Self {
        Self::new(file, 0, 0)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Problem {
    pub fn error(place: Place, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            place,
            key: key.into(),
            message: message.into(),
            hint: None,
            hidden: false,
        }
    }

    pub fn warning(place: Place, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(place, key, message)
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The problem as people read it: one line that says what and where, the line of the file with a caret below the
    /// place, and the hint. What looks like a secret in the line of the file is masked.
    pub fn render(&self, source_line: Option<&str>) -> String {
        let line = source_line.map(|line| line.trim_end_matches(['\r', '\n']));
        let shown = line.map(|line| match self.hidden || mask::is_secret_path(&self.key) {
            true => mask::key_only(line),
            false => mask::line(line),
        });
        let column = self.place.column.saturating_sub(1);
        self.drawn(shown.as_deref(), column, self.hint.as_deref(), self.to_string())
    }

    /// The same with the line of a file whose secrets are known: nothing but them is masked.
    pub fn render_with(&self, source_line: &str, excerpts: &Excerpts) -> String {
        let source_line = source_line.trim_end_matches(['\r', '\n']);
        let mut line = excerpts.line(self.place.line, source_line);
        let mut column = self.place.column.saturating_sub(1);
        match self.hidden && !line.masks(column) {
            // A secret of which the tree does not know.
            true => line.text = mask::key_only(source_line),
            false => column = line.shown_at(column),
        }
        let hint = self.hint.as_deref().map(|hint| excerpts.hush(hint));
        self.drawn(
            Some(&line.text),
            column,
            hint.as_deref(),
            excerpts.hush(&self.to_string()),
        )
    }

    /// `line` as it may be shown, with a caret below `column`, from 0.
    fn drawn(&self, line: Option<&str>, column: usize, hint: Option<&str>, mut text: String) -> String {
        if let Some(line) = line.filter(|_| self.place.line > 0) {
            let number = self.place.line.to_string();
            let margin = " ".repeat(number.len());
            text.push_str(&format!("\n{margin} |\n{number} | {line}"));
            if self.place.column > 0 {
                // Tabs stay tabs, so that the caret stands below its character however wide they are shown.
                let before = line.chars().chain(std::iter::repeat(' ')).take(column);
                let indent: String = before
                    .map(|character| if character == '\t' { '\t' } else { ' ' })
                    .collect();
                text.push_str(&format!("\n{margin} | {indent}^"));
            }
        }
        if let Some(hint) = hint {
            text.push_str(&format!("\nhint: {hint}"));
        }
        text
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// The problems found so far, at most [`PROBLEMS_MAX`] of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    errors: usize,
    left_out: usize,
}

impl Problems {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, problem: Problem) {
        self.errors += usize::from(problem.severity == Severity::Error);
        if self.list.len() < PROBLEMS_MAX {
            self.list.push(problem);
        } else {
            self.left_out += 1;
        }
    }

    pub fn extend(&mut self, problems: impl IntoIterator<Item = Problem>) {
        problems.into_iter().for_each(|problem| self.push(problem));
    }

    /// All errors, also those left out of the list.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// How many were found after the list was full.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Counts errors that another list had no room for.
    pub fn leave_out(&mut self, count: usize) {
        self.left_out += count;
        self.errors += count;
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// By file and line; what was found twice is kept once.
    pub fn sort(&mut self) {
        self.list
            .sort_by(|left, right| (&left.place, &left.key).cmp(&(&right.place, &right.key)));
        self.list.dedup();
        let errors = |list: &[Problem]| list.iter().filter(|one| one.severity == Severity::Error).count();
        if self.left_out == 0 {
            self.errors = errors(&self.list);
        }
    }

    /// The problems in the order of [`sort`](Self::sort).
    pub fn into_sorted(mut self) -> Vec<Problem> {
        self.sort();
        self.list
    }
}

impl<'p> IntoIterator for &'p Problems {
    type Item = &'p Problem;
    type IntoIter = std::slice::Iter<'p, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_rendered_with_its_line_a_caret_and_a_hint() {
        let problem =
            Problem::error(Place::new("a.yaml", 12, 3), "store.dir", "unknown key").hint("try `directory`");
        let rendered = problem.render(Some("  dir: x\n"));
        assert_eq!(
            rendered,
            "a.yaml:12:3: store.dir: unknown key\n   |\n12 |   dir: x\n   |   ^\nhint: try `directory`"
        );
        assert_eq!(
            Problem::warning(Place::whole("a.yaml"), "", "is empty").render(None),
            "a.yaml: warning: is empty"
        );
    }

    #[test]
    fn a_rendered_line_shows_no_secret() {
        let problem = Problem::error(Place::new("a.yaml", 1, 1), "pasword", "unknown key");
        for line in [
            "password: hunter2",
            "{user: me, password: \"hunter2\", port: 1}",
            "url: https://me:hunter2@host/",
        ] {
            assert!(!problem.render(Some(line)).contains("hunter2"), "{line}");
        }
        let header = Problem::error(
            Place::new("a.yaml", 1, 5),
            "exporters.otlp.headers.x-team",
            "unfit",
        );
        for line in [
            "  x-team: [hunter2]",
            "  - hunter2",
            "{a: hunter2, x-team: hunter2}",
        ] {
            assert!(!header.render(Some(line)).contains("hunter2"), "{line}");
        }
    }

    #[test]
    fn problems_are_bounded_sorted_and_counted() {
        let mut problems = Problems::new();
        for line in (1..=PROBLEMS_MAX + 5).rev() {
            problems.push(Problem::error(Place::new("f", line, 1), "", "x"));
        }
        assert_eq!(
            (problems.len(), problems.errors(), problems.left_out()),
            (PROBLEMS_MAX, PROBLEMS_MAX + 5, 5)
        );
        let sorted = problems.into_sorted();
        assert!(sorted.is_sorted_by(|left, right| left.place <= right.place));
    }
}
