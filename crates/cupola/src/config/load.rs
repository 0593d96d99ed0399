//! Configuration files: read, merged in their order, references to the environment and to files put in. What is wrong
//! with any of them is told all at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cupola_config::{Excerpts, Node, Place, Problem, Problems, Severity, Sources, mask};

use cupola_pipeline::graph::options::NO_EFFECT;

use crate::components;
use crate::failure::Failure;

/// Files that have been read, as one tree.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) root: Node,
    /// The text of each file, to show lines of.
    texts: BTreeMap<String, String>,
    /// What is secret in each file.
    excerpts: BTreeMap<String, Excerpts>,
    /// What is wrong or odd so far.
    pub(crate) problems: Problems,
}

impl Default for Document {
    fn default() -> Self {
        Document {
            root: Node::null(Place::whole("")),
            texts: BTreeMap::new(),
            excerpts: BTreeMap::new(),
            problems: Problems::new(),
        }
    }
}

/// Reads the files; none is an empty document. Files that are no YAML are a failure: without one of them hardly anything
/// can be said of the others.
pub(crate) fn load(paths: &[PathBuf]) -> Result<Document, Failure> {
    let mut texts = BTreeMap::new();
    for path in paths {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!("cannot read the configuration {}", path.display())).caused_by(&error)
        })?;
        texts.insert(path.display().to_string(), text);
    }
    let names = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect::<Vec<_>>();
    Document::read(&names, texts, &System)
}

impl Document {
    /// Puts together files of which the names are given in their order.
    fn read(
        names: &[String],
        texts: BTreeMap<String, String>,
        sources: &dyn Sources,
    ) -> Result<Document, Failure> {
        let mut document = Document::default();
        let mut problems = Problems::new();
        let mut files = Vec::new();
        for name in names {
            let text = texts.get(name).map(String::as_str).unwrap_or_default();
            match Node::parse(name, text) {
                Ok(node) if node.is_mapping() || node.is_null() => {
                    let excerpts = Excerpts::of(&node, &components::masking(&node));
                    document.excerpts.insert(name.clone(), excerpts);
                    files.push(node);
                }
                Ok(node) => problems.push(Problem::error(
                    node.place().clone(),
                    "",
                    "expected sections such as `receivers:`",
                )),
                Err(problem) => problems.push(problem),
            }
        }
        document.texts = texts;
        document.add(problems);
        document.settled()?;
        if let Some(merged) = cupola_config::merge(files) {
            let mut problems = Problems::new();
            document.root = cupola_config::expand(&merged, sources, &mut problems);
            document.add(problems);
            let masking = components::masking(&document.root);
            for excerpts in document.excerpts.values_mut() {
                excerpts.also(&document.root, &masking);
            }
        }
        Ok(document)
    }

    /// A document of one text, for tests.
    #[cfg(test)]
    pub(crate) fn parse(text: &str) -> Result<Document, Failure> {
        let texts = BTreeMap::from([("cupola.yaml".to_owned(), text.to_owned())]);
        Document::read(&["cupola.yaml".to_owned()], texts, &System)
    }

    /// Keeps what another stage has found, but for what only follows from an error of an earlier one: a value that could
    /// not be had is not missing, too.
    pub(crate) fn add(&mut self, problems: Problems) {
        let follows = |later: &Problem| {
            self.problems.iter().any(|earlier| {
                earlier.severity == Severity::Error
                    && later.place == earlier.place
                    && is_within(&earlier.key, &later.key)
            })
        };
        let left_out = problems.left_out();
        let fresh: Vec<Problem> = problems
            .into_sorted()
            .into_iter()
            .filter(|problem| !follows(problem))
            .collect();
        self.problems.extend(fresh);
        self.problems.leave_out(left_out);
    }

    /// Errors are a failure that tells all of them, and the warnings with them.
    pub(crate) fn settled(&self) -> Result<(), Failure> {
        match self.problems.errors() {
            0 => Ok(()),
            _ => Err(self.failure(Vec::new())),
        }
    }

    /// What is odd, though not wrong.
    pub(crate) fn warnings(&self) -> Vec<Problem> {
        let sorted = self.problems.clone().into_sorted().into_iter();
        sorted
            .filter(|problem| problem.severity == Severity::Warning)
            .collect()
    }

    /// All problems, and failures that have no place in a file.
    pub(crate) fn failure(&self, further: Vec<Failure>) -> Failure {
        let problems = self.problems.clone();
        let left_out = problems.left_out();
        let sorted = problems.into_sorted();
        let is_error = |problem: &&Problem| problem.severity == Severity::Error;
        let errors = sorted.iter().filter(is_error).count() + left_out + further.len();
        let mut failure = Failure::usage(match errors {
            1 => "the configuration is not valid".to_owned(),
            _ => format!("the configuration is not valid: {errors} errors"),
        });
        for problem in sorted {
            failure = failure.detail(self.render(&problem));
        }
        for other in further {
            failure = failure.detail(other.as_detail());
        }
        if left_out > 0 {
            failure = failure.detail(format!("and {left_out} more"));
        }
        failure
    }

    /// The problem with the line of its file.
    pub(crate) fn render(&self, problem: &Problem) -> String {
        let text = self.texts.get(&*problem.place.file);
        let line = problem
            .place
            .line
            .checked_sub(1)
            .and_then(|index| text?.lines().nth(index));
        let excerpts = self.excerpts.get(&*problem.place.file);
        // Where there is a line, those of another file say nothing of it.
        let excerpts = match line {
            Some(_) => excerpts,
            None => excerpts.or(self.excerpts.values().next()),
        };
        match (line, excerpts) {
            // There is nothing to look for in the line.
            (_, Some(excerpts)) if problem.message.starts_with(NO_EFFECT) => {
                excerpts.hush(&problem.to_string())
            }
            (Some(line), Some(excerpts)) => problem.render_with(line, excerpts),
            (None, Some(excerpts)) => excerpts.hush(&problem.render(None)),
            (line, None) => {
                let hidden = text.is_some_and(|text| is_below_secret(text, problem.place.line));
                let problem = Problem {
                    hidden: problem.hidden || hidden,
                    ..problem.clone()
                };
                problem.render(line)
            }
        }
    }
}

/// Whether a line of a file that is no YAML stands below a key that has secrets, as far as indents tell.
fn is_below_secret(text: &str, line: usize) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = text.lines().take(line).collect();
    let mut within = lines.last().map_or(0, |line| indent(line));
    lines.iter().rev().skip(1).any(|line| {
        let around = !line.trim().is_empty() && indent(line) < within;
        if around {
            within = indent(line);
        }
        let key = line.trim().trim_start_matches("- ").split(':').next();
        around && mask::is_secret_path(key.unwrap_or_default().trim_matches(['"', '\'']))
    })
}

/// Whether a dotted path is that of `key`, or of something around it.
fn is_within(key: &str, around: &str) -> bool {
    key.strip_prefix(around)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The environment and the files of this machine.
struct System;

impl Sources for System {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &str) -> std::io::Result<String> {
        std::fs::read_to_string(Path::new(path))
    }
}
