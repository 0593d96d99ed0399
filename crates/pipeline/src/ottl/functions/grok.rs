//! `ExtractGrokPatterns`: regular expressions with names for their parts, as Logstash made them common.
//!
//! `%{SYNTAX}`, `%{SYNTAX:name}` and `%{SYNTAX:name:type}` stand for a pattern of the library in `grok/patterns.txt` or of
//! the statement. Expansion is bounded in depth and size, so that a definition that refers to itself is refused.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};

use cupola_telemetry::edit::{Map, Value as Telemetry};
use parking_lot::Mutex;
use regex::{Captures, Regex};

use super::{Constants, Converter, Kind, Made, converter, made, optional, value};
use crate::ottl::error::Fault;
use crate::ottl::pattern::{self, Named};
use crate::ottl::value::Value;

pub(super) const TABLE: &[Converter] = &[converter(
    "ExtractGrokPatterns",
    &[
        value("target"),
        super::required("pattern", Kind::Pattern),
        optional("named_captures_only", Kind::Bool),
        optional("pattern_definitions", Kind::Texts),
    ],
    extract_grok_patterns,
)];

/// Most rounds of replacing names by what they stand for.
const ROUNDS_MAX: usize = 32;

/// Longest pattern with all names replaced.
const EXPANDED_BYTES_MAX: usize = 512 * 1024;

/// Stands for a dot in the name of a group, which cannot have one.
const DOT: &str = "___";

static LIBRARY: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    let lines = include_str!("grok/patterns.txt").lines();
    lines
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .collect()
});

/// A pattern that is ready, and the types that its names ask for.
struct Grok {
    named: Named,
    types: HashMap<String, String>,
}

fn extract_grok_patterns(constants: &Constants) -> Made {
    let named_only = constants.bool(2).unwrap_or(false);
    let mut definitions = HashMap::new();
    for definition in constants.texts(3).unwrap_or_default() {
        let Some((name, pattern)) = definition.split_once('=') else {
            return Err((3, format!("{definition:?} is not written as NAME=pattern")));
        };
        if name.contains(':') {
            return Err((3, format!("the name {name:?} has a colon")));
        }
        definitions.insert(name.to_owned(), pattern.to_owned());
    }
    if let Some(pattern) = constants.text(1) {
        let grok = Grok::new(pattern, named_only, &definitions).map_err(|problem| (1, problem))?;
        return made(move |arguments| grok.extract(arguments.get(0).as_str()?));
    }
    // What was made of the last pattern, as it is mostly the same again.
    let last: Mutex<Option<(String, Arc<Grok>)>> = Mutex::new(None);
    made(move |arguments| {
        let (text, pattern) = (arguments.get(0).as_str()?, arguments.get(1).as_str()?);
        let known = last
            .lock()
            .as_ref()
            .filter(|(known, _)| known == pattern)
            .map(|(_, grok)| grok.clone());
        let grok = match known {
            Some(grok) => grok,
            None => {
                let refused = |problem| Fault::of(format_args!("no grok pattern: {problem}"));
                let grok = Arc::new(Grok::new(pattern, named_only, &definitions).map_err(refused)?);
                *last.lock() = Some((pattern.to_owned(), grok.clone()));
                grok
            }
        };
        grok.extract(text)
    })
}

impl Grok {
    fn new(pattern: &str, named_only: bool, definitions: &HashMap<String, String>) -> Result<Self, String> {
        let mut types = HashMap::new();
        let expanded = expand(pattern, named_only, definitions, &mut types)?;
        let named = pattern::compile_named(&expanded)?;
        if named_only && named.names.iter().all(Option::is_none) {
            return Err("at least one part needs a name, as in `%{WORD:name}`".to_owned());
        }
        Ok(Self { named, types })
    }

    fn extract<'a>(&self, text: &str) -> Result<Value<'a>, Fault> {
        let mut map = Map::new();
        let Some(captures) = self.named.regex.captures(text) else {
            return Ok(Value::Map(map));
        };
        for (index, name) in self.named.names.iter().enumerate() {
            let (Some(name), Some(found)) = (name, captures.get(index + 1)) else {
                continue;
            };
            if !found.is_empty() {
                let value = self.typed(name, found.as_str())?;
                map.set(Cow::Owned(name.replace(DOT, ".")), value);
            }
        }
        Ok(Value::Map(map))
    }

    fn typed<'a>(&self, name: &str, text: &str) -> Result<Telemetry<'a>, Fault> {
        let Some(kind) = self.types.get(name) else {
            return Ok(Telemetry::from(text.to_owned()));
        };
        let value = match kind.as_str() {
            "string" => Some(Telemetry::from(text.to_owned())),
            "int" | "long" => text.parse().ok().map(Telemetry::Int),
            "float" | "double" => super::types::parse_double(text).map(Telemetry::Double),
            "bool" | "boolean" => super::types::parse_bool(text).map(Telemetry::Bool),
            _ => return Err(Fault::of(format_args!("{kind:?} is no type of grok"))),
        };
        value.ok_or_else(|| Fault::of(format_args!("{name} is no {kind}: {text:?}")))
    }
}

/// `%{SYNTAX:name:type}`.
fn reference() -> &'static Regex {
    static REFERENCE: OnceLock<Regex> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        Regex::new(r"%\{([0-9A-Za-z_]+)(?::([0-9A-Za-z_+.]+)(?::([0-9A-Za-z_]+))?)?\}")
            .expect("the pattern is a constant that a test compiles")
    })
}

/// The pattern with every name replaced by what it stands for.
fn expand(
    pattern: &str,
    named_only: bool,
    definitions: &HashMap<String, String>,
    types: &mut HashMap<String, String>,
) -> Result<String, String> {
    let mut expanded = pattern.to_owned();
    for _ in 0..ROUNDS_MAX {
        if !reference().is_match(&expanded) {
            return Ok(expanded);
        }
        let mut problem = None;
        let next = reference().replace_all(&expanded, |reference: &Captures<'_>| {
            let syntax = &reference[1];
            let known = definitions.get(syntax).map(String::as_str);
            let Some(known) = known.or_else(|| LIBRARY.get(syntax).copied()) else {
                problem = Some(format!("there is no pattern {syntax:?}"));
                return String::new();
            };
            let name = reference.get(2).map_or(syntax, |name| name.as_str());
            let name = name.replace('.', DOT);
            if let Some(kind) = reference.get(3) {
                types.insert(name.clone(), kind.as_str().to_owned());
            }
            match named_only && reference.get(2).is_none() {
                true => format!("({known})"),
                false => format!("(?P<{name}>{known})"),
            }
        });
        let next = next.into_owned();
        if let Some(problem) = problem {
            return Err(problem);
        }
        if next.len() > EXPANDED_BYTES_MAX {
            return Err(format!(
                "it is longer than {EXPANDED_BYTES_MAX} bytes when its names are replaced"
            ));
        }
        expanded = next;
    }
    Err("its names refer to each other too deeply".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What cannot be used came so: its parentheses and brackets do not match.
    #[test]
    fn every_pattern_of_the_library_can_be_used() {
        for named_only in [true, false] {
            let used = |name: &str| Grok::new(&format!("%{{{name}:all}}"), named_only, &HashMap::new());
            let broken: Vec<&str> = LIBRARY
                .keys()
                .copied()
                .filter(|name| used(name).is_err())
                .collect();
            assert_eq!(broken, ["CISCOFW733100"]);
        }
        assert!(LIBRARY.len() > 200);
    }

    #[test]
    fn a_pattern_that_refers_to_itself_is_refused() {
        let definition = |pattern: &str| HashMap::from([("A".to_owned(), pattern.to_owned())]);
        for pattern in ["%{A}", "%{A}%{A}%{A}"] {
            assert!(
                Grok::new("%{A:a}", true, &definition(pattern)).is_err(),
                "{pattern}"
            );
        }
    }
}
