//! What can be asked about a process and what it runs in: variables, files, and what the system says. A test has one of its
//! own.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longest file that is read; of a longer one the beginning.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What detectors ask.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Where the file system begins.
    pub root: PathBuf,
    pub variables: HashMap<String, String>,
    pub process: Process,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    pub id: u32,
    pub parent_id: Option<u32>,
    pub executable: Option<PathBuf>,
    /// With the name under which it was started.
    pub arguments: Vec<String>,
    /// The number of the user that it acts for.
    pub user_id: Option<u32>,
}

impl Machine {
    /// This process, now.
    pub fn here() -> Machine {
        let text = |text: std::ffi::OsString| text.into_string().ok();
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
        Machine::with(variables.collect())
    }

    /// This process, now, with variables that were read before.
    pub(super) fn with(variables: HashMap<String, String>) -> Machine {
        Machine {
            root: PathBuf::from("/"),
            variables,
            process: Process::here(),
        }
    }

    /// A variable that is set and not empty.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// The first of these variables that is set.
    pub(super) fn any_variable(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.variable(name))
    }

    /// A file, without spaces around what is in it; `None` if it cannot be read, or is none that can be read without waiting.
    pub(super) fn file(&self, path: &str) -> Option<String> {
        let path: &Path = &self.root.join(path);
        // A pipe would have us wait for whoever writes into it.
        if !path.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        File::open(path)
            .ok()?
            .take(FILE_BYTES_MAX)
            .read_to_end(&mut bytes)
            .ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }
}

impl Process {
    fn here() -> Process {
        Process {
            id: std::process::id(),
            #[cfg(unix)]
            parent_id: Some(std::os::unix::process::parent_id()),
            #[cfg(not(unix))]
            parent_id: None,
            executable: std::env::current_exe().ok(),
            arguments: std::env::args_os()
                .map(|argument| argument.to_string_lossy().into_owned())
                .collect(),
            #[cfg(unix)]
            user_id: Some(rustix::process::geteuid().as_raw()),
            #[cfg(not(unix))]
            user_id: None,
        }
    }

    pub(super) fn executable_name(&self) -> Option<String> {
        let name = self.executable.as_ref()?.file_name()?;
        Some(name.to_string_lossy().into_owned())
    }
}
