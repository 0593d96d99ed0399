//! The commands beside `test`: each hands over to the program or the test that does the work.
//!
//! Tests are chosen by name from the whole workspace and not by package: another selection of packages has other features
//! of dependencies, and builds DataFusion once more.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::process::{cargo, command, output, run};
use crate::{tools, workspace};

const FUZZ_SECONDS: u64 = 20;
pub(crate) const CRASH_ROUNDS: u64 = 50;
pub(crate) const CRASH_ROUNDS_VARIABLE: &str = "CUPOLA_CRASH_ROUNDS";
const SOAK_MINUTES: u64 = 60;
const FIXTURES: &str = "tests/fixtures";

/// Every fuzz target for `SECONDS` each.
pub(crate) fn fuzz(arguments: &[String]) -> Result<bool> {
    let seconds = number(arguments, FUZZ_SECONDS, "seconds")?;
    let tool = tools::cargo_fuzz().map_err(anyhow::Error::msg)?;
    run(&mut fuzz_build(&tool, Optimised::Fully))?;
    for target in fuzz_targets(&tool)? {
        run(&mut fuzz_run(&tool, &target, seconds, Optimised::Fully))?;
    }
    Ok(true)
}

pub(crate) fn fuzz_targets(tool: &Path) -> Result<Vec<String>> {
    let text =
        output(command(&tool.to_string_lossy(), &["list"]).current_dir(workspace::root().join("fuzz")))?;
    Ok(text
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect())
}

/// How fuzz targets are compiled.
#[derive(Clone, Copy)]
pub(crate) enum Optimised {
    /// For a long search.
    Fully,
    /// For a short one, which would take less time than to compile for a long one.
    Little,
}

/// Builds all targets at once, which takes less time than one after the other.
pub(crate) fn fuzz_build(tool: &Path, optimised: Optimised) -> std::process::Command {
    let mut command = command(&tool.to_string_lossy(), &["build"]);
    in_fuzz(&mut command, optimised);
    command
}

pub(crate) fn fuzz_run(
    tool: &Path,
    target: &str,
    seconds: u64,
    optimised: Optimised,
) -> std::process::Command {
    let time = format!("-max_total_time={seconds}");
    let mut command = command(&tool.to_string_lossy(), &["run"]);
    // Flags of the compiler are part of what is built: those of the build again.
    in_fuzz(&mut command, optimised);
    command.args([
        target,
        "--",
        &time,
        "-rss_limit_mb=2048",
        "-timeout=10",
        "-print_final_stats=0",
    ]);
    command
}

fn in_fuzz(command: &mut std::process::Command, optimised: Optimised) {
    command
        .current_dir(workspace::root().join("fuzz"))
        .env("RUSTUP_TOOLCHAIN", "nightly");
    if let Optimised::Little = optimised {
        command
            .args(["--codegen-units", "16"])
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    }
}

/// The tests against peers that `cargo xtask test` leaves out for the time they take to build, and for longer those that fail on
/// purpose.
pub(crate) fn peers() -> Result<bool> {
    for chosen in [&["it", "against_collector"][..], &["it", "faults::"], &["oracle"]] {
        let mut test = cargo(&["test", "--workspace", "--test"]);
        test.args(chosen).args(["--", "--nocapture"]);
        run(test.env("CUPOLA_SLOW_PEERS", "1"))?;
    }
    Ok(true)
}

/// `kill -9` at random moments under load; every acknowledged item must be there afterwards.
pub(crate) fn crash(arguments: &[String]) -> Result<bool> {
    let rounds = number(arguments, CRASH_ROUNDS, "rounds")?;
    crash_rounds(&[(CRASH_ROUNDS_VARIABLE, rounds.to_string())])
}

/// The same for a stretch of time instead of a number of rounds.
pub(crate) fn soak(arguments: &[String]) -> Result<bool> {
    let minutes = number(arguments, SOAK_MINUTES, "minutes")?;
    crash_rounds(&[("CUPOLA_CRASH_MINUTES", minutes.to_string())])
}

fn crash_rounds(variables: &[(&str, String)]) -> Result<bool> {
    let mut test = cargo(&[
        "test",
        "--workspace",
        "--test",
        "it",
        "crash",
        "--",
        "--nocapture",
    ]);
    run(test.envs(variables.iter().map(|(name, value)| (name, value))))?;
    Ok(true)
}

/// Writes the OpenAPI document from the code, and from it the types of the web page.
pub(crate) fn openapi(arguments: &[String]) -> Result<bool> {
    none(arguments)?;
    run(cargo(&["test", "--workspace", "--test", "it", "openapi"]).env("CUPOLA_WRITE_OPENAPI", "1"))?;
    run(command("npm", &["run", "--silent", "types"]).current_dir(workspace::web()))?;
    Ok(true)
}

/// Writes a data directory of this version, which every later version must open.
pub(crate) fn fixture(arguments: &[String]) -> Result<bool> {
    let [name] = arguments else {
        bail!("fixture: one name, such as `v2`: that of the format which is about to be released");
    };
    let folder = fixture_folder(name)?;
    if workspace::root().join(FIXTURES).join(&folder).exists() {
        bail!("fixture: {FIXTURES}/{folder} is there already, and stays as it was written");
    }
    run(cargo(&["test", "--workspace", "--test", "it", "fixture::"]).env("CUPOLA_WRITE_FIXTURE", folder))?;
    Ok(true)
}

/// A name begins with the number of its format: `v1`, `v2-merged`.
fn fixture_folder(name: &str) -> Result<String> {
    let digits = name.strip_prefix('v').unwrap_or_default();
    let is_numbered = digits.starts_with(|first: char| first.is_ascii_digit());
    let is_plain =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-.".contains(letter);
    if !is_numbered || !digits.chars().all(is_plain) {
        bail!("fixture: `{name}` is no name of a fixture; write for example `v2` or `v2-merged`");
    }
    Ok(format!("store-{name}"))
}

/// One benchmark, optimised: builds the server and the benchmark, then runs it with the rest of the arguments.
pub(crate) fn bench(arguments: &[String]) -> Result<bool> {
    let (name, rest) = arguments
        .split_first()
        .context("bench: which one? ingest, query, footprint or pipeline")?;
    run(&mut cargo(&[
        "build",
        "--release",
        "--locked",
        "--package",
        "cupola",
        "--package",
        "cupola-bench",
    ]))?;
    let binary = workspace::target().join("release/cupola-bench");
    let mut bench = command(&binary.to_string_lossy(), &[name]);
    bench.args(rest);
    if name == "query" && !rest.iter().any(|argument| argument.starts_with("--python")) {
        match tools::python("bench", &workspace::root().join("bench/peers/requirements.txt")) {
            Ok(python) => _ = bench.arg("--python").arg(python),
            Err(reason) => println!("skipped: the peers of the benchmark: {reason}"),
        }
    }
    run(&mut bench)?;
    Ok(true)
}

fn number(arguments: &[String], default: u64, what: &str) -> Result<u64> {
    match arguments {
        [] => Ok(default),
        [text] => text
            .parse()
            .with_context(|| format!("`{text}` is no number of {what}")),
        _ => bail!("one number of {what} at most"),
    }
}

fn none(arguments: &[String]) -> Result<()> {
    if arguments.is_empty() {
        Ok(())
    } else {
        bail!("unexpected arguments: {}", arguments.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixture_has_a_new_name_with_the_number_of_its_format() {
        assert_eq!(fixture_folder("v2").unwrap(), "store-v2");
        assert_eq!(fixture_folder("v12.1-merged").unwrap(), "store-v12.1-merged");
        for name in ["", "v", "2", "vx", "v1/../../x", "v1 ", "V1"] {
            assert!(fixture_folder(name).is_err(), "{name}");
        }
        assert!(fixture(&["v1".to_owned()]).is_err(), "it is there already");
        assert!(fixture(&[]).is_err());
    }
}
