//! Reading one variable by what the table says of it. Owns the warning where a value is none, and the one about names that are
//! none. Refuses to show the values of secrets.

use std::time::Duration;

use cupola_config::units::{ByteSize, TimeSpan};
use cupola_config::{Problem, mask, nearest::nearest};

use super::super::environment::Environment;
use super::super::levels;
use super::table::{self, Kind};
use crate::log::Severity;

/// Milliseconds, and everything else, beyond which a number is a mistake: what 31 bits hold, as in the specification.
const NUMBER_MAX: u64 = (1 << 31) - 1;
/// Characters of a value that a message shows.
const SHOWN_MAX: usize = 80;

/// Beginnings of names that others read: SDKs of other languages, agents and operators.
const OF_OTHERS: &[&str] = &[
    "OTEL_AUTO_",
    "OTEL_CPP_",
    "OTEL_DOTNET_",
    "OTEL_EBPF_",
    "OTEL_ERLANG_",
    "OTEL_GO_",
    "OTEL_INJECTOR_",
    "OTEL_INSTRUMENTATION_",
    "OTEL_JAVA",
    "OTEL_JMX_",
    "OTEL_JS_",
    "OTEL_NODE_",
    "OTEL_OPERATOR_",
    "OTEL_PHP_",
    "OTEL_POD_",
    "OTEL_PYTHON_",
    "OTEL_RESOURCE_ATTRIBUTES_",
    "OTEL_RESOURCE_PROVIDERS_",
    "OTEL_RUBY_",
    "OTEL_RUST_",
    "OTEL_SEMCONV_",
    "OTEL_SWIFT_",
];

/// Variables while they are read.
pub(in super::super) struct Variables<'e> {
    environment: &'e Environment,
    problems: &'e mut Vec<Problem>,
}

impl<'e> Variables<'e> {
    pub(in super::super) fn new(
        environment: &'e Environment,
        problems: &'e mut Vec<Problem>,
    ) -> Variables<'e> {
        Variables {
            environment,
            problems,
        }
    }

    /// The text of a variable that is set and not empty.
    pub(super) fn raw(&mut self, name: &str) -> Option<&'e str> {
        let known = table::find(name);
        debug_assert!(known.is_some(), "{name} is not in the table");
        self.environment.get(known?.name)
    }

    pub(in super::super) fn warn(&mut self, name: &str, message: impl Into<String>, hint: Option<&str>) {
        let problem = Problem::warning(self.environment.place(name), name, message);
        self.problems.push(match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        });
    }

    /// What `parse` makes of it; what it says is wrong is told, with what is used instead.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.raw(name)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(problem) => {
                let instead = instead(name);
                self.warn(name, format!("{problem}; {instead}"), None);
                None
            }
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.raw(name).map(str::to_owned)
    }

    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        let text = self.raw(name)?;
        if text.eq_ignore_ascii_case("true") {
            return Some(true);
        }
        if text.eq_ignore_ascii_case("false") {
            return Some(false);
        }
        // What the specification has is false unless it is true, so that this is for ours.
        let default = table::find(name).is_some_and(|variable| variable.default == "true");
        let message = format!("`{}` is neither true nor false; {default} is used", shown(text));
        self.warn(name, message, Some("write true or false"));
        Some(default)
    }

    pub(super) fn integer(&mut self, name: &str) -> Option<usize> {
        let least = match table::find(name).map(|variable| variable.kind) {
            Some(Kind::Integer(least)) => least,
            _ => 0,
        };
        self.parsed(name, |text| number(text, least, "a number"))
            .map(|number| number as usize)
    }

    /// Of a duration or a timeout; of the latter 0 is without end.
    pub(super) fn milliseconds(&mut self, name: &str) -> Option<Duration> {
        let number = self.parsed(name, |text| number(text, 0, "a number of milliseconds"));
        number.map(super::millis)
    }

    pub(super) fn time_span(&mut self, name: &str) -> Option<Duration> {
        self.parsed(name, |text| match text.parse::<u64>() {
            Ok(number) => Ok(super::millis(number)),
            Err(_) => text.parse::<TimeSpan>().map(|span| span.0),
        })
    }

    pub(super) fn byte_size(&mut self, name: &str) -> Option<u64> {
        self.parsed(name, |text| text.parse::<ByteSize>().map(|size| size.0))
    }

    /// One of the known words.
    pub(super) fn word(&mut self, name: &str) -> Option<&'static str> {
        let Kind::Word(words) = table::find(name)?.kind else {
            debug_assert!(false, "{name} is no word");
            return None;
        };
        let text = self.raw(name)?;
        let found = known(words, text);
        if found.is_none() {
            self.warn_of_word(name, text, words, instead(name));
        }
        found
    }

    /// Several of the known words, those that are none left out; `None` where there is not one.
    pub(super) fn words(&mut self, name: &str) -> Option<Vec<&'static str>> {
        let Kind::Words(words) = table::find(name)?.kind else {
            debug_assert!(false, "{name} is no list of words");
            return None;
        };
        let mut found = Vec::new();
        for text in split(self.raw(name)?) {
            match known(words, text) {
                Some(word) if found.contains(&word) => {}
                Some(word) => found.push(word),
                None => self.warn_of_word(name, text, words, "it is left out".to_owned()),
            }
        }
        (!found.is_empty()).then_some(found)
    }

    pub(super) fn list(&mut self, name: &str) -> Option<Vec<String>> {
        self.raw(name)
            .map(|text| split(text).map(str::to_owned).collect())
    }

    /// A level; `Some(None)` is none at all.
    pub(super) fn level(&mut self, name: &str) -> Option<Option<Severity>> {
        let text = self.raw(name)?;
        if text.eq_ignore_ascii_case("none") || text.eq_ignore_ascii_case("off") {
            return Some(None);
        }
        let level = levels::parse(text);
        if level.is_none() {
            self.warn_of_word(name, text, table::LEVELS, instead(name));
        }
        level.map(Some)
    }

    fn warn_of_word(&mut self, name: &str, text: &str, words: &[&str], instead: String) {
        let hint = match nearest(text, words.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known words: {}", words.join(", ")),
        };
        self.warn(
            name,
            format!("`{}` is none of the known words; {instead}", shown(text)),
            Some(&hint),
        );
    }

    /// Tells of variables that are set and mean nothing, and of those that look like a slip of the pen.
    pub(in super::super) fn warn_of_others(&mut self) {
        let environment = self.environment;
        for variable in table::all().filter(|variable| variable.kind == Kind::WithoutEffect) {
            if environment.get(variable.name).is_some() {
                self.warn(variable.name, format!("has no effect. {}", variable.what), None);
            }
        }
        for name in environment.names().filter(|name| table::find(name).is_none()) {
            let near = || nearest(name, table::all().map(|variable| variable.name));
            if name.starts_with("OTEL_") && !OF_OTHERS.iter().any(|beginning| name.starts_with(beginning)) {
                let hint = near().map(|near| format!("did you mean {near}?"));
                self.warn(name, "is not known and has no effect", hint.as_deref());
            } else if name.starts_with("CUPOLA_")
                && let Some(near) = near().filter(|near| near.starts_with("CUPOLA_") && is_slip(name, near))
            {
                // Others of that beginning are a server's.
                self.warn(
                    name,
                    "is not known and has no effect",
                    Some(&format!("did you mean {near}?")),
                );
            }
        }
    }

    /// Tells which variables of OpenTelemetry are set and have no effect since there is a file.
    pub(in super::super) fn warn_of_ignored(&mut self, file: &str, is_referred: impl Fn(&str) -> bool) {
        let known = |name: &&str| {
            name.starts_with("OTEL_")
                && !name.ends_with("_CONFIG_FILE")
                && table::find(name).is_some()
                && !is_referred(name)
        };
        let ignored: Vec<&str> = self.environment.names().filter(known).collect();
        if let [first, ..] = ignored.as_slice() {
            let message = format!(
                "{} have no effect, since {file} says everything",
                ignored.join(", ")
            );
            let hint = format!("refer to them in the file, as ${{{first}}}");
            let place = self.environment.place(first);
            self.problems
                .push(Problem::warning(place, "", message).hint(hint));
        }
    }
}

/// The end of a warning about a value that is none: what is used.
fn instead(name: &str) -> String {
    match table::find(name).map(|variable| variable.default) {
        None | Some("") => "it is left out".to_owned(),
        Some(default) => format!("what else is set is used, or the default, {default}"),
    }
}

/// One or two letters of a long name.
fn is_slip(name: &str, near: &str) -> bool {
    name.len().abs_diff(near.len()) <= 2 && name.get(..10) == near.get(..10)
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn known(words: &'static [&'static str], text: &str) -> Option<&'static str> {
    words.iter().copied().find(|word| word.eq_ignore_ascii_case(text))
}

fn number(text: &str, least: u64, what: &str) -> Result<u64, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<u64>().ok().filter(|_| is_number);
    match number.filter(|number| (least..=NUMBER_MAX).contains(number)) {
        Some(number) => Ok(number),
        None => Err(format!(
            "`{}` is not {what} from {least} to {NUMBER_MAX}",
            shown(text)
        )),
    }
}

/// A value as a message may have it.
pub(super) fn shown(text: &str) -> String {
    let text = mask::urls(text).unwrap_or_else(|| text.to_owned());
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
