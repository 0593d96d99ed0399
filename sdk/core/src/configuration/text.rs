//! A file of configuration as text, and what is wrong in it as people read it: with its line, and without its secrets.

use std::fmt;

use cupola_config::{Excerpts, Masking, Node, Place, Problem, Problems, Severity};

/// A configuration that cannot be used, with everything that is wrong in it.
#[derive(Clone, Debug)]
pub struct ConfigurationError {
    problems: Vec<Problem>,
    rendered: String,
}

impl ConfigurationError {
    pub(super) fn of(problem: Problem) -> ConfigurationError {
        let rendered = problem.render(None);
        ConfigurationError {
            problems: vec![problem],
            rendered,
        }
    }

    /// The errors, and what else is odd, by their places. None shows a secret.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rendered)
    }
}

impl std::error::Error for ConfigurationError {}

/// A file that is read.
pub(super) struct File<'t> {
    text: &'t str,
    excerpts: Excerpts,
    pub(super) problems: Problems,
}

impl<'t> File<'t> {
    /// The tree of a file of sections.
    pub(super) fn parse(name: &str, text: &'t str) -> Result<(File<'t>, Node), ConfigurationError> {
        let node = Node::parse(name, text).map_err(ConfigurationError::of)?;
        if !node.is_mapping() && !node.is_null() {
            let problem = Problem::error(
                node.place().clone(),
                "",
                format!("sections are expected, not {}", node.kind()),
            );
            return Err(ConfigurationError::of(
                problem.hint("write for example `logger:` and its settings below"),
            ));
        }
        let file = File {
            text,
            excerpts: Excerpts::of(&without_users(&node), &masking()),
            problems: Problems::new(),
        };
        Ok((file, node))
    }

    /// What of a tree may not be shown, now that its references are resolved.
    pub(super) fn mask(&mut self, node: &Node) {
        self.excerpts.also(&without_users(node), &masking());
    }

    pub(super) fn error(&mut self, place: &Place, key: &str, message: impl Into<String>, hint: Option<&str>) {
        self.push(Problem::error(place.clone(), key, message), hint);
    }

    pub(super) fn warn(&mut self, place: &Place, key: &str, message: impl Into<String>, hint: Option<&str>) {
        self.push(Problem::warning(place.clone(), key, message), hint);
    }

    /// Whether a mapping has one key, as what is one of several kinds has; told where it has not.
    pub(super) fn is_one(&mut self, node: &Node, key: &str) -> bool {
        let keys: Vec<&str> = node.entries().iter().map(|entry| &*entry.key).collect();
        match keys.as_slice() {
            [_] => true,
            [] => {
                self.error(
                    node.place(),
                    key,
                    "its kind is missing",
                    Some("write one kind, such as `otlp_http:` or `always_on:`"),
                );
                false
            }
            several => {
                let message = format!("has several kinds: {}", several.join(", "));
                self.error(
                    node.place(),
                    key,
                    message,
                    Some("leave one, and write the others as items of their own"),
                );
                false
            }
        }
    }

    fn push(&mut self, problem: Problem, hint: Option<&str>) {
        self.problems.push(match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        });
    }

    /// The warnings, or all there is where some are errors.
    pub(super) fn finish(self) -> Result<Vec<Problem>, ConfigurationError> {
        let errors = self.problems.errors();
        let mut problems = self.problems.into_sorted();
        for problem in &mut problems {
            problem.message = self.excerpts.hush(&problem.message);
            problem.hint = problem.hint.take().map(|hint| self.excerpts.hush(&hint));
        }
        if errors == 0 {
            return Ok(problems);
        }
        let rendered: Vec<String> = problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .map(|problem| {
                let line = problem
                    .place
                    .line
                    .checked_sub(1)
                    .and_then(|index| self.text.lines().nth(index));
                match line {
                    Some(line) => problem.render_with(line, &self.excerpts),
                    None => problem.render(None),
                }
            })
            .collect();
        Err(ConfigurationError {
            problems,
            rendered: rendered.join("\n"),
        })
    }
}

/// What is hidden beside what looks like a secret by its name: credentials and headers, however they are written.
fn masking() -> Masking<'static> {
    Masking::new().and(|path, node| {
        let is_text = !node.is_mapping() && !node.is_sequence();
        is_text
            && path
                .iter()
                .any(|step| matches!(*step, "basic_auth" | "headers" | "headers_list"))
            && path.last() != Some(&"name")
    })
}

/// A tree without the names in front of passwords, which are no secrets: `elastic` is part of too many words to be hidden.
fn without_users(root: &Node) -> Node {
    let backends = root
        .at(&["logger", "backends"])
        .map_or(0, |backends| backends.items().len());
    (0..backends).fold(root.clone(), |root, index| {
        let index = index.to_string();
        let path = ["logger", "backends", index.as_str(), "config", "basic_auth", "0"];
        match root.at(&path).map(|user| user.place().clone()) {
            Some(place) => root.with(&path, Node::null(place)),
            None => root,
        }
    })
}
