//! Tools that the steps need: found where they are, otherwise installed below `target`, otherwise the reason why not.
//! Changes nothing outside `target`, except that it installs a nightly compiler where there is rustup, and Chromium and
//! `psql` with apt on a Debian machine where it may.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::process::{cargo, command, find, run, succeeds};
use crate::workspace;

/// Why a step cannot run here.
pub(crate) type Missing = String;

/// The release that the rules in `deny.toml` are written for.
const CARGO_DENY: &str = "0.20.2";
const CARGO_FUZZ: &str = "0.13.2";
const HELM: &str = "v3.22.0";

pub(crate) fn cargo_deny() -> Result<PathBuf, Missing> {
    cargo_tool("cargo-deny", CARGO_DENY)
}

pub(crate) fn cargo_fuzz() -> Result<PathBuf, Missing> {
    nightly()?;
    cargo_tool("cargo-fuzz", CARGO_FUZZ)
}

/// The compiler that fuzz targets need, beside the one that is used for the rest.
fn nightly() -> Result<(), Missing> {
    if succeeds(&mut command("cargo", &["+nightly", "--version"])) {
        return Ok(());
    }
    let missing = "fuzzing needs a nightly toolchain";
    let Some(rustup) = find(&["rustup"]) else {
        return Err(format!("{missing}, and there is no rustup to install one"));
    };
    let install = [
        "toolchain",
        "install",
        "nightly",
        "--profile",
        "minimal",
        "--no-self-update",
    ];
    run(&mut command(&rustup.to_string_lossy(), &install)).map_err(|error| format!("{missing}: {error:#}"))
}

/// Helm, built with Go where it is not installed.
pub(crate) fn helm() -> Result<PathBuf, Missing> {
    if let Some(found) = find(&["helm"]) {
        return Ok(found);
    }
    let folder = workspace::scratch().join("tools");
    let binary = folder.join("bin/helm");
    if binary.is_file() {
        return Ok(binary);
    }
    let missing = "no Helm is installed";
    let Some(go) = find(&["go"]) else {
        return Err(format!("{missing}, and there is no Go to build it with"));
    };
    let package = format!("helm.sh/helm/v3/cmd/helm@{HELM}");
    let mut install = command(&go.to_string_lossy(), &["install", &package]);
    install
        .env("GOBIN", folder.join("bin"))
        .env("GOCACHE", folder.join("go/build"))
        .env("GOMODCACHE", folder.join("go/modules"))
        // Otherwise `cargo clean` could not remove what was fetched.
        .env("GOFLAGS", "-modcacherw");
    run(&mut install).map_err(|error| format!("{missing}: {error:#}"))?;
    Ok(binary)
}

/// A cargo subcommand: an installed one, or one built into `target/xtask/tools`. Unoptimised: it is built once and runs
/// for seconds.
fn cargo_tool(name: &str, version: &str) -> Result<PathBuf, Missing> {
    if let Some(found) = find(&[name]) {
        return Ok(found);
    }
    let folder = workspace::scratch().join("tools");
    let binary = folder.join("bin").join(name);
    if binary.is_file() {
        return Ok(binary);
    }
    let mut install = cargo(&[
        "install",
        "--quiet",
        "--locked",
        "--debug",
        name,
        "--version",
        version,
    ]);
    install
        .arg("--root")
        .arg(&folder)
        .arg("--target-dir")
        .arg(folder.join("build"));
    run(&mut install).map_err(|error| format!("{name} cannot be installed: {error:#}"))?;
    Ok(binary)
}

/// Node.js with npm, new enough for the build of the page.
pub(crate) fn npm() -> Result<PathBuf, Missing> {
    let needed = "the web page needs Node.js 20.19 or newer with npm";
    let node = crate::process::output(&mut command("node", &["--version"])).map_err(|_| needed.to_owned())?;
    if !is_node_version_enough(node.trim()) {
        return Err(format!("{needed}; this is {}", node.trim()));
    }
    find(&["npm"]).ok_or_else(|| needed.to_owned())
}

fn is_node_version_enough(version: &str) -> bool {
    let mut numbers = version
        .trim_start_matches('v')
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (major, minor) >= (20, 19)
}

/// A Python of its own with the packages of `requirements`, below `target/xtask/python/NAME`; installed again when the
/// list changes.
pub(crate) fn python(name: &str, requirements: &Path) -> Result<PathBuf, Missing> {
    let wanted = std::fs::read_to_string(requirements)
        .map_err(|error| format!("{}: {error}", requirements.display()))?;
    let folder = workspace::scratch().join("python").join(name);
    let python = folder.join("bin/python");
    let stamp = folder.join("requirements.txt");
    if python.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    let folder_text = folder.to_string_lossy().into_owned();
    let list = requirements.to_string_lossy().into_owned();
    let make = run(&mut command("python3", &["-m", "venv", "--clear", &folder_text]));
    make.map_err(|error| format!("no Python environment can be made: {error:#}"))?;
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
        &list,
    ];
    let installs = run(&mut command(&python.to_string_lossy(), &install));
    installs.map_err(|error| format!("the Python packages of {name} cannot be installed: {error:#}"))?;
    // Written last: a half-done environment is made again.
    std::fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(python)
}

/// Chromium from the system, installed from Debian when we may.
pub(crate) fn chromium() -> Result<PathBuf, Missing> {
    let names = [
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
    ];
    from_debian("Chromium", &names, "chromium")
}

/// `psql` from the system, installed from Debian when we may.
pub(crate) fn psql() -> Result<PathBuf, Missing> {
    from_debian("psql", &["psql"], "postgresql-client")
}

/// A program of the system by any of its names, otherwise from Debian's package.
fn from_debian(what: &str, names: &[&str], package: &str) -> Result<PathBuf, Missing> {
    if let Some(found) = find(names) {
        return Ok(found);
    }
    let missing = format!("no {what} is installed");
    let (Some(apt), true) = (find(&["apt-get"]), is_root()) else {
        return Err(format!(
            "{missing}, and installing it needs root on Debian (apt-get install {package})"
        ));
    };
    let apt = apt.to_string_lossy().into_owned();
    let install = ["install", "-y", "-qq", "--no-install-recommends", package];
    let installs =
        run(&mut command(&apt, &["update", "-qq"])).and_then(|()| run(&mut command(&apt, &install)));
    installs.map_err(|error| format!("{missing}: {error:#}"))?;
    find(names).ok_or_else(|| format!("{missing}, though apt-get installed it"))
}

fn is_root() -> bool {
    crate::process::output(&mut command("id", &["-u"])).is_ok_and(|text| text.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_node_are_compared_as_numbers() {
        for enough in ["v20.19.0", "v20.20.2", "v22.1.0", "v100.0.0"] {
            assert!(is_node_version_enough(enough), "{enough}");
        }
        for old in ["v20.9.0", "v18.20.0", "", "v"] {
            assert!(!is_node_version_enough(old), "{old}");
        }
    }
}
