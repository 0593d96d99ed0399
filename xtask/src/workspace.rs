//! Where things are in the source tree.

use std::path::{Path, PathBuf};

/// The root of the workspace: this crate is one folder below it.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

pub(crate) fn web() -> PathBuf {
    root().join("web")
}

/// What the steps leave behind: logs, reports, tools. Below `target`, so that `cargo clean` removes it.
pub(crate) fn scratch() -> PathBuf {
    target().join("xtask")
}

pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}
