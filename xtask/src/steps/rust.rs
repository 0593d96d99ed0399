//! The steps that cargo does.

use std::path::Path;
use std::process::Stdio;

use anyhow::Result;

use crate::commands::Optimised;
use crate::process::{cargo, command, run, watch};
use crate::report::Outcome;
use crate::test_output::TestOutput;
use crate::{commands, tools, workspace};

/// How long each fuzz target runs in `cargo xtask test`.
const FUZZ_SECONDS: u64 = 10;
/// So much of what a fuzzer said is shown when it found something.
const FUZZ_LINES: usize = 80;

/// What cargo-deny says where GitHub cannot be reached.
const NO_ADVISORIES: &str = "failed to fetch advisory database";

pub(super) fn format() -> Result<Outcome> {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    Ok(Outcome::passed())
}

pub(super) fn clippy() -> Result<Outcome> {
    run(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "--deny",
        "warnings",
    ]))?;
    Ok(Outcome::passed())
}

pub(super) fn deny() -> Result<Outcome> {
    let tool = match tools::cargo_deny() {
        Ok(tool) => tool,
        Err(reason) => return Ok(Outcome::skipped(format!("deny: {reason}"))),
    };
    run(&mut command(
        &tool.to_string_lossy(),
        &["--log-level", "error", "check", "licenses", "bans", "sources"],
    ))?;
    Ok(Outcome::passed())
}

pub(super) fn advisories() -> Result<Outcome> {
    let tool = match tools::cargo_deny() {
        Ok(tool) => tool,
        Err(reason) => return Ok(Outcome::skipped(format!("advisories: {reason}"))),
    };
    let mut check = command(&tool.to_string_lossy(), &["check", "advisories"]);
    let output = check.stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
    if output.status.success() {
        return Ok(Outcome::passed());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains(NO_ADVISORIES) {
        return Ok(Outcome::skipped(
            "advisories: the RustSec database cannot be reached from here",
        ));
    }
    println!("{said}");
    anyhow::bail!("known vulnerabilities, see above")
}

/// All tests of all crates, each counted; the tests that say they could not run are counted apart.
pub(super) fn test() -> Result<Outcome> {
    // A test without it says that it was skipped; here only the reason is told.
    if let Err(reason) = tools::psql() {
        println!("   {reason}");
    }
    let mut output = TestOutput::default();
    let log = workspace::scratch().join("test.log");
    let arguments = [
        "test",
        "--workspace",
        "--locked",
        "--no-fail-fast",
        "--",
        "--show-output",
    ];
    let mut tests = cargo(&arguments);
    if std::env::var_os(commands::CRASH_ROUNDS_VARIABLE).is_none() {
        tests.env(
            commands::CRASH_ROUNDS_VARIABLE,
            commands::CRASH_ROUNDS.to_string(),
        );
    }
    let succeeded = watch(&mut tests, &log, |line| output.see(line))?;
    println!("   what passing tests printed is in {}", log.display());
    Ok(output.finish(succeeded))
}

pub(super) fn fuzz() -> Result<Outcome> {
    if !workspace::root().join("fuzz/Cargo.toml").is_file() {
        return Ok(Outcome::skipped("fuzz: there are no fuzz targets yet"));
    }
    let tool = match tools::cargo_fuzz() {
        Ok(tool) => tool,
        Err(reason) => return Ok(Outcome::skipped(format!("fuzz: {reason}"))),
    };
    run(&mut commands::fuzz_build(&tool, Optimised::Little))?;
    let mut outcome = Outcome::default();
    for target in commands::fuzz_targets(&tool)? {
        outcome.add(fuzz_one(&tool, &target)?);
    }
    Ok(outcome)
}

/// What the fuzzer prints goes to a file, of which the end is shown when something was found.
fn fuzz_one(tool: &Path, target: &str) -> Result<Outcome> {
    let folder = workspace::scratch().join("fuzz");
    std::fs::create_dir_all(&folder)?;
    let log = folder.join(format!("{target}.log"));
    let mut fuzz = commands::fuzz_run(tool, target, FUZZ_SECONDS, Optimised::Little);
    let Err(error) = run(fuzz.stderr(std::fs::File::create(&log)?)) else {
        return Ok(Outcome::passed());
    };
    let said = std::fs::read(&log)?;
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().collect();
    for line in &lines[lines.len().saturating_sub(FUZZ_LINES)..] {
        println!("{line}");
    }
    Ok(Outcome::from_failures(vec![format!("fuzz {target}: {error:#}")]))
}
