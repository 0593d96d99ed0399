//! Configuration files: read, merged in their order, references to the environment and to files put in. What is wrong
//! with any of them is told all at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cupola_config::{Node, Place, Problem, Problems, Sources};

use crate::failure::Failure;

/// Files that have been read, as one tree.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) root: Node,
    /// The text of each file, to show lines of.
    texts: BTreeMap<String, String>,
    /// What is odd, though not wrong.
    pub(crate) warnings: Vec<Problem>,
}

impl Default for Document {
    fn default() -> Self {
        Document {
            root: Node::null(Place::whole("")),
            texts: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }
}

/// Reads the files; none is an empty document.
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
        let mut document = Document {
            texts,
            ..Document::default()
        };
        let mut problems = Problems::new();
        let mut files = Vec::new();
        for name in names {
            let text = document.texts.get(name).map(String::as_str).unwrap_or_default();
            match Node::parse(name, text) {
                Ok(node) if node.is_mapping() || node.is_null() => files.push(node),
                Ok(node) => problems.push(Problem::error(
                    node.place().clone(),
                    "",
                    "expected sections such as `receivers:`",
                )),
                Err(problem) => problems.push(problem),
            }
        }
        if let Some(merged) = cupola_config::merge(files) {
            document.root = cupola_config::expand(&merged, sources, &mut problems);
        }
        document.settle(problems)?;
        Ok(document)
    }

    /// A document of one text, for tests.
    #[cfg(test)]
    pub(crate) fn parse(text: &str) -> Result<Document, Failure> {
        let texts = BTreeMap::from([("cupola.yaml".to_owned(), text.to_owned())]);
        Document::read(&["cupola.yaml".to_owned()], texts, &System)
    }

    /// Keeps warnings; errors are a failure that tells all of them.
    pub(crate) fn settle(&mut self, problems: Problems) -> Result<(), Failure> {
        if problems.errors() > 0 {
            return Err(self.failure(problems));
        }
        self.warnings.extend(problems.into_sorted());
        Ok(())
    }

    fn failure(&self, problems: Problems) -> Failure {
        let (errors, left_out) = (problems.errors(), problems.left_out());
        let mut failure = Failure::usage(match errors {
            1 => "the configuration is not valid".to_owned(),
            _ => format!("the configuration is not valid: {errors} errors"),
        });
        for problem in problems.into_sorted() {
            failure = failure.detail(self.render(&problem));
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
        problem.render(line)
    }
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
