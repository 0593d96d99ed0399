//! The names of components and pipelines as the Collector writes them: a kind, and a name where there are several of it.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::leaf;

/// Letters of a kind.
const KIND_CHARS_MAX: usize = 63;
/// Characters of a name.
const NAME_CHARS_MAX: usize = 1_024;

/// `otlp`, or `otlp/2`. Ordered by kind, then by name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentId {
    kind: Arc<str>,
    name: Arc<str>,
}

impl ComponentId {
    /// The type of the component, such as `otlp`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What follows the `/`; empty if there is none.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl std::str::FromStr for ComponentId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = match text.split_once('/') {
            Some((kind, name)) => (kind.trim(), Some(name.trim())),
            None => (text.trim(), None),
        };
        let wrong = |problem: &str| Err(format!("`{text}` is no name of a component: {problem}"));
        if kind.is_empty() {
            return wrong("its kind is missing; write for example otlp or otlp/2");
        }
        let letters = kind
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if !kind.starts_with(|first: char| first.is_ascii_alphabetic()) || !letters {
            return wrong(
                "its kind begins with a letter and is letters, digits and _, such as otlp or otlp/2",
            );
        }
        if kind.len() > KIND_CHARS_MAX {
            return wrong(&format!("its kind has more than {KIND_CHARS_MAX} letters"));
        }
        if name == Some("") {
            return wrong("nothing follows the /; leave it off, or write for example otlp/2");
        }
        let name = name.unwrap_or_default();
        if name.chars().count() > NAME_CHARS_MAX {
            return wrong(&format!(
                "what follows the / has more than {NAME_CHARS_MAX} characters"
            ));
        }
        if let Some(refused) = name.chars().find(|character| !is_name_character(*character)) {
            return wrong(&format!("{refused:?} may not be in what follows the /"));
        }
        Ok(Self {
            kind: kind.into(),
            name: name.into(),
        })
    }
}

/// No white space, no control characters and no symbols; punctuation is none.
fn is_name_character(character: char) -> bool {
    !character.is_whitespace() && !character.is_control() && !"$+<=>^`|~".contains(character)
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        match self.name.is_empty() {
            true => Ok(()),
            false => write!(f, "/{}", self.name),
        }
    }
}

impl fmt::Debug for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ComponentId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

leaf::deserialize_leaf!(ComponentId: leaf::COMPONENT_ID, typed: false;);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ComponentId, String> {
        text.parse()
    }

    #[test]
    fn kinds_and_names_are_told_apart() {
        let id = parse(" otlp_http / a.b/c-1 ").unwrap();
        assert_eq!(
            (id.kind(), id.name(), id.to_string().as_str()),
            ("otlp_http", "a.b/c-1", "otlp_http/a.b/c-1")
        );
        assert_eq!(parse("otlp").unwrap().name(), "");
        assert_eq!(parse("traces/größe").unwrap().name(), "größe");
        assert!(parse("otlp").unwrap() < parse("otlp/2").unwrap());
        assert_eq!(serde_json::to_string(&parse("a/b").unwrap()).unwrap(), "\"a/b\"");
        assert_eq!(
            serde_json::from_str::<ComponentId>("\"a/b\"").unwrap(),
            parse("a/b").unwrap()
        );
    }

    #[test]
    fn what_the_collector_refuses_is_refused_with_the_reason() {
        for (text, said) in [
            ("", "missing"),
            ("/2", "missing"),
            ("otlp/", "follows"),
            ("2otlp", "begins"),
            ("otlp-http", "begins"),
            ("otlp/a b", "' '"),
            ("otlp/a$", "'$'"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(said), "{text}: {problem}");
        }
        assert!(parse(&"a".repeat(64)).is_err() && parse(&format!("a/{}", "b".repeat(1_025))).is_err());
        assert!(parse(&format!("a/{}", "ü".repeat(1_024))).is_ok());
    }
}
