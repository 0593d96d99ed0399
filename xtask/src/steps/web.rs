//! The steps of the web page. Without Node.js they are skipped, one by one, with the reason.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::process::{cargo, command, run, watch};
use crate::report::Outcome;
use crate::{tools, workspace};

fn npm(arguments: &[&str]) -> Result<Command, tools::Missing> {
    let npm = tools::npm()?;
    let mut command = command(&npm.to_string_lossy(), arguments);
    command.current_dir(workspace::web());
    Ok(command)
}

fn script(step: &str, arguments: &[&str]) -> Result<Outcome> {
    match npm(arguments) {
        Ok(mut command) => run(&mut command).map(|()| Outcome::passed()),
        Err(reason) => Ok(Outcome::skipped(format!("{step}: {reason}"))),
    }
}

pub(super) fn install() -> Result<Outcome> {
    script("web-install", &["ci", "--silent", "--prefer-offline"])
}

pub(super) fn check() -> Result<Outcome> {
    script("web-check", &["run", "--silent", "check"])
}

/// Not into `web/dist`, which the build of the binary embeds and takes for its own.
pub(super) fn build() -> Result<Outcome> {
    let output = workspace::scratch().join("web");
    let output = output.to_string_lossy();
    script(
        "web-build",
        &[
            "run",
            "--silent",
            "build",
            "--",
            "--emptyOutDir",
            "--outDir",
            &output,
        ],
    )
}

pub(super) fn test() -> Result<Outcome> {
    vitest("web-test", &["run", "--silent", "test"], |_| ())
}

/// Where npm packages are listed: those of the page, and of a client in a test.
const LOCKS: [&str; 2] = ["web", "crates/pipeline/tests/clients/node"];

pub(super) fn audit() -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for folder in LOCKS {
        let mut command = match npm(&["audit", "--json", "--package-lock-only"]) {
            Ok(command) => command,
            Err(reason) => return Ok(Outcome::skipped(format!("web-audit: {reason}"))),
        };
        let audit = command
            .current_dir(workspace::root().join(folder))
            .stderr(Stdio::null())
            .output()
            .context("could not start npm")?;
        let report = serde_json::from_slice(&audit.stdout).unwrap_or_default();
        outcome.add(audited(folder, &report));
    }
    Ok(outcome)
}

/// What a report of `npm audit` comes to. One without a list of vulnerabilities says why there is none.
fn audited(folder: &str, report: &Value) -> Outcome {
    match report["vulnerabilities"].as_object() {
        None => Outcome::skipped(format!(
            "web-audit: {folder}: the audit service of the registry cannot be reached from here"
        )),
        Some(found) => Outcome::from_failures(
            found
                .iter()
                .map(|(package, found)| {
                    let severity = found["severity"].as_str().unwrap_or("unknown");
                    format!("{folder}: {package} has a known vulnerability ({severity}); see `npm audit`")
                })
                .collect(),
        ),
    }
}

/// Writes the types again and compares: they are committed, so that the page builds without this step.
pub(super) fn types() -> Result<Outcome> {
    let committed = workspace::web().join("src/api/schema.ts");
    if !workspace::root().join("docs/openapi.json").is_file() || !committed.is_file() {
        return Ok(Outcome::skipped("web-types: docs/openapi.json is not there yet"));
    }
    let before = std::fs::read_to_string(&committed)?;
    let outcome = script("web-types", &["run", "--silent", "types"])?;
    if outcome.passed > 0 && std::fs::read_to_string(&committed)? != before {
        anyhow::bail!("web/src/api/schema.ts was not up to date; it is now: commit it");
    }
    Ok(outcome)
}

/// The page in a real browser against the real binary.
pub(super) fn end_to_end() -> Result<Outcome> {
    let chromium = match tools::npm().and_then(|_| tools::chromium()) {
        Ok(chromium) => chromium,
        Err(reason) => return Ok(Outcome::skipped(format!("e2e: {reason}"))),
    };
    // The same selection as the tests, so that no dependency is built again with other features.
    run(&mut cargo(&["build", "--workspace", "--all-targets", "--locked"]))?;
    vitest("e2e", &["run", "--silent", "e2e"], |command| {
        command
            .env("CHROMIUM", &chromium)
            .env("CUPOLA", workspace::target().join("debug/cupola"))
            .env("CUPOLA_E2E_OUTPUT", workspace::target().join("e2e"));
    })
}

/// Runs vitest and counts its tests one by one.
fn vitest(step: &str, arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Result<Outcome> {
    let results = workspace::scratch().join(format!("{step}.json"));
    // A report from before must not be taken for this one's.
    let _ = std::fs::remove_file(&results);
    let output = format!("--outputFile.json={}", results.display());
    let arguments = [
        arguments,
        &["--", "--reporter=default", "--reporter=json", &output],
    ]
    .concat();
    let mut command = match npm(&arguments) {
        Ok(command) => command,
        Err(reason) => return Ok(Outcome::skipped(format!("{step}: {reason}"))),
    };
    command.env("NO_COLOR", "1");
    prepare(&mut command);
    let log = workspace::scratch().join(format!("{step}.log"));
    let succeeded = watch(&mut command, &log, |_| true)?;
    let mut outcome = read_results(&results)?;
    if !succeeded && outcome.failed == 0 {
        outcome.add(Outcome::from_failures(vec![format!(
            "{step}: vitest failed outside its tests"
        )]));
    }
    Ok(outcome)
}

fn read_results(file: &Path) -> Result<Outcome> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("vitest left no report at {}", file.display()))?;
    let report: Value = serde_json::from_str(&text).context("vitest's report is not JSON")?;
    Ok(outcome_of(&report))
}

fn outcome_of(report: &Value) -> Outcome {
    let mut outcome = Outcome::default();
    let files = report["testResults"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    for test in files.iter().flat_map(|file| {
        file["assertionResults"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
    }) {
        let name = test["fullName"]
            .as_str()
            .unwrap_or("a test without a name")
            .to_owned();
        match test["status"].as_str() {
            Some("passed") => outcome.passed += 1,
            Some("failed") => {
                outcome.failed += 1;
                outcome.failures.push(name);
            }
            _ => outcome.skipped.push(name),
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_that_did_not_take_place_is_not_counted_as_passed() {
        let unreachable = serde_json::json!({"message": "405 Method Not Allowed", "error": {}});
        for report in [unreachable, Value::Null] {
            let outcome = audited("web", &report);
            assert_eq!((outcome.passed, outcome.failed, outcome.skipped.len()), (0, 0, 1));
        }
        let clean = serde_json::json!({"auditReportVersion": 2, "vulnerabilities": {}});
        assert_eq!(audited("web", &clean), Outcome::passed());
        let found = serde_json::json!({"vulnerabilities": {"left-pad": {"severity": "high"}}});
        assert_eq!(audited("web", &found).failed, 1);
    }

    #[test]
    fn the_report_of_vitest_is_counted_test_by_test() {
        let report = serde_json::json!({"testResults": [
            {"assertionResults": [{"fullName": "a", "status": "passed"}, {"fullName": "b", "status": "failed"}]},
            {"assertionResults": [{"fullName": "c", "status": "skipped"}, {"fullName": "d", "status": "pending"}]},
        ]});
        let outcome = outcome_of(&report);
        assert_eq!((outcome.passed, outcome.failed), (1, 1));
        assert_eq!(outcome.failures, ["b"]);
        assert_eq!(outcome.skipped, ["c", "d"]);
        assert_eq!(outcome_of(&serde_json::json!({})), Outcome::default());
    }
}
