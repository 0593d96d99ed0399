//! Where lines go: past the standard library, whose locks the child of a fork could find shut.

use std::fmt;
use std::io::IsTerminal as _;
use std::sync::Arc;

use cupola_sdk_core::settings::{Colour, ConsoleTarget};

/// Where a console writes.
#[derive(Clone)]
pub enum Output {
    Stderr,
    Stdout,
    /// Called with each line, its end included, by the thread that makes it.
    Custom(Arc<dyn Fn(&str) + Send + Sync>),
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Output::Stderr => "Stderr",
            Output::Stdout => "Stdout",
            Output::Custom(_) => "Custom",
        })
    }
}

impl Output {
    pub(super) fn of(target: ConsoleTarget) -> Output {
        match target {
            ConsoleTarget::Stderr => Output::Stderr,
            ConsoleTarget::Stdout => Output::Stdout,
        }
    }

    /// Whether to colour: what is said, else where a terminal shows it and nobody objects (<https://no-color.org>).
    pub(super) fn is_coloured(&self, colour: Colour) -> bool {
        match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => self.is_terminal() && !is_set("NO_COLOR") && !is_dumb(),
        }
    }

    fn is_terminal(&self) -> bool {
        match self {
            Output::Stderr => std::io::stderr().is_terminal(),
            Output::Stdout => std::io::stdout().is_terminal(),
            Output::Custom(_) => false,
        }
    }

    /// What cannot be written is lost: there is nobody to tell, and the record goes on to where it is kept.
    pub(super) fn write(&self, line: &str) {
        match self {
            #[cfg(unix)]
            Output::Stderr => write_all(rustix::stdio::stderr(), line.as_bytes()),
            #[cfg(unix)]
            Output::Stdout => write_all(rustix::stdio::stdout(), line.as_bytes()),
            #[cfg(not(unix))]
            Output::Stderr => drop(std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes())),
            #[cfg(not(unix))]
            Output::Stdout => drop(std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes())),
            Output::Custom(take) => take(line),
        }
    }
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|value| value == "dumb")
}

#[cfg(unix)]
fn write_all(file: rustix::fd::BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return,
            Ok(written) => bytes = &bytes[written..],
            Err(rustix::io::Errno::INTR) => {}
            // Also a pipe that is full and does not let wait.
            Err(_) => return,
        }
    }
}
