//! What is installed once, for all tests of all crates.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Missing;

/// An executable on the path of programs, or in one of `folders`.
pub fn found(name: &str, folders: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(folders.iter().map(PathBuf::from));
    folders
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// The folder `target/peers/NAME`, made by `install` if it was not there. Tests run side by side and wait for the one
/// that installs; what a failed installation left is not used.
pub fn once(name: &str, install: impl FnOnce(&Path) -> Result<(), Missing>) -> Result<PathBuf, Missing> {
    let peers = peers_folder();
    let failed = |what: &str, error: std::io::Error| format!("{what} {name}: {error}");
    std::fs::create_dir_all(&peers).map_err(|error| failed("cannot make a folder for", error))?;
    let lock =
        File::create(peers.join(format!("{name}.lock"))).map_err(|error| failed("cannot lock", error))?;
    lock.lock().map_err(|error| failed("cannot lock", error))?;
    let folder = peers.join(name);
    let done = folder.join(".installed");
    if done.is_file() {
        return Ok(folder);
    }
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|error| failed("cannot make a folder for", error))?;
    install(&folder)?;
    std::fs::write(&done, "").map_err(|error| failed("cannot mark as installed", error))?;
    Ok(folder)
}

/// Set for peers that take minutes to build.
const SLOW_VARIABLE: &str = "CUPOLA_SLOW_PEERS";

/// Whether a peer that takes minutes to build is asked for; otherwise the reason why there is none.
pub fn slow(what: &str) -> Result<(), Missing> {
    match std::env::var_os(SLOW_VARIABLE) {
        Some(_) => Ok(()),
        None => Err(format!("{what} takes minutes to build; `cargo xtask peers` does")),
    }
}

/// A program of the system, in the path or in `folders`; otherwise from Debian's package, where this is Debian and root.
pub fn debian(program: &str, folders: &[&str], package: &str) -> Result<PathBuf, Missing> {
    if let Some(found) = found(program, folders) {
        return Ok(found);
    }
    once("debian-lists", |_| apt(&["update"]))?;
    once(&format!("debian-{package}"), |_| {
        apt(&["install", "--no-install-recommends", package])
    })?;
    found(program, folders).ok_or_else(|| format!("{package} was installed, and `{program}` is not there"))
}

/// Others that install at the same time are waited for.
fn apt(arguments: &[&str]) -> Result<(), Missing> {
    let done = Command::new("apt-get")
        .args(["-y", "-qq", "-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run apt-get {}: {error}", arguments.join(" ")))?;
    match done.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&done.stderr);
            Err(format!("apt-get {} failed: {}", arguments.join(" "), said.trim()))
        }
    }
}

/// Beside what is compiled, wherever that is.
fn peers_folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    target.unwrap_or_else(|| workspace.join("target")).join("peers")
}
