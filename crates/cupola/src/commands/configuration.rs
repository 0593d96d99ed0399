//! `cupola config check` and `cupola config show`.

use std::path::Path;

use crate::config::file::File;
use crate::config::{LogFlags, ServeFlags, Settings};
use crate::failure::Failure;

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
        Some(path) => println!("{} is valid", path.display()),
        None => println!("valid; no file was given (--config FILE), so the defaults hold"),
    }
    Ok(())
}

pub(crate) fn show(flags: &ServeFlags, log: &LogFlags, file: File) -> Result<(), Failure> {
    print!("{}", Settings::resolve(flags, log, file)?.show());
    Ok(())
}
