//! Where a reference leads: a variable, its default, or a file.

use super::part::{Part, variable_name};
use super::{Expansion, NESTING_MAX, REFERENCES_MAX};
use crate::parse::TEXT_BYTES_MAX;
use crate::problem::{Place, Problem};
use crate::tree::Origin;

/// What a reference stands for, before it is looked at as YAML.
pub(super) struct Found {
    pub(super) text: String,
    pub(super) origin: Origin,
    /// Not set, and without a default.
    pub(super) unset: bool,
    /// A default: its references have been resolved already.
    pub(super) settled: bool,
}

impl Expansion<'_> {
    /// What a reference leads to, with its name for the sake of cycles.
    pub(super) fn resolve(&mut self, content: &[Part], place: &Place) -> Option<(String, Found)> {
        self.references += 1;
        if self.exhausted || self.references > REFERENCES_MAX {
            self.exhaust(
                place,
                &format!("more than {REFERENCES_MAX} references are followed"),
            );
            return None;
        }
        let (head, rest) = match content {
            [Part::Text(head), rest @ ..] => (head.as_str(), rest),
            _ => ("", content),
        };
        // A default is joined only where it is needed.
        if let Some((name, default)) = head.split_once(":-")
            && (name.starts_with("env:") || !name.contains(':'))
        {
            let Some(name) = variable_name(name) else {
                return self.bad_name(name, place);
            };
            return match self.sources.env(name) {
                Some(text) => self.found(
                    format!("env:{name}"),
                    text,
                    Origin::Environment(name.into()),
                    place,
                ),
                None => {
                    let (more, origin) = self.join(rest, place)?;
                    self.default(name, format!("{default}{more}"), origin, place)
                }
            };
        }
        let (reference, _) = self.join(content, place)?;
        match reference.split_once(':') {
            Some(("file", path)) => self.file(path, place),
            None | Some(("env", _)) => self.variable(&reference, place),
            Some((scheme, _)) => {
                let message = format!("`{scheme}:` is no source of values");
                let hint = "write ${env:NAME}, ${env:NAME:-default} or ${file:path}; $$ is a dollar sign";
                self.report(Problem::error(place.clone(), &*self.key, message).hint(hint));
                None
            }
        }
    }

    fn variable(&mut self, reference: &str, place: &Place) -> Option<(String, Found)> {
        // The name itself may have been a reference, so that its default shows only now.
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        let Some(name) = variable_name(name) else {
            return self.bad_name(name, place);
        };
        if let Some(text) = self.sources.env(name) {
            return self.found(
                format!("env:{name}"),
                text,
                Origin::Environment(name.into()),
                place,
            );
        }
        if let Some(default) = default {
            return self.default(name, default.to_owned(), Origin::Written, place);
        }
        let used = self.unset.entry(name.to_owned()).or_default();
        if !used.iter().any(|(_, other)| other == place) {
            used.push((self.key.clone(), place.clone()));
        }
        let found = Found {
            text: String::new(),
            origin: Origin::Environment(name.into()),
            unset: true,
            settled: true,
        };
        Some((format!("env:{name}"), found))
    }

    fn file(&mut self, path: &str, place: &Place) -> Option<(String, Found)> {
        match self.sources.file(path) {
            Ok(text) => {
                let text = text
                    .strip_suffix('\n')
                    .map(|text| text.strip_suffix('\r').unwrap_or(text))
                    .unwrap_or(&text);
                self.found(
                    format!("file:{path}"),
                    text.to_owned(),
                    Origin::File(path.into()),
                    place,
                )
            }
            Err(error) => {
                let problem = Problem::error(
                    place.clone(),
                    &*self.key,
                    format!("the file `{path}` cannot be read: {error}"),
                );
                self.report(problem.hint("name a file that is there and that may be read"));
                None
            }
        }
    }

    fn found(
        &mut self,
        name: String,
        text: String,
        origin: Origin,
        place: &Place,
    ) -> Option<(String, Found)> {
        if self.within.contains(&name) || self.within.len() >= NESTING_MAX {
            let way: Vec<&str> = self
                .within
                .iter()
                .map(String::as_str)
                .chain([name.as_str()])
                .collect();
            let message = match self.within.contains(&name) {
                true => format!("a reference leads back to itself: {}", way.join(" -> ")),
                false => format!("references lead on more than {NESTING_MAX} times"),
            };
            self.report(Problem::error(place.clone(), &*self.key, message));
            return None;
        }
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > TEXT_BYTES_MAX {
            self.exhaust(
                place,
                &format!("references insert more than {TEXT_BYTES_MAX} bytes"),
            );
            return None;
        }
        let found = Found {
            text,
            origin,
            unset: false,
            settled: false,
        };
        Some((name, found))
    }

    fn default(
        &mut self,
        name: &str,
        text: String,
        origin: Origin,
        place: &Place,
    ) -> Option<(String, Found)> {
        let (name, found) = self.found(format!("the default of {name}"), text, origin, place)?;
        Some((
            name,
            Found {
                settled: true,
                ..found
            },
        ))
    }

    fn bad_name<T>(&mut self, name: &str, place: &Place) -> Option<T> {
        let name = name.strip_prefix("env:").unwrap_or(name);
        // What comes from elsewhere is not shown.
        let shown = match self.within.is_empty() {
            true => format!("`{name}` is"),
            false => "what is inserted holds what is".to_owned(),
        };
        let problem = Problem::error(
            place.clone(),
            &*self.key,
            format!("{shown} no name of an environment variable"),
        );
        self.report(
            problem.hint("a name is letters, digits and _, such as ${env:API_KEY}; write $${ for a plain ${"),
        );
        None
    }
}
