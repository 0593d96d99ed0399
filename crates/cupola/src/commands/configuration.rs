//! `cupola config check`, `cupola config show` and `cupola config schema`.

use std::path::PathBuf;

use crate::config::{LogFlags, ServeFlags, Settings, file};
use crate::failure::Failure;
use crate::{components, output};

/// Reads, resolves and checks the files without starting anything.
pub(crate) fn check(paths: &[PathBuf], flags: &ServeFlags, log: &LogFlags) -> Result<(), Failure> {
    let settings = Settings::resolve(flags, log, file::load(paths)?)?;
    let mut text = String::new();
    for (index, warning) in settings.warnings.iter().enumerate() {
        text.push_str(warning);
        // Those of one line stand below each other.
        let next = settings.warnings.get(index + 1);
        let apart = next.is_none_or(|next| warning.contains('\n') || next.contains('\n'));
        text.push_str(if apart { "\n\n" } else { "\n" });
    }
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    text.push_str(&match names.len() {
        0 => "valid; no file was given (--config FILE), so the defaults hold\n".to_owned(),
        1 => format!("{} is valid\n", names[0]),
        _ => format!("{} are valid together\n", names.join(", ")),
    });
    output::print(&text)
}

pub(crate) fn show(paths: &[PathBuf], flags: &ServeFlags, log: &LogFlags) -> Result<(), Failure> {
    output::print(&Settings::resolve(flags, log, file::load(paths)?)?.show())
}

pub(crate) fn schema() -> Result<(), Failure> {
    let schema = serde_json::to_string_pretty(&components::schema())
        .map_err(|error| Failure::new("cannot write the schema").caused_by(&error))?;
    output::print(&format!("{schema}\n"))
}
