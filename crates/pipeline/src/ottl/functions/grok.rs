//! `ExtractGrokPatterns`: regular expressions with names for their parts, as Logstash made them common.
//!
//! `%{SYNTAX}`, `%{SYNTAX:name}` and `%{SYNTAX:name:type}` stand for a pattern of the library in `grok/patterns.txt` or of
//! the statement. Expansion is bounded in depth and size, so that a definition that refers to itself is refused.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use cupola_telemetry::edit::{Map, Value as Telemetry};
use regex::Regex;

use super::{Constants, Converter, Kind, Made, converter, made, optional, value};
use crate::ottl::error::Fault;
use crate::ottl::pattern::{self, Named, Source};
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
    let make = move |pattern: &str| Grok::new(pattern, named_only, &definitions);
    let source = Source::new(constants.text(1), make).map_err(|problem| (1, problem))?;
    made(move |arguments| {
        let text = arguments.get(0).as_str()?;
        source.with(arguments.get(1), |grok| grok.extract(text))?
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
        let mut next = String::with_capacity(expanded.len());
        let mut copied = 0;
        for reference in reference().captures_iter(&expanded) {
            let (syntax, whole) = (&reference[1], reference.get_match());
            let known = definitions.get(syntax).map(String::as_str);
            let Some(known) = known.or_else(|| LIBRARY.get(syntax).copied()) else {
                return Err(format!("there is no pattern {syntax:?}"));
            };
            let name = reference.get(2).map_or(syntax, |name| name.as_str());
            let name = name.replace('.', DOT);
            next.push_str(expanded.get(copied..whole.start()).unwrap_or_default());
            copied = whole.end();
            next.push_str(&match named_only && reference.get(2).is_none() {
                true => format!("({known})"),
                false => format!("(?P<{name}>{known})"),
            });
            if let Some(kind) = reference.get(3) {
                types.insert(name, kind.as_str().to_owned());
            }
            check_length(&next)?;
        }
        next.push_str(expanded.get(copied..).unwrap_or_default());
        check_length(&next)?;
        expanded = next;
    }
    Err("its names refer to each other too deeply".to_owned())
}

fn check_length(expanded: &str) -> Result<(), String> {
    match expanded.len() <= EXPANDED_BYTES_MAX {
        true => Ok(()),
        false => Err(format!(
            "it is longer than {EXPANDED_BYTES_MAX} bytes when its names are replaced"
        )),
    }
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
