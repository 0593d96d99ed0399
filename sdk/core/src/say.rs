//! What the SDK has to say about itself to whoever runs the application: on standard error, since what it says of itself must
//! not go through itself.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;

/// Says what is wrong, with its causes, in one line. Never fails.
pub(crate) fn warning(error: &dyn Error) {
    let mut line = format!("cupola: warning: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(line, ": {error}");
        cause = error.source();
    }
    line.push('\n');
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Says something in one line.
pub(crate) fn text(text: &str) {
    let _ = std::io::stderr().write_all(format!("cupola: warning: {text}\n").as_bytes());
}
