//! Reading one YAML text into a type in one step, up to the first mistake and with its line. Refuses references and
//! several files: those are of `expand` and `merge`.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::de::{self, Kind, Mistake};
use crate::tree::Node;

/// A mistake in a file, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// From 1; 0 while the place is not known yet.
    pub line: usize,
    pub column: usize,
    pub problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    UnknownKey {
        key: String,
        expected: &'static [&'static str],
    },
    Other(String),
}

/// Reads `text`; an empty text is an empty mapping.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    let node = Node::parse("", text).map_err(|problem| YamlError {
        line: problem.place.line,
        column: problem.place.column,
        problem: Problem::Other(problem.message),
    })?;
    let node = match node.is_null() {
        true => Node::mapping(node.place().clone(), []),
        false => node,
    };
    de::read(&node).map_err(YamlError::from)
}

impl From<Mistake> for YamlError {
    fn from(mistake: Mistake) -> Self {
        let message = mistake.to_string();
        let (kind, spot) = mistake.into_parts();
        let (line, column) = spot.map_or((0, 0), |spot| (spot.place.line, spot.place.column));
        let problem = match kind {
            Kind::UnknownKey { key, known } => Problem::UnknownKey { key, expected: known },
            _ => Problem::Other(message),
        };
        Self {
            line,
            column,
            problem,
        }
    }
}

impl fmt::Display for YamlError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::UnknownKey { key, .. } => write!(formatter, "unknown key `{key}`"),
            Problem::Other(message) => formatter.write_str(message),
        }
    }
}

impl std::error::Error for YamlError {}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Outer {
        name: String,
        inner: Inner,
        list: Vec<u16>,
        colour: Option<Colour>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        depth: u8,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Colour {
        Red,
    }

    fn error(text: &str) -> (usize, usize, String) {
        let error = from_str::<Outer>(text).unwrap_err();
        (error.line, error.column, error.to_string())
    }

    #[test]
    fn values_of_all_kinds_are_read() {
        let read: Outer = from_str("name: 4317\ninner:\n  depth: 3\nlist: [1, 2]\ncolour: red\n").unwrap();
        let expected = Outer {
            name: "4317".to_owned(),
            inner: Inner { depth: 3 },
            list: vec![1, 2],
            colour: Some(Colour::Red),
        };
        assert_eq!(read, expected);
        assert_eq!(from_str::<Outer>("").unwrap(), Outer::default());
        assert_eq!(from_str::<Outer>("inner:\n").unwrap(), Outer::default());
    }

    #[test]
    fn mistakes_are_placed_where_they_are() {
        assert_eq!(
            error("name: a\ninner:\n  dept: 3\n"),
            (3, 3, "unknown key `dept`".to_owned())
        );
        assert_eq!(error("list:\n  - 1\n  - many\n").0, 3);
        assert_eq!(error("inner:\n  depth: 300\n").0, 2);
        assert_eq!(error("colour: blue\n").0, 1);
        assert_eq!(error("a: [1\nb: 2\n").0, 2);
        assert!(error("a: 1\n---\nb: 2\n").2.contains("second document"));
    }
}
