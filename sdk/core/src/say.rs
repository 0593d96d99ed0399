//! What the SDK has to say about itself to whoever runs the application: on standard error, since what it says of itself must
//! not go through itself. Warnings alone, as far as the level lets them through that `OTEL_LOG_LEVEL` or `own_level` sets.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicU8, Ordering};

use cupola_config::Problem;

use crate::log::Severity;

/// The number of the least severe that is said: all of it until somebody sets another.
static LEVEL: AtomicU8 = AtomicU8::new(0);
/// Above every severity.
const NOTHING: u8 = u8::MAX;

/// Says from now on, for the whole process, only what is as severe as this; nothing if there is no level.
pub fn set_level(level: Option<Severity>) {
    LEVEL.store(level.map_or(NOTHING, Severity::number), Ordering::Relaxed);
}

/// Whether warnings are said at a level.
fn says_warnings(level: u8) -> bool {
    level <= Severity::WARN.number()
}

/// Says what is wrong, with its causes, in one line. Never fails.
pub fn warning(error: &dyn Error) {
    text(&chain(error));
}

/// Says what is odd about the configuration, with its place.
pub fn problem(problem: &Problem) {
    say(format!("cupola: {}", problem.render(None)));
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(line, ": {error}");
        cause = error.source();
    }
    line
}

/// Says something in one line. Never fails.
pub fn text(text: &str) {
    say(format!("cupola: warning: {text}"));
}

fn say(mut line: String) {
    if says_warnings(LEVEL.load(Ordering::Relaxed)) {
        line.push('\n');
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_above_warnings_keeps_them_from_being_said() {
        for level in [Severity::TRACE, Severity::INFO, Severity::WARN] {
            assert!(says_warnings(level.number()));
        }
        assert!(!says_warnings(Severity::ERROR.number()) && !says_warnings(NOTHING));
    }
}
