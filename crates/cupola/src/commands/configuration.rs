//! `cupola config check` and `cupola config show`.

use std::path::Path;

use crate::config::file::File;
use crate::config::{LogFlags, ServeFlags, Settings};
use crate::failure::Failure;
use crate::output;

/// Reading the file has found what is wrong already; what is left is whether it makes sense together.
pub(crate) fn check(
    path: Option<&Path>,
    flags: &ServeFlags,
    log: &LogFlags,
    file: File,
) -> Result<(), Failure> {
    let settings = Settings::resolve(flags, log, file)?;
    crate::server::check_receivers(&settings)?;
    match path {
        Some(path) => output::print(&format!("{} is valid\n", path.display())),
        None => output::print("valid; no file was given (--config FILE), so the defaults hold\n"),
    }
}

pub(crate) fn show(flags: &ServeFlags, log: &LogFlags, file: File) -> Result<(), Failure> {
    output::print(&Settings::resolve(flags, log, file)?.show())
}
