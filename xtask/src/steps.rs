//! The steps of `cargo xtask test`: which there are, in which order, and which were asked for. Quick ones first, so that
//! a slip is told in seconds.

mod deploy;
mod rust;
mod web;

use std::time::Instant;

use anyhow::{Result, bail};

use crate::report::{Outcome, Report};
use crate::{layering, tidy};

struct Step {
    name: &'static str,
    what: &'static str,
    run: fn() -> Result<Outcome>,
}

const STEPS: &[Step] = &[
    Step {
        name: "format",
        what: "rustfmt agrees with every file",
        run: rust::format,
    },
    Step {
        name: "tidy",
        what: "the rules about source files",
        run: tidy::check,
    },
    Step {
        name: "layering",
        what: "the table of crate edges",
        run: layering::check,
    },
    Step {
        name: "web-install",
        what: "npm ci",
        run: web::install,
    },
    Step {
        name: "web-check",
        what: "types and lints of the web page",
        run: web::check,
    },
    Step {
        name: "web-test",
        what: "unit tests of the web page",
        run: web::test,
    },
    Step {
        name: "web-types",
        what: "the types of the web page follow docs/openapi.json",
        run: web::types,
    },
    Step {
        name: "web-build",
        what: "the web page builds",
        run: web::build,
    },
    Step {
        name: "web-audit",
        what: "known vulnerabilities of npm packages",
        run: web::audit,
    },
    Step {
        name: "systemd",
        what: "systemd understands the unit",
        run: deploy::systemd,
    },
    Step {
        name: "helm",
        what: "the Helm chart renders",
        run: deploy::helm,
    },
    Step {
        name: "deny",
        what: "licences, bans and sources of dependencies",
        run: rust::deny,
    },
    Step {
        name: "advisories",
        what: "known vulnerabilities of dependencies",
        run: rust::advisories,
    },
    Step {
        name: "clippy",
        what: "no warning in any target",
        run: rust::clippy,
    },
    Step {
        name: "test",
        what: "unit, integration and documentation tests",
        run: rust::test,
    },
    Step {
        name: "fuzz",
        what: "every fuzz target for a short while",
        run: rust::fuzz,
    },
    Step {
        name: "e2e",
        what: "the web page in a browser against a running demo",
        run: web::end_to_end,
    },
];

pub(crate) fn print_names() {
    for step in STEPS {
        println!("{:<12} {}", step.name, step.what);
    }
}

/// Which steps to run.
pub(crate) struct Selection {
    /// All when empty.
    only: Vec<String>,
    skip: Vec<String>,
}

impl Selection {
    pub(crate) fn only(names: &[&str]) -> Self {
        Self {
            only: names.iter().map(|name| (*name).to_owned()).collect(),
            skip: Vec::new(),
        }
    }

    /// `--only NAME` and `--skip NAME`, each any number of times.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self> {
        let mut selection = Self {
            only: Vec::new(),
            skip: Vec::new(),
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let list = match argument.as_str() {
                "--only" => &mut selection.only,
                "--skip" => &mut selection.skip,
                other => bail!("test: unknown argument `{other}`; it takes --only STEP and --skip STEP"),
            };
            let Some(name) = rest.next() else {
                bail!("test: {argument} needs the name of a step")
            };
            if !STEPS.iter().any(|step| step.name == name) {
                bail!("test: no step `{name}`; `cargo xtask steps` lists them");
            }
            list.push(name.clone());
        }
        Ok(selection)
    }

    fn wants(&self, name: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|item| item == name);
        (self.only.is_empty() || named(&self.only)) && !named(&self.skip)
    }
}

/// Runs the chosen steps, all of them even after one has failed. Returns whether none failed.
pub(crate) fn test(selection: &Selection) -> Result<bool> {
    let mut report = Report::default();
    for step in STEPS.iter().filter(|step| selection.wants(step.name)) {
        println!("== {}: {}", step.name, step.what);
        let start = Instant::now();
        let outcome = (step.run)()
            .unwrap_or_else(|error| Outcome::from_failures(vec![format!("{}: {error:#}", step.name)]));
        report.add(step.name, start.elapsed(), outcome);
    }
    print!("\n{}", report.text());
    Ok(report.total().failed == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Selection> {
        Selection::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn steps_are_chosen_by_name() {
        let all = parse(&[]).unwrap();
        assert!(STEPS.iter().all(|step| all.wants(step.name)));
        let one = parse(&["--only", "tidy", "--only", "deny", "--skip", "deny"]).unwrap();
        assert!(one.wants("tidy") && !one.wants("deny") && !one.wants("test"));
        assert!(parse(&["--only"]).is_err());
        assert!(parse(&["--only", "tydi"]).is_err());
        assert!(parse(&["tidy"]).is_err());
    }
}
