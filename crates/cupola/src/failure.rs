//! What a user sees when something cannot be done: the error, its causes, and hints what to do about it. Also the
//! exit codes. Refuses to guess: a failure nobody foresaw has no hint.

use std::fmt;

/// The command was understood but could not be done.
pub(crate) const EXIT_FAILURE: u8 = 1;
/// The command line or the configuration makes no sense.
pub(crate) const EXIT_USAGE: u8 = 2;
/// Somebody stopped it, as shells report a process that SIGINT has ended.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// A failure as it is shown: `error:`, then `cause:` lines, then `hint:` lines.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    causes: Vec<String>,
    /// Each a text of its own, shown as it is.
    details: Vec<String>,
    hints: Vec<String>,
    exit_code: u8,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        let message = message.into();
        Failure {
            message: cupola_config::mask::urls(&message).unwrap_or(message),
            causes: Vec::new(),
            details: Vec::new(),
            hints: Vec::new(),
            exit_code: EXIT_FAILURE,
        }
    }

    /// A command line or configuration that makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Failure {
            exit_code: EXIT_USAGE,
            ..Failure::new(message)
        }
    }

    /// The signal of this name ended the command before it was done.
    pub(crate) fn interrupted(signal: &str) -> Self {
        Failure {
            exit_code: EXIT_INTERRUPTED,
            ..Failure::new(format!("stopped by {signal}"))
        }
    }

    /// The message of `error`, and its sources as causes.
    pub(crate) fn from_error(error: &(dyn std::error::Error + 'static)) -> Self {
        Failure::new(error.to_string()).sources(error)
    }

    #[must_use]
    pub(crate) fn cause(mut self, cause: impl fmt::Display) -> Self {
        let cause = cause.to_string();
        self.causes
            .push(cupola_config::mask::urls(&cause).unwrap_or(cause));
        self
    }

    /// `error` and its sources as causes.
    #[must_use]
    pub(crate) fn caused_by(self, error: &(dyn std::error::Error + 'static)) -> Self {
        self.cause(error).sources(error)
    }

    /// One of several things that are wrong, as text of one or more lines.
    #[must_use]
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hints.push(hint.to_string());
        self
    }

    /// The whole of it as a detail of another failure.
    pub(crate) fn as_detail(&self) -> String {
        let mut text = self.to_string();
        for part in self
            .details
            .iter()
            .cloned()
            .chain(self.hints.iter().map(|hint| format!("hint: {hint}")))
        {
            text.push('\n');
            text.push_str(&part);
        }
        text
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.exit_code
    }

    pub(crate) fn details(&self) -> &[String] {
        &self.details
    }

    #[cfg(test)]
    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    fn sources(mut self, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut source = error.source();
        while let Some(error) = source {
            // Wrappers often repeat what they wrap; once is enough.
            let text = error.to_string();
            let text = cupola_config::mask::urls(&text).unwrap_or(text);
            if self.message != text && self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            source = error.source();
        }
        self
    }

    /// Prints to stderr, in colour if asked.
    pub(crate) fn print(&self, colour: bool) {
        let paint = |label: &str, code: &str| match colour {
            true => format!("\x1b[1;{code}m{label}\x1b[0m"),
            false => label.to_owned(),
        };
        eprintln!("{} {}", paint("error:", "31"), self.message);
        for cause in &self.causes {
            eprintln!("  {} {cause}", paint("cause:", "33"));
        }
        for detail in &self.details {
            for (index, line) in detail.lines().enumerate() {
                eprintln!("{}{line}", if index == 0 { "\n  " } else { "  " });
            }
        }
        for hint in &self.hints {
            eprintln!("  {} {hint}", paint("hint:", "36"));
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.message)?;
        self.causes
            .iter()
            .try_for_each(|cause| write!(formatter, ": {cause}"))
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_become_causes_once() {
        /// Says what the error it wraps says.
        #[derive(Debug)]
        struct Wrapper(Box<dyn std::error::Error>);

        impl fmt::Display for Wrapper {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl std::error::Error for Wrapper {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(self.0.as_ref())
            }
        }

        let wrapped = || Wrapper(Box::new(Wrapper("disk is on fire".into())));
        let failure = Failure::new("cannot write").caused_by(&wrapped());
        assert_eq!(failure.to_string(), "cannot write: disk is on fire");
        assert_eq!(failure.exit_code(), EXIT_FAILURE);
        assert_eq!(Failure::from_error(&wrapped()).to_string(), "disk is on fire");
    }
}
